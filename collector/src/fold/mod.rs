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
//! - [`rows`]: pending rows; cutting amounts into hours and owners without losing a unit.
//! - [`state`]: what is remembered between batches and stored with every commit.
//!
//! Invariants: a [`NodeFold`] that returned an error is in no defined state and must be dropped; what
//! [`NodeFold::take`] gave must be committed or the fold dropped, since it goes on from there.

pub mod chain;
pub mod coverage;
mod gpu;
mod host;
mod rows;
pub mod state;

use chain::Origin;
use gpuledger_ledger::{EpochAdvance, GpuKey, NodeCommit, NodeKey, NodeState, OwnerKey};
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::frame::{Batch, Column};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::reading::{Absence, Reading};
use gpuledger_units::{Millis, Overflow};
use rows::Pending;
use state::{Device, NodeMemory, StateError};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Samples with a wall clock before 2020 or after 2079 come from a clock that is not set. They are
/// passed over: their time stays unmonitored, their energy is in the counter's next difference.
pub const WALL_MS_MIN: u64 = 1_577_836_800_000;
/// See [`WALL_MS_MIN`].
pub const WALL_MS_MAX: u64 = 3_439_756_800_000;

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

/// Why a batch could not be folded. The fold must be dropped.
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
    epochs: BTreeMap<Epoch, Reach>,
    segment: Option<Segment>,
}

/// How far an epoch is stored and how far it is folded.
#[derive(Debug, Clone, Copy)]
struct Reach {
    stored: Sequence,
    folded: Sequence,
}

#[derive(Debug, Clone)]
struct Segment {
    origin: Origin,
    gpus: Vec<GpuKey>,
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
            epochs: BTreeMap::new(),
            segment: None,
        })
    }

    /// Says what the next batches refer to. `stored` is the epoch's committed sequence in the ledger.
    /// `first` is the segment's first batch: what lies between was dropped by the agent when its
    /// spool was full, and is passed over. Gives the number of batches passed over.
    pub fn begin_segment(
        &mut self,
        epoch: Epoch,
        boot: Option<Uuid>,
        gpus: Vec<GpuKey>,
        stored: Sequence,
        first: Sequence,
    ) -> u64 {
        let reach = self.epochs.entry(epoch).or_insert(Reach { stored, folded: stored });
        let next = reach.folded.next();
        let dropped = first.0.saturating_sub(next.0);
        if dropped > 0 {
            reach.folded = Sequence(first.0 - 1);
        }
        let origin = Origin { epoch, boot, longest_gap_ms: self.options.longest_gap.0 };
        self.segment = Some(Segment { origin, gpus });
        dropped
    }

    /// Last batch of an epoch that is folded, committed or not.
    pub fn folded(&self, epoch: Epoch) -> Option<Sequence> {
        self.epochs.get(&epoch).map(|reach| reach.folded)
    }

    /// Takes the next batch in. `owners` has an entry for each of the batch's holdings: the owners'
    /// numbers and their shares in ppm.
    pub fn fold(&mut self, batch: &Batch, owners: &[Vec<(OwnerKey, u32)>]) -> Result<(), FoldError> {
        let segment = self.segment.clone().ok_or(FoldError::NoSegment)?;
        let epoch = segment.origin.epoch;
        let reach = self.epochs.get_mut(&epoch).ok_or(FoldError::NoSegment)?;
        if batch.sequence != reach.folded.next() {
            return Err(FoldError::Sequence { epoch, folded: reach.folded, got: batch.sequence });
        }
        reach.folded = batch.sequence;
        for columns in batch.columns.chunk_by(|a, b| a.device == b.device) {
            let device = columns[0].device;
            let columns = DeviceColumns { columns };
            if device == 0 {
                let memory = self.memory.devices.entry(Device::Node).or_default();
                host::fold(memory, &mut self.pending, segment.origin, &batch.stamps, &columns)?;
            } else {
                let devices = segment.gpus.len() + 1;
                let key = segment.gpus.get(usize::from(device) - 1);
                let &key = key.ok_or(FoldError::Device { device, devices })?;
                let memory = self.memory.devices.entry(Device::Gpu(key)).or_default();
                let mut gpu = gpu::Gpu { key, memory, pending: &mut self.pending, owners };
                gpu.fold(segment.origin, &batch.stamps, &columns)?;
            }
        }
        Ok(())
    }

    /// Everything since the last call, for one commit; `None` when no batch came. The fold goes on as
    /// if it were committed.
    pub fn take(&mut self) -> Option<NodeCommit> {
        let mut epochs = Vec::new();
        for (&epoch, reach) in &mut self.epochs {
            if reach.folded > reach.stored {
                epochs.push(EpochAdvance { epoch, from: reach.stored, to: reach.folded });
                reach.stored = reach.folded;
            }
        }
        if epochs.is_empty() {
            return None;
        }
        let pending = std::mem::take(&mut self.pending);
        let base_version = self.base_version;
        self.base_version += 1;
        Some(NodeCommit {
            node: self.node,
            base_version,
            state: self.memory.encode(),
            epochs,
            gpu_hours: pending.gpu_hours.into_iter().collect(),
            node_hours: pending.node_hours.into_iter().collect(),
            taken: Vec::new(),
            gpus_seen: pending.gpus_seen.into_iter().map(|(gpu, (from, to))| (gpu, from, to)).collect(),
            seen: pending.seen,
        })
    }

    /// Rows that wait for the next commit: what back-pressure goes by.
    pub fn pending_rows(&self) -> usize {
        self.pending.gpu_hours.len() + self.pending.node_hours.len()
    }
}

/// The columns of one device in a batch.
struct DeviceColumns<'a> {
    columns: &'a [Column],
}

impl<'a> DeviceColumns<'a> {
    /// The readings of a metric, or `None` when the device was not asked for it.
    fn find(&self, metric: MetricId) -> Metered<'a> {
        let found = self.columns.iter().find(|c| c.metric == metric);
        Metered(found.map(|c| c.readings.as_slice()))
    }
}

/// One metric over the samples of a batch.
#[derive(Clone, Copy)]
struct Metered<'a>(Option<&'a [Reading<i64>]>);

impl Metered<'_> {
    fn at(self, sample: usize) -> Reading<i64> {
        self.0.and_then(|r| r.get(sample).copied()).unwrap_or(Reading::Absent(Absence::Unsupported))
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
mod tests;
