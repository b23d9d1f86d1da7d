use super::*;
use gpuledger_ledger::{Hour, HourRange, Wanted};
use tempfile::TempDir;

fn file(folder: &TempDir, name: &str) -> Location {
    Location::File(folder.path().join(name))
}

fn place(opened: &Opened) -> String {
    opened.archive.as_ref().unwrap().root.to_string()
}

#[tokio::test]
async fn a_file_has_its_days_beside_it_under_its_own_name_wherever_both_are_moved() {
    let folder = TempDir::new().unwrap();
    let opened = open(&file(&folder, "a.db"), None, Access::Write).await.unwrap();
    assert_eq!(place(&opened), folder.path().join("a.db.days").display().to_string());
    drop(opened);
    std::fs::rename(folder.path().join("a.db"), folder.path().join("b.db")).unwrap();
    let moved = open(&file(&folder, "b.db"), None, Access::Read).await.unwrap();
    assert_eq!(place(&moved), folder.path().join("b.db.days").display().to_string());
    assert!(!folder.path().join("b.db.days").exists(), "nothing is created before the first day is closed");
}

#[tokio::test]
async fn a_configured_place_is_remembered_by_whoever_writes_and_by_nobody_else() {
    let folder = TempDir::new().unwrap();
    let (at, days) = (file(&folder, "a.db"), folder.path().join("days").display().to_string());
    drop(open(&at, None, Access::Write).await.unwrap());
    assert_eq!(
        place(&open(&at, Some("elsewhere"), Access::Read).await.unwrap()),
        folder.path().join("elsewhere").display().to_string()
    );
    drop(open(&at, Some(&days), Access::Write).await.unwrap());
    let opened = open(&at, None, Access::Read).await.unwrap();
    assert_eq!(place(&opened), days);
    assert_eq!(opened.store.archive_location().await.unwrap().as_deref(), Some(days.as_str()));
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_with_what_is_expected() {
    let folder = TempDir::new().unwrap();
    let error = open(&file(&folder, "a.db"), Some("http://host/days"), Access::Write).await.err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("s3://bucket/prefix"), "{error}");
    let database: Location = "postgres://u:p@h/d".parse().unwrap();
    let error = root_of("days", &database).err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("give a whole path"), "{error}");
    assert_eq!(root_of("/srv/days", &database).unwrap().to_string(), "/srv/days");
    assert_eq!(own_archive(&database), None);
}

#[tokio::test]
async fn reading_creates_nothing_and_says_that_there_is_nothing() {
    let folder = TempDir::new().unwrap();
    let error = open(&file(&folder, "none.db"), None, Access::Read).await.err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("there is no such file"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A ledger with one closed day of one row.
async fn with_a_closed_day(at: &Location) -> (Opened, Hour) {
    let opened = open(at, None, Access::Write).await.unwrap();
    let hour = Hour(492_984);
    let node = opened.ledger.node(&gpuledger_proto::ids::NodeName::new("n").unwrap()).await.unwrap();
    let row = gpuledger_ledger::NodeHour { samples: 1, ..Default::default() };
    let commit = gpuledger_ledger::NodeCommit {
        node,
        base_version: 0,
        state: Vec::new(),
        epochs: Vec::new(),
        gpu_hours: Vec::new(),
        node_hours: vec![(hour, row)],
        taken: Vec::new(),
        gpus_seen: Vec::new(),
        seen: Some((hour.start_ms(), hour.end_ms())),
    };
    opened.ledger.commit(vec![commit]).await.unwrap();
    let days = &opened.archive.as_ref().unwrap().days;
    let closing = days.close_days(gpuledger_ledger::Day(30_000), 1).await;
    assert_eq!((closing.closed.len(), closing.failures.len()), (1, 0));
    (opened, hour)
}

#[tokio::test]
async fn an_archive_moves_only_after_its_files() {
    let folder = TempDir::new().unwrap();
    let at = file(&folder, "a.db");
    let (opened, hour) = with_a_closed_day(&at).await;
    let range = HourRange { from: hour, to: Hour(hour.0 + 1) };
    assert_eq!(opened.ledger.node_hours(range).await.unwrap().len(), 1);
    assert!(opened.store.gpu_hours(&Wanted::all(range)).await.is_ok(), "no day of GPU rows is closed");
    drop(opened);
    let error = open(&at, Some("moved"), Access::Write).await.err().unwrap().to_string();
    assert!(
        error.contains("is missing; copy the files of closed days from a.db.days there first"),
        "{error}"
    );
    let remembered = open(&at, None, Access::Read).await.unwrap();
    assert_eq!(place(&remembered), folder.path().join("a.db.days").display().to_string());
    drop(remembered);
    std::fs::rename(folder.path().join("a.db.days"), folder.path().join("moved")).unwrap();
    let opened = open(&at, Some("moved"), Access::Write).await.unwrap();
    assert_eq!(opened.ledger.node_hours(range).await.unwrap().len(), 1);
}
