//! A file that is moved away, or another one in its place, while the ledger is open.

use crate::{FileBed, beside, written};
use gpuledger_ledger::Store as _;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::suite::samples::{self, ALWAYS, Node, row};
use gpuledger_ledger::transfer::digest;
use gpuledger_ledger::{CommitOutcome, Ledger, LedgerError, Wanted};
use std::fs;

async fn commit(ledger: &SqliteLedger, node: &Node, at: u64) -> Result<CommitOutcome, LedgerError> {
    samples::commit_one(ledger, node.commit(at, at)).await
}

/// A ledger at version 6 and a backup of it at version 3.
async fn with_backup(bed: &FileBed) -> (SqliteLedger, Node) {
    let node = written(&bed.path()).await;
    let ledger = SqliteLedger::open(&bed.path()).unwrap();
    for at in 1..6 {
        if at == 3 {
            SqliteLedger::backup(&bed.path(), &bed.beside("backup.db"), |_, _| {}).unwrap();
        }
        assert_eq!(commit(&ledger, &node, at).await.unwrap(), CommitOutcome::Committed);
    }
    (ledger, node)
}

async fn is_at(ledger: &SqliteLedger, node: &Node, version: u64) {
    assert_eq!(ledger.state(node.key).await.unwrap().version, version);
    assert_eq!(ledger.sequence(node.key, node.epoch()).await.unwrap().0, version);
    let rows = ledger.gpu_rows(&Wanted::all(ALWAYS)).await.unwrap();
    assert_eq!(rows[0].1.samples, version * row().samples);
    let faults = ledger.check().await.unwrap();
    assert!(faults.is_empty(), "{faults:?}");
}

#[tokio::test]
async fn a_backup_that_is_restored_while_the_ledger_is_open_goes_on_from_there() {
    for read_first in [false, true] {
        let bed = FileBed::new();
        let (ledger, node) = with_backup(&bed).await;
        fs::rename(bed.path(), bed.beside("old.db")).unwrap();
        fs::rename(bed.beside("backup.db"), bed.path()).unwrap();
        if read_first {
            is_at(&ledger, &node, 3).await;
        }
        // What was made for the file of before is told so once; a fold of then has to start again.
        let first = commit(&ledger, &node, 3).await;
        assert!(matches!(first, Err(LedgerError::Replaced { .. })), "{first:?}");
        assert_eq!(commit(&ledger, &node, 6).await.unwrap(), CommitOutcome::Moved);
        is_at(&ledger, &node, 3).await;
        assert_eq!(commit(&ledger, &node, 3).await.unwrap(), CommitOutcome::Committed);
        is_at(&ledger, &node, 4).await;
        drop(ledger);
        is_at(&SqliteLedger::open(&bed.path()).unwrap(), &node, 4).await;
        // What was replaced is whole where it is now.
        is_at(&SqliteLedger::open(&bed.beside("old.db")).unwrap(), &node, 6).await;
    }
}

#[tokio::test]
async fn the_log_of_the_file_that_was_replaced_is_not_taken_for_the_new_ones() {
    let bed = FileBed::new();
    let (ledger, node) = with_backup(&bed).await;
    // A reader that is at an older commit keeps the log from being folded back.
    let reader = rusqlite::Connection::open(bed.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM node").unwrap();
    assert_eq!(commit(&ledger, &node, 6).await.unwrap(), CommitOutcome::Committed);
    fs::rename(bed.beside("backup.db"), bed.path()).unwrap();
    assert!(matches!(commit(&ledger, &node, 7).await, Err(LedgerError::Replaced { .. })));
    assert_eq!(commit(&ledger, &node, 7).await.unwrap(), CommitOutcome::Moved);
    is_at(&ledger, &node, 3).await;
    assert!(beside(&bed.path(), "-wal.of-replaced").exists(), "kept aside, not thrown away");
    assert_eq!(commit(&ledger, &node, 3).await.unwrap(), CommitOutcome::Committed);
    drop(reader);
    is_at(&ledger, &node, 4).await;
}

#[tokio::test]
async fn a_ledger_that_is_gone_acknowledges_nothing_and_goes_on_when_it_is_back() {
    let bed = FileBed::new();
    let (ledger, node) = with_backup(&bed).await;
    let away = bed.beside("away.db");
    fs::rename(bed.path(), &away).unwrap();
    for _ in 0..2 {
        let refused = commit(&ledger, &node, 6).await;
        let Err(LedgerError::Gone { path }) = refused else { panic!("{refused:?}") };
        assert_eq!(path, bed.path());
        assert!(matches!(ledger.state(node.key).await, Err(LedgerError::Gone { .. })));
        assert!(!bed.path().exists(), "no new ledger is begun in its place");
    }
    fs::rename(&away, bed.path()).unwrap();
    is_at(&ledger, &node, 6).await;
    assert_eq!(commit(&ledger, &node, 6).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 7).await;
}

#[tokio::test]
async fn a_disk_that_is_no_longer_mounted_and_comes_back_is_outlived() {
    let bed = FileBed::new();
    let (mounted, away) = (bed.beside("disk"), bed.beside("away"));
    fs::create_dir(&mounted).unwrap();
    let path = mounted.join("ledger.db");
    let node = written(&path).await;
    let ledger = SqliteLedger::open(&path).unwrap();
    // The mount point without its disk is an empty folder.
    fs::rename(&mounted, &away).unwrap();
    fs::create_dir(&mounted).unwrap();
    assert!(matches!(commit(&ledger, &node, 1).await, Err(LedgerError::Gone { .. })));
    assert_eq!(fs::read_dir(&mounted).unwrap().count(), 0, "nothing is written beneath");
    fs::remove_dir(&mounted).unwrap();
    fs::rename(&away, &mounted).unwrap();
    assert_eq!(commit(&ledger, &node, 1).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 2).await;
}

#[tokio::test]
async fn what_is_no_ledger_is_refused_in_the_place_of_one_and_left_as_it_is() {
    let bed = FileBed::new();
    let (ledger, node) = with_backup(&bed).await;
    let away = bed.beside("away.db");
    fs::rename(bed.path(), &away).unwrap();
    for other in [
        &b""[..],
        b"a text that is no database, of more than a hundred bytes, for that is the size of \
                              the header of an SQLite file, which is looked at first",
    ] {
        fs::write(bed.path(), other).unwrap();
        let refused = commit(&ledger, &node, 6).await;
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })), "{refused:?}");
        assert_eq!(fs::read(bed.path()).unwrap(), other);
    }
    fs::rename(&away, bed.path()).unwrap();
    assert_eq!(commit(&ledger, &node, 6).await.unwrap(), CommitOutcome::Committed);
    is_at(&ledger, &node, 7).await;
}

#[tokio::test]
async fn a_ledger_opened_for_reading_is_not_mixed_with_the_one_that_replaced_it() {
    let bed = FileBed::new();
    let (ledger, node) = with_backup(&bed).await;
    drop(ledger);
    let reader = SqliteLedger::open_existing(&bed.path()).unwrap();
    let before = digest(&reader).await.unwrap();
    fs::rename(bed.beside("backup.db"), bed.path()).unwrap();
    let refused = reader.state(node.key).await;
    assert!(matches!(refused, Err(LedgerError::Replaced { .. })), "{refused:?}");
    let restored = SqliteLedger::open_existing(&bed.path()).unwrap();
    assert_ne!(digest(&restored).await.unwrap(), before);
}
