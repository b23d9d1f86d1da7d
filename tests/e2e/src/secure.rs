//! A collector and agents that know each other by certificates, made by the real command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use gpuledger_collector::ca::{Authority, Issued, Validity};
use gpuledger_proto::ids::NodeName;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::built;
use crate::net::{free_port, get_ok, wait_for, wait_ready};
use crate::process::{Process, run};
use crate::world::PATIENCE;

const DAY: Duration = Duration::from_secs(86_400);

/// Folder, ports and CA of one test.
pub struct Secure {
    folder: TempDir,
    pub grpc: u16,
    pub http: u16,
}

impl Secure {
    /// With a CA and a certificate of the collector for 127.0.0.1.
    pub fn new() -> Result<Self> {
        let world = Self { folder: tempfile::tempdir()?, grpc: free_port()?, http: free_port()? };
        world.ca(&["init"])?;
        world.ca(&["issue", "--collector", "127.0.0.1"])?;
        let config = format!(
            "ledger = {:?}\ngrpc_listen = \"127.0.0.1:{}\"\nhttp_listen = \"127.0.0.1:{}\"\ncommit_interval = \"100ms\"\n\
             [tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            world.path("ledger.db"),
            world.grpc,
            world.http,
            world.path("gpuledger-ca/collector/ca.pem"),
            world.path("gpuledger-ca/collector/collector.pem"),
            world.path("gpuledger-ca/collector/collector.key"),
        );
        std::fs::write(world.path("collector.toml"), config)?;
        Ok(world)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `gpuledger ca …` in the folder of the test.
    pub fn ca(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(built::binary("gpuledger")?);
        run(command.current_dir(self.folder.path()).arg("ca").args(arguments))
    }

    /// Starts the collector and waits until it serves.
    pub fn collector(&self) -> Result<Process> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.arg("--config").arg(self.path("collector.toml")).arg("serve");
        let mut process = Process::start("collector", &mut command, self.folder.path())?;
        wait_ready(&mut process, self.http, "/healthz", PATIENCE)?;
        Ok(process)
    }

    /// An agent of this node with the files in a folder, sent to 127.0.0.1. It has no GPUs.
    pub fn agent(&self, node: &str, files: &Path) -> Result<Command> {
        self.agent_to(&format!("127.0.0.1:{}", self.grpc), node, files)
    }

    /// The same, sent elsewhere.
    pub fn agent_to(&self, collector: &str, node: &str, files: &Path) -> Result<Command> {
        let mut command = Command::new(built::binary("gpuledger-agent")?);
        command.args([
            "run",
            "--config",
            "/dev/null",
            "--nvml-library",
            "/nonexistent",
            "--batch-span",
            "1s",
        ]);
        command.args(["--sample-interval", "500ms", "--node", node, "--collector", collector, "--spool-dir"]);
        command.arg(self.path("spools").join(node));
        for (flag, file) in
            [("--tls-ca", "ca.pem"), ("--tls-certificate", "node.pem"), ("--tls-key", "node.key")]
        {
            command.arg(flag).arg(files.join(file));
        }
        Ok(command)
    }

    /// Starts a command as a process of this test.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::start(name, command, self.folder.path())
    }

    /// Issues a node's files by the command; gives their folder.
    pub fn issue(&self, node: &str) -> Result<PathBuf> {
        self.ca(&["issue", node])?;
        Ok(self.path("gpuledger-ca").join(node))
    }

    /// The same with a certificate that has expired, which the command does not make.
    pub fn issue_expired(&self, node: &str) -> Result<PathBuf> {
        let now = SystemTime::now();
        let ca = Authority::open(&self.path("gpuledger-ca"))?;
        let issued = ca.node(&NodeName::new(node)?, Validity { from: now - DAY * 2, to: now - DAY })?;
        let folder = self.path(&format!("expired-{node}"));
        std::fs::create_dir(&folder)?;
        put(&folder, ca.certificate_pem(), &issued)?;
        Ok(folder)
    }

    /// The value of a sample that the collector exports.
    pub fn metric(&self, sample: &str) -> Result<u64> {
        let page = get_ok(self.http, "/metrics")?;
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.with_context(|| format!("no {sample}"))?.parse().context("a whole number")
    }

    /// Waits until the collector has folded more batches than it had.
    pub fn goes_on(&self) -> Result<()> {
        const FOLDED: &str = "gpuledger_collector_batches_total{outcome=\"folded\"}";
        let before = self.metric(FOLDED)?;
        wait_for("another batch", PATIENCE, || {
            anyhow::ensure!(self.metric(FOLDED)? > before, "still {before}");
            Ok(())
        })
    }
}

/// Waits until a process has logged something.
pub fn logged(process: &mut Process, text: &str) -> Result<()> {
    wait_for(text, PATIENCE, || {
        process.must_run()?;
        anyhow::ensure!(process.errors().contains(text), "its log:\n{}", process.errors());
        Ok(())
    })
}

/// Asks a process to look at its files.
pub fn hang_up(process: &Process) -> Result<()> {
    let pid = i32::try_from(process.pid()).ok().and_then(Pid::from_raw).context("pid")?;
    Ok(kill_process(pid, Signal::HUP)?)
}

/// The three files of a node.
pub fn put(folder: &Path, ca: &str, issued: &Issued) -> Result<()> {
    std::fs::write(folder.join("ca.pem"), ca)?;
    std::fs::write(folder.join("node.pem"), &issued.certificate_pem)?;
    Ok(std::fs::write(folder.join("node.key"), &issued.key_pem)?)
}
