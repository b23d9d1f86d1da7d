//! What every crate of the workspace has, and what we take from others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use gpuledger_tidy::{Findings, file, root, tree};
use std::collections::BTreeMap;
use std::process::Command;

fn members() -> Vec<(String, toml::Table)> {
    let workspace: toml::Table = file("Cargo.toml").unwrap().text.parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let folder = member.as_str().unwrap().to_owned();
            let manifest = file(&format!("{folder}/Cargo.toml"))
                .unwrap_or_else(|| panic!("{folder}/Cargo.toml is missing"));
            (folder, manifest.text.parse().unwrap())
        })
        .collect()
}

#[test]
fn every_crate_lives_under_the_same_lints_version_and_licence() {
    let mut findings = Findings::default();
    for (folder, manifest) in members() {
        let inherits = |table: &str, key: &str| {
            let value = manifest.get(table).and_then(|t| t.get(key));
            value.and_then(|v| if key == "workspace" { v.as_bool() } else { v.get("workspace")?.as_bool() })
                == Some(true)
        };
        if !inherits("lints", "workspace") {
            findings.add(&folder, "does not have `[lints] workspace = true`");
        }
        for key in ["version", "edition", "license", "rust-version"] {
            if !inherits("package", key) {
                findings.add(&folder, format_args!("does not have `{key}.workspace = true`"));
            }
        }
        if manifest["package"].get("description").is_none() {
            findings.add(&folder, "has no description");
        }
    }
    findings.none_or("take it from the workspace, so that it is said once.");
}

#[test]
fn versions_of_dependencies_are_said_once_in_the_workspace() {
    let mut findings = Findings::default();
    for (folder, manifest) in members() {
        for (table, entries) in manifest.iter().filter(|(key, _)| key.ends_with("dependencies")) {
            for (name, value) in entries.as_table().unwrap() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    findings.add(&folder, format_args!("[{table}] {name} is not taken from the workspace"));
                }
            }
        }
    }
    findings
        .none_or("put the version under [workspace.dependencies] and write `name.workspace = true` here.");
}

/// The programs of a crate: name and source file.
fn binaries(folder: &str, manifest: &toml::Table) -> Vec<(String, String)> {
    let package = manifest["package"]["name"].as_str().unwrap();
    let mut found = BTreeMap::new();
    for source in tree().into_iter().map(|f| f.path) {
        let Some(rest) = source.strip_prefix(&format!("{folder}/src/")) else { continue };
        if rest == "main.rs" {
            found.insert(source.clone(), package.to_owned());
        } else if let Some(name) =
            rest.strip_prefix("bin/").and_then(|b| b.strip_suffix(".rs")).filter(|b| !b.contains('/'))
        {
            found.insert(source.clone(), name.to_owned());
        }
    }
    for bin in manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten() {
        let name = bin["name"].as_str().unwrap().to_owned();
        let path = bin.get("path").and_then(toml::Value::as_str).unwrap_or("src/main.rs");
        found.insert(format!("{folder}/{path}"), name);
    }
    found.into_iter().map(|(source, name)| (name, source)).collect()
}

#[test]
fn every_program_is_documented() {
    let documents: String = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
        .iter()
        .filter_map(|d| file(d))
        .map(|d| d.text)
        .collect();
    let mut findings = Findings::default();
    for (folder, manifest) in members() {
        for (name, source) in binaries(&folder, &manifest) {
            if !file(&source).is_some_and(|f| f.text.starts_with("//! ")) {
                findings.add(&source, "does not open with what the program does");
            }
            if !documents.contains(&name) {
                findings.add(
                    &source,
                    format_args!("{name} is in none of README.md, ARCHITECTURE.md, CONTRIBUTING.md"),
                );
            }
        }
    }
    findings.none_or("say what the program is for, at the head of its source and in a document.");
}

/// Licences that we may ship. The same list as in .cargo/deny.toml, which says why.
fn allowed() -> Vec<String> {
    let deny: toml::Table = file(".cargo/deny.toml").unwrap().text.parse().unwrap();
    deny["licenses"]["allow"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned()).collect()
}

/// Whether an SPDX expression can be met with these licences. `/` is the old way to write OR.
fn acceptable(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" AND ").all(|all| all.split(" OR ").any(|one| allowed.iter().any(|a| a == one.trim())))
}

#[test]
fn an_expression_is_met_by_one_of_its_choices_and_all_of_its_parts() {
    let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
    assert!(acceptable("MIT OR GPL-3.0", &allowed));
    assert!(acceptable("Apache-2.0/MIT", &allowed));
    assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(!acceptable("MIT AND GPL-3.0", &allowed));
    assert!(!acceptable("GPL-3.0", &allowed));
}

#[test]
fn dependencies_come_from_the_registry_under_licences_that_we_may_ship() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let lock: toml::Table = file("Cargo.lock").unwrap().text.parse().unwrap();
    let allowed = allowed();
    let mut findings = Findings::default();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match package.get("source").and_then(toml::Value::as_str) {
            None | Some("registry+https://github.com/rust-lang/crates.io-index") => {}
            Some(elsewhere) => findings.add(name, format_args!("comes from {elsewhere}")),
        }
    }
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        if !acceptable(licence, &allowed) {
            findings.add(&package["name"], format_args!("licence {licence}"));
        }
    }
    findings.none_or("take another crate; or, if the licence is permissive, allow it in .cargo/deny.toml.");
}
