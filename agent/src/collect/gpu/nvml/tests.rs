//! What needs no library: errors, fields, chips.

use super::*;

#[test]
fn an_error_of_a_call_means_what_the_table_says() {
    use Absence as A;
    let table: [(u32, Verdict); 20] = [
        (1, Verdict::Library(LibraryFault::Uninitialised)),
        (2, Verdict::Reading(A::Failed)),
        (3, Verdict::Reading(A::Unsupported)),
        (4, Verdict::Reading(A::NoPermission)),
        (6, Verdict::Reading(A::Failed)),
        (9, Verdict::Library(LibraryFault::DriverNotLoaded)),
        (10, Verdict::Reading(A::TimedOut)),
        (11, Verdict::Reading(A::Failed)),
        (13, Verdict::Reading(A::Unsupported)),
        (14, Verdict::Reading(A::Failed)),
        (15, Verdict::Gpu(A::Lost)),
        (16, Verdict::Gpu(A::Lost)),
        (17, Verdict::Reading(A::Failed)),
        (18, Verdict::Library(LibraryFault::VersionMismatch)),
        (21, Verdict::Reading(A::Failed)),
        (25, Verdict::Reading(A::Unsupported)),
        (26, Verdict::Reading(A::Unsupported)),
        (27, Verdict::Reading(A::Failed)),
        (28, Verdict::Gpu(A::Lost)),
        (999, Verdict::Reading(A::Failed)),
    ];
    for (code, expected) in table {
        assert_eq!(verdict(&NvmlError::from(code)), expected, "code {code}");
    }
    let missing = NvmlError::FailedToLoadSymbol("undefined symbol".to_owned());
    assert_eq!(verdict(&missing), Verdict::Reading(A::Unsupported));
}

#[test]
fn a_library_that_is_not_there_is_told_from_one_that_is_not_a_library() {
    let missing = NvmlOpener { path: Some("/nonexistent/libnvidia-ml.so.1".into()) };
    let fault = missing.open().err().unwrap();
    assert!(matches!(&fault, LibraryFault::NotFound(m) if m.contains("/nonexistent/")), "{fault:?}");

    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    let fault = NvmlOpener { path: Some(text) }.open().err().unwrap();
    assert!(matches!(fault, LibraryFault::Unusable(_)), "{fault:?}");
}

#[test]
fn the_old_power_call_is_filed_by_chip() {
    use DeviceArchitecture as A;
    for (architecture, model, instant) in [
        (A::Volta, "Tesla V100-SXM2-16GB", true),
        (A::Turing, "Tesla T4", true),
        (A::Ampere, "NVIDIA A100-SXM4-80GB", true),
        (A::Ampere, "NVIDIA A800 80GB PCIe", true),
        (A::Ampere, "NVIDIA A30", true),
        (A::Ampere, "NVIDIA RTX A3000 Laptop GPU", false),
        (A::Ampere, "NVIDIA A10", false),
        (A::Ampere, "NVIDIA GeForce RTX 3090", false),
        (A::Ada, "NVIDIA L40S", false),
        (A::Hopper, "NVIDIA H100 80GB HBM3", false),
    ] {
        assert_eq!(old_power_is_instant(Some(&architecture), Some(model)), instant, "{model}");
    }
    assert!(!old_power_is_instant(None, None));
}

#[test]
fn a_performance_state_beyond_the_scale_is_not_a_value() {
    assert_eq!(known_state(Reading::Value(15)), Reading::Value(15));
    assert_eq!(known_state(Reading::Value(32)), Reading::Absent(Absence::Failed));
}

#[test]
fn a_field_of_any_integer_type_is_read_and_a_fraction_is_not() {
    assert_eq!(integer(&SampleValue::U64(77_900)), Ok(77_900));
    assert_eq!(integer(&SampleValue::I64(-3)), Ok(-3));
    assert_eq!(integer(&SampleValue::U64(u64::MAX)), Err(()));
    assert_eq!(integer(&SampleValue::F64(1.0)), Err(()));
}
