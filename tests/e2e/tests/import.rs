//! `import telemetry` on measured power of real servers, and its promises on small files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::{built, process};
use rust_decimal::Decimal;
use serde_json::Value;

const DATA: &str = "data/mlperf_h100_power";
const MAPPING: [&str; 8] =
    ["--node-column", "node", "--time-column", "t_ms", "--time-unit", "ms", "--power-column", "power_w"];

/// One ledger in a folder of its own.
struct Ledger {
    folder: tempfile::TempDir,
}

impl Ledger {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.arg("--ledger").arg(self.file("ledger.db")).args(arguments);
        Ok(command)
    }

    /// Imports and gives the summary.
    fn import(&self, file: &Path, arguments: &[&str]) -> Result<String> {
        process::run(self.command(&["import", "telemetry"])?.arg(file).args(arguments))
    }

    /// All that the ledger holds of the years that tests use.
    fn energy(&self, by: &str) -> Result<Vec<Value>> {
        let period = ["--from", "2024-01-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"];
        let mut command = self.command(&["report", "energy", "--format", "json", "--by", by])?;
        let report = process::run_json(command.args(period))?;
        Ok(report["rows"].as_array().context("rows")?.clone())
    }

    /// Sums of energy and observed time over all rows.
    fn sums(&self) -> Result<(u64, u64)> {
        let rows = self.energy("node,hour")?;
        let sum = |field: &str| rows.iter().map(|row| row[field].as_u64().unwrap_or(0)).sum();
        Ok((sum("energy_mj"), sum("observed_ms")))
    }
}

/// Kilowatt-hours with as many digits as the reference prints.
fn kwh(mj: u64) -> Decimal {
    (Decimal::from(mj) / Decimal::from(3_600_000_000u64)).round_dp(6).normalize()
}

/// A number of the reference, digit by digit.
fn printed(value: &Value) -> Result<Decimal> {
    Ok(value.to_string().parse::<Decimal>()?.normalize())
}

fn mj(row: &Value) -> Result<u64> {
    row["energy_mj"].as_u64().context("energy_mj is a whole number")
}

/// Energy by one field of the rows.
fn sums_by(rows: &[Value], field: &str) -> Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(row[field].as_str().context("key")?.to_owned()).or_default() += mj(row)?;
    }
    Ok(sums)
}

fn compare(run: &str, reference: &Value, rows: &[Value]) -> Result<()> {
    let total = kwh(rows.iter().map(mj).sum::<Result<u64>>()?);
    ensure!(
        total == printed(&reference["energy_kwh_trapezoid"])?,
        "{run}: {total} kWh, expected {reference}"
    );

    let nodes = sums_by(rows, "node")?;
    ensure!(
        nodes.len() == usize::try_from(reference["nodes"].as_u64().context("nodes")?)?,
        "{run}: {nodes:?}"
    );
    let extreme = |value: Option<&u64>| kwh(value.copied().unwrap_or(0));
    ensure!(extreme(nodes.values().min()) == printed(&reference["node_kwh_min"])?, "{run}: {nodes:?}");
    ensure!(extreme(nodes.values().max()) == printed(&reference["node_kwh_max"])?, "{run}: {nodes:?}");
    for (node, expected) in reference["per_node_kwh"].as_object().into_iter().flatten() {
        ensure!(kwh(nodes[node]) == printed(expected)?, "{run}: node {node}");
    }

    let hours = sums_by(rows, "hour")?;
    let expected = reference["by_utc_hour_kwh"].as_object().context("hours")?;
    ensure!(hours.len() == expected.len(), "{run}: {hours:?}");
    for (hour, energy) in &hours {
        let expected = &expected[&hour.replace(":00:00Z", ":00Z")];
        ensure!(
            kwh(*energy) == printed(expected)?,
            "{run}: {} kWh in {hour}, expected {expected}",
            kwh(*energy)
        );
    }

    let observed: u64 = rows.iter().filter_map(|row| row["observed_ms"].as_u64()).sum();
    let seconds = (Decimal::from(observed) / Decimal::ONE_THOUSAND).normalize();
    ensure!(seconds == printed(&reference["node_seconds"])?, "{run}: observed {seconds} s");
    Ok(())
}

#[test]
fn every_measured_run_has_the_reference_energy_by_node_and_hour_to_the_last_digit() -> Result<()> {
    let Some(data) = built::shared(DATA)? else { return Ok(()) };
    let reference: Value = serde_json::from_slice(&std::fs::read(data.join("reference.json"))?)?;
    let runs: Vec<csv::StringRecord> =
        csv::Reader::from_path(data.join("runs.csv"))?.records().collect::<Result<_, _>>()?;
    ensure!(runs.len() > 50, "{} runs", runs.len());
    let check = |run: &csv::StringRecord| -> Result<()> {
        let (file, name) = (&run[0], &run[1]);
        let ledger = Ledger::new()?;
        let filter = format!("run={name}");
        ledger.import(&data.join(file), &[&MAPPING[..], &["--where", &filter]].concat())?;
        compare(name, &reference["runs"][name], &ledger.energy("node,hour")?)
    };
    // Two at a time: each import is a process of its own.
    let (left, right) = runs.split_at(runs.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| right.iter().try_for_each(check));
        left.iter().try_for_each(check)?;
        other.join().map_err(|_| anyhow::anyhow!("the other half panicked"))?
    })
}

#[test]
fn the_large_run_agrees_with_the_published_energy_to_two_parts_in_ten_thousand() -> Result<()> {
    let Some(data) = built::shared(DATA)? else { return Ok(()) };
    let reference: Value = serde_json::from_slice(&std::fs::read(data.join("reference.json"))?)?;
    let published = printed(&reference["runs"]["ac-gpt3-64n-5848-2"]["published_kwh"])?;
    let ledger = Ledger::new()?;
    ledger.import(&data.join("gpt3_64node_ac.csv.gz"), &MAPPING)?;
    let ours = kwh(ledger.sums()?.0);
    let off = (ours - published).abs() / published;
    ensure!(off < Decimal::new(2, 4), "{ours} kWh, published {published}");
    Ok(())
}

#[test]
fn importing_again_changes_nothing_whatever_form_the_file_has() -> Result<()> {
    let Some(data) = built::shared(DATA)? else { return Ok(()) };
    let packed = data.join("llama2_8node_ac.csv.gz");
    let arguments = [&MAPPING[..], &["--where", "run=ac-llama2_70b_lora-8n-5740-10"]].concat();
    let ledger = Ledger::new()?;
    let first = ledger.import(&packed, &arguments)?;
    ensure!(first.contains("Added to"), "{first}");
    let rows = ledger.energy("node,hour")?;

    let second = ledger.import(&packed, &arguments)?;
    ensure!(second.contains("nothing was added"), "{second}");
    ensure!(ledger.energy("node,hour")? == rows);

    // Another file to the program, the same readings to the ledger.
    let plain = ledger.file("plain.csv");
    let mut text = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::MultiGzDecoder::new(std::fs::File::open(&packed)?),
        &mut text,
    )?;
    std::fs::write(&plain, text)?;
    let third = ledger.import(&plain, &arguments)?;
    ensure!(third.contains("counted before, not again") && third.contains("0.000000 kWh"), "{third}");
    ensure!(ledger.energy("node,hour")? == rows);
    Ok(())
}

#[test]
fn a_run_that_overlaps_another_in_time_is_counted_where_nobody_counted_yet() -> Result<()> {
    let Some(data) = built::shared(DATA)? else { return Ok(()) };
    let file = data.join("1node_mixed_ac.csv.gz");
    let runs = ["run=ac-bert-1n-5119-06", "run=ac-bert-1n-5119-07"];
    // From runs.csv: first and last reading of each. The second begins before the first ends.
    let union_ms = 1_715_341_868_448 - 1_715_341_080_337;
    let mut single = Vec::new();
    for run in runs {
        let ledger = Ledger::new()?;
        ledger.import(&file, &[&MAPPING[..], &["--where", run]].concat())?;
        single.push(ledger.sums()?.0);
    }
    for order in [[runs[0], runs[1]], [runs[1], runs[0]]] {
        let ledger = Ledger::new()?;
        ledger.import(&file, &[&MAPPING[..], &["--where", order[0]]].concat())?;
        let told = ledger.import(&file, &[&MAPPING[..], &["--where", order[1]]].concat())?;
        ensure!(told.contains("overlapping"), "{told}");
        let (energy, observed) = ledger.sums()?;
        ensure!(observed == union_ms, "observed {observed} ms of {union_ms}");
        ensure!(energy < single[0] + single[1], "the overlap is counted twice");
        ensure!(energy > *single.iter().max().context("two runs")?, "the second run is not counted");
    }
    Ok(())
}

#[test]
fn a_gpu_counter_is_counted_to_the_millijoule_through_a_reset() -> Result<()> {
    let ledger = Ledger::new()?;
    let file = ledger.file("gpus.csv");
    std::fs::write(
        &file,
        "time,uuid,joules\n\
         2024-05-17T15:59:58Z,GPU-a,1000.5\n2024-05-17T15:59:58Z,GPU-b,5\n\
         2024-05-17T16:00:02Z,GPU-a,1400.501\n2024-05-17T16:00:02Z,GPU-b,5\n\
         2024-05-17T16:00:06Z,GPU-a,7.25\n2024-05-17T16:00:06Z,GPU-b,6\n",
    )?;
    let mapping =
        ["--node", "gpu-01", "--gpu-column", "uuid", "--time-column", "time", "--time-unit", "rfc3339"];
    let counter = ["--energy-column", "joules", "--energy-unit", "J"];
    ledger.import(&file, &[&mapping[..], &counter[..]].concat())?;
    let rows = ledger.energy("gpu,hour")?;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row["gpu"].as_str(), row["hour"].as_str(), row["energy_mj"].as_u64()))
        .collect();
    // 400.001 J over four seconds, half of them in each hour; then a reset, and 7.25 J since.
    let (before, after) = (Some("2024-05-17T15:00:00Z"), Some("2024-05-17T16:00:00Z"));
    let expected = [
        (Some("GPU-a"), before, Some(200_000)),
        (Some("GPU-a"), after, Some(200_001 + 7_250)),
        (Some("GPU-b"), after, Some(1_000)),
    ];
    let told: Vec<_> = told.into_iter().filter(|row| row.2 != Some(0)).collect();
    ensure!(told == expected, "{told:?}");
    Ok(())
}

#[test]
fn a_hole_longer_than_the_longest_gap_is_unmonitored_and_reported() -> Result<()> {
    let ledger = Ledger::new()?;
    let file = ledger.file("hole.csv");
    std::fs::write(&file, "t,w\n1715900000,100\n1715900010,100\n1715903610,100\n1715903620,100\n")?;
    let mapping = ["--node", "a", "--time-column", "t", "--time-unit", "s", "--power-column", "w"];
    let told = ledger.import(&file, &mapping)?;
    ensure!(told.contains("1 longer than 60.0 s, 1.000 hours: unmonitored"), "{told}");
    ensure!(ledger.sums()? == (2_000_000, 20_000), "{:?}", ledger.sums()?);
    let wide = Ledger::new()?;
    wide.import(&file, &[&mapping[..], &["--longest-gap", "1h"]].concat())?;
    ensure!(wide.sums()? == (362_000_000, 3_620_000), "{:?}", wide.sums()?);
    Ok(())
}

#[test]
fn the_pause_between_two_imported_runs_is_not_observed() -> Result<()> {
    let ledger = Ledger::new()?;
    let mapping = ["--node", "a", "--time-column", "t", "--time-unit", "s", "--power-column", "w"];
    for (name, first) in [("one.csv", 1_715_900_000u64), ("two.csv", 1_715_900_040)] {
        let file = ledger.file(name);
        std::fs::write(&file, format!("t,w\n{first},100\n{},100\n", first + 10))?;
        ledger.import(&file, &mapping)?;
    }
    ensure!(ledger.sums()? == (2_000_000, 20_000), "{:?}", ledger.sums()?);
    Ok(())
}

#[test]
fn rows_in_any_order_give_the_same_ledger() -> Result<()> {
    let header = "n,t,w\n";
    let mut lines: Vec<String> = (0..500u64)
        .map(|i| format!("node-{},{},{}.5\n", i % 3, 1_715_990_300_000 + i * 700, 4_000 + (i * 7_919) % 997))
        .collect();
    let mapping = ["--node-column", "n", "--time-column", "t", "--time-unit", "ms", "--power-column", "w"];
    let mut ledgers = Vec::new();
    for _ in 0..2 {
        let ledger = Ledger::new()?;
        let file = ledger.file("rows.csv");
        std::fs::write(&file, format!("{header}{}", lines.concat()))?;
        ledger.import(&file, &mapping)?;
        ledgers.push(ledger.energy("node,hour")?);
        lines.sort_by_key(|line| {
            line.bytes().rev().map(u64::from).fold(0u64, |hash, b| hash.wrapping_mul(31) ^ b)
        });
    }
    ensure!(!ledgers[0].is_empty() && ledgers[0] == ledgers[1], "{ledgers:?}");
    Ok(())
}
