//! `gpuledger-fleet load` in small: what others read from it is there, and nothing is lost or counted
//! twice: in peace, through a collector that is killed, and through a store that lets nobody write.
//! How long anything took is not judged here.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built::binary;
use gpuledger_e2e::process::{finish, run_json};
use serde_json::Value;

/// What programs of others rely on.
const NUMBERS: [&str; 22] = [
    "nodes",
    "gpus",
    "seconds",
    "connections",
    "points",
    "batches",
    "wire_bytes_per_point",
    "collector_cpu_seconds_per_million_points",
    "collector_cpu_seconds",
    "connect_cpu_seconds",
    "generator_cpu_seconds",
    "ack_p50_ms",
    "ack_p99_ms",
    "ack_max_ms",
    "acks_later_than_15s",
    "collector_rss_bytes",
    "collector_rss_end_bytes",
    "lost_batches",
    "duplicated_batches",
    "energy_error_mj",
    "observed_error_ms",
    "generator_late_max_ms",
];

fn load(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary("gpuledger-fleet")?);
    command.args(["load", "--gpus", "8", "--json"]).args(arguments).env_remove("RUST_LOG");
    Ok(command)
}

fn number(report: &Value, name: &str) -> Result<f64> {
    report.get(name).and_then(Value::as_f64).with_context(|| format!("{name} is no number in {report:#}"))
}

fn whole(report: &Value, name: &str) -> Result<u64> {
    report
        .get(name)
        .and_then(Value::as_u64)
        .with_context(|| format!("{name} is no whole number in {report:#}"))
}

/// Everything that was sent is in the ledger, once.
fn is_exact(report: &Value) -> Result<()> {
    for name in ["lost_batches", "duplicated_batches", "energy_error_mj", "observed_error_ms"] {
        ensure!(whole(report, name)? == 0, "{name} in {report:#}");
    }
    Ok(())
}

#[test]
fn a_run_tells_what_it_cost_and_its_ledger_has_everything_once() -> Result<()> {
    let report = run_json(&mut load(&["--nodes", "20", "--seconds", "12"])?)?;
    for name in NUMBERS {
        number(&report, name)?;
    }
    is_exact(&report)?;
    ensure!(report["store"] == "sqlite" && report["tls"] == true, "{report:#}");
    // Thirty readings a GPU and nine of the node, once a second; two batches a node.
    let counts = ["points", "batches", "connections"].map(|name| whole(&report, name).unwrap_or(0));
    ensure!(counts == [20 * 12 * 249, 40, 20], "{report:#}");
    ensure!(number(&report, "wire_bytes_per_point")? <= 1.35, "{report:#}");
    ensure!(number(&report, "generator_cpu_seconds")? > 0.0, "{report:#}");
    ensure!(whole(&report, "collector_rss_bytes")? > 1 << 20, "{report:#}");
    Ok(())
}

#[test]
fn a_collector_that_is_killed_in_mid_run_loses_nothing_and_counts_nothing_twice() -> Result<()> {
    let arguments = ["--nodes", "20", "--seconds", "20", "--restart-after", "7", "--insecure"];
    let report = run_json(&mut load(&arguments)?)?;
    is_exact(&report)?;
    ensure!(report["tls"] == false, "{report:#}");
    let restart = &report["restart"];
    let times =
        ["down_ms", "reconnected_within_ms", "absorbed_within_ms"].map(|name| whole(restart, name).ok());
    ensure!(times.is_sorted() && times[0].is_some(), "{report:#}");
    Ok(())
}

#[test]
fn a_store_that_lets_nobody_write_stops_acknowledgements_and_loses_nothing() -> Result<()> {
    let report = run_json(&mut load(&["--nodes", "20", "--seconds", "20", "--stall-store", "12"])?)?;
    is_exact(&report)?;
    let stall = &report["stall"];
    ensure!(whole(stall, "acks_during")? == 0, "{report:#}");
    ensure!(whole(stall, "batches_waiting")? > 0, "{report:#}");
    whole(stall, "collector_rss_most_bytes")?;
    Ok(())
}

#[test]
fn on_postgresql_it_is_the_same_and_nothing_is_left_behind() -> Result<()> {
    let Some(server) = gpuledger_real_postgres::shared()? else { return Ok(()) };
    let url = format!("postgres://ledger@127.0.0.1:{}/postgres", server.port());
    let arguments = ["--nodes", "10", "--seconds", "12", "--stall-store", "5", "--store", "postgres", &url];
    let report = run_json(&mut load(&arguments)?)?;
    is_exact(&report)?;
    ensure!(whole(&report["stall"], "acks_during")? == 0, "{report:#}");
    ensure!(report["store"].as_str().is_some_and(|store| store.starts_with("postgres://")), "{report:#}");
    number(&report, "store_cpu_seconds")?;
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'load\\_%'";
    ensure!(server.sql(schemas)?.trim() == "0", "a schema is left behind");
    Ok(())
}

#[test]
fn steps_stand_side_by_side() -> Result<()> {
    let report = run_json(&mut load(&["--steps", "5,10", "--seconds", "5"])?)?;
    let steps = report["steps"].as_array().context("no steps")?;
    ensure!(steps.iter().map(|step| whole(step, "nodes").ok()).eq([Some(5), Some(10)]), "{report:#}");
    ensure!(whole(&report, "nodes")? == 10, "{report:#}");
    steps.iter().try_for_each(is_exact)
}

#[test]
fn wrong_use_is_told_and_begins_nothing() -> Result<()> {
    for (arguments, told) in [
        (&["--store", "mysql://u:hidden@h/d"][..], "--store"),
        (&["--seconds", "5", "--restart-after", "9"], "--restart-after"),
        (&["--steps", "10,0"], "--steps"),
    ] {
        let done = finish(&mut load(arguments)?)?;
        let said = String::from_utf8(done.stderr)?;
        ensure!(done.status.code() == Some(2) && done.stdout.is_empty(), "{arguments:?}: {said}");
        ensure!(said.contains(told) && !said.contains("hidden"), "{said}");
    }
    Ok(())
}
