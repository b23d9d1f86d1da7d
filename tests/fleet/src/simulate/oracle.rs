//! What must be in the ledger, from what the agents recorded and what was committed.
//!
//! It knows every sample that an agent took, with the true energy at that instant, and which batches
//! the store has committed, with the samples that they held. It shares no code with the fold: it
//! looks at whole chains of samples at once, where the fold sees one at a time.

mod chain;
mod expect;

use super::hardware::Shown;
use super::trail::Trail;
use gpuledger_ledger::NodeCommit;
use gpuledger_proto::ids::{Epoch, Sequence};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

pub use expect::{Terms, compare, read};

/// A GPU by its number in the world, or the meter of a node by the node's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    Gpu(String),
    Node(String),
}

/// A sample as an agent took it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The machine that took it.
    pub machine: usize,
    pub epoch: Epoch,
    pub sequence: Sequence,
    pub boot: Uuid,
    pub boot_ms: u64,
    pub wall_ms: u64,
    pub true_ms: u64,
    /// Each device, and the energy by integrated power that the agent told of it.
    pub devices: Arc<Vec<(Device, Shown, u64)>>,
}

/// A batch as it came to a collector.
#[derive(Debug, Clone)]
struct Arrived {
    /// Boot-time clock of each sample.
    stamps: Vec<u64>,
    /// By its first arrival, over all batches: a batch that comes again is not folded again.
    order: u64,
}

/// What one collector has taken in.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    batches: BTreeMap<(Epoch, Sequence), Arrived>,
    /// The streams on which something of an epoch came.
    streams: BTreeMap<Epoch, BTreeSet<u64>>,
    /// Streams of which nothing is folded any more.
    over: BTreeSet<u64>,
    order: u64,
}

impl Arrivals {
    /// A batch has come. Gives the samples that it had before where it came again.
    pub fn came(
        &mut self,
        stream: u64,
        epoch: Epoch,
        sequence: Sequence,
        stamps: Vec<u64>,
    ) -> Option<Vec<u64>> {
        if self.over.contains(&stream) {
            return None;
        }
        self.streams.entry(epoch).or_default().insert(stream);
        self.order += 1;
        let order = self.order;
        match self.batches.entry((epoch, sequence)) {
            Entry::Occupied(before) => Some(before.get().stamps.clone()),
            Entry::Vacant(new) => {
                new.insert(Arrived { stamps, order });
                None
            }
        }
    }

    /// What was folded of an epoch and not committed is forgotten, and has to come again on another
    /// stream.
    pub fn forget(&mut self, epoch: Epoch, reached: Sequence) {
        self.batches.retain(|key, _| key.0 != epoch || key.1 <= reached);
        self.over.extend(self.streams.remove(&epoch).unwrap_or_default());
    }
}

/// A batch that the store holds.
#[derive(Debug, Clone)]
struct Committed {
    epoch: Epoch,
    sequence: Sequence,
    stamps: Vec<u64>,
}

/// How many commits there were at a moment to come back to.
#[derive(Debug, Clone)]
pub struct Bookmark {
    batches: usize,
    reached: BTreeMap<Epoch, Sequence>,
}

pub struct Oracle {
    trail: Arc<Trail>,
    /// By epoch and boot-time clock.
    samples: BTreeMap<(Epoch, u64), Sample>,
    /// Batches that a fault took away before they were safe.
    excused: BTreeSet<(Epoch, Sequence)>,
    /// Batches that the agents of each machine say they had to drop.
    dropped: BTreeMap<usize, u64>,
    committed: Vec<Committed>,
    reached: BTreeMap<Epoch, Sequence>,
}

impl Oracle {
    pub fn new(trail: Arc<Trail>) -> Self {
        Self {
            trail,
            samples: BTreeMap::new(),
            excused: BTreeSet::new(),
            dropped: BTreeMap::new(),
            committed: Vec::new(),
            reached: BTreeMap::new(),
        }
    }

    pub fn recorded(&mut self, sample: Sample) {
        self.samples.insert((sample.epoch, sample.boot_ms), sample);
    }

    /// Batches of an epoch behind this sequence may be lost.
    pub fn excuse_after(&mut self, epoch: Epoch, saved: Sequence) {
        let of_epoch = self.samples.range((epoch, 0)..=(epoch, u64::MAX));
        let behind = of_epoch.map(|(_, sample)| sample.sequence).filter(|&sequence| sequence > saved);
        self.excused.extend(behind.map(|sequence| (epoch, sequence)));
    }

    pub fn excuse(&mut self, epoch: Epoch, sequence: Sequence) {
        self.excused.insert((epoch, sequence));
    }

    /// Whatever of this machine is not committed by now may be lost.
    pub fn excuse_uncommitted(&mut self, machine: usize) {
        let reached = |epoch: Epoch| self.reached.get(&epoch).copied().unwrap_or(Sequence::NONE);
        let own = self.samples.values().filter(|sample| sample.machine == machine);
        let open = own.filter(|sample| sample.sequence > reached(sample.epoch));
        let open: Vec<_> = open.map(|sample| (sample.epoch, sample.sequence)).collect();
        self.excused.extend(open);
    }

    pub fn dropped(&mut self, machine: usize, batches: u64) {
        self.trail.count("dropped batches", batches);
        *self.dropped.entry(machine).or_default() += batches;
    }

    /// A commit is in the store, whether or not anybody was told so.
    pub fn committed(&mut self, commit: &NodeCommit, arrivals: &Arrivals) {
        let mut batches = Vec::new();
        for advance in &commit.epochs {
            let before = self.reached.insert(advance.epoch, advance.to).unwrap_or(Sequence::NONE);
            if before != advance.from {
                let Sequence(from) = advance.from;
                self.trail.violated(format!(
                    "epoch {} was at {before}, and a commit that began at {from} was taken",
                    advance.epoch
                ));
            }
            for number in advance.from.0 + 1..=advance.to.0 {
                let key = (advance.epoch, Sequence(number));
                batches.extend(arrivals.batches.get(&key).map(|arrived| (arrived.order, key, arrived)));
            }
        }
        batches.sort_by_key(|batch| batch.0);
        for (_, (epoch, sequence), arrived) in batches {
            self.committed.push(Committed { epoch, sequence, stamps: arrived.stamps.clone() });
        }
    }

    /// Last sequence of an epoch that is in the store.
    pub fn reached(&self, epoch: Epoch) -> Sequence {
        self.reached.get(&epoch).copied().unwrap_or(Sequence::NONE)
    }

    pub fn bookmark(&self) -> Bookmark {
        Bookmark { batches: self.committed.len(), reached: self.reached.clone() }
    }

    /// The store is again what it was then. What agents have let go of since may be lost.
    pub fn restore(&mut self, to: Bookmark) {
        for lost in self.committed.drain(to.batches..) {
            self.excused.insert((lost.epoch, lost.sequence));
        }
        self.reached = to.reached;
    }

    /// Every sample that was safe must be committed, and none twice.
    pub fn check_samples(&self) {
        let mut seen = BTreeSet::new();
        for batch in &self.committed {
            for &boot_ms in &batch.stamps {
                let Some(sample) = self.samples.get(&(batch.epoch, boot_ms)) else {
                    self.trail.violated(format!(
                        "batch {} of {} holds a sample that its agent never took",
                        batch.sequence, batch.epoch
                    ));
                    continue;
                };
                if sample.sequence != batch.sequence {
                    self.trail.violated(format!(
                        "a sample of batch {} of {} came in batch {}",
                        sample.sequence, batch.epoch, batch.sequence
                    ));
                }
                if !seen.insert((batch.epoch, boot_ms)) {
                    self.trail.violated(format!(
                        "a sample of batch {} of {} is committed twice",
                        batch.sequence, batch.epoch
                    ));
                }
            }
        }
        self.check_nothing_lost(&seen);
    }

    fn check_nothing_lost(&self, seen: &BTreeSet<(Epoch, u64)>) {
        let mut lost: BTreeMap<usize, BTreeSet<(Epoch, Sequence)>> = BTreeMap::new();
        for (key, sample) in &self.samples {
            let batch = (sample.epoch, sample.sequence);
            if !seen.contains(key) && !self.excused.contains(&batch) {
                lost.entry(sample.machine).or_default().insert(batch);
            }
        }
        for (machine, batches) in lost {
            let dropped = self.dropped.get(&machine).copied().unwrap_or(0);
            if batches.len() as u64 > dropped {
                let first = batches.first().map(|(epoch, sequence)| format!("{sequence} of {epoch}"));
                self.trail.violated(format!(
                    "machine {machine} dropped {dropped} batches, but {} that it had are not in the ledger, first {}",
                    batches.len(),
                    first.unwrap_or_default()
                ));
            }
        }
    }

    /// Samples that are in the store, in the order of their commits.
    fn delivered(&self) -> impl Iterator<Item = &Sample> {
        self.committed.iter().flat_map(|batch| {
            batch.stamps.iter().filter_map(|&boot_ms| self.samples.get(&(batch.epoch, boot_ms)))
        })
    }

    pub fn delivered_samples(&self) -> usize {
        self.delivered().count()
    }
}
