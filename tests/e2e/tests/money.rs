//! Money on real input: measured power of real servers, priced with real hourly prices and rents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::{built, process};
use rust_decimal::Decimal;
use serde_json::Value;

const POWER: &str = "data/mlperf_h100_power";
const ELECTRICITY: &str = "data/electricity_hourly";
const CLOUD: &str = "data/cloud_gpu_prices";
const MAPPING: [&str; 8] =
    ["--node-column", "node", "--time-column", "t_ms", "--time-unit", "ms", "--power-column", "power_w"];

/// One run in a ledger of its own.
struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn import(file: &Path, run: &str) -> Result<Self> {
        let this = Self { folder: tempfile::tempdir()? };
        let filter = format!("run={run}");
        let mut command = this.command()?;
        command.args(["import", "telemetry"]).arg(file).args(MAPPING).args(["--where", &filter]);
        process::run(&mut command)?;
        Ok(this)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.arg("--ledger").arg(self.file("ledger.db"));
        Ok(command)
    }

    /// The statement of May 2024.
    fn statement(&self, register: &str, by: &str) -> Result<Value> {
        let fleet = self.file("fleet.toml");
        std::fs::write(&fleet, register)?;
        let mut command = self.command()?;
        command.arg("--fleet").arg(&fleet).args(["report", "tco", "--format", "json", "--by", by]);
        process::run_json(command.args(["--from", "2024-05-01", "--to", "2024-06-01"]))
    }
}

/// A number of a report or of a reference.
fn number(value: &Value) -> Result<Decimal> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse::<Decimal>().with_context(|| format!("{text} is not a number"))
}

fn lines(statement: &Value) -> Result<&Vec<Value>> {
    statement["lines"].as_array().context("lines")
}

fn reference(folder: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join("reference.json"))?)?)
}

/// A site in Germany that buys at the exchange, with a PUE of 1.
fn german_site(prices: &Path) -> String {
    format!(
        "currency = \"EUR\"\n[[site]]\nname = \"de\"\npue = 1\n\
         tariff = {{ file = {prices:?}, hour_column = \"hour_utc\", price_column = \"price_per_mwh\", per = \"MWh\", \
         currency = \"EUR\" }}\ncarbon_g_per_kwh = {{ column = \"carbon_direct_g_per_kwh\" }}\n"
    )
}

#[test]
fn measured_runs_at_hourly_prices_cost_and_emit_what_the_reference_says() -> Result<()> {
    let (Some(power), Some(electricity)) = (built::shared(POWER)?, built::shared(ELECTRICITY)?) else {
        return Ok(());
    };
    let prices = electricity.join("DE-LU_2024-05.csv").canonicalize()?;
    let reference = reference(&electricity)?;
    let runs = reference["cross_mlperf"].as_object().context("cross_mlperf")?;
    ensure!(runs.len() > 5, "{} runs", runs.len());
    for (name, expected) in runs {
        let (run, _) = name.split_once('@').context("zone")?;
        let file = if run.contains("gpt3") { "gpt3_64node_ac.csv.gz" } else { "llama2_8node_ac.csv.gz" };
        let ledger = Run::import(&power.join(file), run)?;
        let statement = ledger.statement(&german_site(&prices), "node")?;

        let exact = lines(&statement)?.iter().map(|line| number(&line["exact"])).sum::<Result<Decimal>>()?;
        ensure!(exact.round_dp(5) == number(&expected["cost"])?, "{name}: cost {exact}, expected {expected}");
        let total = number(&statement["total"]["amount"])?;
        ensure!(total == exact.round_dp(2), "{name}: total {total} of {exact}");
        let energy = number(&statement["energy_kwh"])?;
        ensure!(energy.round_dp(6) == number(&expected["energy_kwh"])?, "{name}: energy {energy}");
        let carbon = number(&statement["carbon_kg"])?;
        ensure!(carbon.round_dp(4) == number(&expected["co2_kg_direct"])?, "{name}: CO2 {carbon}");

        // Every line can be computed again from what it says it was computed from.
        for line in lines(&statement)? {
            let inputs = line["inputs"].as_array().context("inputs")?;
            let product = inputs.iter().map(|i| number(&i["value"])).product::<Result<Decimal>>()?;
            let exact = number(&line["exact"])?;
            ensure!((product - exact).abs() < Decimal::new(1, 12), "{line}");
        }
    }
    Ok(())
}

/// Our price list from the history of one instance type in one region; the last price of a day counts.
fn price_list(cloud: &Path, instance: &str, region: &str, folder: &Path) -> Result<()> {
    let file = std::fs::File::open(cloud.join("aws_gpu_2022_2024.csv.gz"))?;
    let mut history = csv::Reader::from_reader(flate2::read::MultiGzDecoder::new(file));
    let mut by_time = BTreeMap::new();
    for row in history.records() {
        let row = row?;
        if (&row[2], &row[3]) == (region, instance) {
            by_time.insert(row[0].to_owned(), row);
        }
    }
    let by_day: BTreeMap<_, _> =
        by_time.into_iter().map(|(time, row)| (time[..10].to_owned(), row)).collect();
    let mut list = csv::Writer::from_path(folder.join("prices.csv"))?;
    list.write_record([
        "offer",
        "kind",
        "model",
        "per_hour",
        "gpus",
        "currency",
        "effective_from",
        "source",
        "licence",
    ])?;
    for (day, row) in by_day {
        let offer = format!("aws {instance} {region}");
        let source = format!("karpenter-provider-aws@{}", &row[1]);
        let record = [&offer, "on_demand", &row[4], &row[6], &row[5], "USD", &day, &source, "Apache-2.0"];
        list.write_record(record)?;
    }
    Ok(list.flush()?)
}

const RENTED: &str = "currency = \"USD\"\nprices = \"prices.csv\"\n[[site]]\nname = \"dc\"\n\
    [[node]]\nname = \"*\"\ngpus = 8\nmodel = \"NVIDIA H100 80GB HBM3\"\npower_only = \"active\"\n";

#[test]
fn a_run_would_have_cost_its_node_hours_at_the_cloud_price_of_that_day() -> Result<()> {
    let (Some(power), Some(cloud)) = (built::shared(POWER)?, built::shared(CLOUD)?) else { return Ok(()) };
    let reference = reference(&cloud)?;
    let expected = &reference["mlperf_run_cloud_cost"];
    let run = expected["run"].as_str().context("run")?;
    let ledger = Run::import(&power.join("gpt3_64node_ac.csv.gz"), run)?;
    price_list(&cloud, "p5.48xlarge", "us-east-1", ledger.folder.path())?;
    let statement = ledger.statement(RENTED, "model")?;

    let comparison = &statement["comparisons"][0];
    let rent = number(&comparison["same_work"]["amount"])?;
    ensure!(rent == number(&expected["usd"])?.round_dp(2), "{comparison}, expected {expected}");
    let source = comparison["price_source"].as_str().context("price_source")?;
    let in_effect = &reference["in_effect"]["2024-05-17"]["aws p5.48xlarge us-east-1"];
    let per_gpu = number(&in_effect[1])? / Decimal::from(8);
    let day = in_effect[0].as_str().context("day")?;
    ensure!(source.contains(&format!("{per_gpu} in force from {day}")), "{source}, expected {in_effect}");
    let active = number(&statement["hours"]["active"])?;
    let node_hours = (active / Decimal::from(8)).round_dp(6);
    ensure!(node_hours == number(&expected["node_hours"])?, "{node_hours} node-hours, expected {expected}");
    Ok(())
}

#[test]
fn a_price_list_that_begins_later_is_refused_with_the_day() -> Result<()> {
    let Some(power) = built::shared(POWER)? else { return Ok(()) };
    let ledger = Run::import(&power.join("llama2_8node_ac.csv.gz"), "ac-llama2_70b_lora-8n-5740-10")?;
    let list = "offer,kind,model,per_gpu_hour,currency,effective_from,source\n\
        cloud,on_demand,H100,6.88,USD,2025-06-01,https://example.com\n";
    std::fs::write(ledger.file("prices.csv"), list)?;
    std::fs::write(ledger.file("fleet.toml"), RENTED)?;
    let mut command = ledger.command()?;
    command.arg("--fleet").arg(ledger.file("fleet.toml")).args(["report", "tco"]);
    let output = command.args(["--from", "2024-05-01", "--to", "2024-06-01"]).output()?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{:?}: {told}", output.status);
    ensure!(told.contains("no rent price of NVIDIA H100 80GB HBM3 is in force on 2024-05-"), "{told}");
    ensure!(told.contains("the earliest is 2025-06-01"), "{told}");
    Ok(())
}
