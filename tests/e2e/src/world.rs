//! A collector and nodes with simulated GPUs, as real processes, and the comparison of what the
//! ledger has counted with what the GPUs really told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gpuledger_collector::store::{self, Access};
use gpuledger_ledger::GpuHour;
use tempfile::TempDir;

use crate::built;
use crate::fake::{FakeNvml, Told, energy_mj};
use crate::net::{free_port, wait_ready};
use crate::process::{Process, run};

/// Starting and ending may take this long on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two samples.
pub const INTERVAL_MS: u64 = 500;

/// Folder and ports of one test.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    grpc: u16,
    http: u16,
}

impl World {
    pub fn new() -> Result<Self> {
        Self::with("")
    }

    /// A world whose collector has these settings too.
    pub fn with(settings: &str) -> Result<Self> {
        let world = Self { folder: tempfile::tempdir()?, grpc: free_port()?, http: free_port()? };
        let text = format!(
            "ledger = \"{}\"\ninsecure = true\ngrpc_listen = \"127.0.0.1:{}\"\nhttp_listen = \"127.0.0.1:{}\"\ncommit_interval = \"100ms\"\n{settings}\n",
            world.ledger().display(),
            world.grpc,
            world.http
        );
        std::fs::write(world.folder.path().join("collector.toml"), text)?;
        Ok(world)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    /// The port for agents.
    pub fn grpc(&self) -> u16 {
        self.grpc
    }

    /// The collector's HTTP port.
    pub fn http(&self) -> u16 {
        self.http
    }

    /// Starts the collector and waits until it serves.
    pub fn collector(&self) -> Result<Process> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.arg("--config").arg(self.folder.path().join("collector.toml")).arg("serve");
        let mut process = Process::start("collector", &mut command, self.folder.path())?;
        wait_ready(&mut process, self.http, "/healthz", PATIENCE)?;
        Ok(process)
    }

    /// A node with this scenario; its name is put before it.
    pub fn node(&self, name: &str, scenario: &str) -> Result<Node> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder)?;
        let fake = FakeNvml::new(&folder, &format!("node = {name:?}\n{scenario}"))?;
        let collector = format!("127.0.0.1:{}", self.grpc);
        Ok(Node { name: name.to_owned(), interval_ms: INTERVAL_MS, collector, folder, fake })
    }

    /// The collector's own judgement on the ledger.
    pub fn verify(&self) -> Result<()> {
        let mut command = Command::new(built::binary("gpuledger")?);
        run(command.arg("--ledger").arg(self.ledger()).arg("verify")).map(drop)
    }

    /// What the ledger has of each GPU, by UUID. The collector must have ended.
    pub fn counted(&self) -> Result<BTreeMap<String, Counted>> {
        let location = self.ledger().into();
        let runtime = tokio::runtime::Runtime::new()?;
        let (gpus, totals) = runtime.block_on(async {
            let ledger = store::open(&location, None, Access::Read).await?.ledger;
            Ok::<_, anyhow::Error>((ledger.gpus().await?, ledger.gpu_totals().await?))
        })?;
        let mut counted = BTreeMap::new();
        for record in gpus {
            let total = totals.iter().find(|total| total.gpu == record.key).map(|total| total.total);
            let span = record.first_ms.zip(record.last_ms);
            if let (Some(total), Some((first_ms, last_ms))) = (total, span) {
                counted.insert(record.gpu.uuid.to_string(), Counted { total, first_ms, last_ms });
            }
        }
        Ok(counted)
    }
}

/// A node: its GPUs, its spool and its agent's configuration.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub fake: FakeNvml,
    /// Time between two samples, at most [`INTERVAL_MS`].
    pub interval_ms: u64,
    folder: PathBuf,
    collector: String,
}

impl Node {
    pub fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// The agent's command; flags may be added.
    pub fn agent(&self) -> Result<Command> {
        let mut command = Command::new(built::binary("gpuledger-agent")?);
        self.fake.attach(&mut command);
        command.args(["run", "--config", "/dev/null", "--batch-span", "1s", "--node", &self.name]);
        command.args([
            "--sample-interval",
            &format!("{}ms", self.interval_ms),
            "--insecure",
            "--collector",
            &self.collector,
        ]);
        command.arg("--spool-dir").arg(self.spool());
        Ok(command)
    }

    pub fn start(&self) -> Result<Process> {
        Process::start(&self.name, &mut self.agent()?, &self.folder)
    }

    /// Ends the agent in an orderly way, and sees to it that everything it has measured is in the
    /// ledger: an agent that could not send all before it ended is started once more.
    pub fn finish(&self, mut agent: Process) -> Result<()> {
        for _ in 0..10 {
            agent.terminate()?;
            let status = agent.wait(PATIENCE)?;
            ensure!(status.success(), "{} ended with {status}:\n{}", self.name, agent.errors());
            let log = agent.errors();
            let (_, waiting) =
                log.rsplit_once("waiting_batches=").context("the agent does not say what waits")?;
            if waiting.starts_with("0 ") || waiting.starts_with("0\n") {
                return Ok(());
            }
            agent = self.start()?;
            std::thread::sleep(Duration::from_secs(2));
        }
        bail!("{}: the spool does not become empty:\n{}", self.name, agent.errors())
    }
}

/// What the ledger has of a GPU.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub total: GpuHour,
    /// Stamps of its first and its last sample.
    pub first_ms: u64,
    pub last_ms: u64,
}

impl Counted {
    /// What the GPU told from the first sample in the ledger to the last: the readings that the
    /// counted energy must agree with. A reading follows its sample's stamp within the interval.
    pub fn told<'a>(&self, told: &'a [Told]) -> Result<&'a [Told]> {
        let at = |ms: u64| -> Result<usize> {
            let index = told.partition_point(|t| u64::try_from(t.unix_ns / 1_000_000).unwrap_or(0) < ms);
            let found =
                told.get(index).with_context(|| format!("no reading follows the sample at {ms} ms"))?;
            let late_ms = u64::try_from(found.unix_ns / 1_000_000)? - ms;
            ensure!(late_ms < INTERVAL_MS, "the reading of the sample at {ms} ms is {late_ms} ms late");
            Ok(index)
        };
        Ok(&told[at(self.first_ms)?..=at(self.last_ms)?])
    }

    /// Counted energy is what the counter told, to the millijoule.
    pub fn energy_agrees(&self, uuid: &str, told: &[Told]) -> Result<()> {
        let truth_mj = energy_mj(self.told(told)?);
        let counted_mj = self.total.counter_mj.0;
        ensure!(
            counted_mj == truth_mj,
            "{uuid}: the ledger has {counted_mj} mJ, the GPU told {truth_mj} mJ: {self:#?}"
        );
        Ok(())
    }

    /// Time in which the GPU was observed.
    pub fn observed_ms(&self) -> Result<u64> {
        Ok(self.total.observed()?.0)
    }

    pub fn span_ms(&self) -> u64 {
        self.last_ms - self.first_ms
    }

    /// Every millisecond between the first and the last sample was observed, and every sample in
    /// between is there, once.
    pub fn is_whole(&self, uuid: &str, told: &[Told]) -> Result<()> {
        let (observed_ms, span_ms) = (self.observed_ms()?, self.span_ms());
        ensure!(
            observed_ms.abs_diff(span_ms) <= 2,
            "{uuid}: {observed_ms} of {span_ms} ms are observed: {self:#?}"
        );
        // The first sample closes no interval.
        let samples = u64::try_from(self.told(told)?.len())? - 1;
        ensure!(
            self.total.samples == samples,
            "{uuid}: {} samples of {samples} are there: {self:#?}",
            self.total.samples
        );
        Ok(())
    }
}
