//! What needs no library: errors.

use super::*;

/// nvml.md, rows 12, 13 and 16.
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
