//! The fold: batches of one node in, rows that only add out. Pure: no I/O, no clock.
//!
//! ```text
//! batch ─▶ columns of one device ─▶ sample ─▶ chain (which time, which energy is new)
//!                                      │           │
//!                                      ▼           ▼
//!                                state of the GPU ─▶ rows by (hour, GPU, owner) ─▶ take() ─▶ NodeCommit
//! ```
//!
//! - [`coverage`]: which wall-clock time was counted; nothing is counted twice, whatever arrives.
//! - [`chain`]: what one sample adds; resets, gaps, restarts and late data.
//! - [`gpu`], [`host`]: from a sample's readings to the state and the row of a GPU or a node.
//! - [`steady`]: the same for runs of samples between which nothing happens, at once.
//! - [`rows`]: cutting amounts into hours and owners without losing a unit.
//! - [`pending`], [`trial`]: rows and memories; what one batch changes of them is all of it or nothing.
//! - [`state`]: what is remembered between batches and stored with every commit.
//! - [`takeover`]: GPUs that another node held.
//!
//! Invariants: a batch that is refused changes nothing; what [`NodeFold::take`] gave must be committed
//! or the fold dropped, since it goes on from there.

pub mod chain;
pub mod coverage;
mod gpu;
mod host;
mod pending;
mod rows;
pub mod state;
mod steady;
mod takeover;
mod trial;

use chain::Origin;
use gpuledger_ledger::{EpochAdvance, GpuKey, HOUR_MS, NodeCommit, NodeKey, NodeState, OwnerKey};
use gpuledger_proto::column::{Cells, Columns};
use gpuledger_proto::frame::{Batch, Stamp};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::reading::{Absence, Reading};
use gpuledger_units::{Millis, Overflow};
use pending::Pending;
use state::{DEVICES_PER_NODE_MAX, Device, NodeMemory, StateError};
use std::collections::BTreeMap;
use takeover::TakenOver;
use trial::Trial;
use uuid::Uuid;

/// Samples with a wall clock before 2020 or after 2079 come from a clock that is not set. They are
/// passed over: their time stays unmonitored, their energy is in the counter's next difference.
pub const WALL_MS_MIN: u64 = 1_577_836_800_000;
/// See [`WALL_MS_MIN`].
pub const WALL_MS_MAX: u64 = 3_439_756_800_000;

/// Samples further ahead of the collector's clock are passed over. A day and every time zone are
/// allowed, so that a clock in local time blocks nothing; a clock that is wrong by more would make all
/// that comes after it late.
pub const AHEAD_MS_MAX: u64 = 26 * HOUR_MS;

/// Ten samples at 1 Hz may be missed before a gap is a gap.
pub const LONGEST_GAP_DEFAULT: Millis = Millis(10_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldOptions {
    /// A longer interval between two samples is unmonitored.
    pub longest_gap: Millis,
}

impl Default for FoldOptions {
    fn default() -> Self {
        Self { longest_gap: LONGEST_GAP_DEFAULT }
    }
}

/// Why a batch could not be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("cannot add to a row: {0}")]
    Overflow(#[from] Overflow),
    #[error("batch {got} of epoch {epoch} does not follow batch {folded}")]
    Sequence { epoch: Epoch, folded: Sequence, got: Sequence },
    #[error("a batch came before its segment")]
    NoSegment,
    #[error("the batch names device {device}, and the segment has {devices}")]
    Device { device: u16, devices: usize },
    #[error("the batch names holding {holding}, and it has {holdings}")]
    Holding { holding: i64, holdings: usize },
    #[error("the batch changes more than {} hour rows: its clock jumps", pending::ROWS_PER_BATCH_MAX)]
    Rows,
    #[error("the node has reported more than {DEVICES_PER_NODE_MAX} devices")]
    Devices,
}

/// What an operator should hear of a batch that was folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// Batches before it that never came and that its segment passes over.
    pub lost_batches: u64,
    /// Samples that were passed over because their clock is too far ahead.
    pub ahead_samples: u64,
    /// Additions to rows: what most of the work of folding is.
    pub additions: usize,
}

/// The fold of one node.
#[derive(Debug)]
pub struct NodeFold {
    node: NodeKey,
    options: FoldOptions,
    /// Version of the stored state that pending rows build on.
    base_version: u64,
    memory: NodeMemory,
    pending: Pending,
    taken_over: TakenOver,
    epochs: BTreeMap<Epoch, Reach>,
    segment: Option<Segment>,
}

/// How far an epoch is folded, how far that was taken for a commit, and how far committed.
#[derive(Debug, Clone, Copy)]
struct Reach {
    committed: Sequence,
    taken: Sequence,
    folded: Sequence,
}

#[derive(Debug, Clone)]
struct Segment {
    origin: Origin,
    gpus: Vec<GpuKey>,
    first: Sequence,
}

impl NodeFold {
    /// Goes on from what the ledger holds of the node.
    pub fn load(node: NodeKey, state: &NodeState, options: FoldOptions) -> Result<Self, FoldError> {
        Ok(Self {
            node,
            options,
            base_version: state.version,
            memory: NodeMemory::decode(&state.blob)?,
            pending: Pending::default(),
            taken_over: TakenOver::default(),
            epochs: BTreeMap::new(),
            segment: None,
        })
    }

    /// Says what the next batches refer to. `stored` is the epoch's committed sequence in the ledger.
    /// `first` is the segment's first batch: what lies between is missing at the agent, and is passed
    /// over.
    pub fn begin_segment(
        &mut self,
        epoch: Epoch,
        boot: Option<Uuid>,
        gpus: Vec<GpuKey>,
        stored: Sequence,
        first: Sequence,
    ) {
        self.epochs.entry(epoch).or_insert(Reach { committed: stored, taken: stored, folded: stored });
        // Epochs are remembered only for what the ledger does not say of them yet.
        self.epochs.retain(|&known, reach| known == epoch || reach.committed < reach.folded);
        let origin = Origin { epoch, boot, longest_gap_ms: self.options.longest_gap.0 };
        self.segment = Some(Segment { origin, gpus, first });
    }

    /// Last batch of an epoch that is folded, committed or not.
    pub fn folded(&self, epoch: Epoch) -> Option<Sequence> {
        self.epochs.get(&epoch).map(|reach| reach.folded)
    }

    /// The batch that has to come next; `None` before the first segment.
    pub fn expected(&self) -> Option<Sequence> {
        let segment = self.segment.as_ref()?;
        Some(self.folded(segment.origin.epoch)?.next().max(segment.first))
    }

    /// Takes the next batch in. `owners` has an entry for each of the batch's holdings: the owners'
    /// numbers and their shares in ppm.
    pub fn fold(&mut self, batch: &Batch, owners: &[Vec<(OwnerKey, u32)>]) -> Result<(), FoldError> {
        self.fold_by(u64::MAX, batch, owners).map(drop)
    }

    /// [`NodeFold::fold`] with the collector's clock, which no sample may be far ahead of.
    pub fn fold_by(
        &mut self,
        now_ms: u64,
        batch: &Batch,
        owners: &[Vec<(OwnerKey, u32)>],
    ) -> Result<Folded, FoldError> {
        self.fold_columns(now_ms, batch.sequence, &Columns::of(batch), owners)
    }

    /// [`NodeFold::fold_by`] of a batch whose columns lie in buffers.
    pub fn fold_columns(
        &mut self,
        now_ms: u64,
        sequence: Sequence,
        columns: &Columns,
        owners: &[Vec<(OwnerKey, u32)>],
    ) -> Result<Folded, FoldError> {
        let (Some(expected), Some(segment)) = (self.expected(), &self.segment) else {
            return Err(FoldError::NoSegment);
        };
        let epoch = segment.origin.epoch;
        let reach = self.epochs.get_mut(&epoch).ok_or(FoldError::NoSegment)?;
        if sequence != expected {
            return Err(FoldError::Sequence { epoch, folded: reach.folded, got: sequence });
        }
        let stamps = Stamps::of(columns, latest_ms(now_ms));
        let pending = &mut self.pending;
        pending.begin();
        let mut memories = Trial::of(&mut self.memory);
        let mut fold = || {
            for columns in columns.devices() {
                let device = segment.device(columns.device())?;
                let memory = memories.device(device)?;
                match device {
                    Device::Node => host::fold(memory, pending, segment.origin, &stamps, &columns)?,
                    Device::Gpu(key) => {
                        let mut gpu = gpu::Gpu { key, memory, pending, owners };
                        gpu.fold(segment.origin, &stamps, &columns)?;
                    }
                }
            }
            Ok(())
        };
        if let Err(refused) = fold() {
            memories.undo();
            self.pending.undo();
            return Err(refused);
        }
        memories.keep();
        self.pending.keep();
        let lost_batches = sequence.0 - reach.folded.next().0;
        reach.folded = sequence;
        Ok(Folded { lost_batches, ahead_samples: stamps.ahead(), additions: self.pending.additions() })
    }

    /// Everything since the last call, for one commit; `None` when no batch came. The fold goes on as
    /// if it were committed.
    pub fn take(&mut self) -> Option<NodeCommit> {
        let mut epochs = Vec::new();
        for (&epoch, reach) in &mut self.epochs {
            if reach.folded > reach.taken {
                epochs.push(EpochAdvance { epoch, from: reach.taken, to: reach.folded });
                reach.taken = reach.folded;
            }
        }
        if epochs.is_empty() {
            return None;
        }
        let pending = self.pending.take();
        let base_version = self.base_version;
        self.base_version += 1;
        Some(NodeCommit {
            node: self.node,
            base_version,
            state: self.memory.encode(),
            epochs,
            gpu_hours: pending.gpu_hours,
            node_hours: pending.node_hours,
            taken: self.taken_over.take(),
            gpus_seen: pending.gpus_seen,
            seen: pending.seen,
        })
    }

    /// What [`NodeFold::take`] gave is durable.
    pub fn committed(&mut self, epochs: &[EpochAdvance]) {
        for advance in epochs {
            if let Some(reach) = self.epochs.get_mut(&advance.epoch) {
                reach.committed = reach.committed.max(advance.to);
            }
        }
    }

    /// Rows that wait for the next commit: what back-pressure goes by.
    pub fn pending_rows(&self) -> usize {
        self.pending.rows()
    }
}

/// The latest time of a sample that is counted. A collector whose own clock is not set can not tell what
/// is ahead.
fn latest_ms(now_ms: u64) -> u64 {
    if now_ms < WALL_MS_MIN { WALL_MS_MAX } else { now_ms.saturating_add(AHEAD_MS_MAX).min(WALL_MS_MAX) }
}

impl Segment {
    /// What a device's position in a batch refers to.
    fn device(&self, position: u16) -> Result<Device, FoldError> {
        let devices = self.gpus.len() + 1;
        let Some(gpu) = usize::from(position).checked_sub(1) else { return Ok(Device::Node) };
        let &key = self.gpus.get(gpu).ok_or(FoldError::Device { device: position, devices })?;
        Ok(Device::Gpu(key))
    }
}

/// When the samples of a batch were taken.
struct Stamps<'a> {
    stamps: &'a [Stamp],
    /// Later ones are passed over.
    latest_ms: u64,
}

impl<'a> Stamps<'a> {
    fn of(columns: &'a Columns, latest_ms: u64) -> Self {
        Self { stamps: columns.stamps(), latest_ms }
    }

    fn len(&self) -> usize {
        self.stamps.len()
    }

    /// When a sample was taken; `None` where no clock that is set says so, and behind the last sample.
    fn usable(&self, sample: usize) -> Option<Stamp> {
        let stamp = self.stamps.get(sample).copied();
        stamp.filter(|stamp| (WALL_MS_MIN..=self.latest_ms).contains(&stamp.wall_ms))
    }

    /// Samples that are too far ahead.
    fn ahead(&self) -> u64 {
        self.stamps.iter().filter(|stamp| stamp.wall_ms > self.latest_ms).count() as u64
    }
}

/// One metric over the samples of a batch: that of a device which was not asked for it reads as unsupported.
#[derive(Clone, Copy)]
struct Metered<'a>(Cells<'a>);

impl Default for Metered<'_> {
    fn default() -> Self {
        Self(Cells::Same(Reading::Absent(Absence::Unsupported)))
    }
}

impl<'a> Metered<'a> {
    fn set(&mut self, cells: Cells<'a>) {
        self.0 = cells;
    }

    fn at(self, sample: usize) -> Reading<i64> {
        self.0.at(sample)
    }

    /// The value as an amount. A negative one is nonsense and reads as absent.
    fn amount(self, sample: usize) -> Option<u64> {
        self.at(sample).value().and_then(|value| u64::try_from(value).ok())
    }

    /// This reading is not to be had, now or in the next sample.
    fn is_denied(self, sample: usize) -> bool {
        matches!(self.at(sample), Reading::Absent(Absence::Unsupported | Absence::NoPermission))
    }
}

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod steady_tests;
#[cfg(test)]
mod tests;
