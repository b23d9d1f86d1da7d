use super::{Identity, RecordError, Recorder, RecorderOptions, SpoolHandle, encode};
use gpuledger_proto::catalogue::{GPU_ENERGY, GPU_UP, NODE_CPU};
use gpuledger_proto::convert::{batch_from_wire, inventory_from_wire};
use gpuledger_proto::frame::{DeviceFrame, Frame, Gpu, Host, Inventory, Owner, OwnerKind, Share, Stamp};
use gpuledger_proto::ids::{Epoch, GpuUuid, NodeName, Sequence};
use gpuledger_proto::limits::{
    HOLDINGS_PER_BATCH_MAX, MESSAGE_BYTES_MAX, SAMPLES_PER_BATCH_MAX, SHARES_PER_HOLDING_MAX,
};
use gpuledger_proto::reading::{Absence, Reading};
use gpuledger_proto::v1;
use gpuledger_spool::Next;
use gpuledger_spool::sim::SimDisk;
use proptest::prelude::*;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// A batch as it stands in the spool.
#[derive(Debug)]
struct Spooled {
    epoch: Epoch,
    sequence: u64,
    gpus: usize,
    frames: Vec<Frame>,
}

fn inventory(gpus: u32) -> Inventory {
    let gpu = |index| Gpu {
        uuid: GpuUuid::new(&format!("GPU-{index}")).unwrap(),
        model: "H100".to_owned(),
        serial: None,
        pci_bus_id: None,
        index,
        memory_bytes: None,
        simulated: true,
    };
    let host = Host { hostname: "n1".to_owned(), os: "Linux".to_owned(), ..Host::default() };
    Inventory { host, gpus: (0..gpus).map(gpu).collect() }
}

fn held_by(name: &str) -> Reading<Vec<Share>> {
    let owner =
        Owner { kind: OwnerKind::User, account: String::new(), name: name.to_owned(), job: String::new() };
    Reading::Value(vec![Share { owner, share_ppm: 1_000_000 }])
}

/// A sample at a time, with a reading that is absent, a reading that differs and a holder.
fn frame(boot_ms: u64, gpus: usize) -> Frame {
    let mut devices =
        vec![DeviceFrame { readings: vec![(NODE_CPU, Reading::Absent(Absence::Pending))], holding: None }];
    let energy = Reading::Value(i64::try_from(boot_ms).unwrap() * 700);
    devices.resize(
        gpus + 1,
        DeviceFrame {
            readings: vec![(GPU_UP, Reading::Value(1)), (GPU_ENERGY, energy)],
            holding: Some(if boot_ms.is_multiple_of(2_000) {
                Reading::Value(vec![])
            } else {
                held_by("ada")
            }),
        },
    );
    Frame { stamp: Stamp { wall_ms: 1_700_000_000_000 + boot_ms, boot_ms }, devices }
}

fn identity(epoch: Epoch) -> Identity {
    Identity { node: NodeName::new("n1").unwrap(), epoch, boot_id: Some(Uuid::nil()) }
}

fn open(disk: &SimDisk, epoch: Epoch) -> (Recorder, SpoolHandle) {
    let options = RecorderOptions { cap_bytes: 1 << 20, ..RecorderOptions::default() };
    Recorder::open_on(Arc::new(disk.clone()), Path::new("/spool"), options, identity(epoch)).unwrap()
}

fn spooled(spool: &SpoolHandle) -> Vec<Spooled> {
    let mut found = Vec::new();
    spool.with(|spool| {
        let segments: Vec<_> = spool.segments().collect();
        for info in segments {
            let header = v1::Segment::decode(spool.header(info.id).unwrap().unwrap().as_slice()).unwrap();
            let gpus = inventory_from_wire(header.inventory.unwrap()).unwrap().gpus.len();
            let mut cursor = spool.cursor(info.id, 0).unwrap().unwrap();
            while let Next::Record(record) = spool.next(&mut cursor).unwrap() {
                let wire = v1::Batch::decode(record.payload.as_slice()).unwrap();
                assert_eq!(wire.sequence, record.sequence, "spool and batch agree");
                let batch = batch_from_wire(wire, gpus + 1).unwrap();
                found.push(Spooled {
                    epoch: Epoch::from_slice(&header.epoch).unwrap(),
                    sequence: record.sequence,
                    gpus,
                    frames: encode::frames(&batch, gpus + 1),
                });
            }
        }
    });
    found
}

/// Times of all frames in the spool, in its order.
fn times(spool: &SpoolHandle) -> Vec<u64> {
    spooled(spool).iter().flat_map(|batch| batch.frames.iter().map(|f| f.stamp.boot_ms)).collect()
}

fn seconds(range: std::ops::Range<u64>) -> Vec<u64> {
    range.map(|second| second * 1_000).collect()
}

fn push(recorder: &mut Recorder, range: std::ops::Range<u64>) {
    for time in seconds(range) {
        recorder.push(frame(time, 2)).unwrap();
    }
}

fn started(disk: &SimDisk, epoch: Epoch) -> (Recorder, SpoolHandle) {
    let (mut recorder, spool) = open(disk, epoch);
    recorder.set_inventory(inventory(2)).unwrap();
    (recorder, spool)
}

#[test]
fn ten_seconds_become_one_batch_that_holds_the_frames_as_they_were() {
    let epoch = Epoch::begin();
    let (mut recorder, spool) = started(&SimDisk::default(), epoch);
    push(&mut recorder, 0..21);
    let batches = spooled(&spool);
    assert_eq!(batches.iter().map(|b| (b.epoch, b.sequence)).collect::<Vec<_>>(), [(epoch, 1), (epoch, 2)]);
    let expected: Vec<Frame> = seconds(0..20).into_iter().map(|time| frame(time, 2)).collect();
    assert_eq!(batches.into_iter().flat_map(|b| b.frames).collect::<Vec<_>>(), expected);
    assert_eq!(recorder.bytes(), spool.waiting_bytes());
    recorder.flush().unwrap();
    assert_eq!(times(&spool), seconds(0..21));
    assert_eq!((spool.waiting_batches(), recorder.dropped_batches()), (3, 0));
}

#[test]
fn frames_of_a_killed_process_become_a_batch_of_its_own_epoch_exactly_once() {
    let disk = SimDisk::default();
    let (old, new) = (Epoch::begin(), Epoch::begin());
    let (mut recorder, _spool) = started(&disk, old);
    push(&mut recorder, 0..15);
    disk.kill_process();
    for _ in 0..3 {
        let (_recorder, spool) = open(&disk, Epoch::begin());
        assert_eq!(times(&spool), seconds(0..15));
        disk.kill_process();
    }
    let (mut recorder, spool) = started(&disk, new);
    push(&mut recorder, 100..105);
    recorder.flush().unwrap();
    let batches = spooled(&spool);
    let of = |b: &Spooled| (b.epoch, b.sequence, b.frames.len());
    assert_eq!(batches.iter().map(of).collect::<Vec<_>>(), [(old, 1, 10), (old, 2, 5), (new, 1, 5)]);
    let expected: Vec<Frame> = seconds(10..15).into_iter().map(|time| frame(time, 2)).collect();
    assert_eq!(batches[1].frames, expected, "holders and absences included");
}

#[test]
fn a_crash_between_writing_a_batch_and_clearing_the_journal_does_not_repeat_it() {
    let disk = SimDisk::default();
    let (mut recorder, _spool) = started(&disk, Epoch::begin());
    push(&mut recorder, 0..10);
    let journal = Path::new("/spool/journal");
    let before = disk.contents(journal).unwrap();
    recorder.flush().unwrap();
    disk.kill_process();
    disk.tamper(journal, |bytes| *bytes = before);
    let (_recorder, spool) = open(&disk, Epoch::begin());
    assert_eq!(times(&spool), seconds(0..10));
    assert_eq!(spool.waiting_batches(), 1);
}

#[test]
fn a_journal_that_cannot_be_spooled_at_once_is_kept_until_it_can() {
    let disk = SimDisk::default();
    let (mut recorder, _spool) = started(&disk, Epoch::begin());
    push(&mut recorder, 0..5);
    disk.kill_process();
    disk.set_space(Some(0));
    let (_recorder, spool) = open(&disk, Epoch::begin());
    assert!(times(&spool).is_empty());
    disk.kill_process();
    disk.set_space(None);
    let (_recorder, spool) = open(&disk, Epoch::begin());
    assert_eq!(times(&spool), seconds(0..5));
}

#[test]
fn a_full_disk_holds_nothing_up_and_everything_is_there_afterwards() {
    let disk = SimDisk::default();
    let (mut recorder, spool) = started(&disk, Epoch::begin());
    push(&mut recorder, 0..15);
    disk.set_space(Some(100));
    push(&mut recorder, 15..95);
    assert!(matches!(recorder.flush(), Err(RecordError::Spool(_))));
    assert!(recorder.bytes() > spool.waiting_bytes(), "what waits in memory counts");
    // The first batch was closed before the disk was full.
    assert_eq!((recorder.sequence(), recorder.unsaved_batches()), (Sequence(11), 9));
    disk.set_space(None);
    push(&mut recorder, 95..100);
    recorder.flush().unwrap();
    assert_eq!(recorder.unsaved_batches(), 0);
    assert_eq!(times(&spool), seconds(0..100));
    let sequences: Vec<u64> = spooled(&spool).iter().map(|b| b.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequences:?}");
    assert_eq!(recorder.dropped_batches(), 0);
}

#[test]
fn a_disk_that_is_full_for_too_long_costs_the_oldest_batches_and_they_are_counted() {
    let disk = SimDisk::default();
    let (mut recorder, spool) = started(&disk, Epoch::begin());
    disk.set_space(Some(0));
    let mut time = 0;
    recorder.set_inventory(inventory(100)).unwrap();
    while recorder.dropped_batches() < 3 {
        recorder.push(frame(time, 100)).unwrap();
        time += 10_000;
    }
    let limit = 1 << 20;
    assert!(recorder.bytes() <= limit && recorder.bytes() > limit / 2, "{}", recorder.bytes());
    disk.set_space(None);
    recorder.flush().unwrap();
    let batches = spooled(&spool);
    let total = batches.len() as u64 + recorder.dropped_batches();
    assert_eq!(batches.last().unwrap().sequence, total, "each sequence was written or counted");
    assert_eq!(batches.last().unwrap().frames[0].stamp.boot_ms, time - 10_000, "the newest is there");
}

#[test]
fn what_waited_for_the_disk_goes_into_a_spool_that_cannot_take_it_at_once() {
    let disk = SimDisk::default();
    let options = RecorderOptions { cap_bytes: 64 * 1024, ..RecorderOptions::default() };
    let (mut recorder, spool) =
        Recorder::open_on(Arc::new(disk.clone()), Path::new("/spool"), options, identity(Epoch::begin()))
            .unwrap();
    recorder.set_inventory(inventory(100)).unwrap();
    disk.set_space(Some(0));
    let mut time = 0;
    while recorder.bytes() <= 40 * 1024 {
        recorder.push(frame(time, 100)).unwrap();
        time += 10_000;
    }
    disk.set_space(None);
    recorder.flush().unwrap();
    let last = spooled(&spool).pop().unwrap();
    assert_eq!((last.frames[0].stamp.boot_ms, last.sequence), (time - 10_000, time / 10_000));
}

#[test]
fn another_inventory_closes_the_batch_and_begins_a_segment() {
    let (mut recorder, spool) = started(&SimDisk::default(), Epoch::begin());
    push(&mut recorder, 0..3);
    recorder.set_inventory(inventory(2)).unwrap();
    push(&mut recorder, 3..4);
    recorder.set_inventory(inventory(1)).unwrap();
    recorder.push(frame(4_000, 1)).unwrap();
    recorder.flush().unwrap();
    let batches: Vec<_> = spooled(&spool).iter().map(|b| (b.sequence, b.gpus, b.frames.len())).collect();
    assert_eq!(batches, [(1, 2, 4), (2, 1, 1)], "the same inventory again changes nothing");
    assert_eq!(spool.with(|s| s.segments().count()), 2);
}

#[test]
fn a_frame_of_other_devices_is_refused_and_the_next_good_one_is_taken() {
    let (mut recorder, spool) = open(&SimDisk::default(), Epoch::begin());
    assert!(matches!(recorder.push(frame(0, 2)), Err(RecordError::NoInventory)));
    recorder.set_inventory(inventory(2)).unwrap();
    let error = recorder.push(frame(0, 3)).unwrap_err();
    assert!(matches!(error, RecordError::Devices { given: 4, expected: 3 }), "{error}");
    push(&mut recorder, 1..2);
    recorder.flush().unwrap();
    assert_eq!(times(&spool), seconds(1..2));
}

#[test]
fn an_inventory_that_no_collector_would_take_is_refused() {
    let (mut recorder, _) = open(&SimDisk::default(), Epoch::begin());
    let error = recorder.set_inventory(inventory(257)).unwrap_err();
    assert!(matches!(error, RecordError::Inventory(_)), "{error}");
}

#[test]
fn a_batch_that_no_collector_would_take_is_dropped_alone() {
    let (mut recorder, spool) = started(&SimDisk::default(), Epoch::begin());
    push(&mut recorder, 0..2);
    let mut bad = frame(2_000, 2);
    bad.devices[1].holding = Some(held_by(&"x".repeat(300)));
    recorder.push(bad).unwrap();
    recorder.flush().unwrap();
    assert_eq!(recorder.dropped_batches(), 1);
    push(&mut recorder, 3..4);
    recorder.flush().unwrap();
    assert_eq!(times(&spool), seconds(3..4));
}

#[test]
fn a_clock_that_goes_back_and_a_gap_each_begin_a_batch() {
    let (mut recorder, spool) = started(&SimDisk::default(), Epoch::begin());
    for time in [5_000, 6_000, 5_500, 5_600, 900_000] {
        recorder.push(frame(time, 2)).unwrap();
    }
    recorder.flush().unwrap();
    let lengths: Vec<usize> = spooled(&spool).iter().map(|b| b.frames.len()).collect();
    assert_eq!(lengths, [2, 2, 1]);
}

#[test]
fn a_batch_is_closed_before_it_breaks_a_limit_of_the_wire() {
    let disk = Arc::new(SimDisk::default());
    let options = RecorderOptions { cap_bytes: 1 << 24, batch_ms: u64::MAX, journal: false };
    let (mut recorder, spool) =
        Recorder::open_on(disk, Path::new("/spool"), options, identity(Epoch::begin())).unwrap();
    recorder.set_inventory(inventory(1)).unwrap();
    for time in 0..=SAMPLES_PER_BATCH_MAX as u64 {
        recorder.push(frame(2_000 * time, 1)).unwrap();
    }
    for time in 0..=HOLDINGS_PER_BATCH_MAX as u64 / 2 {
        let mut busy = frame(10_000_000 + time, 1);
        busy.devices[1].holding = Some(held_by(&format!("user{time}")));
        busy.devices[0].holding = Some(held_by(&format!("other{time}")));
        recorder.push(busy).unwrap();
    }
    recorder.flush().unwrap();
    assert_eq!(recorder.dropped_batches(), 0);
    let lengths: Vec<usize> = spooled(&spool).iter().map(|b| b.frames.len()).collect();
    assert_eq!(lengths[0], SAMPLES_PER_BATCH_MAX);
    assert_eq!(lengths.iter().sum::<usize>(), SAMPLES_PER_BATCH_MAX + HOLDINGS_PER_BATCH_MAX / 2 + 2);
    assert!(lengths.len() >= 3, "{lengths:?}");
}

#[test]
fn many_owners_with_long_names_do_not_make_a_message_too_large() {
    let disk = Arc::new(SimDisk::default());
    let options = RecorderOptions { cap_bytes: 1 << 26, batch_ms: u64::MAX, journal: false };
    let (mut recorder, spool) =
        Recorder::open_on(disk, Path::new("/spool"), options, identity(Epoch::begin())).unwrap();
    recorder.set_inventory(inventory(1)).unwrap();
    let share_ppm = u32::try_from(1_000_000 / SHARES_PER_HOLDING_MAX).unwrap();
    for time in 0..400 {
        let mut crowded = frame(time, 1);
        let user = |n| held_by(&format!("{time:0100}-{n:0100}")).value().unwrap().remove(0).owner;
        let users = (0..SHARES_PER_HOLDING_MAX).map(|n| Share { owner: user(n), share_ppm });
        crowded.devices[1].holding = Some(Reading::Value(users.collect()));
        recorder.push(crowded).unwrap();
    }
    recorder.flush().unwrap();
    assert_eq!((times(&spool).len(), recorder.dropped_batches()), (400, 0));
    assert!(spool.waiting_bytes() / spool.waiting_batches() < MESSAGE_BYTES_MAX as u64);
}

#[test]
fn a_one_frame_batch_reads_back_as_the_frame() {
    let original = frame(7_000, 3);
    let entry = encode::frame(b"header", Sequence(4), &original);
    let batch = encode::journalled(b"header", &entry, 4).unwrap();
    assert_eq!(encode::frames(&batch, 4), [original]);
    assert_eq!(encode::journalled(b"heather", &entry, 4), None, "of another run");
}

#[derive(Debug, Clone)]
enum Op {
    Push(u64),
    Inventory(u32),
    Flush,
    Kill,
    /// The spool's disk is full for so many samples.
    Full(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1u64..25).prop_map(Op::Push),
        1 => (0u32..4).prop_map(Op::Inventory),
        1 => Just(Op::Flush),
        2 => Just(Op::Kill),
        1 => (1u64..60).prop_map(Op::Full),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_frame_is_in_the_spool_exactly_once_through_kills_and_full_disks(
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let disk = SimDisk::default();
        let mut gpus = 2;
        let mut time = 0;
        let (mut recorder, mut spool) = started(&disk, Epoch::begin());
        let mut tick = |recorder: &mut Recorder, count: u64, gpus: u32| {
            for _ in 0..count {
                recorder.push(frame(time, gpus as usize)).unwrap();
                time += 1_000;
            }
        };
        for op in ops {
            match op {
                Op::Push(count) => tick(&mut recorder, count, gpus),
                Op::Inventory(count) => {
                    gpus = count;
                    recorder.set_inventory(inventory(gpus)).unwrap();
                }
                Op::Flush => recorder.flush().unwrap(),
                Op::Full(count) => {
                    disk.set_space(Some(200));
                    tick(&mut recorder, count, gpus);
                    disk.set_space(None);
                    // A kill while neither journal nor spool can be written loses what is in memory.
                    recorder.flush().unwrap();
                }
                Op::Kill => {
                    disk.kill_process();
                    (recorder, spool) = open(&disk, Epoch::begin());
                    recorder.set_inventory(inventory(gpus)).unwrap();
                }
            }
        }
        recorder.flush().unwrap();
        prop_assert_eq!(times(&spool), (0..time / 1_000).map(|s| s * 1_000).collect::<Vec<_>>());
        prop_assert_eq!(recorder.dropped_batches(), 0);
        let keys: Vec<_> = spooled(&spool).iter().map(|b| (b.epoch, b.sequence)).collect();
        let mut unique = keys.clone();
        unique.dedup();
        prop_assert_eq!(&keys, &unique, "no sequence twice");
    }
}
