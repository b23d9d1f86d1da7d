//! What the queue promises, on a disk that fails, fills up and forgets.

use super::super::tests::samples::*;
use super::*;
use gpuledger_spool::sim::SimDisk;
use prometheus::Registry;
use std::sync::atomic::{AtomicU64, Ordering};

const FOLDER: &str = "/queue";
const CAP: u64 = 256 * 1024;

/// A batch as it is kept in a record.
pub fn kept(offered: &Offered) -> Kept {
    Kept {
        epoch: offered.epoch.0.as_bytes().to_vec(),
        arrived_ms: offered.arrived_ms,
        batch: offered.wire.clone(),
        source: Some(Source {
            node: offered.node.as_str().to_owned(),
            inventory: Some(inventory_to_wire(&offered.inventory)),
        }),
    }
}

struct World {
    disk: SimDisk,
    now: Arc<AtomicU64>,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        Self { disk: SimDisk::default(), now: Arc::new(AtomicU64::new(START_MS)), registry: Registry::new() }
    }

    fn open(&self) -> Arc<Queue> {
        self.disk.kill_process();
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || now.load(Ordering::Relaxed));
        let events = Arc::new(Events::new(&Registry::new()).unwrap());
        Queue::open(Arc::new(self.disk.clone()), Path::new(FOLDER), CAP, Count::default(), clock, events)
            .unwrap()
    }

    /// The same, its counters in the registry of the world.
    fn counted(&self) -> Arc<Queue> {
        let queue = self.open();
        drop(queue);
        self.disk.kill_process();
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || now.load(Ordering::Relaxed));
        let events = Arc::new(Events::new(&self.registry).unwrap());
        Queue::open(Arc::new(self.disk.clone()), Path::new(FOLDER), CAP, Count::default(), clock, events)
            .unwrap()
    }

    fn lost(&self, reason: &str) -> f64 {
        let families = self.registry.gather();
        let family =
            families.iter().find(|f| f.name() == "gpuledger_remote_write_dropped_batches_total").unwrap();
        let of_reason = family.get_metric().iter().find(|m| m.get_label()[0].value() == reason).unwrap();
        of_reason.get_counter().get_value()
    }
}

fn offer(queue: &Arc<Queue>, batches: impl IntoIterator<Item = Offered>) {
    let tap = QueueTap(Arc::clone(queue));
    batches.into_iter().for_each(|batch| tap.offer(batch));
    queue.flush();
}

fn some(sequence: u64) -> Offered {
    batch("n", 1, sequence, &inventory(&["GPU-1"]), sequence * 10..sequence * 10 + 10, busy)
}

fn all(queue: &Arc<Queue>) -> Vec<Record> {
    let mut reader = Reader::new(Arc::clone(queue), 0);
    std::iter::from_fn(|| match reader.next().unwrap() {
        Found::Record { record, .. } => Some(record),
        Found::Unreadable { .. } => panic!("unreadable"),
        Found::Nothing => None,
    })
    .collect()
}

fn sequences(records: &[Record]) -> Vec<u64> {
    let batch = |kept: &Kept| gpuledger_proto::v1::Batch::decode(kept.batch.as_slice()).unwrap().sequence;
    records.iter().flat_map(|record| &record.kept).map(batch).collect()
}

#[test]
fn what_was_flushed_is_read_in_order_also_after_a_power_failure() {
    let world = World::new();
    let queue = world.open();
    offer(&queue, [some(1), some(2)]);
    offer(&queue, [some(3)]);
    drop(queue);
    world.disk.fail_power(7);
    let records = all(&world.open());
    assert_eq!(sequences(&records), [1, 2, 3]);
    assert_eq!(records.iter().map(|r| r.first).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_source_is_told_once_in_a_segment_and_when_it_changes() {
    let world = World::new();
    let queue = world.open();
    let other = batch("n", 1, 3, &inventory(&["GPU-2"]), 30..31, busy);
    offer(&queue, [some(1), some(2), other.clone()]);
    offer(&queue, [other]);
    let told = |records: &[Record]| {
        records.iter().flat_map(|r| &r.kept).map(|k| k.source.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(told(&all(&queue)), [true, false, true, false]);
    drop(queue);
    // Another process begins another segment, which must be readable by itself.
    let queue = world.open();
    offer(&queue, [some(4)]);
    assert_eq!(told(&all(&queue)).last(), Some(&true));
}

#[test]
fn every_segment_of_a_full_queue_can_be_read_by_itself_and_tells_what_is_missing() {
    let world = World::new();
    let queue = world.open();
    for sequence in 1..=3_000 {
        offer(&queue, [some(sequence)]);
    }
    let records = all(&queue);
    let first = &records[0];
    assert!(first.first > 0 && first.kept[0].source.is_some(), "the oldest segments were dropped");
    assert_eq!(sequences(&records), (first.first + 1..=3_000).collect::<Vec<_>>());
    assert!(queue.waiting_bytes() <= CAP);
}

#[test]
fn a_disk_that_fails_loses_batches_and_says_so_and_works_again() {
    let world = World::new();
    let queue = world.counted();
    offer(&queue, [some(1)]);
    world.disk.fail_syncs(2);
    offer(&queue, [some(2), some(3)]);
    world.disk.fail_syncs(0);
    offer(&queue, [some(4)]);
    assert_eq!(sequences(&all(&queue)), [1, 4]);
    assert!((world.lost("queue_failed") - 2.0).abs() < 0.1);
    assert!(all(&queue)[1].kept[0].source.is_some(), "nobody knows what the failed write has told");
}

#[test]
fn memory_is_bounded_when_nothing_can_be_written() {
    let world = World::new();
    let queue = world.counted();
    let tap = QueueTap(Arc::clone(&queue));
    lock(&queue.gathered).spilling = true;
    let big = Offered { wire: vec![0; 4 * 1024 * 1024], ..some(1) };
    for _ in 0..10 {
        tap.offer(big.clone());
    }
    assert_eq!(lock(&queue.gathered).batches.len(), GATHERED_BYTES_MAX / big.wire.len());
    assert!((world.lost("queue_failed") - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn what_gathers_is_spilled_without_a_commit() {
    let world = World::new();
    let queue = world.open();
    let tap = QueueTap(Arc::clone(&queue));
    tap.offer(Offered { wire: vec![0; SPILL_BYTES], ..some(1) });
    queue.arrived.notified().await;
    assert!(lock(&queue.gathered).batches.is_empty());
}

#[test]
fn time_goes_on_by_itself_where_nothing_comes() {
    let world = World::new();
    let queue = world.open();
    offer(&queue, [some(1)]);
    queue.tick();
    assert_eq!(all(&queue).len(), 1);
    world.now.fetch_add(TICK_MS, Ordering::Relaxed);
    queue.tick();
    queue.tick();
    let records = all(&queue);
    assert_eq!((records.len(), records[1].at_ms, records[1].kept.len()), (2, START_MS + TICK_MS, 0));
}

#[test]
fn numbers_go_on_in_a_queue_that_was_emptied() {
    let world = World::new();
    let queue = world.open();
    offer(&queue, [some(1), some(2)]);
    drop(queue);
    let queue = world.open();
    queue.release(1).unwrap();
    drop(queue);
    world.disk.kill_process();
    let clock: Clock = Arc::new(|| START_MS);
    let events = Arc::new(Events::new(&Registry::new()).unwrap());
    let after = Count { sequence: 1, batches: 2 };
    let disk = Arc::new(world.disk.clone());
    let queue = Queue::open(disk, Path::new(FOLDER), CAP, after, clock, events).unwrap();
    offer(&queue, [some(3)]);
    let mut reader = Reader::new(Arc::clone(&queue), 1);
    let Found::Record { sequence, record, .. } = reader.next().unwrap() else { panic!("nothing") };
    assert_eq!((sequence, record.first), (2, 2));
}
