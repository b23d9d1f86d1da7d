//! What is added up: time by state, energy, and energy × price, of one holder of one GPU.

use crate::error::TcoError;
use crate::usage::{GpuRow, NOBODY, UNKNOWN};

/// Who or what a stretch of GPU-time belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Owner number; see [`Usage::owners`].
    Owner(u32),
    Free,
    Down,
    Unmonitored,
}

impl Holder {
    /// Who the energy of a row that nobody owns belongs to.
    pub(super) fn of_nobody(row: &GpuRow) -> Self {
        if row.free_ms > 0 {
            Self::Free
        } else if row.down_ms > 0 {
            Self::Down
        } else {
            Self::Unmonitored
        }
    }

    /// Who a row belongs to.
    pub(super) fn of(row: &GpuRow) -> Self {
        match row.owner {
            NOBODY if row.active_ms == 0 && row.held_ms == 0 => Self::of_nobody(row),
            NOBODY => Self::Owner(UNKNOWN),
            owner => Self::Owner(owner),
        }
    }
}

/// What one holder had of one GPU in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    pub active_ms: u64,
    pub held_ms: u64,
    pub free_ms: u64,
    pub down_ms: u64,
    pub unmonitored_ms: u64,
    pub energy_mj: u64,
    /// The part of `energy_mj` that a counter or meter counted.
    pub counted_mj: u64,
    /// The part of `energy_mj` that was used while nobody looked.
    pub gap_mj: u64,
    /// Energy × price: mJ × 10⁻¹² per kWh.
    pub priced: i128,
    /// Energy × carbon intensity: mJ × 10⁻¹² g/kWh.
    pub carbon: i128,
}

impl Cell {
    /// Time of the cell: what shared costs are split by.
    pub fn time_ms(&self) -> u64 {
        [self.active_ms, self.held_ms, self.free_ms, self.down_ms, self.unmonitored_ms]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub(super) fn observed_ms(&self) -> u64 {
        self.time_ms().saturating_sub(self.unmonitored_ms)
    }

    pub(super) fn add_energy(&mut self, energy: &Energy) -> Result<(), TcoError> {
        plus(&mut self.energy_mj, energy.mj)?;
        plus(&mut self.counted_mj, energy.counted_mj)?;
        plus(&mut self.gap_mj, energy.gap_mj)?;
        plus_signed(&mut self.priced, energy.priced)?;
        plus_signed(&mut self.carbon, energy.carbon)
    }
}

/// Energy with its price and emissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Energy {
    pub(super) mj: u64,
    pub(super) counted_mj: u64,
    pub(super) gap_mj: u64,
    pub(super) priced: i128,
    pub(super) carbon: i128,
}

pub(crate) fn plus(sum: &mut u64, more: u64) -> Result<(), TcoError> {
    *sum = sum.checked_add(more).ok_or(TcoError::Overflow("a sum of time or energy"))?;
    Ok(())
}

pub(crate) fn plus_signed(sum: &mut i128, more: i128) -> Result<(), TcoError> {
    *sum = sum.checked_add(more).ok_or(TcoError::Overflow("a sum of priced energy"))?;
    Ok(())
}
