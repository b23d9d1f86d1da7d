//! What lies where: the top level, sizes of files, licences, examples, documents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use gpuledger_tidy::{File, Findings, file, has_word, root, tree};

/// What may lie at the top level.
const TOP: [&str; 22] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "agent",
    "collector",
    "dashboards",
    "proto",
    "tests",
];

/// What must.
const MUST: [&str; 12] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    ".ci/run",
    "tests/run",
    "agent/packaging/agent.toml",
    "collector/packaging/collector.toml",
];

/// Lines of a source file; beyond it, finding one's way takes longer than splitting would.
const LINES_MAX: usize = 450;

#[test]
fn the_top_level_holds_only_what_every_rust_project_has() {
    let mut findings = Findings::default();
    for entry in std::fs::read_dir(root()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !TOP.contains(&name.as_str()) && !["target", ".git"].contains(&name.as_str()) {
            findings.add(name, "does not belong at the top level");
        }
    }
    findings.none_or("put it into the folder it is about; tools' configuration goes to .config or .cargo.");
}

#[test]
fn licences_documents_and_example_configurations_are_there() {
    let mut findings = Findings::default();
    for path in MUST.into_iter().filter(|path| !root().join(path).is_file()) {
        findings.add(path, "is missing");
    }
    findings.none_or("write it: users and packagers look for it there.");
}

#[test]
fn no_source_file_is_too_long_to_find_ones_way_in() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| f.is_rust()) {
        let lines = file.lines().count();
        if lines > LINES_MAX {
            findings.add(&file.path, format_args!("{lines} lines, at most {LINES_MAX}"));
        }
    }
    findings.none_or("split it where its parts have names of their own; long tests go to a file beside it.");
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| f.is_rust() && !f.unit_tests) {
        let opening = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !opening.starts_with("//! ") {
            findings.add_line(file, 1, "no module documentation");
        }
    }
    findings.none_or("begin with `//!`: what the module is for, its format or protocol, its invariants.");
}

/// Where a path of somebody's machine begins. Cut in two, so that this file does not break its own rule.
fn machine_paths() -> Vec<String> {
    ["ho|me/", "Use|rs/", "wo|rk/", "ro|ot/"].iter().map(|p| format!("/{}", p.replace('|', ""))).collect()
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    let mut findings = Findings::default();
    for file in tree() {
        for (line, text) in file.lines() {
            for path in machine_paths() {
                // Inside a longer path (dir/root/) it is somebody else's folder.
                let begins =
                    |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}/~".contains(c));
                if text.match_indices(&path).any(|(at, _)| begins(at)) {
                    findings.add_line(&file, line, format_args!("names {path}"));
                }
            }
        }
    }
    findings.none_or("use a path relative to the repository, or one that exists wherever the product is installed (/etc, /var/lib).");
}

/// The target of every inline link `[text](target)` of a document.
fn links(document: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in document.lines() {
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ', '#']).next().unwrap_or_default();
            found.push((line, target.to_owned()));
        }
    }
    found
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Findings::default();
    for document in tree().iter().filter(|f| f.is_a("md")) {
        let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, target) in links(document) {
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !root().join(folder).join(&target).exists() {
                findings.add_line(document, line, format_args!("links to {target}, which does not exist"));
            }
        }
    }
    findings.none_or("correct the link, or write what it promises.");
}

/// Modules right below the `src` of the two programs: the rooms of the house.
fn rooms() -> Vec<String> {
    let mut rooms: Vec<_> = tree()
        .iter()
        .filter_map(|f| {
            let (program, rest) = ["agent", "collector"]
                .iter()
                .find_map(|p| Some((p, f.path.strip_prefix(&format!("{p}/src/"))?)))?;
            let room = rest.split('/').next()?.trim_end_matches(".rs");
            (!["main", "lib"].contains(&room)).then(|| format!("{program} {room}"))
        })
        .collect();
    rooms.dedup();
    rooms
}

#[test]
fn the_code_map_names_every_crate_and_every_room() {
    let Some(map) = file("ARCHITECTURE.md") else { panic!("ARCHITECTURE.md is missing: write the code map") };
    let mut findings = Findings::default();
    let workspace: toml::Table = file("Cargo.toml").unwrap().text.parse().unwrap();
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let path = member.as_str().unwrap();
        if !map.text.contains(path) {
            findings.add("ARCHITECTURE.md", format_args!("does not name the crate {path}"));
        }
    }
    for room in rooms() {
        let (program, name) = room.split_once(' ').unwrap();
        if !has_word(&map.text, name) {
            findings.add("ARCHITECTURE.md", format_args!("does not name {program}/src/{name}"));
        }
    }
    findings.none_or("say in the code map what it is for and what it must not know.");
}

#[test]
fn the_change_log_speaks_of_the_version_that_is_built() {
    let workspace: toml::Table = file("Cargo.toml").unwrap().text.parse().unwrap();
    let version = workspace["workspace"]["package"]["version"].as_str().unwrap();
    let heading = format!("## [{version}]");
    let log = file("CHANGELOG.md").map(|f| f.text).unwrap_or_default();
    assert!(
        log.contains(&heading),
        "CHANGELOG.md has no \"{heading}\"\n\nWhat to do: say what this version brings."
    );
}
