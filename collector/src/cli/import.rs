//! `import telemetry`: read and check the whole file, then write, then say what happened.

use super::Failure;
use super::progress::Progress;
use super::resolve::ImportTelemetry;
use crate::import::{self, ImportError, Mapping, Summary, table};
use crate::ingest::events::wall_ms;
use crate::report::number::{count, grouped, hours, kwh};
use crate::store::{Access, Location};
use gpuledger_units::{Millijoules, Millis};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Ledger(error) => error.into(),
            error if error.is_input() => Self::Usage(format!("{error}\nNothing was imported.")),
            error => Self::Runtime(error.to_string()),
        }
    }
}

pub async fn telemetry(task: ImportTelemetry) -> Result<(), Failure> {
    let mut progress = Progress::new(format!("reading {}", task.file.display()));
    let mut show = |done, whole| progress.show(done, whole);
    let table = table::read(&task.file, &task.mapping, wall_ms(), &mut show)?;
    drop(progress);
    let ledger = task.ledger.open(Access::Write).await?.ledger;
    let summary = import::feed::import(ledger.as_ref(), &table, &task.mapping).await?;
    let mut out = io::stdout().lock();
    tell(&mut out, &task.file, &task.ledger.location, &task.mapping, &summary)?;
    Ok(out.flush()?)
}

/// The summary for people.
fn tell(
    out: &mut dyn Write,
    file: &Path,
    ledger: &Location,
    mapping: &Mapping,
    summary: &Summary,
) -> io::Result<()> {
    let nodes: BTreeSet<_> = summary.series.iter().map(|s| &s.key.node).collect();
    let duplicates = summary.series.iter().map(|s| s.duplicates).sum();
    let first = summary.series.iter().map(|s| s.first_ms).min().unwrap_or(0);
    let last = summary.series.iter().map(|s| s.last_ms).max().unwrap_or(0);
    writeln!(out, "{}: {}", file.display(), mapping.subject())?;
    let gpus = match summary.series.iter().filter(|s| s.key.gpu.is_some()).count() {
        0 => String::new(),
        gpus => format!(", GPUs {}", grouped(gpus.into(), 0)),
    };
    writeln!(out, "  nodes         {}{gpus}", grouped(nodes.len().into(), 0))?;
    write!(
        out,
        "  readings      {}, of them {} of a moment that",
        count(summary.readings()),
        count(duplicates)
    )?;
    writeln!(out, " has one already; {} left out by --where", count(summary.filtered))?;
    let below_zero = summary.series.iter().map(|s| s.below_zero).sum();
    if below_zero > 0 {
        writeln!(out, "  below zero    {} readings: a meter's drift, counted as it is", count(below_zero))?;
    }
    writeln!(out, "  span          {} to {}", instant(first), instant(last))?;
    gaps(out, mapping, summary)?;
    added(out, ledger, summary)
}

fn gaps(out: &mut dyn Write, mapping: &Mapping, summary: &Summary) -> io::Result<()> {
    let longest =
        grouped(rust_decimal::Decimal::from(mapping.longest_gap_ms) / rust_decimal::Decimal::from(1_000), 1);
    let gaps: u64 = summary.series.iter().map(|s| s.gaps).sum();
    let time = summary.series.iter().map(|s| s.gap_time.0).sum();
    let time = grouped(hours(time, 3), 3);
    writeln!(out, "  gaps          {} longer than {longest} s, {time} hours: unmonitored", count(gaps))
}

fn added(out: &mut dyn Write, ledger: &Location, summary: &Summary) -> io::Result<()> {
    let amount = |energy: Millijoules, time: Millis| {
        format!("{} kWh in {} observed hours", grouped(kwh(energy, 6), 6), grouped(hours(time.0, 3), 3))
    };
    let (energy, time) = summary.overlapped();
    if summary.nothing_new() {
        return writeln!(out, "This import is in {ledger} already: nothing was added.");
    }
    if energy != Millijoules::ZERO || time != Millis::ZERO {
        writeln!(out, "  overlapping   {}: counted before, not again", amount(energy, time))?;
    }
    let known = summary.series.iter().filter(|s| s.known).count();
    if known > 0 {
        writeln!(out, "  known         {} series were imported before", grouped(known.into(), 0))?;
    }
    let counted = amount(summary.counted_energy, summary.counted_time);
    writeln!(out, "Added to {ledger}: {counted}.")
}

fn instant(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
