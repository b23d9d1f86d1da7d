//! What an import found in the file and what of it was new.

use super::ImportError;
use super::integrate::{Row, Sample};
use super::mapping::{Mapping, Quantity};
use super::table::SeriesKey;
use gpuledger_ledger::{LedgerError, NodeCommit};
use gpuledger_units::{Millijoules, Millis};

/// One series as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesSummary {
    pub key: SeriesKey,
    pub readings: u64,
    /// Readings of a moment that has one already.
    pub duplicates: u64,
    /// Readings of power below zero: a meter's drift, integrated as it is.
    pub below_zero: u64,
    pub first_ms: u64,
    pub last_ms: u64,
    /// Energy between its readings, gaps left out; for a counter, its whole increase.
    pub energy: Millijoules,
    /// Time between readings that are not further apart than the longest gap.
    pub observed: Millis,
    /// Intervals longer than the longest gap, and their time.
    pub gaps: u64,
    pub gap_time: Millis,
    /// The very same series was imported before.
    pub known: bool,
}

/// The whole import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// In the order of node and GPU.
    pub series: Vec<SeriesSummary>,
    /// Rows that `--where` left out.
    pub filtered: u64,
    /// What was added to the ledger's rows.
    pub counted_energy: Millijoules,
    pub counted_time: Millis,
}

impl SeriesSummary {
    pub(super) fn of(key: &SeriesKey, rows: &[Row], samples: &[Sample], mapping: &Mapping) -> Self {
        let mut summary = Self {
            key: key.clone(),
            readings: count(rows.len()),
            duplicates: 0,
            below_zero: count(rows.iter().filter(|row| row.value < 0).count()),
            first_ms: rows.first().map_or(0, |row| row.wall_ms),
            last_ms: rows.last().map_or(0, |row| row.wall_ms),
            energy: Millijoules(increase(samples)),
            observed: Millis::ZERO,
            gaps: 0,
            gap_time: Millis::ZERO,
            known: false,
        };
        for pair in rows.windows(2) {
            let span = pair[1].wall_ms - pair[0].wall_ms;
            if span == 0 {
                summary.duplicates += 1;
            } else if span > mapping.longest_gap_ms {
                summary.gaps += 1;
                summary.gap_time.0 += span;
            } else {
                summary.observed.0 += span;
            }
        }
        // A GPU is observed only where its state is known, and power alone does not tell it.
        if key.gpu.is_some() {
            summary.observed = Millis::ZERO;
        }
        summary
    }
}

/// How much a cumulative energy rose; what follows a reset is a rise from zero.
fn increase(samples: &[Sample]) -> u64 {
    let step = |pair: &[Sample]| {
        let (before, after) = (pair[0].energy_mj, pair[1].energy_mj);
        after.checked_sub(before).unwrap_or(after)
    };
    samples.windows(2).map(step).fold(0, u64::saturating_add)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Summary {
    pub(super) fn known(&mut self, key: &SeriesKey) {
        if let Some(series) = self.series.iter_mut().find(|series| series.key == *key) {
            series.known = true;
        }
    }

    pub(super) fn count(&mut self, commit: &NodeCommit) -> Result<(), ImportError> {
        let overflow = |e| ImportError::Ledger(LedgerError::Overflow(e));
        for (_, row) in &commit.node_hours {
            self.counted_energy.add(row.counter_mj).map_err(overflow)?;
            self.counted_energy.add(row.estimated_mj).map_err(overflow)?;
            self.counted_time.add(row.observed_ms).map_err(overflow)?;
        }
        for (_, row) in &commit.gpu_hours {
            self.counted_energy.add(row.energy().map_err(overflow)?).map_err(overflow)?;
            self.counted_time.add(row.observed().map_err(overflow)?).map_err(overflow)?;
        }
        Ok(())
    }

    /// True where nothing was new because the same file was imported before.
    pub fn nothing_new(&self) -> bool {
        self.series.iter().all(|series| series.known)
    }

    pub fn readings(&self) -> u64 {
        self.series.iter().map(|series| series.readings).sum()
    }

    /// Energy and time of series that were not imported before, as the file has them.
    pub fn offered(&self) -> (Millijoules, Millis) {
        let fresh = || self.series.iter().filter(|series| !series.known);
        (Millijoules(fresh().map(|s| s.energy.0).sum()), Millis(fresh().map(|s| s.observed.0).sum()))
    }

    /// Energy and time that the ledger had counted already.
    pub fn overlapped(&self) -> (Millijoules, Millis) {
        let (energy, time) = self.offered();
        (
            energy.minus(self.counted_energy).unwrap_or(Millijoules::ZERO),
            time.minus(self.counted_time).unwrap_or(Millis::ZERO),
        )
    }
}

impl Mapping {
    /// What the readings are, for people.
    pub fn subject(&self) -> &'static str {
        match (&self.quantity, self.gpu_column.is_some()) {
            (Quantity::Power { .. }, false) => "power of nodes",
            (Quantity::Power { .. }, true) => "power of GPUs",
            (Quantity::Energy { .. }, false) => "energy counters of nodes",
            (Quantity::Energy { .. }, true) => "energy counters of GPUs",
        }
    }
}
