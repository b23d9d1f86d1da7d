//! What one batch changes, kept apart until all of the batch is folded: a batch that is refused in
//! its midst changes nothing.
//!
//! Invariants: a draft's rows are the pending ones with the batch added, so that they replace them. The
//! memories of devices are changed in place, since nearly no batch is refused, and undone where one is.

use super::FoldError;
use super::rows::{Pending, Shares, split_row};
use super::state::{Before, DEVICES_PER_NODE_MAX, Device, DeviceMemory, NodeMemory};
use gpuledger_ledger::{GpuHour, GpuHourKey, GpuKey, Hour, NodeHour, OwnerKey};
use std::collections::btree_map::Entry;

/// Rows that one batch may change: the hours of a node with 57 GPUs that was away for a year. About
/// 100 MiB. A clock that jumps to and fro could make a hundred times as many.
pub const ROWS_PER_BATCH_MAX: usize = 500_000;
/// Additions to rows that one batch may cause: two for each value of the largest batch. Jumps over the
/// same year again and again change few rows and take minutes.
const ADDITIONS_PER_BATCH_MAX: usize = 8_000_000;

/// Pending rows as they will be.
pub struct Draft<'a> {
    base: &'a Pending,
    new: Pending,
    /// The GPU's row that was added to last, which is the next one too nearly always.
    last: Option<(GpuHourKey, GpuHour)>,
    additions: usize,
}

impl<'a> Draft<'a> {
    pub fn of(base: &'a Pending) -> Self {
        Self { base, new: Pending::default(), last: None, additions: 0 }
    }

    /// The rows that changed, for [`Pending::replace`].
    pub fn changed(mut self) -> Pending {
        self.new.gpu_hours.extend(self.last);
        self.new
    }

    pub fn gpu_row(&mut self, hour: Hour, gpu: GpuKey, owner: OwnerKey) -> Result<&mut GpuHour, FoldError> {
        self.add()?;
        let key = GpuHourKey { hour, gpu, owner };
        if self.last.as_ref().is_none_or(|last| last.0 != key) {
            self.new.gpu_hours.extend(self.last.take());
            let known = self.new.gpu_hours.get(&key);
            if known.is_none() && self.new.rows() >= ROWS_PER_BATCH_MAX {
                return Err(FoldError::Rows);
            }
            let row = known.or_else(|| self.base.gpu_hours.get(&key)).copied().unwrap_or_default();
            return Ok(&mut self.last.insert((key, row)).1);
        }
        Ok(&mut self.last.get_or_insert_with(|| (key, GpuHour::default())).1)
    }

    pub fn node_row(&mut self, hour: Hour) -> Result<&mut NodeHour, FoldError> {
        self.add()?;
        let may_grow = self.new.rows() < ROWS_PER_BATCH_MAX;
        match self.new.node_hours.entry(hour) {
            Entry::Occupied(row) => Ok(row.into_mut()),
            Entry::Vacant(row) if may_grow => {
                Ok(row.insert(self.base.node_hours.get(&hour).copied().unwrap_or_default()))
            }
            Entry::Vacant(_) => Err(FoldError::Rows),
        }
    }

    /// Adds one contribution to the rows of all owners, each quantity split by their shares.
    pub fn add_shared(
        &mut self,
        hour: Hour,
        gpu: GpuKey,
        shares: &Shares,
        row: &GpuHour,
    ) -> Result<(), FoldError> {
        if let [(owner, _)] = shares {
            self.gpu_row(hour, gpu, *owner)?.merge(row)?;
            return Ok(());
        }
        for (part, &(owner, _)) in split_row(row, shares)?.iter().zip(shares) {
            self.gpu_row(hour, gpu, owner)?.merge(part)?;
        }
        Ok(())
    }

    pub fn saw_gpu(&mut self, gpu: GpuKey, at_ms: u64) {
        self.new.saw_gpu(gpu, at_ms);
    }

    pub fn saw_node(&mut self, at_ms: u64) {
        self.new.saw_node(at_ms);
    }

    fn add(&mut self) -> Result<(), FoldError> {
        self.additions += 1;
        if self.additions > ADDITIONS_PER_BATCH_MAX {
            return Err(FoldError::Rows);
        }
        Ok(())
    }
}

/// The memories of a node's devices while one batch is folded.
pub struct Trial<'a> {
    memory: &'a mut NodeMemory,
    /// What each device that was touched was before; nothing where it was not known.
    before: Vec<(Device, Option<Before>)>,
}

impl<'a> Trial<'a> {
    pub fn of(memory: &'a mut NodeMemory) -> Self {
        Self { memory, before: Vec::new() }
    }

    /// The memory of a device, which may be a new one.
    pub fn device(&mut self, device: Device) -> Result<&mut DeviceMemory, FoldError> {
        let known = self.memory.devices.len();
        match self.memory.devices.entry(device) {
            Entry::Occupied(memory) => {
                let memory = memory.into_mut();
                if !self.before.iter().any(|before| before.0 == device) {
                    self.before.push((device, Some(memory.begin())));
                }
                Ok(memory)
            }
            Entry::Vacant(memory) if known < DEVICES_PER_NODE_MAX => {
                self.before.push((device, None));
                Ok(memory.insert(DeviceMemory::default()))
            }
            Entry::Vacant(_) => Err(FoldError::Devices),
        }
    }

    pub fn keep(self) {
        for (device, _) in self.before {
            if let Some(memory) = self.memory.devices.get_mut(&device) {
                memory.settle();
            }
        }
    }

    pub fn undo(self) {
        for (device, before) in self.before {
            match (before, self.memory.devices.get_mut(&device)) {
                (Some(before), Some(memory)) => memory.undo(before),
                _ => drop(self.memory.devices.remove(&device)),
            }
        }
    }
}
