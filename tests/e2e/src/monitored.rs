//! A small fleet under Prometheus: a collector, two agents on simulated GPUs, and a real Prometheus
//! that scrapes the collector and evaluates our rules. Everything listens on 127.0.0.1 only.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::{FakeNvml, boot_ms};
use crate::process::Process;
use crate::{built, net, tool};

/// Costs are there after a minute at most; the rest is room for a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// The first asset went into service before this year's first month.
const FLEET: &str = r#"
currency = "EUR"
capital_rate = "0.06"

[[site]]
name = "dc1"
pue = "1.3"
tariff = "0.21"
carbon_g_per_kwh = "380"

[[node]]
name = "gpu-*"
site = "dc1"

[[asset]]
serial = "SN1"
node = "gpu-01"
cost = "60000.00"
life_years = 5
in_service = "2024-01-15"

[[asset]]
serial = "SN2"
node = "gpu-02"
cost = "60000.00"
life_years = 5
in_service = "2024-01-15"

[[overhead]]
kind = "staff"
per_year = "12000.00"

[[price]]
offer = "cloud on demand"
kind = "on_demand"
model = "H100"
per_gpu_hour = "2.95"
effective_from = "2024-01-01"
source = "price list of the test"
"#;

/// Two GPUs at work for the agent's own user; the second cannot tell its memory's temperature.
const GPUS: &str = r#"
[[gpu]]
count = 2

[[gpu.phase]]
ms = 600000
power_mw = { mean = 500000, amplitude = 60000, period_ms = 3000 }
gpu_util = 90
memory_util = 40
memory_used_mib = 40000
temperature_c = 60
memory_temperature_c = 70
sm_mhz = 1755
clock_reasons = 4
processes = [{ pid = "self", memory_mib = 39600 }]

[[fault]]
gpu = 1
kind = "answer"
calls = ["field:82"]
code = "NOT_SUPPORTED"
"#;

/// The running processes; they end when this is dropped.
#[derive(Debug)]
pub struct Monitored {
    /// Port of the collector's `/metrics`.
    pub http_port: u16,
    prometheus_port: u16,
    _processes: Vec<Process>,
    // Last: the folder goes when nothing runs in it any more.
    _folder: TempDir,
}

impl Monitored {
    /// Starts everything; `None` where Prometheus is not installed.
    pub fn start() -> Result<Option<Self>> {
        let Some(prometheus) = tool::find("prometheus", "prometheus")? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let (grpc_port, http_port, prometheus_port) =
            (net::free_port()?, net::free_port()?, net::free_port()?);
        let mut processes = vec![collector(folder.path(), grpc_port, http_port)?];
        for node in ["gpu-01", "gpu-02"] {
            processes.push(agent(folder.path(), node, grpc_port)?);
        }
        processes.push(scraper(&prometheus, folder.path(), http_port, prometheus_port)?);
        Ok(Some(Self { http_port, prometheus_port, _processes: processes, _folder: folder }))
    }

    /// The samples that a query gives now.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>> {
        query_at(self.prometheus_port, expr)
    }

    /// Waits until a query gives a number, and gives all that it gives.
    pub fn wait_for_data(&self, expr: &str) -> Result<Vec<Value>> {
        net::wait_for(expr, LIMIT, || {
            let samples = self.query(expr)?;
            ensure!(samples.iter().any(|sample| value(sample).is_some()), "no data: {samples:?}");
            Ok(samples)
        })
    }
}

/// The samples that a query gives now at the Prometheus on this port.
pub fn query_at(port: u16, expr: &str) -> Result<Vec<Value>> {
    let path = format!("/api/v1/query?query={}", encoded(expr)?);
    let answer = net::get(port, &path)?;
    let body: Value = serde_json::from_str(&answer.body).context("Prometheus answered no JSON")?;
    ensure!(body["status"] == "success", "{expr}: {}", answer.body);
    Ok(body["data"]["result"].as_array().cloned().unwrap_or_default())
}

/// The number of a sample; `None` where it is not a number.
pub fn value(sample: &Value) -> Option<f64> {
    sample["value"][1].as_str()?.parse().ok().filter(|value: &f64| !value.is_nan())
}

fn collector(folder: &Path, grpc: u16, http: u16) -> Result<Process> {
    std::fs::write(folder.join("fleet.toml"), FLEET)?;
    let config = format!(
        "ledger = \"{}\"\nfleet = \"{}\"\ninsecure = true\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n\
         commit_interval = \"200ms\"\n",
        folder.join("ledger.db").display(),
        folder.join("fleet.toml").display(),
    );
    let file = folder.join("collector.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(built::binary("gpuledger")?);
    let mut process = Process::start("collector", command.arg("--config").arg(file).arg("serve"), folder)?;
    net::wait_ready(&mut process, http, "/readyz", LIMIT)?;
    Ok(process)
}

fn agent(folder: &Path, node: &str, grpc: u16) -> Result<Process> {
    let own = folder.join(node);
    std::fs::create_dir(&own)?;
    // Both agents ask the same driver: UUIDs must differ.
    let bus = if node == "gpu-01" { 1 } else { 33 };
    let scenario = format!("node = {node:?}\n[clock]\nstart_boot_ms = {}\n{}", boot_ms(), GPUS)
        .replace("count = 2\n", &format!("count = 2\npci_bus = {bus}\n"));
    let fake = FakeNvml::new(&own, &scenario)?;
    let mut command = Command::new(built::binary("gpuledger-agent")?);
    command
        .args(["run", "--node", node, "--sample-interval", "500ms", "--batch-span", "1s"])
        .args(["--insecure", "--collector", &format!("127.0.0.1:{grpc}")])
        .arg("--spool-dir")
        .arg(own.join("spool"));
    Process::start(node, fake.attach(&mut command), folder)
}

fn scraper(prometheus: &Path, folder: &Path, http: u16, port: u16) -> Result<Process> {
    let rules: PathBuf = built::root()?.join("dashboards/rules/gpuledger.rules.yml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\n\
         scrape_configs:\n- job_name: gpuledger\n  static_configs: [{{targets: [\"127.0.0.1:{http}\"]}}]\n",
        rules.display()
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(prometheus);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start("prometheus", &mut command, folder)?;
    net::wait_ready(&mut process, port, "/-/ready", LIMIT)?;
    Ok(process)
}

/// A query as part of an address.
pub fn encoded(text: &str) -> Result<String> {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}")?;
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_its_address() {
        assert_eq!(encoded("a{b=\"c\"}+1").unwrap(), "a%7Bb%3D%22c%22%7D%2B1");
    }
}
