//! Reports of a node without a GPU library, which needs no simulation.

use super::*;
use crate::config::Given;

fn without_library() -> Report {
    let config = Config::validate(&Given::default()).unwrap();
    run(&Config { nvml_library: Some("/nonexistent/libnvidia-ml.so.1".into()), ..config }).unwrap()
}

#[test]
fn a_node_without_a_library_says_so_and_shows_its_host_readings() {
    let report = without_library();
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["driver"], serde_json::Value::Null);
    assert_eq!(json["simulated"], false);
    assert_eq!(json["gpus"], serde_json::json!([]));
    assert!(json["fault"]["reason"].as_str().unwrap().starts_with("library not found: /nonexistent/"));
    let readings = json["host"]["readings"].as_array().unwrap();
    let memory = readings.iter().find(|r| r["metric"] == "node_memory_total").unwrap();
    assert!(memory["value"].as_i64().unwrap() > 0);
    assert_eq!((&memory["unit"], &memory["absence"]), (&"B".into(), &serde_json::Value::Null));

    let page = report.table();
    assert!(
        page.contains("no GPU readings: library not found") && page.contains("what helps: install"),
        "{page}"
    );
    assert!(page.contains("node_cpu"), "{page}");
}

#[test]
fn every_row_has_a_value_or_a_reason_with_help() {
    let device = DeviceFrame {
        readings: Absence::ALL.iter().zip(1..).map(|(&a, id)| (MetricId(id), Reading::Absent(a))).collect(),
        holding: Some(Reading::Absent(Absence::NoPermission)),
    };
    let gpu = crate::collect::gpu::simulated::gpu("GPU-a");
    let report = gpu_report(gpu, device);
    assert_eq!(report.readings.len(), Absence::ALL.len() + 1);
    assert!(report.readings.iter().all(|r| r.value.is_none() && r.absence.is_some() && r.help.is_some()));
    assert_eq!(report.readings.last().unwrap().metric, "gpu_holder");
}
