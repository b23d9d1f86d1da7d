//! What finance brings and takes away: assets as their own spreadsheets have them, price lists, exchange
//! rates and cost centres, by the commands that users type.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::{built, process};

/// What a command printed on standard output; it must end well.
fn run(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(built::binary("gpuledger")?);
    command.current_dir(folder).env("GPULEDGER_LEDGER", "ledger.db").args(arguments);
    let output = process::finish(&mut command)?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {}\n{message}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const GERMAN: &str = "serial;component;node;currency;purchased;gpus;cost;salvage;life_years;in_service;method;tax_class\n\
    SN1;gpu-tray;gpu-01;EUR;20.11.2025;8;250.000,50;20.000;5;03.04.2026;double_declining_balance;macrs_5\n\
    SN1;chassis;;EUR;;;45.000,00;;6;03.04.2026;;\n";

#[test]
fn assets_of_one_locale_come_out_in_another_and_mean_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    fs::write(path.join("Anlagen.csv"), GERMAN)?;
    let said = run(path, &["import", "assets", "Anlagen.csv", "--locale", "de-DE"])?;
    ensure!(said.contains("1 assets are in the register"), "{said}");
    let american = run(path, &["export", "assets", "--locale", "en-US"])?;
    ensure!(
        american.contains("250000.50") && american.contains("04/03/2026") && american.contains("11/20/2025"),
        "{american}"
    );
    fs::write(path.join("american.csv"), &american)?;
    run(path, &["import", "assets", "american.csv", "--locale", "en-US"])?;
    ensure!(run(path, &["export", "assets", "--locale", "en-US"])? == american, "it changed on its way");
    // What was exported is what a fleet may name.
    run(path, &["export", "assets", "--out", "assets.csv"])?;
    fs::write(path.join("fleet.toml"), "currency = \"EUR\"\nassets = \"assets.csv\"\n")?;
    let said = run(path, &["--fleet", "fleet.toml", "check-config"])?;
    ensure!(said.contains("1 assets"), "{said}");
    Ok(())
}

#[test]
fn prices_rates_and_centres_become_files_that_a_fleet_names() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    fs::write(
        path.join("vms.csv"),
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n\
         p5.48xlarge,H100,8.0,192,2048,\"{'Gpus': []}\",98.32,20.4,us-east-1,us-east-1a\n\
         m6i.large,,,2,8,,0.096,,us-east-1,us-east-1a\n",
    )?;
    let skypilot = |day: &'static str| {
        let options = ["import", "prices", "vms.csv", "--format", "skypilot", "--cloud", "aws", "--source"];
        [&options[..], &["a catalog", "--licence", "MIT", "--effective-from", day, "--into", "prices.csv"]]
            .concat()
    };
    let said = run(path, &skypilot("2024-04-25"))?;
    ensure!(said.contains("2 new, 0 unchanged") && said.contains("1 rows without a GPU"), "{said}");
    // The same list a month later has no new price, and a cheaper one has.
    let said = run(path, &skypilot("2024-05-25"))?;
    ensure!(said.contains("0 new, 2 unchanged"), "{said}");
    let list = fs::read_to_string(path.join("vms.csv"))?.replace("98.32", "55.04");
    fs::write(path.join("vms.csv"), list)?;
    let said = run(path, &skypilot("2025-06-01"))?;
    ensure!(said.contains("1 new, 1 unchanged") && said.contains("3 in all"), "{said}");
    let book = fs::read_to_string(path.join("prices.csv"))?;
    ensure!(
        book.contains(
            "aws p5.48xlarge us-east-1,on_demand,H100,6.88,USD,2025-06-01,2025-06-01,a catalog,MIT"
        ),
        "{book}"
    );

    fs::write(
        path.join("own.toml"),
        "[[price]]\noffer = \"index\"\nkind = \"market_index\"\nmodel = \"H100\"\nper_gpu_hour = \"2.10\"\n\
        currency = \"USD\"\neffective_from = 2026-03-01\nsource = \"an index\"\n",
    )?;
    run(path, &["import", "prices", "own.toml", "--format", "toml", "--into", "prices.csv"])?;
    fs::write(path.join("ecb.csv"), "Date,USD,JPY,\n2026-01-16,1.1617,183.5,\n2026-01-15,N/A,184,\n")?;
    run(
        path,
        &["import", "rates", "ecb.csv", "--format", "ecb", "--currency", "USD", "--into", "rates.csv"],
    )?;
    fs::write(path.join("staff.csv"), "login;Cost center\nann;research\nbob;\n")?;
    let staff = ["import", "centres", "staff.csv", "--delimiter", ";", "--owner-column", "login"];
    run(path, &[&staff[..], &["--centre-column", "Cost center", "--into", "centres.csv"]].concat())?;
    let fleet = "currency = \"EUR\"\nprices = \"prices.csv\"\nrates = [\"rates.csv\"]\ncost_centres = \"centres.csv\"\n";
    fs::write(path.join("fleet.toml"), fleet)?;
    let said = run(path, &["--fleet", "fleet.toml", "check-config"])?;
    ensure!(said.contains("4 rent prices") && said.contains("1 cost centre rules"), "{said}");
    let left: Vec<_> =
        fs::read_dir(path)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    ensure!(!left.iter().any(|name| name.contains(".tmp")), "{left:?}");
    Ok(())
}

#[test]
fn a_real_price_list_is_imported_and_named_by_a_fleet() -> Result<()> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/money/gpu_prices_list.csv");
    if !list.exists() {
        println!("skipped: ../shared/money/gpu_prices_list.csv is absent");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let list = list.to_str().context("a path that is text")?;
    let import = ["import", "prices", list, "--format", "list", "--into", "prices.csv"];
    let said = run(folder.path(), &import)?;
    ensure!(said.contains("989 new"), "{said}");
    let again = run(folder.path(), &import)?;
    ensure!(again.contains("0 new, 989 unchanged"), "{again}");
    fs::write(folder.path().join("fleet.toml"), "currency = \"USD\"\nprices = \"prices.csv\"\n")?;
    let said = run(folder.path(), &["--fleet", "fleet.toml", "check-config"])?;
    ensure!(said.contains("989 rent prices"), "{said}");
    let some = [
        "import", "prices", list, "--format", "list", "--model", "H100", "--offer", "aws *", "--into",
        "h100.csv",
    ];
    let said = run(folder.path(), &some)?;
    ensure!(
        fs::read_to_string(folder.path().join("h100.csv"))?
            .contains("aws p5.48xlarge us-east-1,on_demand,H100,6.88,USD"),
        "{said}"
    );
    Ok(())
}
