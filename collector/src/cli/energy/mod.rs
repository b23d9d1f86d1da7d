//! The ledger's hour rows added up for the energy report.
//!
//! Rows are taken as they come, piece by piece, and added up by the numbers that the ledger has for
//! things; only what is left at the end gets names. Memory grows with the report and the register, not
//! with the period.

mod names;
mod nodes;
mod sum;
#[cfg(test)]
mod tests;

use crate::report::energy::{Dimension, EnergyRow, Source};
use gpuledger_ledger::stream::ATTEMPTS_MAX;
use gpuledger_ledger::{
    Columns, Day, GpuHours, GpuRecord, HourRange, Ledger, LedgerError, NodeRecord, OwnerRecord, Wanted,
};
use gpuledger_units::Overflow;
use names::Names;
use nodes::NodeDays;
use std::collections::BTreeMap;
use sum::Sum;

const OPERATION: &str = "add up energy";

/// Whether a report by these adds up GPUs alone; else nodes, with their own energy where they know it.
fn is_of_gpus(by: &[Dimension]) -> bool {
    by.iter().any(|dimension| matches!(dimension, Dimension::Gpu | Dimension::Model | Dimension::Owner))
}

/// What rows refer to by number.
pub struct Register {
    pub nodes: Vec<NodeRecord>,
    pub gpus: Vec<GpuRecord>,
    pub owners: Vec<OwnerRecord>,
}

impl Register {
    pub async fn read(ledger: &dyn Ledger) -> Result<Self, LedgerError> {
        let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
        Ok(Self { nodes, gpus, owners: ledger.all_owners().await? })
    }
}

/// What a row of the report is about, by number; 0 is what was not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    /// Hour, day, or first day of the month.
    time: u32,
    node: u32,
    gpu: u32,
    model: u32,
    owner: u32,
}

/// A report while it is added up.
struct Tally<'a> {
    by: &'a [Dimension],
    names: Names<'a>,
    sums: BTreeMap<Group, Sum>,
}

/// The rows of the report, in the order of their keys; from the beginning again where a file of closed days
/// became a newer one meanwhile.
pub async fn rows(
    ledger: &dyn Ledger,
    register: &Register,
    range: HourRange,
    by: &[Dimension],
) -> Result<Vec<EnergyRow>, LedgerError> {
    let mut attempt = 1;
    loop {
        let mut tally = Tally { by, names: Names::of(register), sums: BTreeMap::new() };
        let read = if is_of_gpus(by) {
            add_gpus(ledger, range, &mut tally).await
        } else {
            add_nodes(ledger, range, &mut tally).await
        };
        match read {
            Ok(()) => return Ok(tally.rows()?),
            Err(LedgerError::Superseded { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// What is read of GPU rows, with so much of their keys.
fn wanted(range: HourRange, keys: Columns) -> Wanted {
    Wanted { columns: Columns::TIME.and(Columns::ENERGY).and(keys), ..Wanted::all(range) }
}

async fn add_gpus(ledger: &dyn Ledger, range: HourRange, tally: &mut Tally<'_>) -> Result<(), LedgerError> {
    let mut keys = Columns::NONE;
    if tally.by.contains(&Dimension::Hour) {
        keys = keys.and(Columns::HOUR);
    }
    if tally.by.contains(&Dimension::Owner) {
        keys = keys.and(Columns::OWNER);
    }
    let mut stream = ledger.gpu_hours(&wanted(range, keys)).await?;
    while let Some(piece) = stream.next().await? {
        tally.add_gpus(&piece)?;
    }
    Ok(())
}

/// Day by day: the node's own energy, else that of its GPUs.
async fn add_nodes(ledger: &dyn Ledger, range: HourRange, tally: &mut Tally<'_>) -> Result<(), LedgerError> {
    let mut days = NodeDays::new(&tally.names);
    let mut next = Day::of(range.from);
    let mut stream = ledger.gpu_hours(&wanted(range, Columns::HOUR)).await?;
    while let Some(piece) = stream.next().await? {
        while next < piece.day {
            days.end(ledger, range, next, tally).await?;
            next = Day(next.0 + 1);
        }
        days.add(&piece)?;
    }
    while next.first_hour() < range.to {
        days.end(ledger, range, next, tally).await?;
        next = Day(next.0 + 1);
    }
    Ok(())
}

impl Tally<'_> {
    /// Adds rows of GPUs, run by run of those that are of one group.
    fn add_gpus(&mut self, piece: &GpuHours) -> Result<(), LedgerError> {
        let by = |dimension| self.by.contains(&dimension);
        let hours = if by(Dimension::Hour) { Some(sum::need(piece.hour.as_ref())?) } else { None };
        let owners = if by(Dimension::Owner) { Some(sum::need(piece.owner.as_ref())?) } else { None };
        let (by_node, by_gpu, by_model) = (by(Dimension::Node), by(Dimension::Gpu), by(Dimension::Model));
        let of_day = if by(Dimension::Day) {
            piece.day.0
        } else if by(Dimension::Month) {
            names::first_of_month(piece.day).0
        } else {
            0
        };
        // Neighbours are mostly of one group, too.
        let mut open = (Group::default(), Sum::EMPTY);
        let mut start = 0;
        while start < piece.rows {
            let mut end = piece.gpu.run(start, piece.rows);
            for keys in [hours, owners].into_iter().flatten() {
                end = keys.run(start, end);
            }
            let gpu = sum::need(piece.gpu.at(start).as_ref()).copied()?;
            let of = |keys: Option<&gpuledger_ledger::Values<u32>>| keys.and_then(|keys| keys.at(start));
            let group = Group {
                time: of(hours).unwrap_or(of_day),
                node: if by_node { self.names.node_of(gpu) } else { 0 },
                gpu: if by_gpu { gpu } else { 0 },
                model: if by_model { self.names.model_of(gpu) } else { 0 },
                owner: of(owners).unwrap_or_default(),
            };
            let sum = Sum::of_gpus(piece, start..end)?;
            if group != open.0 {
                self.add(open)?;
                open = (group, Sum::EMPTY);
            }
            open.1.add(sum)?;
            start = end;
        }
        Ok(self.add(open)?)
    }

    fn add(&mut self, (group, sum): (Group, Sum)) -> Result<(), Overflow> {
        // Nothing was there at all where there is no source.
        if sum.source.is_none() { Ok(()) } else { self.sums.entry(group).or_insert(Sum::EMPTY).add(sum) }
    }

    /// Rows by what was asked for, in the order of their keys.
    fn rows(self) -> Result<Vec<EnergyRow>, Overflow> {
        // Two numbers may have one name, as those of two owners.
        let mut sums: BTreeMap<Vec<String>, Sum> = BTreeMap::new();
        for (group, sum) in &self.sums {
            let key = self.by.iter().map(|&dimension| self.names.tell(dimension, group)).collect();
            sums.entry(key).or_insert(Sum::EMPTY).add(*sum)?;
        }
        Ok(sums.into_iter().map(|(key, sum)| row(self.by, key, sum)).collect())
    }
}

fn row(by: &[Dimension], key: Vec<String>, sum: Sum) -> EnergyRow {
    let mut row = EnergyRow {
        node: None,
        gpu: None,
        model: None,
        owner: None,
        hour: None,
        day: None,
        month: None,
        energy_mj: sum.energy,
        observed_ms: sum.observed,
        source: sum.source.unwrap_or(Source::GpuCounter),
    };
    for (&dimension, name) in by.iter().zip(key) {
        let field = match dimension {
            Dimension::Node => &mut row.node,
            Dimension::Gpu => &mut row.gpu,
            Dimension::Model => &mut row.model,
            Dimension::Owner => &mut row.owner,
            Dimension::Hour => &mut row.hour,
            Dimension::Day => &mut row.day,
            Dimension::Month => &mut row.month,
        };
        *field = Some(name);
    }
    row
}
