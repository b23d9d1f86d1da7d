//! What rows add up to.

use super::OPERATION;
use crate::report::energy::Source;
use gpuledger_ledger::{GpuHours, LedgerError, NodeHour, Values};
use gpuledger_units::{Millijoules, Millis, Overflow};
use std::ops::Range;

/// A row of the report while it is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    pub energy: Millijoules,
    pub observed: Millis,
    /// `None` where there was nothing yet.
    pub source: Option<Source>,
}

impl Sum {
    pub const EMPTY: Self = Self { energy: Millijoules::ZERO, observed: Millis::ZERO, source: None };

    /// Some rows of a piece together.
    pub fn of_gpus(piece: &GpuHours, rows: Range<usize>) -> Result<Self, LedgerError> {
        let mut observed = Millis::ZERO;
        for state in [&piece.active_ms, &piece.held_ms, &piece.free_ms, &piece.down_ms] {
            observed.add(Millis(need(state.as_ref())?.sum(rows.clone())?))?;
        }
        let (counter, estimated) = (need(piece.counter_mj.as_ref())?, need(piece.estimated_mj.as_ref())?);
        let energy =
            Millijoules(counter.sum(rows.clone())?).plus(Millijoules(estimated.sum(rows.clone())?))?;
        // Hardly any driver has no counter: nothing is looked at row by row where all have.
        let source = if estimated.any(rows.clone()) {
            let sources = rows.map(|row| source_of(above_zero(counter, row), above_zero(estimated, row)));
            sources.reduce(Source::and)
        } else {
            Some(Source::GpuCounter).filter(|_| !rows.is_empty())
        };
        Ok(Self { energy, observed, source })
    }

    /// The node's own energy, where it has one in this hour.
    pub fn of_node(row: &NodeHour) -> Result<Option<Self>, Overflow> {
        let source = match (row.counter_mj.0 > 0, row.estimated_mj.0 > 0) {
            (true, true) => Source::Mixed,
            (false, true) => Source::NodePower,
            (true, false) => Source::NodeCounter,
            (false, false) if row.metered_ms.0 > 0 => Source::NodePower,
            (false, false) => return Ok(None),
        };
        let energy = row.counter_mj.plus(row.estimated_mj)?;
        Ok(Some(Self { energy, observed: row.observed_ms, source: Some(source) }))
    }

    pub fn add(&mut self, other: Self) -> Result<(), Overflow> {
        self.energy.add(other.energy)?;
        self.observed.add(other.observed)?;
        self.source = match (self.source, other.source) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        Ok(())
    }
}

fn above_zero(values: &Values<u64>, row: usize) -> bool {
    values.at(row).is_some_and(|value| value > 0)
}

const fn source_of(counted: bool, estimated: bool) -> Source {
    match (counted, estimated) {
        (true, true) => Source::Mixed,
        (false, true) => Source::GpuPower,
        (_, false) => Source::GpuCounter,
    }
}

/// A column that was asked for, and so is there.
pub fn need<T>(column: Option<&T>) -> Result<&T, LedgerError> {
    column.ok_or_else(|| LedgerError::Failed {
        operation: OPERATION,
        reason: "rows came without a column that was asked for".to_owned(),
    })
}
