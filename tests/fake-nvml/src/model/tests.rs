//! Scenarios as they are written, and what they say at a moment.

use super::*;

fn model(text: &str) -> Model {
    Model::parse(text, 77).expect("valid scenario")
}

fn refusal(text: &str) -> String {
    Model::parse(text, 77).expect_err("must be refused")
}

#[test]
fn the_default_scenario_has_eight_different_gpus() {
    let model = model(include_str!("../default.toml"));
    assert_eq!(model.gpus.len(), 8);
    let mut uuids: Vec<_> = model.gpus.iter().map(|g| g.uuid.clone()).collect();
    uuids.dedup();
    assert_eq!(uuids.len(), 8);
    assert!(uuids.iter().all(|u| u.starts_with(UUID_PREFIX) && u.len() == 40), "{uuids:?}");
    assert_ne!(model.gpus[0].counter(60_000_000), model.gpus[1].counter(60_000_000), "staggered");
}

#[test]
fn nodes_have_different_gpus_and_restarts_the_same() {
    let one = model("node = \"a\"\n[[gpu]]");
    assert_eq!(one.gpus[0].uuid, model("node = \"a\"\n[[gpu]]").gpus[0].uuid);
    assert_ne!(one.gpus[0].uuid, model("node = \"b\"\n[[gpu]]").gpus[0].uuid);
}

#[test]
fn a_reset_starts_the_counter_again_and_is_counted() {
    let m = model(
        "[[gpu]]\nenergy_start_mj = 5000\n[[gpu.phase]]\npower_mw = 100000\n\
         [[fault]]\nkind = \"counter_reset\"\nfrom_ms = 10000",
    );
    assert_eq!(m.gpus[0].counter(9_000_000), Counter { mj: 905_000, resets: 0 });
    assert_eq!(m.gpus[0].counter(10_000_000), Counter { mj: 0, resets: 1 });
    assert_eq!(m.gpus[0].counter(12_500_000), Counter { mj: 250_000, resets: 1 });
}

#[test]
fn a_slow_counter_moves_in_steps() {
    let m = model("[[gpu]]\nenergy_refresh_ms = 100\n[[gpu.phase]]\npower_mw = 100000");
    assert_eq!(m.gpus[0].counter(199_999).mj, 10_000);
    assert_eq!(m.gpus[0].counter(200_000).mj, 20_000);
}

#[test]
fn a_fault_meets_its_calls_on_its_gpu_in_its_time() {
    let m = model(
        "[[gpu]]\ncount = 2\n[[fault]]\nkind = \"answer\"\ncode = \"NOT_SUPPORTED\"\ngpu = 1\n\
         from_ms = 1000\nto_ms = 2000\ncalls = [\"nvmlDeviceGetPower*\", \"field:185\"]",
    );
    let fault = &m.faults[0];
    assert!(fault.meets("nvmlDeviceGetPowerUsage", Some(1), 1_000_000));
    assert!(fault.meets("field:185", Some(1), 1_999_999));
    assert!(!fault.meets("field:1850", Some(1), 1_500_000));
    assert!(!fault.meets("nvmlDeviceGetPowerUsage", Some(0), 1_500_000));
    assert!(!fault.meets("nvmlDeviceGetPowerUsage", Some(1), 2_000_000));
    assert!(!fault.meets("nvmlDeviceGetName", Some(1), 1_500_000));
}

#[test]
fn a_gpu_is_cut_from_its_moment_on_and_another_cut_has_other_instances() {
    let m = model(
        "[[gpu]]\n[[mig]]\ngpu = 0\nfrom_ms = 10\ninstance = [{ gpu_instance = 1, slices = 3, memory_mib = 40000 }]\n\
         [[mig]]\ngpu = 0\nfrom_ms = 20\ninstance = [{ gpu_instance = 1, slices = 3, memory_mib = 40000 }]\n\
         [[mig]]\ngpu = 0\nfrom_ms = 30\noff = true",
    );
    let uuid = |t_ms: u64| m.gpus[0].instances(t_ms * 1000).map(|i| i[0].uuid.clone());
    assert_eq!((uuid(9), uuid(30)), (None, None));
    assert!(uuid(10).is_some_and(|uuid| uuid.starts_with("MIG-") && uuid.len() == 40));
    assert_ne!(uuid(10), uuid(20));
}

#[test]
fn mistakes_in_a_scenario_are_named() {
    for (text, part) in [
        ("[[gpu]]\ncolour = 1", "colour"),
        ("[[gpu]]\ncount = 65", "at most 64"),
        ("[[gpu]]\n[[gpu.phase]]\nms = 0", "phase"),
        ("[[gpu]]\n[[gpu.phase]]\nmemory_used_mib = 90000", "memory"),
        ("[[gpu]]\n[[gpu.phase]]\npower_mw = { mean = 1, amplitude = 2, period_ms = 9 }", "sine"),
        ("[[gpu]]\n[[gpu.phase]]\nprocesses = [{ pid = \"you\" }]", "you"),
        ("[[gpu]]\n[[fault]]\nkind = \"answer\"\ncode = \"GONE\"", "GONE"),
        ("[[gpu]]\n[[fault]]\nkind = \"answer\"", "needs a code"),
        ("[[gpu]]\n[[fault]]\nkind = \"block\"\ngpu = 1", "no such GPU"),
        ("[[gpu]]\n[[fault]]\nkind = \"block\"\nfrom_ms = 2\nto_ms = 2", "after from_ms"),
        ("[[gpu]]\n[[mig]]\ngpu = 1", "mig: there is no such GPU"),
        ("[[gpu]]\n[[mig]]\ngpu = 0\ninstance = [{ gpu_instance = 1, slices = 8, memory_mib = 1 }]", "slice"),
    ] {
        let message = refusal(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}
