//! What disks, people and other programs do to files: it is told, and nothing wrong is ever read.

#![cfg(test)]

mod world;

use gpuledger_archive::{ArchivedLedger, GcOptions, Keeper, KeeperOptions, Root};
use gpuledger_ledger::{Columns, Day, DayFile, FileStatus, HourRange, Ledger, Store, Table, Wanted};
use std::path::Path;
use std::sync::Arc;
use world::{DAY, Draw, HOUR_MS, NOW_MS, World};

/// A closed day, and its file of GPU rows.
async fn closed() -> (World, DayFile) {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.close_well(1).await;
    let files = world.current().await;
    let file = files.into_iter().find(|file| file.table == Table::GpuHours).unwrap();
    (world, file)
}

async fn one_fault(world: &World) -> String {
    let mut faults = world.faults().await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.pop().unwrap()
}

#[tokio::test]
async fn a_changed_byte_is_told_with_the_name_of_its_file_and_never_reaches_a_report() {
    let (world, file) = closed().await;
    let place = world.place(&file);
    let sound = std::fs::read(&place).unwrap();
    let wanted = Wanted { columns: Columns::TIME.and(Columns::ENERGY), ..Wanted::all(HourRange::ALWAYS) };
    let expected = world.archive.gpu_rows(&wanted).await.unwrap();
    let mut refused = 0;
    for position in (0..sound.len()).step_by(11) {
        let mut bytes = sound.clone();
        bytes[position] ^= 0x10;
        std::fs::write(&place, bytes).unwrap();
        let fault = one_fault(&world).await;
        assert!(fault.contains(&file.path) && fault.contains("SHA-256"), "{fault}");
        // A byte of a column that is not asked for, or of a name, may pass unseen: it changes nothing.
        match world.archive.gpu_rows(&wanted).await {
            Ok(rows) => assert!(rows == expected, "byte {position}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(&file.path), "{error}");
            }
        }
    }
    assert!(refused > 10, "{refused}");
    std::fs::write(&place, sound).unwrap();
    world.assert_equal().await;
}

#[tokio::test]
async fn a_missing_a_short_and_another_file_are_told_apart() {
    let (mut world, file) = closed().await;
    let place = world.place(&file);
    let sound = std::fs::read(&place).unwrap();
    std::fs::remove_file(&place).unwrap();
    assert!(one_fault(&world).await.ends_with("is missing"));
    let error = world.archive.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("{} is missing: bring it back", file.path)), "{error}");
    std::fs::write(&place, &sound[..sound.len() - 1]).unwrap();
    assert!(one_fault(&world).await.contains("bytes, the ledger says"));
    world.archive.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap_err();
    std::fs::write(&place, b"").unwrap();
    world.archive.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap_err();
    // The next version under the old name: sound in itself, but not the file that was entered.
    std::fs::write(&place, &sound).unwrap();
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    world.close_well(1).await;
    let next = world.current().await.into_iter().find(|file| file.table == Table::GpuHours).unwrap();
    std::fs::copy(&place, world.place(&next)).unwrap();
    let error = world.archive.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap_err();
    assert!(error.to_string().contains(&next.path), "{error}");
    assert!(one_fault(&world).await.contains(&next.path));
}

#[tokio::test]
async fn a_day_whose_file_is_damaged_stays_open_and_keeps_no_other_from_being_closed() {
    let (mut world, file) = closed().await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    world.add_day(1).await;
    let place = world.place(&file);
    let sound = std::fs::read(&place).unwrap();
    std::fs::write(&place, b"PAR1").unwrap();
    let closing = world.close(2).await;
    assert_eq!(closing.failures.len(), 1, "{closing:?}");
    assert!(closing.failures[0].to_string().contains(&file.path), "{closing:?}");
    assert_eq!(closing.closed.len(), 3, "the nodes of both days and the GPUs of the second");
    std::fs::write(&place, sound).unwrap();
    world.assert_equal().await;
    assert_eq!(world.close_well(2).await, 1);
    world.assert_equal().await;
}

#[tokio::test]
async fn no_day_is_closed_at_a_place_where_none_of_the_closed_days_are() {
    let (mut world, _) = closed().await;
    world.add_day(1).await;
    // Another collector was told another place; or what should be mounted is not.
    let elsewhere = world.at("elsewhere");
    let closing = elsewhere.close_days(Day(DAY.0 + 2), NOW_MS).await;
    assert_eq!((closing.closed.len(), closing.failures.len()), (0, 1), "{closing:?}");
    let told = closing.failures[0].to_string();
    assert!(told.contains("elsewhere/gpu_hours/2026-03-29") && told.contains("mounted"), "{told}");
    assert!(!world.folder.path().join("elsewhere").exists());
    world.assert_equal().await;
    assert_eq!(world.close_well(2).await, 2);
    // A single file that is lost keeps nobody from anything.
    let last = world.current().await.pop().unwrap();
    std::fs::remove_file(world.place(&last)).unwrap();
    world.add_day(2).await;
    assert_eq!(world.close_well(3).await, 2);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_to_changes_nothing() {
    let mut world = World::new().await;
    world.add_day(0).await;
    let blocked = world.folder.path().join("ledger.db.days");
    std::fs::write(&blocked, "a file where a folder should be").unwrap();
    let closing = world.close(1).await;
    let told = closing.failures[0].to_string();
    assert!(
        told.starts_with("cannot close a day: the archived file ") && told.contains("Not a directory"),
        "{told}"
    );
    assert_eq!(closing.closed.len(), 0);
    world.assert_all_open().await;
    assert!(world.tap.open_days(Table::GpuHours, Day(DAY.0 + 1)).await.unwrap() == [DAY]);
    std::fs::remove_file(&blocked).unwrap();
    world.close_well(1).await;
    world.assert_equal().await;
}

#[tokio::test]
async fn a_superseded_file_that_cannot_be_removed_stays_known_and_keeps_no_other() {
    let (mut world, file) = closed().await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    world.close_well(1).await;
    std::fs::remove_file(world.place(&file)).unwrap();
    std::fs::create_dir(world.place(&file)).unwrap();
    let error = world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap_err().to_string();
    assert!(error.contains(&file.path) && error.contains("cannot be removed"), "{error}");
    let superseded = world.tap.files().await.unwrap();
    let superseded: Vec<&DayFile> =
        superseded.iter().filter(|file| file.status == FileStatus::Superseded).collect();
    assert!(superseded.len() == 1 && superseded[0].path == file.path, "{superseded:?}");
    std::fs::remove_dir(world.place(&file)).unwrap();
    assert_eq!(world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap().len(), 1);
    assert_eq!(world.tap.files().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_file_keeps_no_other_from_expiring() {
    let (mut world, file) = closed().await;
    world.add_day(1).await;
    world.close_well(2).await;
    std::fs::remove_file(world.place(&file)).unwrap();
    let expiry = world.archive.expire(Day(DAY.0 + 2), NOW_MS).await;
    assert_eq!((expiry.expired.len(), expiry.failures.len()), (3, 1), "{expiry:?}");
    assert!(expiry.failures[0].to_string().contains(&file.path), "{expiry:?}");
}

#[tokio::test]
async fn what_was_added_up_is_not_read_again_because_of_a_file_that_is_lost() {
    let (mut world, first) = closed().await;
    world.add_day(1).await;
    world.close_well(2).await;
    let second = world.current().await.into_iter().find(|file| file.path > first.path).unwrap();
    let sound = std::fs::read(world.place(&second)).unwrap();
    std::fs::remove_file(world.place(&second)).unwrap();
    let error = world.archive.gpu_totals().await.unwrap_err().to_string();
    assert!(error.contains(&format!("{} is missing: bring it back", second.path)), "{error}");
    // The first was read: if it were read again, it would be missed now.
    std::fs::remove_file(world.place(&first)).unwrap();
    std::fs::write(world.place(&second), sound).unwrap();
    assert_eq!(world.archive.gpu_totals().await.unwrap(), world.twin.gpu_totals().await.unwrap());
}

#[tokio::test]
async fn trouble_is_kept_until_it_ends() {
    let mut world = World::new().await;
    world.add_day(0).await;
    let blocked = world.folder.path().join("ledger.db.days");
    std::fs::write(&blocked, "a file where a folder should be").unwrap();
    let archive = ArchivedLedger::open(world.tap.clone(), Root::Folder(blocked.clone())).unwrap();
    let keeper =
        Keeper::new(Arc::new(archive), KeeperOptions { keep_days: Some(30), ..KeeperOptions::default() });
    // The day is over, but not for long enough.
    let end_ms = Day(DAY.0 + 1).first_hour().start_ms();
    keeper.round(end_ms + 48 * HOUR_MS - 1).await;
    assert_eq!((keeper.status().files_written, keeper.status().rounds), (0, 1));
    keeper.round(end_ms + 48 * HOUR_MS).await;
    let status = keeper.status();
    assert!(status.trouble.as_ref().is_some_and(|trouble| trouble.contains("cannot be")), "{status:?}");
    assert_eq!((status.rounds, status.rounds_failed, status.files_written), (2, 2, 0));
    std::fs::remove_file(&blocked).unwrap();
    keeper.round(end_ms + 49 * HOUR_MS).await;
    let status = keeper.status();
    assert_eq!((status.trouble, status.files_written, status.rows_written), (None, 2, 24 + 12));
    assert_eq!(status.last_success_ms, Some(end_ms + 49 * HOUR_MS));
    world.assert_equal().await;
    // Thirty days after its end, and an hour of grace.
    keeper.round(end_ms + 29 * 24 * HOUR_MS).await;
    assert_eq!(keeper.status().files_expired, 0);
    keeper.round(end_ms + 30 * 24 * HOUR_MS).await;
    assert_eq!(keeper.status().files_expired, 2);
    keeper.round(end_ms + 31 * 24 * HOUR_MS).await;
    assert_eq!(keeper.status().files_removed, 2);
    assert_eq!(world.on_disk(), Vec::<String>::new());
}

#[tokio::test]
async fn the_keeper_stops_when_it_is_told_to() {
    let mut world = World::new().await;
    world.add_day(0).await;
    let root = Root::Folder(world.folder.path().join("ledger.db.days"));
    let archive = ArchivedLedger::open(world.tap.clone(), root).unwrap();
    let keeper = Keeper::new(Arc::new(archive), KeeperOptions::default());
    let done = async {
        while keeper.status().rounds == 0 {
            tokio::task::yield_now().await;
        }
    };
    let folder = world.folder.path().join("ledger.db.days/gpu_hours");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("2026-03-29.v0009-abcdef.parquet"), "of another ledger").unwrap();
    keeper.run(|| NOW_MS, done).await;
    let status = keeper.status();
    assert_eq!((status.files_written, status.files_removed, status.files_unknown), (2, 0, 1));
    world.assert_equal().await;
}

#[tokio::test]
async fn an_archive_that_nobody_wrote_to_is_empty_and_creates_nothing() {
    let world = World::new().await;
    world.assert_equal().await;
    assert_eq!(world.faults().await, Vec::<String>::new());
    assert_eq!(world.archive.gc(GcOptions::default(), NOW_MS).await.unwrap(), []);
    assert!(!Path::new(&world.folder.path().join("ledger.db.days")).exists());
}
