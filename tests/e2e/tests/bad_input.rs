//! What the collector's commands say to wrong input: one table. Every message names the place and how
//! to mend it, every exit code tells whose mistake it was, and nothing is changed by any of them.

#[path = "bad_input/books.rs"]
mod books;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::{built, process};

/// Wrong use or bad input.
const USAGE: i32 = 2;
/// Failed at run time.
const RUNTIME: i32 = 3;

const FLEET: &str = "\
currency = \"EUR\"
[[site]]
name = \"dc1\"
tariff = \"0.20\"
[[node]]
name = \"*\"
gpus = 8
model = \"NVIDIA H100\"
[[asset]]
serial = \"SN1\"
node = \"gpu-01\"
model = \"NVIDIA H100\"
gpus = 8
cost = \"280000\"
salvage = \"0\"
life_years = 5
in_service = 2024-01-01
[[price]]
offer = \"cloud h100\"
kind = \"on_demand\"
model = \"H100\"
per_gpu_hour = \"4.00\"
effective_from = 2024-01-01
source = \"a price list\"
";
const ASSETS: &str =
    "serial,node,gpus,cost,currency,life_years,in_service\nSN2,gpu-02,8,280000,EUR,5,2024-02-01\n";
const POWER: &str = "n,t,w\ngpu-01,1715900000,5000\ngpu-01,1715900010,5100\ngpu-01,1715900020,5200\n";
const MAPPING: &str = "--node-column n --time-column t --time-unit s --power-column w";
const MAY: &str = "--from 2024-05-16 --to 2024-05-18";

/// One row of the table.
struct Case {
    name: &'static str,
    /// File to write first, as a replacement in one of the good texts.
    file: Option<(&'static str, String)>,
    arguments: String,
    exit: i32,
    /// What the message must contain.
    says: &'static [&'static str],
}

/// A good text with one thing wrong in it.
fn broken(good: &str, from: &str, to: &str) -> String {
    assert!(good.contains(from), "{from} is not in the good text");
    good.replacen(from, to, 1)
}

fn case(
    name: &'static str,
    file: Option<(&'static str, String)>,
    arguments: impl Into<String>,
    exit: i32,
    says: &'static [&'static str],
) -> Case {
    Case { name, file, arguments: arguments.into(), exit, says }
}

fn configuration() -> Vec<Case> {
    let config = |text: &str| Some(("collector.toml", text.to_owned()));
    let check = "--config collector.toml check-config";
    vec![
        case(
            "unknown key",
            config("ledger = \"a\"\nhttp_lisen = \"x\"\n"),
            check,
            USAGE,
            &["collector.toml:2", "http_lisen", "did you mean \"http_listen\""],
        ),
        case(
            "wrong unit",
            config("commit_interval = \"5 parsecs\"\n"),
            check,
            USAGE,
            &["collector.toml:1", "commit_interval", "a duration such as"],
        ),
        case("not TOML", config("ledger = \n"), check, USAGE, &["collector.toml:1"]),
        case(
            "no such file",
            None,
            "--config nowhere.toml check-config",
            USAGE,
            &["nowhere.toml", "No such file"],
        ),
    ]
}

fn register() -> Vec<Case> {
    let fleet = |from: &str, to: &str| Some(("wrong.toml", broken(FLEET, from, to)));
    let report = format!("--fleet wrong.toml report tco {MAY}");
    let assets = |from: &str, to: &str| Some(("assets.csv", broken(ASSETS, from, to)));
    let import = "import assets assets.csv";
    vec![
        case(
            "negative price",
            fleet("\"0.20\"", "\"-0.20\""),
            &report,
            USAGE,
            &["wrong.toml:4", "tariff", "negative"],
        ),
        case(
            "check-config with a wrong register",
            fleet("\"0.20\"", "\"-0.20\""),
            "--fleet wrong.toml check-config",
            USAGE,
            &["wrong.toml:4", "tariff"],
        ),
        case(
            "asset without in-service date",
            fleet("in_service = 2024-01-01\n", ""),
            &report,
            USAGE,
            &["wrong.toml:9", "no in-service date", "add in_service"],
        ),
        case(
            "no price on that day",
            fleet("effective_from = 2024-01-01", "effective_from = 2024-06-01"),
            &report,
            USAGE,
            &["no rent price", "2024-05-16", "2024-06-01"],
        ),
        case(
            "unknown key in the fleet",
            fleet("salvage", "salvge"),
            &report,
            USAGE,
            &["wrong.toml", "did you mean \"salvage\""],
        ),
        case("no fleet", None, format!("report tco {MAY}"), USAGE, &["--fleet"]),
        case(
            "CSV asset without in-service date",
            assets("2024-02-01", ""),
            import,
            USAGE,
            &["assets.csv", "in_service", "Nothing was imported"],
        ),
        case(
            "CSV asset with a negative cost",
            assets("280000", "-1"),
            import,
            USAGE,
            &["assets.csv", "cost"],
        ),
    ]
}

fn telemetry() -> Vec<Case> {
    let power = |from: &str, to: &str| Some(("wrong.csv", broken(POWER, from, to)));
    let import = format!("import telemetry wrong.csv {MAPPING}");
    vec![
        case(
            "missing column",
            power("n,t,w", "n,t,watts"),
            &import,
            USAGE,
            &["wrong.csv, line 1", "no column \"w\"", "n, t, watts"],
        ),
        case(
            "bad number",
            power("5100", "5l00"),
            &import,
            USAGE,
            &["wrong.csv, line 3, column \"w\"", "expected a power in W", "\"5l00\"", "Nothing was imported"],
        ),
        case("empty cell", power("5200", ""), &import, USAGE, &["line 4, column \"w\"", "found nothing"]),
        case("bad time", power("1715900010", "2024-05-16"), &import, USAGE, &["line 3, column \"t\""]),
        case(
            "wrong time unit",
            power("5100", "5100"),
            import.replace("--time-unit s", "--time-unit ms"),
            USAGE,
            &["line 2", "1970", "--time-unit"],
        ),
        case("short row", power(",5100", ""), &import, USAGE, &["line 3", "expected 3 cells"]),
        case(
            "node name with a slash",
            power("gpu-01,1715900010", "a/b,1715900010"),
            &import,
            USAGE,
            &["line 3, column \"n\"", "a/b"],
        ),
        case(
            "no row fits the filter",
            power("5100", "5100"),
            format!("{import} --where n=gpu-99"),
            USAGE,
            &["n=gpu-99"],
        ),
        case(
            "not gzip",
            Some(("wrong.csv", "\u{1f}\u{8b}nonsense".to_owned())),
            &import,
            USAGE,
            &["wrong.csv"],
        ),
        case(
            "no such CSV",
            None,
            format!("import telemetry nowhere.csv {MAPPING}"),
            USAGE,
            &["nowhere.csv", "No such file"],
        ),
        case(
            "no quantity",
            None,
            "import telemetry wrong.csv --node a --time-column t --time-unit s",
            USAGE,
            &["--power-column"],
        ),
    ]
}

fn ledgers() -> Vec<Case> {
    let garbage = || Some(("other.db", "this is not a database, however long the text is ".repeat(40)));
    let report = format!("report energy {MAY}");
    vec![
        case(
            "another file as ledger",
            garbage(),
            format!("--ledger other.db {report}"),
            USAGE,
            &["other.db", "not a gpuledger ledger"],
        ),
        case(
            "another file to write to",
            garbage(),
            format!("--ledger other.db import telemetry power.csv {MAPPING}"),
            USAGE,
            &["other.db", "not a gpuledger ledger"],
        ),
        case(
            "no ledger",
            None,
            format!("--ledger nowhere.db {report}"),
            USAGE,
            &["nowhere.db", "no such file"],
        ),
        case(
            "ledger in no folder",
            None,
            format!("--ledger no/where.db import telemetry power.csv {MAPPING}"),
            USAGE,
            &["no/where.db", "does not exist"],
        ),
        // Not even the superuser can create a file there.
        case(
            "read-only place",
            None,
            format!("--ledger /proc/ledger.db import telemetry power.csv {MAPPING}"),
            USAGE,
            &["/proc/ledger.db"],
        ),
        case(
            "period turned round",
            None,
            "report energy --from 2024-05-18 --to 2024-05-16",
            USAGE,
            &["--from", "not before"],
        ),
        case(
            "no date",
            None,
            "report energy --from yesterday --to 2024-05-16",
            USAGE,
            &["--from", "expected a date"],
        ),
        case("existing output", None, format!("{report} --out kept.txt"), USAGE, &["kept.txt", "--force"]),
        case("unknown command", None, "repot energy", USAGE, &["report"]),
    ]
}

/// Every file in a folder with its content, but for what SQLite keeps beside a ledger while it is
/// read: its index of the log, and a log with nothing in it.
fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, bytes) = (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
        if !(name.ends_with(".db-shm") || name.ends_with(".db-wal") && bytes.is_empty()) {
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

/// A folder with a ledger that holds something, and good files beside it.
fn prepared() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("power.csv"), POWER)?;
    fs::write(folder.path().join("fleet.toml"), FLEET)?;
    fs::write(folder.path().join("kept.txt"), "precious")?;
    let import = format!("import telemetry power.csv {MAPPING}");
    process::run(command(folder.path())?.args(import.split(' ')))?;
    Ok(folder)
}

fn command(folder: &Path) -> Result<Command> {
    let mut command = Command::new(built::binary("gpuledger")?);
    command.current_dir(folder).env("GPULEDGER_LEDGER", "ledger.db");
    Ok(command)
}

fn check(folder: &Path, case: &Case) -> Result<()> {
    if let Some((name, text)) = &case.file {
        // The two letters of gzip's magic number are one byte each.
        let bytes: Vec<u8> = if text.starts_with('\u{1f}') {
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
        } else {
            text.clone().into_bytes()
        };
        fs::write(folder.join(name), bytes)?;
    }
    let before = contents(folder)?;
    let output = process::finish(command(folder)?.args(case.arguments.split(' ')))?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(case.exit), "{}, expected {}:\n{message}", output.status, case.exit);
    for part in case.says {
        ensure!(message.contains(part), "{part:?} is not in the message:\n{message}");
    }
    ensure!(!message.contains("panicked") && !message.contains("RUST_BACKTRACE"), "a panic:\n{message}");
    ensure!(output.stdout.is_empty(), "a result in spite of the mistake");
    let changed: Vec<_> = contents(folder)?
        .into_iter()
        .filter(|(name, bytes)| before.get(name) != Some(bytes))
        .map(|(name, _)| name)
        .collect();
    ensure!(changed.is_empty(), "changed or left behind: {changed:?}");
    Ok(())
}

#[test]
fn every_mistake_is_told_with_place_and_cure_and_changes_nothing() -> Result<()> {
    let folder = prepared()?;
    let money = [books::books(), books::electricity(), books::files(), books::lists()].concat_all();
    let cases = [configuration(), register(), money, telemetry(), ledgers()].concat_all();
    let mut failed = Vec::new();
    for case in &cases {
        if let Err(error) = check(folder.path(), case) {
            failed.push(format!("{}: {error}", case.name));
        }
    }
    ensure!(failed.is_empty(), "{} of {} cases:\n\n{}", failed.len(), cases.len(), failed.join("\n\n"));
    // The good files that the wrong ones were made from are good.
    let report = format!("--fleet fleet.toml report tco {MAY}");
    process::run(command(folder.path())?.args(report.split(' ')))?;
    fs::write(folder.path().join("good.csv"), ASSETS)?;
    process::run(command(folder.path())?.args(["import", "assets", "good.csv"]))?;
    Ok(())
}

/// Flattens the parts of the table.
trait ConcatAll {
    fn concat_all(self) -> Vec<Case>;
}

impl<const N: usize> ConcatAll for [Vec<Case>; N] {
    fn concat_all(self) -> Vec<Case> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn an_occupied_port_ends_the_collector_with_its_address_before_anything_is_served() -> Result<()> {
    let folder = prepared()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    for key in ["http_listen", "grpc_listen"] {
        let other = if key == "http_listen" { "grpc_listen" } else { "http_listen" };
        let config = format!("insecure = true\n{key} = \"{address}\"\n{other} = \"127.0.0.1:0\"\n");
        fs::write(folder.path().join("collector.toml"), config)?;
        let output = process::finish(command(folder.path())?.args(["--config", "collector.toml", "serve"]))?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(RUNTIME), "{key}: {}\n{message}", output.status);
        ensure!(
            message.contains(&address.to_string()) && message.contains("listens there already"),
            "{key}: {message}"
        );
    }
    Ok(())
}

#[test]
fn a_damaged_ledger_is_reported_and_left_as_it_is() -> Result<()> {
    let folder = prepared()?;
    let path = folder.path().join("ledger.db");
    let mut bytes = fs::read(&path)?;
    // The header stays, so that it is still a ledger; everything after it is lost.
    let keep = 4_096.min(bytes.len());
    bytes[keep..].fill(0x5a);
    fs::write(&path, &bytes)?;
    for arguments in ["verify".to_owned(), format!("report energy {MAY}")] {
        let output = process::finish(command(folder.path())?.args(arguments.split(' ')))?;
        let message =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        ensure!(matches!(output.status.code(), Some(1..=3)), "{arguments}: {}\n{message}", output.status);
        ensure!(message.contains("damaged") || message.contains("malformed"), "{arguments}: {message}");
        ensure!(fs::read(&path)? == bytes, "{arguments} changed the damaged file");
    }
    Ok(())
}

#[test]
fn a_full_device_is_a_failure_and_a_reader_that_leaves_is_not() -> Result<()> {
    let folder = prepared()?;
    let report = format!("report energy {MAY} --format json");
    let full = File::options().write(true).open("/dev/full").context("open /dev/full")?;
    let ended =
        command(folder.path())?.args(report.split(' ')).stdout(full).stderr(Stdio::piped()).output()?;
    let message = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(RUNTIME), "{}: {message}", ended.status);
    ensure!(message.contains("cannot write the output"), "{message}");

    let mut left = command(folder.path())?.args(report.split(' ')).stdout(Stdio::piped()).spawn()?;
    drop(left.stdout.take());
    let status = left.wait()?;
    ensure!(status.success(), "a closed pipe gives {status}");
    Ok(())
}
