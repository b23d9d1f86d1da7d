//! Real receivers of remote write, which are stopped and killed while they receive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::monitored::encoded;
use crate::process::Process;
use crate::{net, tool};

const LIMIT: Duration = Duration::from_secs(90);

/// Which program receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian 12's Prometheus 2.42, which speaks remote write 1.0 only.
    Prometheus2,
    /// Prometheus 3.5, which speaks 2.0.
    Prometheus3,
    /// `VictoriaMetrics` 1.112, which speaks 1.0.
    VictoriaMetrics,
}

/// A receiver with its data in a folder of its own.
#[derive(Debug)]
pub struct Receiver {
    kind: Kind,
    program: PathBuf,
    port: u16,
    process: Option<Process>,
    folder: TempDir,
}

/// A series' samples: time in milliseconds and value.
pub type Samples = Vec<(i64, f64)>;

impl Receiver {
    /// Started and ready; `None` where the program is not there.
    pub fn start(kind: Kind) -> Result<Option<Self>> {
        let (program, package) = match kind {
            Kind::Prometheus2 => ("prometheus", "prometheus"),
            Kind::Prometheus3 => ("prometheus-3", "prometheus 3.5"),
            Kind::VictoriaMetrics => ("victoria-metrics", "victoria-metrics"),
        };
        let Some(program) = tool::find(program, package)? else { return Ok(None) };
        let (port, folder) = (net::free_port()?, tempfile::tempdir()?);
        std::fs::write(folder.path().join("prometheus.yml"), "global: {}\n")?;
        let mut receiver = Self { kind, program, port, process: None, folder };
        receiver.begin()?;
        Ok(Some(receiver))
    }

    /// Where samples are sent to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it again on the same data.
    pub fn begin(&mut self) -> Result<()> {
        let data = self.folder().join("data");
        let mut command = Command::new(&self.program);
        let ready = if self.kind == Kind::VictoriaMetrics {
            command
                .arg(format!("-httpListenAddr=127.0.0.1:{}", self.port))
                .arg(format!("-storageDataPath={}", data.display()))
                // A request whose answer was lost is sent again: the same sample counts once.
                .args(["-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s", "-retentionPeriod=100y"]);
            "/health"
        } else {
            command
                .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--config.file={}", self.folder().join("prometheus.yml").display()))
                .arg("--web.enable-remote-write-receiver");
            "/-/ready"
        };
        let mut process = Process::start("receiver", &mut command, self.folder())?;
        net::wait_ready(&mut process, self.port, ready, LIMIT)?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as hard as its promises allow: Prometheus has in its log what it has answered for, and
    /// `VictoriaMetrics` writes to the disk after a second.
    pub fn break_off(&mut self) -> Result<()> {
        let process = self.process.take().context("the receiver runs")?;
        if self.kind == Kind::VictoriaMetrics { process.stop(LIMIT) } else { process.kill() }
    }

    /// The process, for its CPU time.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the receiver runs")?.pid())
    }

    /// It takes connections and answers none: what waits in the kernel is there when it goes on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw).context("pid")?;
        Ok(kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT })?)
    }

    /// Every sample of a family, by the value of a label.
    pub fn samples(&self, family: &str, label: &str) -> Result<BTreeMap<String, Samples>> {
        let series = match self.kind {
            Kind::VictoriaMetrics => self.export(family)?,
            Kind::Prometheus2 | Kind::Prometheus3 => self.query(family)?,
        };
        let mut samples = BTreeMap::new();
        for (metric, told) in series {
            let name = metric[label].as_str().with_context(|| format!("{metric} has no {label}"))?;
            if samples.insert(name.to_owned(), told).is_some() {
                bail!("two series of {family} have {label} {name}");
            }
        }
        Ok(samples)
    }

    /// Every series that is live in a Prometheus, as `name{label="value",…}` with its labels sorted.
    pub fn live(&self) -> Result<BTreeSet<String>> {
        let path = format!("/api/v1/query?query={}", encoded("{__name__=~\"gpuledger_.+\"}")?);
        let body: Value = serde_json::from_str(&net::get_ok(self.port, &path)?)?;
        let series = body["data"]["result"].as_array().context("an answer without a result")?;
        let text = |one: &Value| -> Result<String> {
            let labels = one["metric"].as_object().context("labels")?;
            let name = labels["__name__"].as_str().context("a name")?;
            let others = labels.iter().filter(|(label, _)| *label != "__name__");
            // A serde_json map is sorted, and writes a text as Prometheus does.
            let others: Vec<String> = others.map(|(label, value)| format!("{label}={value}")).collect();
            Ok(format!("{name}{{{}}}", others.join(",")))
        };
        series.iter().map(text).collect()
    }

    fn query(&self, family: &str) -> Result<Vec<(Value, Samples)>> {
        let path = format!("/api/v1/query?query={}", encoded(&format!("{family}[1d]"))?);
        let body: Value = serde_json::from_str(&net::get_ok(self.port, &path)?)?;
        let series = body["data"]["result"].as_array().context("an answer without a result")?;
        let sample = |pair: &Value| -> Result<(i64, f64)> {
            let seconds = pair[0].as_f64().context("a time")?;
            #[allow(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
            let at_ms = (seconds * 1_000.0).round() as i64;
            Ok((at_ms, pair[1].as_str().context("a value")?.parse()?))
        };
        let samples = |one: &Value| -> Result<Samples> {
            one["values"].as_array().into_iter().flatten().map(sample).collect()
        };
        series.iter().map(|one| Ok((one["metric"].clone(), samples(one)?))).collect()
    }

    fn export(&self, family: &str) -> Result<Vec<(Value, Samples)>> {
        net::get_ok(self.port, "/internal/force_flush")?;
        let path = format!("/api/v1/export?match[]={}", encoded(family)?);
        let lines = net::get_ok(self.port, &path)?;
        let series = |line: &str| -> Result<(Value, Samples)> {
            let one: Value = serde_json::from_str(line)?;
            let numbers = |name: &str| one[name].as_array().cloned().unwrap_or_default();
            let (times, values) = (numbers("timestamps"), numbers("values"));
            ensure!(times.len() == values.len(), "times and values differ in number");
            // The end of a series is told as no number.
            let sample = |(at, value): (&Value, &Value)| Some((at.as_i64()?, value.as_f64()?));
            Ok((one["metric"].clone(), times.iter().zip(&values).filter_map(sample).collect()))
        };
        lines.lines().map(series).collect()
    }
}
