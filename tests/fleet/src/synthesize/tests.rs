//! What is made reads as a ledger that a collector has filled, and every promise is kept.

use super::*;
use gpuledger_collector::store::{self, Access, Location};
use gpuledger_collector::verify::{Subject, verify};
use gpuledger_ledger::{FileStatus, HourRange, Wanted};

const NOW_MS: u64 = 1_790_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_synthetic_ledger_holds_what_was_drawn_and_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Synthesize::new(20, 3, folder.path().join("year.db"), 7);
    assert_eq!(wanted.in_the_way(), None);
    let made = wanted.run(NOW_MS, |_| ()).await.unwrap();
    assert!(wanted.in_the_way().is_some());
    let opened =
        store::open(&Location::File(folder.path().join("year.db")), None, Access::Read).await.unwrap();
    let files = opened.store.files().await.unwrap();
    assert_eq!((made.files, files.len()), (6, 6));
    assert!(files.iter().all(|file| file.status == FileStatus::Current));
    assert_eq!(made.bytes, files.iter().map(|file| file.bytes).sum::<u64>());
    let rows = opened.ledger.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap();
    let nodes = opened.ledger.node_hours(HourRange::ALWAYS).await.unwrap();
    assert_eq!(made.rows, (rows.len() + nodes.len()) as u64);
    assert!(rows.len() >= 20 * 24 * 3, "one row a GPU and hour at least");
    // Real values: not two energies alike, all states, several owners.
    let mut energies: Vec<u64> = rows.iter().map(|(_, row)| row.counter_mj.0 + row.estimated_mj.0).collect();
    energies.sort_unstable();
    energies.dedup();
    assert!(energies.len() * 10 > rows.len() * 9, "{} of {}", energies.len(), rows.len());
    assert!(rows.iter().any(|(_, row)| row.held_ms.0 > 0) && rows.iter().any(|(_, row)| row.free_ms.0 > 0));
    let archive = opened.archive.as_ref().unwrap();
    let subject = Subject { store: &*opened.store, archive: Some(archive) };
    for check in verify(subject, &mut |_, _| ()).await.unwrap() {
        assert!(check.holds(), "{check}");
    }
}

#[test]
fn the_same_seed_gives_the_same_rows_in_the_order_of_their_keys() {
    let span = Span { from: 0, to: 1 };
    let day = Day(20_541);
    let of = |seed| hours::of_gpus(&Register::new(seed, 40, span).unwrap(), day);
    let rows = of(1);
    assert!(rows.is_sorted_by_key(|(key, _)| (key.gpu, key.hour, key.owner)));
    assert!(rows == of(1) && rows != of(2));
    for (key, row) in rows {
        assert!(row.observed().unwrap().0 <= gpuledger_ledger::HOUR_MS, "{key:?}");
        assert!(row.active_mj.0 <= row.energy().unwrap().0, "{key:?}");
    }
}
