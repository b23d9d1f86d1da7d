//! The reports beside the statement, on a ledger with a month of sixteen simulated GPUs.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::{built, process};
use gpuledger_fleet::synthesize::Synthesize;
use rust_decimal::Decimal;
use serde_json::Value;

/// The ledger is made as if at this moment, so that it holds all of February.
const NOW: &str = "2026-03-04T00:00:00Z";
const MONTH: [&str; 4] = ["--from", "2026-02", "--to", "2026-03"];
const REPORTS: [&str; 6] = ["utilization", "showback", "depreciation", "assets", "compare", "split"];

const FLEET: &str = "\
currency = \"USD\"
capital_rate = \"0.06\"
[[site]]
name = \"dc1\"
pue = \"1.3\"
tariff = \"0.11\"
carbon_g_per_kwh = 350
[[overhead]]
kind = \"staff\"
per_year = \"36500.00\"
[[asset]]
serial = \"SN-0\"
node = \"gpu-00000\"
gpus = 8
cost = \"281234.56\"
salvage = \"28000.00\"
life_years = 5
in_service = 2025-02-01
[[asset]]
serial = \"SN-1\"
node = \"gpu-00001\"
gpus = 8
cost = \"240000.00\"
life_years = 4
in_service = 2025-07-01
[market]
fee = \"0.2\"
sold = \"0.5\"
cost_per_hour = \"0.05\"
[comparison]
years = 5
tax_rate = \"0.25\"
[[cost_centre]]
owner = \"v*\"
centre = \"research\"
[[price]]
offer = \"cloud\"
kind = \"on_demand\"
model = \"NVIDIA\"
per_gpu_hour = \"3.99\"
effective_from = 2025-06-01
source = \"list\"
[[price]]
offer = \"hyperscaler\"
kind = \"on_demand\"
model = \"NVIDIA\"
per_gpu_hour = \"6.88\"
effective_from = 2025-06-01
source = \"list\"
";

struct Books {
    folder: tempfile::TempDir,
}

impl Books {
    fn new(fleet: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let now = u64::try_from(NOW.parse::<jiff::Timestamp>()?.as_millisecond())?;
        let ledger = Synthesize::new(16, 28, folder.path().join("ledger.db"), 1);
        tokio::runtime::Runtime::new()?.block_on(ledger.run(now, |_| ()))?;
        fs::write(folder.path().join("fleet.toml"), fleet)?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.current_dir(self.folder.path()).args(["--ledger", "ledger.db", "--fleet", "fleet.toml"]);
        command.arg("report").args(arguments);
        Ok(command)
    }

    fn text(&self, report: &str, arguments: &[&str]) -> Result<String> {
        process::run(&mut self.command(&[&[report], &MONTH[..], arguments].concat())?)
    }

    fn json(&self, report: &str, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.text(report, &[arguments, &["--format", "json"]].concat())?)?)
    }

    fn ended(&self, report: &str, arguments: &[&str]) -> Result<Output> {
        process::finish(&mut self.command(&[&[report], &MONTH[..], arguments].concat())?)
    }
}

/// A sheet of a report whose name begins so.
fn sheet<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let sheets = report["sheets"].as_array().context("sheets")?;
    let found = sheets.iter().find(|sheet| sheet["name"].as_str().is_some_and(|own| own.starts_with(name)));
    found.with_context(|| format!("no sheet {name}"))
}

fn rows(sheet: &Value) -> Result<&Vec<Value>> {
    sheet["rows"].as_array().context("rows")
}

/// A cell by the id of its row and the name of its column.
fn cell<'a>(sheet: &'a Value, id: &str, column: &str) -> Result<&'a Value> {
    let columns = sheet["columns"].as_array().context("columns")?;
    let at = columns.iter().position(|own| own["name"] == column).with_context(|| column.to_owned())?;
    let row = rows(sheet)?.iter().find(|row| row["id"] == id).with_context(|| format!("no row {id}"))?;
    Ok(&row["cells"][at])
}

fn number(value: &Value) -> Result<Decimal> {
    value.as_str().with_context(|| format!("{value} is not a number"))?.parse().context("a number")
}

fn figure(sheet: &Value, id: &str, column: &str) -> Result<Decimal> {
    number(cell(sheet, id, column)?)
}

#[test]
fn every_report_is_the_same_bytes_in_every_form_and_fits_a_page() -> Result<()> {
    let books = Books::new(FLEET)?;
    for report in REPORTS {
        for format in ["table", "csv", "json"] {
            let first = books.text(report, &["--format", format])?;
            ensure!(first == books.text(report, &["--format", format])?, "{report} as {format} differs");
        }
        let table = books.text(report, &[])?;
        let widest = table.lines().max_by_key(|line| line.chars().count()).context("lines")?;
        ensure!(widest.chars().count() <= 100, "{report}: {widest}");
        ensure!(table.contains("SIMULATED DATA") && table.contains("2026-02-01 to 2026-03-01"), "{table}");

        let csv = books.text(report, &["--format", "csv"])?;
        let mut csv = csv::Reader::from_reader(csv.as_bytes());
        let lines = csv.records().collect::<Result<Vec<_>, _>>().context("every row is as wide")?;
        let json = books.json(report, &[])?;
        ensure!(json["report"] == report && json["simulated"] == true, "{json}");
        let (mut ids, mut count) = (BTreeSet::new(), 0);
        for sheet in json["sheets"].as_array().context("sheets")? {
            for row in rows(sheet)? {
                count += 1;
                ensure!(ids.insert(format!("{}/{}", sheet["name"], row["id"])), "{report}: {row} twice");
                let why = row["why"].as_array().context("why")?;
                ensure!(!why.is_empty(), "{report}: {row} does not say why");
            }
        }
        ensure!(count > 0 && lines.len() == count, "{report}: {} lines, {count} rows", lines.len());
    }
    Ok(())
}

#[test]
fn a_report_goes_to_a_file_whole_and_replaces_none_unless_asked() -> Result<()> {
    let books = Books::new(FLEET)?;
    books.text("utilization", &["--out", "out.csv", "--format", "csv"])?;
    let first = fs::read(books.path("out.csv"))?;
    let again = books.ended("showback", &["--out", "out.csv"])?;
    ensure!(again.status.code() == Some(2) && fs::read(books.path("out.csv"))? == first, "{again:?}");
    books.text("showback", &["--out", "out.csv", "--force"])?;
    ensure!(fs::read(books.path("out.csv"))? != first);
    Ok(())
}

#[test]
fn every_row_of_every_report_can_be_explained_down_to_sources() -> Result<()> {
    let books = Books::new(FLEET)?;
    for report in REPORTS {
        let json = books.json(report, &[])?;
        for sheet in json["sheets"].as_array().context("sheets")? {
            let row = rows(sheet)?.first().context("a row")?;
            let id =
                format!("{}/{}", sheet["name"].as_str().context("name")?, row["id"].as_str().context("id")?);
            let told = books.text(report, &["--explain", &id])?;
            let formula = row["why"][0]["formula_id"].as_str().context("formula")?;
            ensure!(told.contains(&format!("[{formula};")), "{formula} is missing in\n{told}");
            ensure!(told.contains("from "), "no source in\n{told}");
        }
        let unknown = books.ended(report, &["--explain", "no-such-row"])?;
        ensure!(unknown.status.code() == Some(2), "{unknown:?}");
    }
    let told = books.text("showback", &["--explain", "research"])?;
    ensure!(told.contains(" ledger rows of research") && told.contains("vision"), "{told}");
    let told = books.text("tco", &["--by", "node", "--explain", "energy/dc1/gpu-00001"])?;
    ensure!(told.contains("[energy.hourly; ") && told.contains(" ledger rows of gpu-00001"), "{told}");
    Ok(())
}

#[test]
fn a_showback_conserves_to_the_cent_and_shows_idle_free_down_and_whom_nobody_matched() -> Result<()> {
    let books = Books::new(FLEET)?;
    let total = number(&books.json("tco", &[])?["total"]["amount"])?;
    for basis in ["allocation", "usage", "larger"] {
        for owners in [&[][..], &["--owners"]] {
            let report = books.json("showback", &[&["--basis", basis], owners].concat())?;
            let sheet = sheet(&report, "showback")?;
            let names: Vec<&str> = rows(sheet)?.iter().filter_map(|row| row["id"].as_str()).collect();
            let parts = names.iter().filter(|name| **name != "total");
            let sum: Decimal = parts.map(|name| figure(sheet, name, "total")).sum::<Result<_>>()?;
            ensure!(sum == total && figure(sheet, "total", "total")? == total, "{basis}: {sum} of {total}");
            ensure!(names.contains(&"(free)") && names.contains(&"(down)"), "{names:?}");
            ensure!(names.contains(&"(held idle)") == (basis == "usage"), "{basis}: {names:?}");
            ensure!(names.contains(&"(nobody matched)") == owners.is_empty(), "{names:?}");
        }
    }
    let by_owner = books.json("showback", &["--owners"])?;
    let sheet_of = sheet(&by_owner, "showback")?;
    let mut amounts: Vec<Decimal> = Vec::new();
    for row in rows(sheet_of)? {
        let id = row["id"].as_str().context("id")?;
        if id != "total" && !id.starts_with('(') {
            amounts.push(figure(sheet_of, id, "total")?);
        }
    }
    amounts.sort_unstable_by(|a, b| b.cmp(a));
    let all: Decimal = amounts.iter().sum();
    let hhi: Decimal = amounts.iter().map(|amount| amount / all * (amount / all)).sum();
    let tenants = sheet(&by_owner, "concentration")?;
    let top = (amounts[0] + amounts[1]) / all * Decimal::ONE_HUNDRED;
    ensure!((figure(tenants, "hhi", "value")? - hhi).abs() < Decimal::new(1, 4), "{tenants}");
    ensure!((figure(tenants, "top_two", "value")? - top).abs() < Decimal::new(1, 1), "{tenants}");
    let ruled = books.json("showback", &[])?;
    ensure!(sheet(&ruled, "concentration")? == tenants, "the risk hangs on owners, whoever pays for them");
    Ok(())
}

#[test]
fn states_of_the_gpus_are_the_whole_of_their_time_and_the_same_as_the_ledger_s() -> Result<()> {
    let books = Books::new(FLEET)?;
    let report = books.json("utilization", &["--by", "node"])?;
    let of_states = sheet(&report, "utilization")?;
    let states = ["active", "held idle", "free", "down", "unmonitored"];
    let whole: Decimal = states.iter().map(|state| figure(of_states, "total", state)).sum::<Result<_>>()?;
    ensure!((whole - Decimal::ONE_HUNDRED).abs() < Decimal::new(3, 1), "{whole} %");
    ensure!(figure(of_states, "total", "in service")? == Decimal::from(16 * 28 * 24), "{of_states}");
    ensure!(figure(of_states, "total", "GPUs")? == Decimal::from(16), "{of_states}");
    let assets = books.json("assets", &[])?;
    let condition = sheet(&assets, "assets")?;
    let mut active = Decimal::ZERO;
    for row in rows(condition)? {
        active += figure(condition, row["id"].as_str().context("id")?, "active")?;
        ensure!(cell(condition, row["id"].as_str().context("id")?, "fatal")?.is_null(), "{row}");
    }
    let share = active / Decimal::from(16 * 28 * 24) * Decimal::ONE_HUNDRED;
    ensure!((share - figure(of_states, "total", "active")?).abs() < Decimal::new(1, 1), "{share}");
    let table = books.text("assets", &[])?;
    ensure!(table.contains("unknown") && table.contains("Fatal errors: unknown of every GPU"), "{table}");
    Ok(())
}

#[test]
fn books_charge_what_the_statement_charges_and_lives_are_one_table() -> Result<()> {
    let books = Books::new(FLEET)?;
    let report = books.json("depreciation", &[])?;
    let register = sheet(&report, "register")?;
    let statement = books.json("tco", &[])?;
    let lines = statement["lines"].as_array().context("lines")?;
    let of_family = lines.iter().filter(|line| line["family"] == "depreciation");
    let charged: Decimal = of_family.map(|line| number(&line["amount"])).sum::<Result<_>>()?;
    ensure!(figure(register, "total", "depreciation")? == charged, "{register}, expected {charged}");
    // (281,234.56 − 28,000) ÷ 60 and 240,000 ÷ 48.
    ensure!(figure(register, "SN-0", "depreciation")? == Decimal::new(422_058, 2), "{register}");
    ensure!(figure(register, "SN-1", "depreciation")? == Decimal::from(5_000), "{register}");
    ensure!(figure(sheet(&report, "books")?, "SN-1/2026-02", "book value")? == Decimal::from(200_000));
    let what_if = sheet(&report, "lives")?;
    let ids: Vec<&str> = rows(what_if)?.iter().filter_map(|row| row["id"].as_str()).collect();
    ensure!(ids == ["as booked", "3 years", "4 years", "5 years", "6 years", "7 years"], "{ids:?}");
    let costs: Vec<Decimal> =
        ids[1..].iter().map(|id| figure(what_if, id, "depreciation")).collect::<Result<_>>()?;
    ensure!(costs.windows(2).all(|pair| pair[0] > pair[1]), "{costs:?}");
    let one = books.json("depreciation", &["--asset", "SN-1"])?;
    ensure!(figure(sheet(&one, "lives/SN-1")?, "4 years", "mean year")? == Decimal::from(60_000), "{one}");
    let unknown = books.ended("depreciation", &["--asset", "SN-9"])?;
    ensure!(String::from_utf8_lossy(&unknown.stderr).contains("there are SN-0, SN-1"), "{unknown:?}");
    Ok(())
}

#[test]
fn a_comparison_orders_offers_records_its_seed_and_shows_business_models() -> Result<()> {
    let books = Books::new(FLEET)?;
    let report = books.json("compare", &[])?;
    let offers = sheet(&report, "offers/")?;
    let (cheap, dear) = ("cloud, on demand", "hyperscaler, on demand");
    let ids: Vec<&str> = rows(offers)?.iter().filter_map(|row| row["id"].as_str()).collect();
    ensure!(ids == [cheap, dear], "{ids:?}");
    for column in ["same work", "same capacity", "owning gains"] {
        ensure!(figure(offers, cheap, column)? < figure(offers, dear, column)?, "{column}");
    }
    for column in ["break-even", "payback"] {
        ensure!(figure(offers, cheap, column)? > figure(offers, dear, column)?, "{column}");
    }
    let swings: Vec<Decimal> = rows(sheet(&report, "tornado/")?)?
        .iter()
        .map(|row| number(&row["cells"][5]))
        .collect::<Result<_>>()?;
    ensure!(swings.len() == 7 && swings.windows(2).all(|pair| pair[0] >= pair[1]), "{swings:?}");
    let spread = |arguments: &[&str]| -> Result<Vec<Decimal>> {
        let report = books.json("compare", arguments)?;
        let sheet = sheet(&report, "quantiles/")?;
        ["P10", "P50", "P90"].iter().map(|id| figure(sheet, id, "owning gains")).collect()
    };
    let first = spread(&["--draws", "50"])?;
    ensure!(first[0] <= first[1] && first[1] <= first[2], "{first:?}");
    ensure!(first == spread(&["--draws", "50", "--seed", "1"])?, "the seed is 1 unless said otherwise");
    ensure!(first != spread(&["--draws", "50", "--seed", "2"])?);
    let models = rows(sheet(&report, "models")?)?;
    ensure!(models.iter().any(|row| row["id"] == "own, as measured"), "{models:?}");
    let against = books.text("compare", &["--offer", "hyper"])?;
    ensure!(against.contains("Held against hyperscaler, on demand."), "{against}");
    Ok(())
}

#[test]
fn a_split_owns_no_more_than_the_peak_and_says_what_free_hours_would_have_earned() -> Result<()> {
    let books = Books::new(FLEET)?;
    let report = books.json("split", &[])?;
    let split = sheet(&report, "split/")?;
    ensure!(figure(split, "own", "value")? <= figure(split, "peak", "value")?, "{split}");
    let cost = figure(split, "cost", "value")?;
    for other in ["cost_own_all", "cost_rent_all"] {
        ensure!(cost <= figure(split, other, "value")?, "{split}");
    }
    let market = sheet(&report, "market")?;
    for row in rows(market)? {
        let id = row["id"].as_str().context("id")?;
        // Half of the hours at 3.99 × 0.8 − 0.05.
        let expected = figure(market, id, "sold")? * Decimal::new(3_142, 3);
        ensure!((figure(market, id, "earned")? - expected).abs() < Decimal::new(5, 2), "{market}");
    }
    Ok(())
}

#[test]
fn what_the_register_does_not_say_is_named_with_the_key_to_add() -> Result<()> {
    let bare = Books::new("currency = \"USD\"\n[[site]]\nname = \"dc1\"\n")?;
    for (report, key) in [("compare", "[[price]]"), ("split", "[[price]]"), ("depreciation", "[[asset]]")] {
        let ended = bare.ended(report, &[])?;
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.code() == Some(2) && told.contains(key), "{report}: {told}");
        ensure!(ended.stdout.is_empty(), "{report} printed something");
    }
    for report in ["utilization", "showback", "assets"] {
        bare.text(report, &[])?;
    }
    let prices = FLEET.split("[[asset]]").next().context("head")?.to_owned()
        + &FLEET[FLEET.find("[[price]]").context("prices")?..];
    fs::write(bare.path("fleet.toml"), prices)?;
    let ended = bare.ended("compare", &[])?;
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(2) && told.contains("[[asset]]"), "{told}");
    Ok(())
}

#[test]
fn scenarios_of_the_engine_hold_and_a_claim_that_does_not_is_told_by_the_exit_code() -> Result<()> {
    let folder = built::root()?.join("collector/tco/scenarios");
    let scenario = |path: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(built::binary("gpuledger")?);
        process::finish(command.args(["report", "scenario"]).arg(path).args(arguments))
    };
    for name in ["37signals.toml", "bare_metal_saves_30_to_70_percent.toml"] {
        let path = folder.join(name);
        for format in ["table", "csv", "json"] {
            let ended = scenario(&path, &["--format", format])?;
            ensure!(ended.status.success(), "{name}: {ended:?}");
        }
        let table = String::from_utf8(scenario(&path, &[])?.stdout)?;
        ensure!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
        let told = String::from_utf8(scenario(&path, &["--explain", "figures/saving"])?.stdout)?;
        ensure!(told.contains("saving; ") && told.contains("from "), "{told}");
    }
    let copy = tempfile::tempdir()?;
    let wrong = copy.path().join("wrong.toml");
    let text = fs::read_to_string(folder.join("37signals.toml"))?;
    fs::write(&wrong, text.replace("before_per_year = \"3200000\"", "before_per_year = \"1400000\""))?;
    ensure!(scenario(&wrong, &[])?.status.code() == Some(1));
    fs::write(&wrong, text.replace("[spend]", "[spent]"))?;
    let ended = scenario(&wrong, &[])?;
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(2) && told.contains("wrong.toml:"), "{told}");
    Ok(())
}
