//! What the collector tells Prometheus: `promtool` and a real Prometheus judge it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_collector::export::families::FAMILIES;
use gpuledger_e2e::monitored::{Monitored, query_at, value};
use gpuledger_e2e::process::{Process, run};
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
    let part = |query: &str| net::get_ok(fleet.http_port, &format!("/metrics{query}"));
    let exposition = part("")?;
    let parts = ["?shard=1/3", "?shard=2/3", "?family=gpuledger_gpu_*&site=dc1", "?site=&family=process_*"];
    for text in parts.into_iter().map(part).chain([Ok(exposition.clone())]) {
        let said = complaints(&promtool, &text?)?;
        ensure!(said.is_empty(), "promtool check metrics says:\n{said}");
    }
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

/// Four jobs: the whole, and three thirds of it as an operator would configure them.
fn jobs(http_port: u16) -> String {
    let job = |name: &str, params: &str| {
        format!(
            "- job_name: {name}\n  params: {{{params}}}\n  static_configs: [{{targets: [\"127.0.0.1:{http_port}\"]}}]\n"
        )
    };
    let thirds = (1..=3).map(|third| job(&format!("third-{third}"), &format!("shard: [\"{third}/3\"]")));
    let jobs: String = std::iter::once(job("whole", "")).chain(thirds).collect();
    format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{jobs}")
}

/// The series of our own that a job has at present, without the labels that Prometheus adds.
fn series_of(port: u16, job: &str) -> Result<BTreeSet<String>> {
    let query = format!("{{job=\"{job}\",__name__=~\"(gpuledger|process)_.+\"}}");
    let mut all = BTreeSet::new();
    for sample in query_at(port, &query)? {
        let mut labels = sample["metric"].as_object().context("a sample without labels")?.clone();
        labels.remove("job");
        labels.remove("instance");
        ensure!(all.insert(format!("{labels:?}")), "{job} has {labels:?} twice");
    }
    Ok(all)
}

#[test]
fn a_prometheus_that_asks_for_three_shards_has_every_series_once() -> Result<()> {
    let Some(prometheus) = tool::find("prometheus", "prometheus")? else { return Ok(()) };
    let Some(fleet) = Monitored::start()? else { return Ok(()) };
    fleet.wait_for_data("gpuledger_cost_month_to_date")?;
    let folder = tempfile::tempdir()?;
    let (config, port) = (folder.path().join("prometheus.yml"), net::free_port()?);
    std::fs::write(&config, jobs(fleet.http_port))?;
    let mut command = Command::new(prometheus);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start("prometheus-thirds", &mut command, folder.path())?;
    net::wait_ready(&mut process, port, "/-/ready", LIMIT)?;
    // What comes and goes, such as a reading that is absent for a moment, is not there at the same
    // second in all of them.
    net::wait_for("the same series in the whole and in its thirds", LIMIT, || {
        let whole = series_of(port, "whole")?;
        let thirds =
            (1..=3).map(|third| series_of(port, &format!("third-{third}"))).collect::<Result<Vec<_>>>()?;
        ensure!(whole.iter().any(|series| series.contains("gpuledger_gpu_power_watts")), "no readings yet");
        ensure!(thirds.iter().all(|third| !third.is_empty()), "a third has nothing");
        let all: BTreeSet<_> = thirds.iter().flatten().cloned().collect();
        let sum: usize = thirds.iter().map(BTreeSet::len).sum();
        ensure!(sum == all.len(), "{} series are in several thirds", sum - all.len());
        let differ: Vec<_> = all.symmetric_difference(&whole).collect();
        ensure!(differ.is_empty(), "not in both: {differ:?}");
        Ok(())
    })
}
