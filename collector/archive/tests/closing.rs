//! Days are closed, written to again and closed again: whoever reads sees no difference.

#![cfg(test)]

mod world;

use gpuledger_archive::{GcOptions, Root};
use gpuledger_ledger::{Columns, Day, GpuHour, GpuKey, Hour, HourRange, Ledger, Store, Table, Wanted};
use gpuledger_units::Millijoules;
use object_store::ObjectStoreExt as _;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use world::{DAY, Draw, HOUR_MS, NOW_MS, Trap, World};

#[tokio::test]
async fn a_closed_day_reads_as_before_and_its_rows_have_left_the_store() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.add_day(1).await;
    assert_eq!(world.close_well(1).await, 2, "one file a table");
    world.assert_equal().await;
    let (open, files) = world.tap.open_gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap();
    assert!(open.iter().all(|(key, _)| Day::of(key.hour) == Day(DAY.0 + 1)), "{open:?}");
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].version, 1);
    assert_eq!(files[0].sums.rows, 24);
    assert_eq!(world.faults().await, Vec::<String>::new());
    assert_eq!(world.close_well(1).await, 0, "there is nothing left to close");
}

#[tokio::test]
async fn rows_that_come_late_are_added_and_the_next_version_takes_them_in() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.close_well(1).await;
    // One row of a key that the file has, one that it has not.
    let late = Draw { node: 0, gpu: 0, hour: 4, owner: 0, amount: 1_234 };
    world.add(&[late, Draw { hour: 5, owner: 3, ..late }]).await;
    world.assert_equal().await;
    world.close_well(1).await;
    world.assert_equal().await;
    let versions: Vec<u32> = world.current().await.iter().map(|file| file.version).collect();
    assert_eq!(versions, [2, 2]);
    assert_eq!(world.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_commit_while_a_day_is_closed_moves_it_and_loses_nothing() {
    let mut world = World::new().await;
    world.add_day(0).await;
    let late = Draw { node: 1, gpu: 0, hour: 8, owner: 0, amount: 99 };
    let commit = world.commit_of(&[late]).await;
    gpuledger_ledger::suite::samples::commit_one(&world.twin, commit.clone()).await.unwrap();
    world.tap.set(Trap::Commits(vec![commit]));
    let closing = world.close(1).await;
    assert!(closing.failures.is_empty(), "{closing:?}");
    assert_eq!(closing.moved, [(Table::GpuHours, DAY)]);
    world.assert_equal().await;
    assert_eq!(world.on_disk().len(), 1, "the file of the moved day is taken back");
    world.close_well(1).await;
    world.assert_equal().await;
}

#[tokio::test]
async fn rows_of_a_new_key_that_come_while_a_day_is_closed_stay_in_the_store() {
    let mut world = World::new().await;
    world.add_day(0).await;
    let other = Draw { node: 1, gpu: 0, hour: 9, owner: 3, amount: 99 };
    let commit = world.commit_of(&[other]).await;
    gpuledger_ledger::suite::samples::commit_one(&world.twin, commit.clone()).await.unwrap();
    world.tap.set(Trap::Commits(vec![commit]));
    assert_eq!(world.close_well(1).await, 2);
    world.assert_equal().await;
    let (open, _) = world.tap.open_gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap();
    assert_eq!(open.len(), 1);
}

#[tokio::test]
async fn a_process_that_dies_before_publishing_leaves_a_file_that_changes_nothing_and_is_cleared_up() {
    let mut world = World::new().await;
    world.add_day(0).await;
    assert!(world.die_closing(1).await);
    assert_eq!(world.on_disk().len(), 1);
    world.assert_equal().await;
    // Somebody may be about to publish it still.
    let young = world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS - 1).await.unwrap();
    assert_eq!(young, []);
    let named = world.archive.gc(GcOptions { dry_run: true, ..GcOptions::default() }, NOW_MS + HOUR_MS).await;
    assert_eq!(named.unwrap().len(), 1);
    assert_eq!(world.on_disk().len(), 1, "a dry run removes nothing");
    let garbage = world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap();
    assert_eq!(garbage[0].reason.to_string(), "begun and never finished");
    assert!(garbage[0].place.ends_with(&garbage[0].path) && garbage[0].bytes > 0, "{garbage:?}");
    assert_eq!(world.on_disk(), Vec::<String>::new());
    world.assert_equal().await;
    world.close_well(1).await;
    world.assert_equal().await;
}

#[tokio::test]
async fn a_file_that_a_later_attempt_replaced_is_unknown_and_removed_only_when_asked_for() {
    let mut world = World::new().await;
    world.add_day(0).await;
    assert!(world.die_closing(1).await);
    world.close_well(1).await;
    let folder = world.folder.path().join("ledger.db.days/gpu_hours");
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    std::fs::write(folder.join("2026-03-29.v0009-abcdef.parquet.tmp"), "half").unwrap();
    assert_eq!(world.archive.gc(GcOptions::default(), NOW_MS * 2).await.unwrap(), []);
    let all = GcOptions { unknown: true, ..GcOptions::default() };
    let garbage = world.archive.gc(all, NOW_MS).await.unwrap();
    let reasons: BTreeSet<String> = garbage.iter().map(|garbage| garbage.reason.to_string()).collect();
    assert_eq!(reasons, BTreeSet::from(["not known to the ledger".to_owned()]));
    assert_eq!(garbage.len(), 2);
    assert_eq!(world.on_disk().len(), 3, "two current files and the notes: {:?}", world.on_disk());
    world.assert_equal().await;
    assert_eq!(world.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_answer_leaves_the_file_that_was_entered() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.tap.set(Trap::LoseAnswer);
    let closing = world.close(1).await;
    assert_eq!(closing.failures.len(), 1);
    world.assert_equal().await;
    assert_eq!(world.close_well(1).await, 1, "only the nodes are left");
    world.assert_equal().await;
    assert_eq!(world.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_refuses_a_day_again_and_again_does_not_fill_the_archive() {
    let mut world = World::new().await;
    world.add_day(0).await;
    for _ in 0..3 {
        world.tap.set(Trap::Refuse);
        assert_eq!(world.close(1).await.failures.len(), 1);
        assert_eq!(world.on_disk(), Vec::<String>::new());
    }
    world.assert_all_open().await;
    world.close_well(1).await;
    world.assert_equal().await;
}

#[tokio::test]
async fn a_writer_whose_entry_was_cleared_up_publishes_nothing() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.tap.set(Trap::Forget);
    let closing = world.close(1).await;
    assert_eq!(closing.moved, [(Table::GpuHours, DAY)]);
    world.assert_equal().await;
    world.close_well(1).await;
    world.assert_equal().await;
}

#[tokio::test]
async fn a_writer_that_was_only_slow_keeps_the_file_that_it_entered_at_the_last_moment() {
    let mut world = World::new().await;
    world.add_day(0).await;
    assert!(world.die_closing(1).await);
    world.tap.publish_when_cleared_up();
    assert_eq!(world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap(), []);
    assert_eq!(world.current().await.len(), 1);
    world.assert_equal().await;
    assert_eq!(world.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_reader_whose_file_went_before_it_was_opened_reads_the_newer_one() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.close_well(1).await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    let other = world.reopened();
    let before = world.on_disk();
    world.tap.meanwhile(async move {
        assert!(other.close_days(Day(DAY.0 + 1), NOW_MS).await.failures.is_empty());
        let at_once = GcOptions { grace_ms: 0, ..GcOptions::default() };
        assert_eq!(other.gc(at_once, NOW_MS).await.unwrap().len(), 2);
    });
    world.assert_equal().await;
    assert!(before.iter().all(|file| !world.on_disk().contains(file)), "{before:?}");
}

#[tokio::test]
async fn totals_whose_file_went_before_it_was_opened_are_those_of_the_newer_one() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.close_well(1).await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    let other = world.reopened();
    world.tap.meanwhile(async move {
        assert!(other.close_days(Day(DAY.0 + 1), NOW_MS).await.failures.is_empty());
        let at_once = GcOptions { grace_ms: 0, ..GcOptions::default() };
        assert_eq!(other.gc(at_once, NOW_MS).await.unwrap().len(), 2);
    });
    assert_eq!(world.archive.gpu_totals().await.unwrap(), world.twin.gpu_totals().await.unwrap());
}

#[tokio::test]
async fn a_superseded_file_stays_for_readers_and_goes_after_the_grace() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.close_well(1).await;
    let before = world.current().await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    world.close_well(1).await;
    assert_eq!(world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS - 1).await.unwrap(), []);
    for file in &before {
        world.archive.check_file(file).await.unwrap();
    }
    let garbage = world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap();
    assert_eq!(garbage.len(), 2);
    assert!(garbage.iter().all(|garbage| garbage.reason.to_string() == "superseded by a newer file"));
    assert_eq!(world.tap.files().await.unwrap().len(), 2);
    assert!(world.archive.check_file(&before[0]).await.is_err());
    world.assert_equal().await;
}

#[tokio::test]
async fn totals_follow_new_superseded_and_removed_files() {
    let mut world = World::new().await;
    for day in 0..3 {
        world.add_day(day).await;
        world.close_well(day + 1).await;
        world.assert_equal().await;
    }
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5_000 }]).await;
    world.close_well(1).await;
    // The superseded file is there to be subtracted; the next one is not.
    world.assert_equal().await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 7 }]).await;
    world.close_well(1).await;
    world.archive.gc(GcOptions::default(), NOW_MS * 2).await.unwrap();
    world.assert_equal().await;
}

#[tokio::test]
async fn what_expires_leaves_the_reports_and_stays_in_the_totals() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.add_day(1).await;
    world.close_well(2).await;
    let before = world.archive.gpu_totals().await.unwrap();
    let expiry = world.archive.expire(Day(DAY.0 + 1), NOW_MS).await;
    assert_eq!(expiry.expired.len(), 2);
    assert_eq!(world.archive.gpu_totals().await.unwrap(), before);
    let rows = world.archive.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap();
    assert!(rows.iter().all(|(key, _)| Day::of(key.hour) == Day(DAY.0 + 1)));
    world.assert_equal_in(Day(DAY.0 + 1).hours()).await;
    assert_eq!(world.archive.gc(GcOptions::default(), NOW_MS + 1).await.unwrap(), []);
    let garbage = world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap();
    assert!(garbage.iter().all(|garbage| garbage.reason.to_string() == "older than what is kept"));
    assert_eq!((garbage.len(), world.on_disk().len()), (2, 2));
    assert_eq!(world.archive.gpu_totals().await.unwrap(), before);
    // A reader that starts anew has nothing in memory.
    assert_eq!(world.reopened().gpu_totals().await.unwrap(), before);
    assert_eq!(world.faults().await, Vec::<String>::new());
    // Late rows of that day come as a file of their own, and expire again.
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    world.close_well(2).await;
    assert_eq!(world.archive.expire(Day(DAY.0 + 1), NOW_MS).await.expired.len(), 2);
    assert_eq!(world.archive.gpu_totals().await.unwrap(), world.twin.gpu_totals().await.unwrap());
}

#[tokio::test]
async fn only_what_is_asked_for_is_given() {
    let mut world = World::new().await;
    world.add_day(0).await;
    world.close_well(1).await;
    let gpu = GpuKey(world.nodes[1].gpus[0].0);
    let wanted = Wanted {
        range: HourRange { from: Hour(DAY.first_hour().0 + 4), to: Hour(DAY.first_hour().0 + 9) },
        gpus: Some(Arc::new(BTreeSet::from([gpu]))),
        columns: Columns::ENERGY.and(Columns::GAPS),
    };
    let rows = world.archive.gpu_rows(&wanted).await.unwrap();
    let expected = world.twin.gpu_rows(&Wanted { columns: Columns::ALL, ..wanted.clone() }).await.unwrap();
    let energy = |row: &GpuHour| GpuHour {
        counter_mj: row.counter_mj,
        gap_mj: row.gap_mj,
        estimated_mj: row.estimated_mj,
        ..GpuHour::default()
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(rows, expected.iter().map(|(key, row)| (*key, energy(row))).collect::<Vec<_>>());
    let nothing = Wanted { gpus: Some(Arc::default()), ..wanted.clone() };
    assert_eq!(world.archive.gpu_rows(&nothing).await.unwrap(), []);
    let of_all_time = Wanted { range: HourRange::ALWAYS, columns: Columns::ALL, ..wanted };
    let rows = world.archive.gpu_rows(&of_all_time).await.unwrap();
    assert_eq!(rows, world.twin.gpu_rows(&of_all_time).await.unwrap());
}

#[tokio::test]
async fn a_number_beyond_63_bits_keeps_its_day_open_and_is_told() {
    let world = World::new().await;
    let mut commit = world.nodes[0].commit(0, 0);
    let key = commit.gpu_hours[0].0;
    let half = GpuHour { counter_mj: Millijoules(u64::MAX / 4), ..GpuHour::default() };
    commit.gpu_hours = vec![(key, half)];
    world.archive.commit(vec![commit]).await.unwrap();
    world.close_well(1).await;
    // Each half fits; the merged row does not.
    for sequence in 1..3 {
        let mut commit = world.nodes[0].commit(sequence, sequence);
        commit.gpu_hours = vec![(key, half)];
        commit.node_hours = Vec::new();
        world.archive.commit(vec![commit]).await.unwrap();
        let closing = world.close(1).await;
        if sequence == 2 {
            assert!(closing.failures[0].to_string().contains("overflows"), "{closing:?}");
        }
    }
    let (open, _) = world.tap.open_gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap();
    assert_eq!(open.len(), 1, "nothing was taken");
}

#[tokio::test]
async fn an_object_store_is_read_and_cleared_up_as_a_folder_is() {
    let objects = Arc::new(object_store::memory::InMemory::new());
    let root = Root::Given { store: objects.clone(), url: "s3://fleet/days".to_owned() };
    let mut world = World::with_root(tempfile::TempDir::new().unwrap(), root).await;
    world.add_day(0).await;
    world.close_well(1).await;
    world.add(&[Draw { node: 0, gpu: 0, hour: 1, owner: 0, amount: 5 }]).await;
    world.close_well(1).await;
    world.assert_equal().await;
    let garbage = world.archive.gc(GcOptions::default(), NOW_MS + HOUR_MS).await.unwrap();
    assert_eq!(garbage.len(), 2);
    assert!(garbage.iter().all(|garbage| garbage.place == format!("s3://fleet/days/{}", garbage.path)));
    world.assert_equal().await;
    assert_eq!(world.faults().await, Vec::<String>::new());
    // What somebody put further below is not one of ours, whatever it is called.
    let kept = "gpu_hours/old/2026-03-29.v0001-abcdef.parquet";
    objects.put(&kept.into(), "mine".into()).await.unwrap();
    let unknown = GcOptions { unknown: true, ..GcOptions::default() };
    assert_eq!(world.archive.gc(unknown, NOW_MS + HOUR_MS).await.unwrap(), []);
    for file in world.current().await {
        objects.delete(&file.path.clone().into()).await.unwrap();
    }
    let error = world.archive.gpu_rows(&Wanted::all(HourRange::ALWAYS)).await.unwrap_err().to_string();
    assert!(
        error.contains("s3://fleet/days/gpu_hours/") && error.contains("is missing: bring it back"),
        "{error}"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<Draw>),
    Close(u32),
    Die(u32),
    Interrupt(u32, Vec<Draw>),
    Gc(bool),
    Reopen,
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (0..2_usize, 0..2_usize, 0..72_u32, 0..4_usize, 0..5_000_000_u64)
        .prop_map(|(node, gpu, hour, owner, amount)| Draw { node, gpu, hour, owner, amount });
    prop::collection::vec(draw, 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => draws().prop_map(Step::Add),
        3 => (1..4_u32).prop_map(Step::Close),
        1 => (1..4_u32).prop_map(Step::Die),
        1 => ((1..4_u32), draws()).prop_map(|(day, draws)| Step::Interrupt(day, draws)),
        1 => any::<bool>().prop_map(Step::Gc),
        1 => Just(Step::Reopen),
    ]
}

async fn take(world: &mut World, step: Step, now_ms: &mut u64) {
    match step {
        Step::Add(draws) => world.add(&draws).await,
        Step::Close(day) => assert_eq!(world.close(day).await.failures.len(), 0),
        Step::Die(day) => {
            world.die_closing(day).await;
        }
        Step::Interrupt(day, draws) => {
            let commit = world.commit_of(&draws).await;
            world.tap.set(Trap::Commits(vec![commit.clone()]));
            assert_eq!(world.close(day).await.failures.len(), 0);
            if world.tap.disarm() {
                world.archive.commit(vec![commit.clone()]).await.unwrap();
            }
            world.twin.commit(vec![commit]).await.unwrap();
        }
        Step::Gc(unknown) => {
            *now_ms += HOUR_MS;
            world.archive.gc(GcOptions { unknown, ..GcOptions::default() }, *now_ms).await.unwrap();
        }
        Step::Reopen => {
            world.archive = world.reopened();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_reads_the_same_however_its_days_are_closed(
        steps in prop::collection::vec(step(), 1..12),
        (from, length) in (0..80_u32, 0..80_u32),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let mut now_ms = NOW_MS;
            for step in steps {
                take(&mut world, step, &mut now_ms).await;
                let first = DAY.first_hour().0;
                world.assert_equal_in(HourRange { from: Hour(first + from), to: Hour(first + from + length) }).await;
            }
            world.assert_equal().await;
            assert_eq!(world.faults().await, Vec::<String>::new());
        });
    }
}
