//! Rows of the ledger below what was explained with them.

use super::columns::{Align, Table};
use super::number::{count, grouped, hours, kwh};
use super::table::shortened;
use gpuledger_units::Millijoules;
use std::io::{self, Write};

/// Columns of a GPU's and of an owner's name.
const NAME: usize = 24;

/// What one owner had of one GPU in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// RFC 3339, UTC: when the hour begins.
    pub hour: String,
    pub gpu: String,
    /// As the ledger has it, before any rule of cost centres; empty for nobody.
    pub owner: String,
    pub times: Times,
}

/// Time (ms) by state, and energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    pub active: u64,
    pub held: u64,
    pub free: u64,
    pub down: u64,
    pub energy: Millijoules,
}

impl Times {
    pub fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.active, other.active),
            (&mut self.held, other.held),
            (&mut self.free, other.free),
            (&mut self.down, other.down),
            (&mut self.energy.0, other.energy.0),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    fn cells(self) -> impl Iterator<Item = String> {
        let times = [self.active, self.held, self.free, self.down].map(|ms| grouped(hours(ms, 3), 3));
        times.into_iter().chain([grouped(kwh(self.energy, 4), 4)])
    }
}

/// The rows that something was added up from: the first of them, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerRows {
    /// Whose they are: "of gpu-01".
    pub of: String,
    pub count: u64,
    pub shown: Vec<LedgerRow>,
    pub total: Times,
}

pub fn write(rows: &LedgerRows, out: &mut dyn Write) -> io::Result<()> {
    if rows.count == 0 {
        return writeln!(out, "No ledger rows {} in this period.", rows.of);
    }
    writeln!(out, "{} ledger rows {}", count(rows.count), rows.of)?;
    let names = ["hour (UTC)", "gpu", "owner"].map(|name| (name, Align::Left));
    let numbers = ["active h", "held h", "free h", "down h", "kWh"].map(|name| (name, Align::Right));
    let mut table = Table::new(&names.into_iter().chain(numbers).collect::<Vec<_>>());
    for row in &rows.shown {
        let hour = row.hour.replace(":00:00Z", "").replace('T', " ");
        let owner = if row.owner.is_empty() { "–".to_owned() } else { shortened(&row.owner, NAME) };
        let names = [hour, shortened(&row.gpu, NAME), owner];
        table.rows.push(names.into_iter().chain(row.times.cells()).collect());
    }
    let left = rows.count.saturating_sub(u64::try_from(rows.shown.len()).unwrap_or(u64::MAX));
    if left > 0 {
        let more = [format!("… {} more", count(left)), String::new(), String::new()];
        table.rows.push(more.into_iter().chain((0..5).map(|_| String::new())).collect());
    }
    let all = ["sum".to_owned(), String::new(), String::new()];
    table.total = Some(all.into_iter().chain(rows.total.cells()).collect());
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_are_shown_and_all_are_counted() {
        let times = Times { active: 1_800_000, energy: Millijoules(3_600_000_000), ..Times::default() };
        let row = LedgerRow {
            hour: "2026-10-01T00:00:00Z".to_owned(),
            gpu: "GPU-1".to_owned(),
            owner: "team-a".to_owned(),
            times,
        };
        let mut total = times;
        total.add(times);
        let rows = LedgerRows { of: "of team-a".to_owned(), count: 2, shown: vec![row], total };
        let mut out = Vec::new();
        write(&rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in ["2 ledger rows of team-a", "2026-10-01 00  GPU-1  team-a", "0.500", "… 1 more", "2.0000"]
        {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
