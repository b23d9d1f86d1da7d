//! Replays what fuzzers have found worth keeping, and whatever lies one step beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use gpuledger_fuzz::TARGETS;
use std::path::{Path, PathBuf};

/// What a clone of the repository has to carry for the corpus.
const CORPUS_BYTES_MAX: usize = 200 * 1024;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn replay(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let files = corpus(target);
    assert!(files.len() >= 10, "{} inputs of {target}", files.len());
    for (path, bytes) in files {
        // Told by a test that fails.
        println!("{}", path.display());
        run(&bytes);
        run(&bytes[..bytes.len() / 2]);
        for at in (0..bytes.len()).step_by(bytes.len() / 8 + 1) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x81;
            run(&changed);
        }
    }
}

#[test]
fn whatever_comes_over_the_wire_is_within_the_limits_or_refused() {
    replay("wire");
}

#[test]
fn whatever_a_node_reports_counts_no_time_twice_and_sums_to_what_is_remembered() {
    replay("fold");
}

#[test]
fn whatever_lies_in_a_spool_gives_sound_records_and_needs_no_second_recovery() {
    replay("spool");
}

#[test]
fn the_corpus_is_small() {
    let bytes: usize = TARGETS.iter().flat_map(|(name, _)| corpus(name)).map(|file| file.1.len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes");
}
