//! The fold's memory of a node between batches, stored with every commit.
//!
//! It holds, for the node and each of its GPUs: the time that was counted, the gaps whose energy was
//! counted, where each chain of samples stands, and what was counted in total. The total is the other
//! half of a paired check: `verify` compares it with the sum of the rows.

mod wire;

use super::chain::Energy;
use super::coverage::Coverage;
use gpuledger_ledger::GpuKey;
use gpuledger_proto::ids::Epoch;
use gpuledger_units::Overflow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Chains of samples that a device remembers: the live one and late ones.
pub const HEADS_MAX: usize = 8;

/// Devices that a node remembers, itself included: four full inventories, so that every GPU of the
/// largest server can be replaced three times.
pub const DEVICES_PER_NODE_MAX: usize = 1_024;

/// The node itself or one of its GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    Node,
    Gpu(GpuKey),
}

/// Where one epoch's chain of samples stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub epoch: Epoch,
    pub boot: Option<Uuid>,
    /// Wall clock of the last sample.
    pub at_ms: u64,
    /// The boot in which the last sample was taken, and its boot-time clock.
    pub clock: Option<(Uuid, u64)>,
    /// The last value of the hardware counter and when it was read.
    pub counter: Option<(u64, u64)>,
    /// The last value of the integrated energy and when it was read.
    pub integrated: Option<(u64, u64)>,
    /// What a chain that is not live has counted by the hardware counter; in the live chain what of
    /// that the counter's next difference still holds.
    pub late_mj: u64,
    /// Whether it was the live chain once: its counter then is counted up to where it stands.
    pub was_live: bool,
}

/// What is remembered of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceMemory {
    /// Time that was counted.
    pub covered: Coverage,
    /// Time without samples whose energy was counted by the difference over it.
    pub bridged: Coverage,
    /// The live chain first; late ones after it, the most recently used in front.
    pub heads: Vec<Head>,
    /// What the heads were before the batch at hand, once more than where the live one stands has changed.
    heads_before: Option<Vec<Head>>,
    /// Sum of `counter_mj` over all rows.
    pub counted_mj: u64,
    /// Sum of `estimated_mj` over all rows.
    pub estimated_mj: u64,
}

/// What a device's memory was, but for what knows that by itself.
#[derive(Debug)]
pub struct Before {
    live: Option<Head>,
    counted_mj: u64,
    estimated_mj: u64,
}

impl DeviceMemory {
    /// Adds energy to what was counted in total; called with every energy that goes into a row.
    pub fn count(&mut self, energy: Energy) -> Result<(), Overflow> {
        let total = if energy.estimated { &mut self.estimated_mj } else { &mut self.counted_mj };
        *total = total.checked_add(energy.mj).ok_or(Overflow("Millijoules"))?;
        Ok(())
    }

    /// What is remembered now, so that [`DeviceMemory::undo`] can bring it back.
    pub fn begin(&mut self) -> Before {
        self.covered.begin();
        self.bridged.begin();
        let live = self.heads.first().copied();
        Before { live, counted_mj: self.counted_mj, estimated_mj: self.estimated_mj }
    }

    /// Heads are about to come, go or change places. Where the live one stood when the batch began is in
    /// [`Before`].
    pub fn heads_may_change(&mut self) {
        if self.heads_before.is_none() {
            self.heads_before = Some(self.heads.clone());
        }
    }

    /// What came since [`DeviceMemory::begin`] stays.
    pub fn settle(&mut self) {
        self.covered.keep();
        self.bridged.keep();
        self.heads_before = None;
    }

    /// What came since [`DeviceMemory::begin`] never came.
    pub fn undo(&mut self, before: &Before) {
        self.covered.undo();
        self.bridged.undo();
        if let Some(heads) = self.heads_before.take() {
            self.heads = heads;
        }
        if let (Some(now), Some(live)) = (self.heads.first_mut(), before.live) {
            *now = live;
        }
        (self.counted_mj, self.estimated_mj) = (before.counted_mj, before.estimated_mj);
    }

    /// Takes in what another node remembers of the same device. Nothing is remembered here but in
    /// ledgers of the first version, which left a part of it with each node that had the device.
    pub fn absorb(&mut self, other: Self) -> Result<(), Overflow> {
        if self.heads.is_empty() && self.covered.spans().is_empty() {
            *self = other;
            return Ok(());
        }
        for (own, other) in [(&mut self.covered, &other.covered), (&mut self.bridged, &other.bridged)] {
            for span in other.spans() {
                own.claim(span.from, span.to, &mut Vec::new());
            }
        }
        let known: Vec<Epoch> = self.heads.iter().map(|head| head.epoch).collect();
        self.heads.extend(other.heads.into_iter().filter(|head| !known.contains(&head.epoch)));
        self.heads.sort_by_key(|head| std::cmp::Reverse(head.at_ms));
        self.heads.truncate(HEADS_MAX);
        let sum = |a: u64, b: u64| a.checked_add(b).ok_or(Overflow("Millijoules"));
        self.counted_mj = sum(self.counted_mj, other.counted_mj)?;
        self.estimated_mj = sum(self.estimated_mj, other.estimated_mj)?;
        Ok(())
    }
}

/// A stored state cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored state of a node cannot be read: {0}")]
pub struct StateError(String);

/// What is remembered of a whole node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeMemory {
    pub devices: BTreeMap<Device, DeviceMemory>,
}
