//! The collector that is measured: `gpuledger serve`, a process of its own.

use super::usage::{self, Resident};
use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Starting and ending may take this long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Ports below those that the system gives to outgoing connections: thousands of agents that try to
/// connect while the collector is down must not take its port, nor connect to themselves.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// Lines of the collector's log that an error shows.
const LOG_LINES: usize = 20;

/// The running collector. Dropping it kills it.
pub struct Collector {
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    grpc: SocketAddr,
    http: SocketAddr,
    process: Child,
    /// What the processes before this one have used.
    before: Spent,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    cpu: Duration,
    resident_peak: u64,
}

impl Collector {
    /// Where it listens.
    pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Writes the configuration into the folder and starts it. Sections stand last in the settings.
    pub async fn start(binary: PathBuf, folder: &Path, settings: &str) -> anyhow::Result<Self> {
        let [grpc, http] = free_ports()?.map(|port| SocketAddr::from((Self::ADDRESS, port)));
        let config = folder.join("collector.toml");
        let text = format!(
            "# The collector that `gpuledger-fleet load` measures.\n\
             grpc_listen = \"{grpc}\"\nhttp_listen = \"{http}\"\ncommit_interval = \"5s\"\n{settings}"
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let log = folder.join("collector.log");
        let process = spawn(&binary, &config, &log)?;
        let mut collector = Self { binary, config, log, grpc, http, process, before: Spent::default() };
        collector.listening().await?;
        Ok(collector)
    }

    /// Where agents connect.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Processor time of this process and of those before it.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let own = usage::cpu(self.process.id()).context("cannot read what the collector has used")?;
        Ok(self.before.cpu + own)
    }

    /// Its memory; the peak is the highest of all its processes.
    pub fn resident(&self) -> anyhow::Result<Resident> {
        let own = usage::resident(self.process.id()).context("cannot read the collector's memory")?;
        Ok(Resident { peak: own.peak.max(self.before.resident_peak), ..own })
    }

    /// An error where it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait().context("cannot watch the collector")? {
            None => Ok(()),
            Some(status) => bail!("the collector ended with {status}:\n{}", self.last_words()),
        }
    }

    /// Kills it as a machine does that loses power, and starts it again at once on the same ports.
    pub async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.before = Spent { cpu: self.cpu()?, resident_peak: self.resident()?.peak };
        self.process.kill().context("cannot kill the collector")?;
        self.process.wait().context("cannot wait for the collector")?;
        self.process = spawn(&self.binary, &self.config, &self.log)?;
        self.listening().await
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.must_run()?;
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).context("cannot end the collector")?;
        }
        let status = self.ended().await?;
        ensure!(status.success(), "the collector ended with {status}:\n{}", self.last_words());
        Ok(())
    }

    async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().context("cannot wait for the collector")? {
                return Ok(status);
            }
            ensure!(Instant::now() < until, "the collector has not ended after {PATIENCE:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn listening(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(self.http).await.is_err() {
            self.must_run()?;
            ensure!(Instant::now() < until, "nobody listens on {} after {PATIENCE:?}", self.http);
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(binary: &Path, config: &Path, log: &Path) -> anyhow::Result<Child> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(config).arg("serve");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    command.spawn().with_context(|| format!("cannot start {}", binary.display()))
}

/// Two ports that nobody listens on now. Where the search begins depends on the process, so that two
/// generators seldom meet.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let from = usize::try_from(std::process::id())? * 2 % PORTS.len();
    let mut free = PORTS.cycle().skip(from).take(PORTS.len());
    let mut next = || free.find(|&port| TcpListener::bind((Collector::ADDRESS, port)).is_ok());
    let found = next().zip(next());
    found.map(|(first, second)| [first, second]).context("no port between 20000 and 30000 is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_collector_that_cannot_start_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("gpuledger");
        std::fs::write(&binary, "#!/bin/sh\necho 'no such key' >&2\nexit 2\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&binary, mode).unwrap();
        let error = Collector::start(binary, folder.path(), "x = 1\n").await.err().unwrap().to_string();
        assert!(error.contains("no such key") && error.contains('2'), "{error}");
    }

    #[test]
    fn ports_are_two_and_not_those_of_outgoing_connections() {
        let [first, second] = free_ports().unwrap();
        assert!(first != second && PORTS.contains(&first) && PORTS.contains(&second));
    }
}
