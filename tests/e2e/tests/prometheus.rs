//! What the collector tells Prometheus: `promtool` and a real Prometheus judge it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_collector::export::families::FAMILIES;
use gpuledger_e2e::monitored::{Monitored, value};
use gpuledger_e2e::process::run;
use gpuledger_e2e::{built, net, tool};
use gpuledger_proto::catalogue::CATALOGUE;
use std::io::Write;

const LIMIT: Duration = Duration::from_secs(90);

/// Everything that `promtool check metrics` says about an exposition.
fn complaints(promtool: &std::path::Path, exposition: &str) -> Result<String> {
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start promtool")?;
    child.stdin.take().context("stdin of promtool")?.write_all(exposition.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success() || !said.is_empty(), "promtool ended with {}", output.status);
    Ok(said)
}

#[test]
fn the_exposition_of_a_running_fleet_pleases_promtool_and_holds_no_unknown_family() -> Result<()> {
    let Some(promtool) = tool::find("promtool", "prometheus")? else { return Ok(()) };
    let Some(fleet) = Monitored::start()? else { return Ok(()) };
    fleet.wait_for_data("gpuledger_gpu_energy_joules_total > 0")?;
    fleet.wait_for_data("gpuledger_cost_month_to_date")?;
    let exposition = net::get_ok(fleet.http_port, "/metrics")?;
    let said = complaints(&promtool, &exposition)?;
    ensure!(said.is_empty(), "promtool check metrics says:\n{said}");
    let known: BTreeSet<_> =
        FAMILIES.iter().map(|f| f.name).chain(CATALOGUE.iter().filter_map(|m| m.prometheus)).collect();
    let declared = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: Vec<_> = declared.filter(|name| !known.contains(name)).collect();
    ensure!(unknown.is_empty(), "neither the catalogue nor the families declare {unknown:?}");
    Ok(())
}

#[test]
fn a_complaint_of_promtool_would_be_seen() -> Result<()> {
    let Some(promtool) = tool::find("promtool", "prometheus")? else { return Ok(()) };
    let said = complaints(&promtool, "# TYPE x_counter gauge\nx_counter 1\n")?;
    ensure!(said.contains("x_counter"), "{said:?}");
    Ok(())
}

#[test]
fn rules_and_their_tests_please_promtool() -> Result<()> {
    let Some(promtool) = tool::find("promtool", "prometheus")? else { return Ok(()) };
    let rules = built::root()?.join("dashboards/rules");
    run(Command::new(&promtool).args(["check", "rules"]).arg(rules.join("gpuledger.rules.yml")))?;
    run(Command::new(&promtool).args(["test", "rules"]).arg(rules.join("gpuledger.rules.test.yml")))?;
    let example = built::root()?.join("dashboards/provisioning/prometheus.yml");
    run(Command::new(&promtool).args(["check", "config", "--syntax-only"]).arg(example))?;
    Ok(())
}

#[test]
fn prometheus_holds_what_the_collector_told_it() -> Result<()> {
    let Some(fleet) = Monitored::start()? else { return Ok(()) };
    let one = |expr: &str| -> Result<f64> {
        let samples = fleet.wait_for_data(expr)?;
        value(&samples[0]).with_context(|| format!("{expr}: {samples:?}"))
    };
    net::wait_for("both nodes", LIMIT, || {
        let nodes = one("gpuledger_fleet_nodes")?;
        ensure!(nodes > 1.5, "{nodes} nodes");
        Ok(())
    })?;
    let gpus = one("count(gpuledger_gpu_up == 1)")?;
    ensure!((3.5..4.5).contains(&gpus), "{gpus} GPUs are up, expected 4");
    let power = one("avg(gpuledger_gpu_power_watts)")?;
    ensure!((430.0..570.0).contains(&power), "{power} W; the scenario swings between 440 and 560");
    // Every recorded series of the rules file gives data as well.
    let rules = std::fs::read_to_string(built::root()?.join("dashboards/rules/gpuledger.rules.yml"))?;
    for record in rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")) {
        fleet.wait_for_data(record)?;
    }
    Ok(())
}
