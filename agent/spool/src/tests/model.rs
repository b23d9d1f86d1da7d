//! Random operations and crashes, held against a model in memory.
//!
//! The law: what is read back is in order and without repetition; every record that was synced and
//! neither acknowledged nor dropped is there; nothing is there that was never appended.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Op {
    Begin {
        blob_bytes: usize,
    },
    Append {
        sizes: Vec<usize>,
    },
    /// Reads some records from where the reader is.
    Read {
        records: usize,
    },
    /// Acknowledges what the reader has read, up to so many records before its end.
    Acknowledge {
        less: usize,
    },
    /// Starts reading from the oldest again, as a new link does.
    Rewind,
    Restart,
    Kill,
    /// Kills the process when it syncs next, while it appends.
    KillInAppend {
        size: usize,
    },
    FailPower {
        seed: u64,
    },
    Space {
        bytes: Option<usize>,
    },
    FailSyncs {
        count: u32,
    },
    ReadOnly {
        on: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0usize..2_000).prop_map(|blob_bytes| Op::Begin { blob_bytes }),
        12 => prop::collection::vec(0usize..3_000, 1..4).prop_map(|sizes| Op::Append { sizes }),
        6 => (1usize..8).prop_map(|records| Op::Read { records }),
        4 => (0usize..4).prop_map(|less| Op::Acknowledge { less }),
        1 => Just(Op::Rewind),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
        1 => (0usize..3_000).prop_map(|size| Op::KillInAppend { size }),
        2 => any::<u64>().prop_map(|seed| Op::FailPower { seed }),
        1 => prop::option::weighted(0.6, 0usize..4_000).prop_map(|bytes| Op::Space { bytes }),
        1 => (0u32..4).prop_map(|count| Op::FailSyncs { count }),
        1 => any::<bool>().prop_map(|on| Op::ReadOnly { on }),
    ]
}

/// The spool under test, what it was told, and what it must hold.
struct World {
    disk: SimDisk,
    spool: Spool,
    reader: Option<crate::Cursor>,
    after: Option<SegmentId>,
    read: Vec<(SegmentId, u64)>,
    /// Sequence of the next record over all segments: sequences here never repeat, so a sequence
    /// identifies a record.
    next: u64,
    begun: bool,
    /// Every content that was ever appended under a sequence.
    appended: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    /// Content of each record whose append succeeded.
    synced: BTreeMap<u64, Vec<u8>>,
    acknowledged: BTreeSet<u64>,
    dropped: u64,
    /// Records that were once found missing.
    missed: BTreeSet<u64>,
    tick: u8,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::default();
        let (spool, _) = open(&disk);
        Self {
            disk,
            spool,
            reader: None,
            after: None,
            read: Vec::new(),
            next: 1,
            begun: false,
            appended: BTreeMap::new(),
            synced: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            dropped: 0,
            missed: BTreeSet::new(),
            tick: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        self.tick = self.tick.wrapping_add(1);
        match op {
            Op::Begin { blob_bytes } => {
                self.begun |= self.spool.begin_segment(&vec![self.tick; *blob_bytes], self.next).is_ok();
            }
            Op::Append { sizes } => self.append(sizes),
            Op::Read { records } => (0..*records).for_each(|_| self.read_one()),
            Op::Acknowledge { less } => self.acknowledge(*less),
            Op::Rewind => self.rewind(),
            Op::Restart | Op::Kill => {
                self.disk.kill_process();
                self.reopen();
            }
            Op::KillInAppend { size } => {
                self.disk.kill_at_next_sync();
                self.append(&[*size, 100]);
                self.disk.kill_process();
                self.reopen();
            }
            Op::FailPower { seed } => {
                self.disk.fail_power(*seed);
                self.reopen();
            }
            Op::Space { bytes } => self.disk.set_space(*bytes),
            Op::FailSyncs { count } => self.disk.fail_syncs(*count),
            Op::ReadOnly { on } => self.disk.set_read_only(*on),
        }
    }

    fn append(&mut self, sizes: &[usize]) {
        let payloads: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![self.tick; size]).collect();
        let numbered = (self.next..).zip(&payloads);
        numbered.clone().for_each(|(sequence, payload)| {
            self.appended.entry(sequence).or_default().insert(payload.clone());
        });
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        if let Ok(last) = self.spool.append(&slices) {
            assert!(self.begun);
            self.synced.extend(numbered.map(|(sequence, payload)| (sequence, payload.clone())));
            self.next += payloads.len() as u64;
            assert_eq!(last + 1, self.next);
        }
    }

    fn read_one(&mut self) {
        if self.reader.is_none() {
            let Some(info) = self.spool.segment_after(self.after) else { return };
            self.after = Some(info.id);
            self.reader = self.spool.cursor(info.id, 0).unwrap();
        }
        let Some(cursor) = &mut self.reader else { return };
        match self.spool.next(cursor).unwrap() {
            Next::Record(record) => self.read.push((cursor.segment(), record.sequence)),
            Next::Wait => {}
            Next::End | Next::Gone => self.reader = None,
        }
    }

    fn acknowledge(&mut self, less: usize) {
        let Some(last) = self.read.len().checked_sub(less + 1) else { return };
        for (segment, sequence) in self.read.drain(..=last) {
            // Whether or not the file of a finished segment could be removed.
            let _ = self.spool.acknowledge(segment, sequence);
            self.acknowledged.insert(sequence);
        }
    }

    fn rewind(&mut self) {
        (self.reader, self.after) = (None, None);
        self.read.clear();
    }

    /// A new process on a disk in order: what fails during opening is for the disasters.
    fn reopen(&mut self) {
        self.disk.set_space(None);
        self.disk.set_read_only(false);
        self.disk.fail_syncs(0);
        self.dropped += self.spool.dropped_records();
        let (spool, recovery) = open(&self.disk);
        assert!(recovery.damaged.iter().all(|d| d.kept_records == 0 || d.lost_bytes > 0));
        self.spool = spool;
        self.begun = false;
        self.rewind();
        // Sequences of this model never repeat: what came back without having been confirmed keeps its own.
        let found = self.spool.segments().map(|s| s.next_sequence).max().unwrap_or(1);
        self.next = self.next.max(found);
    }

    fn check(&mut self) {
        let found = read_all(&mut self.spool);
        assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].1), "in order, without repetition");
        for (_, sequence, payload) in &found {
            match self.synced.get(sequence) {
                Some(synced) => assert_eq!(synced, payload, "record {sequence}"),
                None => assert!(self.appended[sequence].contains(payload), "record {sequence}"),
            }
        }
        let found: BTreeSet<u64> = found.into_iter().map(|r| r.1).collect();
        let missing: Vec<u64> = self
            .synced
            .keys()
            .copied()
            .filter(|s| !found.contains(s) && !self.acknowledged.contains(s))
            .collect();
        let dropped = self.dropped + self.spool.dropped_records();
        assert!(missing.len() as u64 <= dropped, "{missing:?} are missing, {dropped} were dropped");
        // Only the oldest are dropped: what goes missing is older than all that is there, but for what
        // was missing before and was brought back by a power failure.
        let there = |s: &&u64| !self.acknowledged.contains(s) && !self.missed.contains(s);
        let oldest = found.iter().find(there);
        let gone = missing.iter().filter(|m| !self.missed.contains(m));
        assert!(gone.clone().all(|m| oldest.is_none_or(|oldest| m < oldest)), "{missing:?} {oldest:?}");
        self.missed.extend(&missing);
        assert!(self.spool.bytes() <= CAP);
    }
}

proptest! {
    #[test]
    fn every_synced_record_is_read_exactly_once_until_it_is_acknowledged_or_dropped(
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.disk.fail_power(7);
        world.reopen();
        world.check();
    }
}
