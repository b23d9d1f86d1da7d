//! `report tco`: what every grouping and every format must agree on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::{built, process};
use rust_decimal::Decimal;
use serde_json::Value;

const MAPPING: [&str; 8] =
    ["--node-column", "node", "--time-column", "t_ms", "--time-unit", "ms", "--power-column", "power_w"];
const MAY: [&str; 4] = ["--from", "2024-05-01", "--to", "2024-06-01"];

/// A ledger and a register in a folder of their own.
struct Books {
    folder: tempfile::TempDir,
}

impl Books {
    fn new(fleet: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("fleet.toml"), fleet)?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.current_dir(self.folder.path());
        command.args(["--ledger", "ledger.db", "--fleet", "fleet.toml"]).args(arguments);
        Ok(command)
    }

    fn import(&self, file: &Path, run: &str) -> Result<()> {
        let filter = format!("run={run}");
        let mut command = self.command(&["import", "telemetry"])?;
        process::run(command.arg(file).args(MAPPING).args(["--where", &filter]))?;
        Ok(())
    }

    fn report(&self, arguments: &[&str]) -> Result<String> {
        process::run(&mut self.command(&[&["report", "tco"], &MAY[..], arguments].concat())?)
    }

    fn statement(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.report(&[arguments, &["--format", "json"]].concat())?)?)
    }
}

fn decimal(value: &Value) -> Result<Decimal> {
    let text = value.as_str().with_context(|| format!("{value} is not a decimal in quotes"))?;
    Ok(text.parse()?)
}

/// A register with every family of cost.
const FLEET: &str = "\
currency = \"EUR\"
time_zone = \"Europe/Berlin\"
capital_rate = \"0.06\"
[[site]]
name = \"dc1\"
pue = \"1.3\"
tariff = \"0.1871\"
colocation = { contracted_kw = \"12\", price_per_kw_month = \"150\", power_included = false }
[[node]]
name = \"*\"
gpus = 8
model = \"NVIDIA H100 80GB HBM3\"
power_only = \"active\"
[[asset]]
serial = \"SN-7\"
node = \"7\"
model = \"NVIDIA H100 80GB HBM3\"
gpus = 8
cost = \"281234.56\"
salvage = \"28000\"
life_years = 5
in_service = 2024-02-15
[[overhead]]
kind = \"staff\"
per_year = \"20000\"
[[price]]
offer = \"cloud h100\"
kind = \"on_demand\"
model = \"H100\"
per_gpu_hour = \"4.00\"
effective_from = 2024-01-01
source = \"a price list\"
";

fn small() -> Result<Books> {
    let books = Books::new(FLEET)?;
    let row = |sample: u64, node: u64| {
        let (t_ms, power) = (1_715_900_000_000 + sample * 2_000, 5_000 + (sample * 37 + node) % 900);
        format!("{node},{t_ms},{power},1\n")
    };
    let rows = (0..3_000).flat_map(|sample| [row(sample, 7), row(sample, 8)]);
    let csv: String = std::iter::once("node,t_ms,power_w,run\n".to_owned()).chain(rows).collect();
    fs::write(books.path("power.csv"), csv)?;
    books.import(&books.path("power.csv"), "1")?;
    Ok(books)
}

#[test]
fn lines_sum_to_the_same_total_however_they_are_grouped_and_written() -> Result<()> {
    let books = small()?;
    let mut totals = Vec::new();
    for by in ["month", "model", "node", "owner", "site"] {
        let statement = books.statement(&["--by", by])?;
        let total = decimal(&statement["total"]["amount"])?;
        let lines = statement["lines"].as_array().context("lines")?;
        let amounts: Decimal = lines.iter().map(|line| decimal(&line["amount"])).sum::<Result<_>>()?;
        ensure!(amounts == total, "by {by}: lines sum to {amounts}, the total is {total}");
        for line in lines {
            for field in ["id", "amount", "currency", "formula", "inputs"] {
                ensure!(!line[field].is_null(), "by {by}: {field} is missing in {line}");
            }
        }
        let table = books.report(&["--by", by, "--format", "csv"])?;
        let mut rows = csv::Reader::from_reader(table.as_bytes());
        let amounts: Decimal =
            rows.records().map(|row| Ok(row?[4].parse::<Decimal>()?)).sum::<Result<_>>()?;
        ensure!(amounts == total, "by {by}: the CSV sums to {amounts}");
        totals.push(total);
    }
    ensure!(totals[0] > Decimal::ZERO && totals.windows(2).all(|pair| pair[0] == pair[1]), "{totals:?}");
    Ok(())
}

#[test]
fn a_report_is_the_same_bytes_every_time_and_fits_a_page() -> Result<()> {
    let books = small()?;
    for format in ["table", "csv", "json", "html"] {
        let first = books.report(&["--format", format])?;
        ensure!(first == books.report(&["--format", format])?, "{format} differs");
    }
    let table = books.report(&["--by", "node"])?;
    let widest = table.lines().max_by_key(|line| line.chars().count()).context("lines")?;
    ensure!(widest.chars().count() <= 100, "{widest}");
    for part in
        ["WHAT IT COST", "HOW THE GPUS WERE USED", "OWN OR RENT", "cloud h100", "HOW MUCH WAS MEASURED"]
    {
        ensure!(table.contains(part), "{part} is missing in\n{table}");
    }
    Ok(())
}

#[test]
fn days_begin_at_midnight_where_the_fleet_is() -> Result<()> {
    let statement = small()?.statement(&[])?;
    ensure!(
        statement["from"] == "2024-04-30T22:00:00Z" && statement["to"] == "2024-05-31T22:00:00Z",
        "{}",
        statement["from"]
    );
    Ok(())
}

#[test]
fn a_line_is_explained_by_its_id() -> Result<()> {
    let books = small()?;
    let statement = books.statement(&[])?;
    let line = &statement["lines"][0];
    let id = line["id"].as_str().context("id")?;
    let told = books.report(&["--explain", id])?;
    ensure!(told.starts_with(id) && told.contains(line["formula"].as_str().context("formula")?), "{told}");
    Ok(())
}

#[test]
fn a_file_appears_whole_and_is_replaced_only_when_asked() -> Result<()> {
    let books = small()?;
    let page = books.path("may.html");
    books.report(&["--format", "html", "--out", "may.html"])?;
    let written = fs::read_to_string(&page)?;
    ensure!(written.starts_with("<!DOCTYPE html>") && written.trim_end().ends_with("</html>"));
    let again = [&["report", "tco"], &MAY[..], &["--out", "may.html"]].concat();
    let refused = process::finish(&mut books.command(&again)?)?;
    ensure!(refused.status.code() == Some(2) && fs::read_to_string(&page)? == written);
    books.report(&["--out", "may.html", "--force"])?;
    ensure!(fs::read_to_string(&page)?.starts_with("Total cost of ownership"));
    let left: Vec<_> = fs::read_dir(books.folder.path())?.collect::<Result<_, _>>()?;
    ensure!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp")), "{left:?}");
    Ok(())
}
