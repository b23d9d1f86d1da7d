//! Time, energy and emissions of a group: sums over its cells.

use crate::decimal::{from_u128, hours, ratio};
use crate::error::TcoError;
use crate::statement::{Coverage, StateHours};
use crate::tally::{Cell, plus_signed};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// Sums over cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) gpus: BTreeSet<usize>,
    active_ms: u128,
    held_ms: u128,
    free_ms: u128,
    down_ms: u128,
    unmonitored_ms: u128,
    pub(crate) energy_mj: u128,
    counted_mj: u128,
    gap_mj: u128,
    /// Of each site that used energy.
    pub(crate) carbon: BTreeMap<usize, i128>,
}

impl Figures {
    pub(crate) fn add(&mut self, gpu: usize, site: usize, cell: &Cell) -> Result<(), TcoError> {
        if cell.time_ms() > 0 {
            self.gpus.insert(gpu);
        }
        let mut other = Self {
            active_ms: cell.active_ms.into(),
            held_ms: cell.held_ms.into(),
            free_ms: cell.free_ms.into(),
            down_ms: cell.down_ms.into(),
            unmonitored_ms: cell.unmonitored_ms.into(),
            energy_mj: cell.energy_mj.into(),
            counted_mj: cell.counted_mj.into(),
            gap_mj: cell.gap_mj.into(),
            ..Self::default()
        };
        if cell.energy_mj > 0 {
            other.carbon.insert(site, cell.carbon);
        }
        self.merge(&other)
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), TcoError> {
        let sums = [
            (&mut self.active_ms, other.active_ms),
            (&mut self.held_ms, other.held_ms),
            (&mut self.free_ms, other.free_ms),
            (&mut self.down_ms, other.down_ms),
            (&mut self.unmonitored_ms, other.unmonitored_ms),
            (&mut self.energy_mj, other.energy_mj),
            (&mut self.counted_mj, other.counted_mj),
            (&mut self.gap_mj, other.gap_mj),
        ];
        for (sum, more) in sums {
            *sum = sum.checked_add(more).ok_or(TcoError::Overflow("a sum of time or energy"))?;
        }
        for (&site, &integral) in &other.carbon {
            plus_signed(self.carbon.entry(site).or_default(), integral)?;
        }
        self.gpus.extend(&other.gpus);
        Ok(())
    }

    pub(crate) fn observed_ms(&self) -> u128 {
        [self.active_ms, self.held_ms, self.free_ms, self.down_ms].into_iter().fold(0, u128::saturating_add)
    }

    pub(crate) fn time_ms(&self) -> u128 {
        self.observed_ms().saturating_add(self.unmonitored_ms)
    }

    pub(crate) fn hours(&self) -> Result<StateHours, TcoError> {
        Ok(StateHours {
            in_service: hours(self.time_ms())?,
            active: hours(self.active_ms)?,
            held_idle: hours(self.held_ms)?,
            free: hours(self.free_ms)?,
            down: hours(self.down_ms)?,
            unmonitored: hours(self.unmonitored_ms)?,
        })
    }

    pub(crate) fn coverage(&self) -> Result<Coverage, TcoError> {
        let of = |part: u128, whole: u128| -> Result<Option<Decimal>, TcoError> {
            ratio(from_u128(part)?, from_u128(whole)?)
        };
        Ok(Coverage {
            observed_ratio: of(self.observed_ms(), self.time_ms())?,
            counted_energy_ratio: of(self.counted_mj, self.energy_mj)?,
            gap_energy_ratio: of(self.gap_mj, self.energy_mj)?,
        })
    }
}
