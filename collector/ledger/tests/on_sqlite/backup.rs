//! Copies of a ledger that is in use.

use crate::{FileBed, Victim, overwrite_root_of, written};
use gpuledger_ledger::sqlite::{BackupError, SqliteLedger};
use gpuledger_ledger::suite::samples::{self, ALWAYS, row};
use gpuledger_ledger::transfer::{digest, prove_equal};
use gpuledger_ledger::{CommitOutcome, Hour, Ledger, LedgerError, Wanted};
use std::os::unix::fs::PermissionsExt as _;

/// Files of the folder that begin with this name.
fn files(bed: &FileBed, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(bed.folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|found| found.starts_with(name)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_is_equal_and_goes_on_as_a_ledger() {
    let bed = FileBed::new();
    let node = written(&bed.path()).await;
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    // Many pages, in the file and in its log.
    let mut commit = node.commit(1, 1);
    let first = commit.gpu_hours[0].0;
    commit.gpu_hours = (0..60_000)
        .map(|n| (gpuledger_ledger::GpuHourKey { hour: Hour(first.hour.0 + n), ..first }, row()))
        .collect();
    samples::commit_one(&ledger, commit).await.unwrap();
    let copy = bed.beside("copy.db");
    let mut told: Vec<(u64, u64)> = Vec::new();
    let done = SqliteLedger::backup(&bed.path(), &copy, |done, all| told.push((done, all))).unwrap();
    assert_eq!(files(&bed, "copy.db"), ["copy.db"], "whole, and nothing else");
    assert_eq!(done.bytes, std::fs::metadata(&copy).unwrap().len());
    assert!(told.len() > 1 && told.is_sorted(), "{told:?}");
    assert_eq!(*told.last().unwrap(), (done.bytes, done.bytes));
    let restored = SqliteLedger::open(&copy).unwrap();
    prove_equal(&ledger, &restored).await.unwrap();
    assert_eq!(samples::commit_one(&restored, node.commit(2, 2)).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(ledger.state(node.key).await.unwrap().version, 2, "each goes its own way");
}

#[tokio::test]
async fn a_writer_that_commits_all_the_time_does_not_disturb_a_backup() {
    let bed = FileBed::new();
    written(&bed.path()).await;
    let victim = Victim::start(&bed.path());
    let mut versions = Vec::new();
    for round in 0..12 {
        let copy = bed.beside(&format!("copy-{round}.db"));
        victim.wait_for(round * 4 + 1);
        SqliteLedger::backup(&bed.path(), &copy, |_, _| {}).unwrap();
        let restored = SqliteLedger::open(&copy).unwrap();
        let node = samples::Node::register(&restored, "a").await.unwrap();
        // The copy is of one moment: rows, state and sequence are those of one commit.
        let version = restored.state(node.key).await.unwrap().version;
        assert_eq!(restored.sequence(node.key, node.epoch()).await.unwrap().0, version);
        let rows = restored.gpu_rows(&Wanted::all(ALWAYS)).await.unwrap();
        assert_eq!(rows[0].1.samples, version * row().samples);
        versions.push(version);
    }
    assert!(versions.is_sorted() && versions[11] > versions[0], "it was being written: {versions:?}");
    let told = victim.kill();
    assert!(versions[11] <= told + 1);
    // And one more when it is still, which equals the ledger itself.
    let copy = bed.beside("last.db");
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    SqliteLedger::backup(&bed.path(), &copy, |_, _| {}).unwrap();
    prove_equal(&ledger, &SqliteLedger::open_existing(&copy).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_backup_replaces_no_file_and_leaves_nothing_when_it_fails() {
    let bed = FileBed::new();
    written(&bed.path()).await;
    let taken = bed.beside("taken.db");
    std::fs::write(&taken, b"precious").unwrap();
    let refused = SqliteLedger::backup(&bed.path(), &taken, |_, _| {});
    assert!(matches!(refused, Err(BackupError::Exists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");

    let nowhere = bed.beside("nowhere/copy.db");
    let refused = SqliteLedger::backup(&bed.path(), &nowhere, |_, _| {});
    assert!(matches!(&refused, Err(BackupError::Write { to, .. }) if *to == nowhere), "{refused:?}");

    let missing = SqliteLedger::backup(&bed.beside("missing.db"), &bed.beside("copy.db"), |_, _| {});
    let Err(BackupError::Ledger(LedgerError::Open { reason, .. })) = missing else { panic!("{missing:?}") };
    assert!(reason.contains("no such file"), "{reason}");

    // A damaged ledger gives no backup that looks like one.
    overwrite_root_of(&bed.path(), "gpu_hour");
    let refused = SqliteLedger::backup(&bed.path(), &bed.beside("copy.db"), |_, _| {});
    assert!(matches!(refused, Err(BackupError::Ledger(LedgerError::Corrupt { .. }))), "{refused:?}");
    assert_eq!(files(&bed, "copy.db"), [""; 0]);
}

#[tokio::test]
async fn a_backup_is_as_confidential_as_its_ledger() {
    let bed = FileBed::new();
    written(&bed.path()).await;
    std::fs::set_permissions(bed.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let copy = bed.beside("copy.db");
    SqliteLedger::backup(&bed.path(), &copy, |_, _| {}).unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let ledger = SqliteLedger::open_existing(&bed.path()).unwrap();
    let restored = SqliteLedger::open_existing(&copy).unwrap();
    assert_eq!(digest(&ledger).await.unwrap(), digest(&restored).await.unwrap());
}
