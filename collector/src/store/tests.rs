use super::*;
use crate::verify::{ClosedDays, PromiseCheck, Subject, verify};
use gpuledger_ledger::transfer::digest;
use gpuledger_ledger::{Hour, HourRange, Wanted};
use tempfile::TempDir;

fn file(folder: &TempDir, name: &str) -> Location {
    Location::File(folder.path().join(name))
}

fn archive_of(opened: &Opened) -> String {
    opened.archive.as_ref().unwrap().root.to_string()
}

/// Every promise, over store and closed days, as `verify` checks them.
async fn assert_sound(opened: &Opened) {
    let archive = opened.archive.as_ref().map(|archive| archive as &dyn ClosedDays);
    let subject = Subject { store: opened.store.as_ref(), archive };
    let checks = verify(subject, &mut |_, _| {}).await.unwrap();
    assert!(checks.iter().all(PromiseCheck::holds), "{checks:?}");
}

#[tokio::test]
async fn a_file_has_its_days_beside_it_under_its_own_name_wherever_both_are_moved() {
    let folder = TempDir::new().unwrap();
    let opened = open(&file(&folder, "a.db"), None, Access::Write).await.unwrap();
    assert_eq!(archive_of(&opened), folder.path().join("a.db.days").display().to_string());
    drop(opened);
    std::fs::rename(folder.path().join("a.db"), folder.path().join("b.db")).unwrap();
    let moved = open(&file(&folder, "b.db"), None, Access::Read).await.unwrap();
    assert_eq!(archive_of(&moved), folder.path().join("b.db.days").display().to_string());
    assert!(!folder.path().join("b.db.days").exists(), "nothing is created before the first day is closed");
}

#[tokio::test]
async fn a_link_to_a_ledger_has_the_days_of_the_file_that_it_leads_to() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(open(&file(&folder, "a.db"), None, Access::Write).await.unwrap());
    std::os::unix::fs::symlink(folder.path().join("a.db"), other.path().join("link.db")).unwrap();
    let opened = open(&file(&other, "link.db"), None, Access::Read).await.unwrap();
    let beside = folder.path().canonicalize().unwrap().join("a.db.days");
    assert_eq!(archive_of(&opened), beside.display().to_string());
}

#[tokio::test]
async fn a_configured_place_is_remembered_by_whoever_writes_and_by_nobody_else() {
    let folder = TempDir::new().unwrap();
    let (at, days) = (file(&folder, "a.db"), folder.path().join("days").display().to_string());
    drop(open(&at, None, Access::Write).await.unwrap());
    assert_eq!(
        archive_of(&open(&at, Some("elsewhere"), Access::Read).await.unwrap()),
        folder.path().join("elsewhere").display().to_string()
    );
    drop(open(&at, Some(&days), Access::Write).await.unwrap());
    let opened = open(&at, None, Access::Read).await.unwrap();
    assert_eq!(archive_of(&opened), days);
    assert_eq!(opened.store.archive_location().await.unwrap().as_deref(), Some(days.as_str()));
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_with_what_is_expected() {
    let folder = TempDir::new().unwrap();
    let error = open(&file(&folder, "a.db"), Some("http://host/days"), Access::Write).await.err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("s3://bucket/prefix"), "{error}");
    let database: Location = "postgres://u:p@h/d".parse().unwrap();
    let error = place::root("days", &database).err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("give a whole path"), "{error}");
    assert_eq!(place::root("/srv/days", &database).unwrap().to_string(), "/srv/days");
    assert_eq!(place::own(&database), None);
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
    assert!(opened.store.gpu_rows(&Wanted::all(range)).await.is_ok(), "no day of GPU rows is closed");
    drop(opened);
    let error = open(&at, Some("moved"), Access::Write).await.err().unwrap().to_string();
    assert!(
        error.contains("is missing; copy the files of closed days from a.db.days there first"),
        "{error}"
    );
    let remembered = open(&at, None, Access::Read).await.unwrap();
    assert_eq!(archive_of(&remembered), folder.path().join("a.db.days").display().to_string());
    drop(remembered);
    std::fs::rename(folder.path().join("a.db.days"), folder.path().join("moved")).unwrap();
    let opened = open(&at, Some("moved"), Access::Write).await.unwrap();
    assert_eq!(opened.ledger.node_hours(range).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_backup_is_a_ledger_with_all_of_its_days_under_whatever_name_it_is_restored() {
    let folder = TempDir::new().unwrap();
    let at = file(&folder, "a.db");
    let (opened, hour) = with_a_closed_day(&at).await;
    let out = folder.path().join("backup.db");
    let mut steps = Vec::new();
    let made = backup::backup((&opened, &at), &out, &mut |step| steps.push(step)).await.unwrap();
    assert_eq!(made.digest, digest(opened.store.as_ref()).await.unwrap());
    assert!(
        matches!(&made.days, backup::Days::Copied { copied, .. } if copied.files == 1),
        "{:?}",
        made.days
    );
    assert!(steps.contains(&backup::Step::Files(1, 1)), "{steps:?}");
    drop(opened);
    // What it was made from is lost.
    std::fs::remove_dir_all(folder.path().join("a.db.days")).unwrap();
    for name in ["ledger.db", "ledger.db.days"] {
        std::fs::rename(folder.path().join(name.replace("ledger", "backup")), folder.path().join(name))
            .unwrap();
    }
    let restored = open(&file(&folder, "ledger.db"), None, Access::Write).await.unwrap();
    let range = HourRange { from: hour, to: Hour(hour.0 + 1) };
    assert_eq!(restored.ledger.node_hours(range).await.unwrap().len(), 1);
    assert_sound(&restored).await;
}

#[tokio::test]
async fn a_backup_of_an_archive_elsewhere_has_its_days_beside_itself() {
    let folder = TempDir::new().unwrap();
    let (at, days) = (file(&folder, "a.db"), folder.path().join("days").display().to_string());
    drop(open(&at, Some(&days), Access::Write).await.unwrap());
    let (opened, hour) = with_a_closed_day(&at).await;
    let out = folder.path().join("backup.db");
    backup::backup((&opened, &at), &out, &mut |_| {}).await.unwrap();
    std::fs::remove_dir_all(&days).unwrap();
    let restored = open(&Location::File(out), None, Access::Read).await.unwrap();
    assert_eq!(archive_of(&restored), folder.path().join("backup.db.days").display().to_string());
    let range = HourRange { from: hour, to: Hour(hour.0 + 1) };
    assert_eq!(restored.ledger.node_hours(range).await.unwrap().len(), 1);
}

/// Names in a folder.
fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_one_that_fails_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let at = file(&folder, "a.db");
    let (opened, _) = with_a_closed_day(&at).await;
    let before = names(&folder);
    std::fs::write(folder.path().join("taken.db"), "mine").unwrap();
    let error =
        backup::backup((&opened, &at), &folder.path().join("taken.db"), &mut |_| {}).await.unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("taken.db exists already"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("taken.db")).unwrap(), b"mine");
    std::fs::remove_file(folder.path().join("taken.db")).unwrap();

    let current = backup::current_files(opened.store.as_ref()).await.unwrap().remove(0);
    let lost = folder.path().join("a.db.days").join(&current.path);
    std::fs::remove_file(&lost).unwrap();
    let error = backup::backup((&opened, &at), &folder.path().join("b.db"), &mut |_| {}).await.unwrap_err();
    assert!(!error.is_usage() && error.to_string().contains("is missing"), "{error}");
    assert_eq!(names(&folder), before);
}

#[tokio::test]
async fn a_ledger_that_moves_holds_the_same_and_the_old_one_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let at = file(&folder, "a.db");
    let (opened, hour) = with_a_closed_day(&at).await;
    drop(opened);
    let bytes = std::fs::read(folder.path().join("a.db")).unwrap();
    let from = open(&at, None, Access::Read).await.unwrap();
    let to = file(&folder, "b.db");
    let moved = migrate::migrate((&from, &at), &to, None, &mut |_| {}).await.unwrap();
    assert!(
        matches!(&moved.days, migrate::Days::Copied { copied, .. } if copied.files == 1),
        "{:?}",
        moved.days
    );
    drop(from);
    assert_eq!(std::fs::read(folder.path().join("a.db")).unwrap(), bytes);
    let new = open(&to, None, Access::Read).await.unwrap();
    assert_eq!(archive_of(&new), folder.path().join("b.db.days").display().to_string());
    let range = HourRange { from: hour, to: Hour(hour.0 + 1) };
    assert_eq!(new.ledger.node_hours(range).await.unwrap().len(), 1);
    assert_eq!(digest(new.store.as_ref()).await.unwrap(), moved.digest);
}

#[tokio::test]
async fn a_ledger_does_not_move_onto_another_or_onto_itself() {
    let folder = TempDir::new().unwrap();
    let (at, to) = (file(&folder, "a.db"), file(&folder, "b.db"));
    let (from, _) = with_a_closed_day(&at).await;
    drop(with_a_closed_day(&to).await);
    let before = std::fs::read(folder.path().join("b.db")).unwrap();
    for (target, told) in [(&to, "is not empty"), (&at, "is at")] {
        let error = migrate::migrate((&from, &at), target, None, &mut |_| {}).await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(told), "{error}");
    }
    assert_eq!(std::fs::read(folder.path().join("b.db")).unwrap(), before);
}

#[tokio::test]
async fn a_new_archive_is_named_and_filled_before_the_ledger_is_there() {
    let folder = TempDir::new().unwrap();
    let (at, to) = (file(&folder, "a.db"), file(&folder, "b.db"));
    let (from, _) = with_a_closed_day(&at).await;
    let days = folder.path().join("days").display().to_string();
    migrate::migrate((&from, &at), &to, Some(&days), &mut |_| {}).await.unwrap();
    let new = open(&to, None, Access::Read).await.unwrap();
    assert_eq!(archive_of(&new), days);
    assert_sound(&new).await;
    // A copy that fails leaves no ledger that lacks days.
    let current = backup::current_files(from.store.as_ref()).await.unwrap().remove(0);
    std::fs::remove_file(folder.path().join("a.db.days").join(&current.path)).unwrap();
    let other = file(&folder, "c.db");
    assert!(migrate::migrate((&from, &at), &other, None, &mut |_| {}).await.is_err());
    assert!(!folder.path().join("c.db").exists());
}

#[tokio::test]
async fn an_archive_that_stays_is_the_new_ledgers_and_the_old_one_removes_nothing_of_it() {
    let folder = TempDir::new().unwrap();
    let (at, to) = (file(&folder, "a.db"), file(&folder, "b.db"));
    let (from, hour) = with_a_closed_day(&at).await;
    let there = folder.path().join("a.db.days").display().to_string();
    let moved = migrate::migrate((&from, &at), &to, Some(&there), &mut |_| {}).await.unwrap();
    assert!(matches!(&moved.days, migrate::Days::Stayed { files: 1, .. }), "{:?}", moved.days);
    let all = gpuledger_archive::GcOptions { grace_ms: 0, unknown: true, dry_run: false };
    let told = from.archive.as_ref().unwrap().days.gc(all, u64::MAX).await.unwrap_err().to_string();
    assert!(told.contains("another ledger's"), "{told}");
    let new = open(&to, None, Access::Write).await.unwrap();
    assert_eq!(archive_of(&new), there);
    assert_eq!(new.archive.as_ref().unwrap().days.gc(all, u64::MAX).await.unwrap(), []);
    let range = HourRange { from: hour, to: Hour(hour.0 + 1) };
    assert_eq!(new.ledger.node_hours(range).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_ledger_does_not_move_into_the_archive_of_another() {
    let folder = TempDir::new().unwrap();
    let (at, other, to) = (file(&folder, "a.db"), file(&folder, "other.db"), file(&folder, "b.db"));
    let (from, _) = with_a_closed_day(&at).await;
    drop(with_a_closed_day(&other).await);
    let taken = folder.path().join("other.db.days").display().to_string();
    let before = names(&folder);
    let error = migrate::migrate((&from, &at), &to, Some(&taken), &mut |_| {}).await.unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("of another ledger"), "{error}");
    assert_eq!(names(&folder), before);
}

#[tokio::test]
async fn a_backup_clears_up_nothing_in_the_archive_of_its_original() {
    let folder = TempDir::new().unwrap();
    let at = file(&folder, "a.db");
    let (opened, _) = with_a_closed_day(&at).await;
    let out = folder.path().join("backup.db");
    backup::backup((&opened, &at), &out, &mut |_| {}).await.unwrap();
    let days = folder.path().join("a.db.days").display().to_string();
    let copy = open(&Location::File(out), Some(&days), Access::Write).await.unwrap();
    let error =
        copy.archive.unwrap().days.gc(gpuledger_archive::GcOptions::default(), u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains("another ledger's"), "{error}");
}

#[tokio::test]
async fn a_backup_has_a_place_before_it_is_begun() {
    let folder = TempDir::new().unwrap();
    let at = file(&folder, "a.db");
    let (opened, _) = with_a_closed_day(&at).await;
    let before = names(&folder);
    let missing = folder.path().join("missing");
    for (out, told) in [(missing.join("b.db"), "create it first"), (missing.join(""), "names a folder")] {
        let error = backup::backup((&opened, &at), &out, &mut |_| {}).await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(told), "{error}");
    }
    assert_eq!(names(&folder), before);
}
