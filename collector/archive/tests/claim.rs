//! An archive is one ledger's: another one that is pointed at it changes nothing of it.

#![cfg(test)]

mod world;

use gpuledger_archive::{ArchivedLedger, Claim, GcOptions, Keeper, KeeperOptions, Root};
use gpuledger_ledger::{Day, Store as _};
use std::fs;
use std::sync::Arc;
use world::{DAY, NOW_MS, World};

const AT_ONCE: GcOptions = GcOptions { grace_ms: 0, unknown: true, dry_run: false };

fn days_of(world: &World) -> std::path::PathBuf {
    world.folder.path().join("ledger.db.days")
}

/// The ledger of `world` with the archive of another one.
fn strayed(world: &World, to: &World) -> ArchivedLedger {
    ArchivedLedger::open(world.tap.clone(), Root::Folder(days_of(to))).unwrap()
}

#[tokio::test]
async fn another_ledger_closes_no_days_there_and_removes_no_files() {
    let (mut one, mut other) = (World::new().await, World::new().await);
    one.add_day(0).await;
    one.close_well(1).await;
    other.add_day(0).await;
    let before = one.on_disk();
    let stray = strayed(&other, &one);

    let closing = stray.close_days(Day(DAY.0 + 1), NOW_MS).await;
    assert_eq!(closing.closed, []);
    let told = closing.failures[0].to_string();
    assert!(told.contains("ledger.db.days/LEDGER says that the archive is another ledger's"), "{told}");
    assert!(told.contains("give this ledger an archive of its own"), "{told}");
    for dry_run in [true, false] {
        let told = stray.gc(GcOptions { dry_run, ..AT_ONCE }, NOW_MS).await.unwrap_err().to_string();
        assert!(told.contains("another ledger's"), "{told}");
    }
    let keeper = Keeper::new(Arc::new(strayed(&other, &one)), KeeperOptions::default());
    keeper.round(NOW_MS).await;
    assert!(keeper.status().trouble.unwrap().contains("another ledger's"));
    assert_eq!(one.on_disk(), before);
    assert_eq!(other.tap.files().await.unwrap(), []);
    one.assert_equal().await;
    other.assert_equal().await;
}

#[tokio::test]
async fn an_archive_is_claimed_when_it_is_needed_and_stays_claimed() {
    let mut world = World::new().await;
    world.close_well(1).await;
    assert_eq!(world.archive.gc(AT_ONCE, NOW_MS).await.unwrap(), []);
    assert!(!days_of(&world).exists() && world.tap.identity().await.unwrap().is_none());
    assert_eq!(world.archive.claimed().await.unwrap(), Claim::Nobodys);
    world.add_day(0).await;
    // What a process left that died while it claimed.
    fs::create_dir(days_of(&world)).unwrap();
    fs::write(days_of(&world).join("LEDGER.tmp"), "01").unwrap();
    world.close_well(1).await;
    let claim = fs::read_to_string(days_of(&world).join("LEDGER")).unwrap();
    assert_eq!(claim.lines().next(), world.tap.identity().await.unwrap().as_deref());
    assert_eq!(world.archive.claimed().await.unwrap(), Claim::Ours);
    world.add_day(1).await;
    world.close_well(2).await;
    assert_eq!(fs::read_to_string(days_of(&world).join("LEDGER")).unwrap(), claim);
}

#[tokio::test]
async fn a_ledger_in_the_place_of_another_takes_the_archive_over_or_finds_it_given_up() {
    let (mut one, mut other) = (World::new().await, World::new().await);
    one.add_day(0).await;
    one.close_well(1).await;
    other.add_day(0).await;
    let heir = strayed(&other, &one);
    heir.take_over().await.unwrap();
    assert_eq!(heir.claimed().await.unwrap(), Claim::Ours);
    let told = one.archive.gc(AT_ONCE, NOW_MS).await.unwrap_err().to_string();
    assert!(told.contains("another ledger's"), "{told}");
    fs::remove_file(days_of(&one).join("LEDGER")).unwrap();
    assert_eq!(one.archive.claimed().await.unwrap(), Claim::Nobodys);
    one.add_day(0).await;
    one.close_well(1).await;
    assert!(matches!(heir.claimed().await.unwrap(), Claim::Anothers(_)));
}
