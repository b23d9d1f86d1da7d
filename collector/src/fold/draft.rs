//! What one batch changes, kept apart until all of the batch is folded: a batch that is refused in
//! its midst changes nothing.
//!
//! Invariant: a draft's rows are the pending ones with the batch added, so that they replace them.

use super::FoldError;
use super::rows::{Pending, Shares, split_row};
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
    additions: usize,
}

impl<'a> Draft<'a> {
    pub fn of(base: &'a Pending) -> Self {
        Self { base, new: Pending::default(), additions: 0 }
    }

    /// The rows that changed, for [`Pending::replace`].
    pub fn changed(self) -> Pending {
        self.new
    }

    pub fn gpu_row(&mut self, hour: Hour, gpu: GpuKey, owner: OwnerKey) -> Result<&mut GpuHour, FoldError> {
        let may_grow = self.add()?;
        let key = GpuHourKey { hour, gpu, owner };
        match self.new.gpu_hours.entry(key) {
            Entry::Occupied(row) => Ok(row.into_mut()),
            Entry::Vacant(row) if may_grow => {
                Ok(row.insert(self.base.gpu_hours.get(&key).copied().unwrap_or_default()))
            }
            Entry::Vacant(_) => Err(FoldError::Rows),
        }
    }

    pub fn node_row(&mut self, hour: Hour) -> Result<&mut NodeHour, FoldError> {
        let may_grow = self.add()?;
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

    /// Counts an addition; gives whether there may be another row.
    fn add(&mut self) -> Result<bool, FoldError> {
        self.additions += 1;
        if self.additions > ADDITIONS_PER_BATCH_MAX {
            return Err(FoldError::Rows);
        }
        Ok(self.new.rows() < ROWS_PER_BATCH_MAX)
    }
}
