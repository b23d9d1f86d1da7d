//! Checks the promises over a whole ledger.
//!
//! The rows and the fold's memory are written together and say the same thing twice: the rows by
//! hour and owner, the memory as the time that was covered and the energy that was counted in total.
//! Whatever counts twice, loses or moves a unit in only one of them is found here. Rows are the store's,
//! those of closed days in their files, and what has expired, of which totals are kept.
//!
//! Everything in the store is read at one moment, so a collector may go on meanwhile. Rows are taken as
//! they come and closed days one by one: memory grows with the fleet and not with the ledger's age.

mod closed;
mod content;
mod faults;
mod register;
mod sums;
#[cfg(test)]
mod tests;

use content::{Content, Key, Remembered};
use faults::Faults;
use gpuledger_ledger::LedgerError;
use std::fmt;
use sums::Amounts;

pub use closed::{ClosedDays, Subject};

/// How often everything is read anew because closed days became newer ones meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// Which promise a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    CountedOnce,
    EnergyConserved,
    UnknownIsNotZero,
}

impl Promise {
    /// Its number in README.md.
    pub const fn number(self) -> u8 {
        match self {
            Self::CountedOnce => 1,
            Self::EnergyConserved => 2,
            Self::UnknownIsNotZero => 3,
        }
    }
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseCheck {
    pub name: &'static str,
    /// The promise that is broken where this is; `None` for what all of them stand on.
    pub promise: Option<Promise>,
    /// What was compared, for people.
    pub figures: String,
    /// What is wrong; empty where the promise holds.
    pub faults: Faults,
}

impl PromiseCheck {
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One line where the promise holds; with what is wrong below it otherwise.
impl fmt::Display for PromiseCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "ok    " } else { "BROKEN" };
        write!(f, "{verdict} {}", self.name)?;
        if let Some(promise) = self.promise {
            write!(f, " (promise {})", promise.number())?;
        }
        write!(f, ": {}{}", self.figures, self.faults)
    }
}

/// Checks every promise. `progress` is told of each closed day: how many are done, of how many.
pub async fn verify(
    subject: Subject<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Vec<PromiseCheck>, LedgerError> {
    let structure = subject.store.check().await?;
    let mut attempt = 1;
    let (content, days) = loop {
        let mut content = Content::read(subject.store).await?;
        let days = closed::read(subject, &mut content, progress).await?;
        // A file that was replaced and removed while we read is no fault: its successor is read.
        if attempt == ATTEMPTS_MAX || !days.is_stale(subject.store).await? {
            break (content, days);
        }
        attempt += 1;
    };
    let rows = content.sums.gpu_rows + content.sums.node_rows;
    let sound = PromiseCheck {
        name: "the store is sound",
        promise: None,
        figures: format!("{rows} rows, {} nodes, {} GPUs", content.nodes.len(), content.gpus.len()),
        faults: structure.into_iter().collect(),
    };
    Ok(vec![
        sound,
        days.check(),
        register::rows_are_registered(&content),
        register::one_memory_a_gpu(&content),
        register::one_node_an_epoch(&content),
        counted_once(&content),
        energy_conserved(&content),
        hours_add_up(&content),
        unknown_is_not_zero(&content),
    ])
}

/// Time in the rows is the time that the fold has covered, which it never covers twice.
fn counted_once(content: &Content) -> PromiseCheck {
    let mut faults: Faults = content.unreadable.iter().cloned().collect();
    let (mut compared, mut total) = (0, 0);
    for (key, rows, memory) in compare(content) {
        compared += 1;
        total += rows.observed_ms;
        let (counted, covered) = (rows.observed_ms, memory.covered_ms);
        if counted > covered {
            let (name, more) = (content.name(key), counted - covered);
            faults.add(|| {
                format!("{name}: rows hold {counted} ms, {covered} ms were observed: {more} ms too many")
            });
        } else if counted < covered && !memory.closed_gaps {
            let (name, lost) = (content.name(key), covered - counted);
            faults.add(|| {
                format!("{name}: rows hold {counted} ms, {covered} ms were observed: {lost} ms are lost")
            });
        }
    }
    PromiseCheck {
        name: "every millisecond is counted once",
        promise: Some(Promise::CountedOnce),
        figures: format!("{total} ms in the rows of {compared} devices"),
        faults,
    }
}

/// Energy in the rows is the increase of the counters that the fold has added up.
fn energy_conserved(content: &Content) -> PromiseCheck {
    let mut faults = Faults::default();
    let (mut compared, mut total) = (0, 0);
    for (key, rows, memory) in compare(content) {
        compared += 1;
        total += rows.counter_mj + rows.estimated_mj;
        let kinds = [
            ("by counter", rows.counter_mj, memory.counted_mj),
            ("estimated", rows.estimated_mj, memory.estimated_mj),
        ];
        for (kind, stored, counted) in kinds {
            if stored != counted {
                let name = content.name(key);
                faults.add(|| format!("{name}: rows hold {stored} mJ {kind}, {counted} mJ were counted"));
            }
        }
    }
    PromiseCheck {
        name: "energy is conserved",
        promise: Some(Promise::EnergyConserved),
        figures: format!("{total} mJ in the rows of {compared} devices"),
        faults,
    }
}

/// Everything that rows or memory speak of.
fn compare(content: &Content) -> impl Iterator<Item = (Key, Amounts, Remembered)> {
    content.subjects().into_iter().map(|key| {
        let rows = content.sums.amounts.get(&key).copied().unwrap_or_default();
        (key, rows, content.memories.get(&key).copied().unwrap_or_default())
    })
}

fn hours_add_up(content: &Content) -> PromiseCheck {
    PromiseCheck {
        name: "the states of an hour fit the hour",
        promise: Some(Promise::CountedOnce),
        figures: format!("{} GPU hours, {} node hours", content.sums.gpu_hours, content.sums.node_rows),
        faults: content.sums.too_long.clone(),
    }
}

fn unknown_is_not_zero(content: &Content) -> PromiseCheck {
    PromiseCheck {
        name: "unknown is never zero",
        promise: Some(Promise::UnknownIsNotZero),
        figures: format!(
            "utilisation is known for {} of {} ms of GPUs; the rest is told as unknown",
            content.sums.busy_known_ms, content.sums.gpu_observed_ms
        ),
        faults: content.sums.too_known.clone(),
    }
}
