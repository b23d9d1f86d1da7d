//! Who may know whom. The crates' walls are the compiler's; these rules keep the walls where they
//! are and hold the ones inside a crate. ARCHITECTURE.md tells the same story.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use gpuledger_tidy::{File, Findings, has_word, root, tree};
use std::collections::BTreeMap;

/// Each crate of the product and the crates of the workspace that it may depend on, tests included.
const MAY_DEPEND: [(&str, &[&str]); 9] = [
    ("proto/units", &[]),
    ("proto", &["gpuledger-units"]),
    ("proto/tls", &["gpuledger-proto"]),
    ("agent/spool", &[]),
    ("agent", &["gpuledger-units", "gpuledger-proto", "gpuledger-spool", "gpuledger-tls"]),
    ("collector/tco", &["gpuledger-units"]),
    ("collector/ledger", &["gpuledger-units", "gpuledger-proto", "gpuledger-real-postgres"]),
    ("collector/archive", &["gpuledger-units", "gpuledger-proto", "gpuledger-ledger"]),
    (
        "collector",
        &[
            "gpuledger-units",
            "gpuledger-proto",
            "gpuledger-spool",
            "gpuledger-tls",
            "gpuledger-ledger",
            "gpuledger-archive",
            "gpuledger-tco",
        ],
    ),
];

/// Crates that do no I/O, keep no time and start nothing.
const PURE: [&str; 3] = ["proto/units", "proto", "collector/tco"];

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).parse().unwrap()
}

/// Names under `[dependencies]`, `[dev-dependencies]`, `[build-dependencies]` and their targets'.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            names.extend(table.keys().cloned());
        } else if key == "target" {
            names.extend(table.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    names
}

/// Adds a finding for every line of these files' code that has one of the words.
fn forbid(findings: &mut Findings, files: &[File], words: &[&str], why: &str) {
    for file in files {
        for (line, code) in file.code() {
            for word in words.iter().filter(|word| has_word(code, word)) {
                findings.add_line(file, line, format_args!("`{word}`: {why}"));
            }
        }
    }
}

fn product_in(folder: &str) -> Vec<File> {
    let module = format!("{folder}.rs");
    tree().into_iter().filter(|f| f.is_product() && (f.within(folder) || f.path == module)).collect()
}

#[test]
fn a_crate_knows_only_the_crates_below_it() {
    let mut findings = Findings::default();
    for (folder, may) in MAY_DEPEND {
        for name in dependencies(&manifest(folder)) {
            if name.starts_with("gpuledger") && !may.contains(&name.as_str()) {
                findings.add(format_args!("{folder}/Cargo.toml"), format_args!("depends on {name}"));
            }
        }
    }
    findings.none_or(
        "move the code to the crate that may know both sides. Agent and collector share only proto; \
         tests that need both live in tests/e2e.",
    );
}

#[test]
fn every_crate_of_the_product_has_its_place_in_the_layers() {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let mut findings = Findings::default();
    for member in members.iter().filter_map(toml::Value::as_str).filter(|m| !m.starts_with("tests/")) {
        if !MAY_DEPEND.iter().any(|(folder, _)| *folder == member) {
            findings.add(member, "is not in MAY_DEPEND");
        }
    }
    findings.none_or(
        "say in MAY_DEPEND (tests/tidy/tests/layers.rs) and in ARCHITECTURE.md whom the new crate may know.",
    );
}

#[test]
fn pure_crates_touch_neither_disk_nor_network_nor_clock() {
    let words = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant",
        "tokio",
        "Timestamp::now",
        "Zoned::now",
    ];
    let mut findings = Findings::default();
    for folder in PURE {
        let files: Vec<_> = product_in(&format!("{folder}/src"));
        assert!(!files.is_empty(), "no sources in {folder}");
        forbid(&mut findings, &files, &words, "this crate is pure");
    }
    findings.none_or(
        "pass the value in: time, files and sockets belong to the agent's and the collector's edges.",
    );
}

#[test]
fn money_and_quantities_know_no_floats_and_no_hash_order() {
    let mut findings = Findings::default();
    for folder in ["proto/units/src", "collector/tco/src"] {
        let words = ["f32", "f64", "HashMap", "HashSet"];
        forbid(&mut findings, &product_in(folder), &words, "results must be exact and the same on every run");
    }
    findings.none_or("use Decimal or the checked integers of gpuledger-units, and BTreeMap or a sorted Vec.");
}

#[test]
fn ingest_fold_and_report_know_no_concrete_ledger() {
    let mut findings = Findings::default();
    for module in ["ingest", "fold", "report"] {
        let files = product_in(&format!("collector/src/{module}"));
        forbid(&mut findings, &files, &["sqlite", "SqliteLedger", "rusqlite"], "one store among several");
    }
    findings.none_or("take `dyn Ledger` (ingest) or plain values (fold, report); only the composition in app and cli opens a store.");
}

#[test]
fn a_report_takes_a_result_and_never_asks_the_ledger() {
    let mut findings = Findings::default();
    let words = ["Ledger", "gpuledger_ledger", "NodeFold"];
    forbid(&mut findings, &product_in("collector/src/report"), &words, "a report only prints");
    findings.none_or(
        "compute it in costing and hand the report a finished value, so that every format prints the same.",
    );
}

#[test]
fn only_costing_knows_both_the_ledger_and_money() {
    let mut findings = Findings::default();
    let mut knows: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for file in product_in("collector/src").iter().filter(|f| !f.within("collector/src/costing")) {
        for (_, code) in file.code() {
            let both = knows.entry(file.path.clone()).or_default();
            both[0] |= has_word(code, "gpuledger_ledger");
            both[1] |= has_word(code, "gpuledger_tco");
        }
    }
    knows.remove("collector/src/costing.rs");
    for (path, _) in knows.iter().filter(|(_, both)| **both == [true, true]) {
        findings.add(path, "uses gpuledger_ledger and gpuledger_tco");
    }
    findings.none_or("move what turns rows into money to collector/src/costing.");
}

#[test]
fn one_file_speaks_to_nvml_through_the_wrapper() {
    let users: Vec<_> = tree()
        .into_iter()
        .filter(|f| f.is_product() && f.code().any(|(_, code)| has_word(code, "nvml_wrapper")))
        .map(|f| f.path)
        .collect();
    assert!(
        users.len() == 1 && users[0].starts_with("agent/"),
        "nvml_wrapper is used by {users:?}\n\nWhat to do: keep every call to it in one file of agent/src/collect; \
         what other files need of it is a trait."
    );
}

#[test]
fn the_spool_knows_bytes_and_no_telemetry() {
    let mut findings = Findings::default();
    let words = ["gpuledger_proto", "gpuledger_units", "prost", "NodeName", "Inventory"];
    forbid(
        &mut findings,
        &product_in("agent/spool/src"),
        &words,
        "a spool stores records, whatever they are",
    );
    findings.none_or("encode in the agent and give the spool bytes.");
}
