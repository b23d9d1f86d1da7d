//! A collector whose history is long over, so that all its days are closed, and foreign readers of the
//! files: DuckDB, and moto in place of S3.

use crate::process::{Process, run};
use crate::{built, net, parts};
use anyhow::{Context as _, Result, ensure};
use gpuledger_collector::store::{self, Access, Location, Opened};
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::model::Fleet;
use gpuledger_fleet::truth::{Amounts, Truth};
use gpuledger_ledger::{Day, FileStatus, Table};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const STEP_MS: u64 = 60_000;
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
pub const DAYS: u32 = 6;
pub const NODES: u32 = 2;
/// All of it.
const PERIOD: [&str; 4] = ["--from", "2026-09-01", "--to", "2026-10-01"];
pub const LIMIT: Duration = Duration::from_secs(120);

/// Folder, ports and surroundings of one collector.
pub struct Closed {
    folder: TempDir,
    grpc: u16,
    http: u16,
    plan: Plan,
    /// Variables of the collector and of every command.
    env: Vec<(String, String)>,
    /// A process whose file systems commands see in place of the test's own.
    within: Option<u32>,
}

impl Closed {
    /// `archive` is the section of that name, without its head.
    pub fn new(archive: &str, env: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (grpc, http) = (net::free_port()?, net::free_port()?);
        let plan = Plan {
            fleet: Arc::new(Fleet::ending_at(END_MS, DAYS, NODES, 4, 11)),
            step_ms: STEP_MS,
            endpoint: format!("http://127.0.0.1:{grpc}"),
            folder: folder.path().join("spools"),
        };
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let closed = Self { folder, grpc, http, plan, env, within: None };
        closed.configure(archive)?;
        Ok(closed)
    }

    pub fn configure(&self, archive: &str) -> Result<()> {
        let text = format!(
            "ledger = \"{}\"\ninsecure = true\ngrpc_listen = \"127.0.0.1:{}\"\nhttp_listen = \"127.0.0.1:{}\"\n\
             commit_interval = \"100ms\"\nlongest_gap = \"90s\"\n[archive]\n{archive}\n",
            self.ledger().display(),
            self.grpc,
            self.http
        );
        Ok(std::fs::write(self.folder.path().join("collector.toml"), text)?)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub fn http(&self) -> u16 {
        self.http
    }

    /// Starts the collector without waiting for it.
    pub fn start(&self) -> Result<Process> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.envs(self.env.clone());
        command.arg("--config").arg(self.folder.path().join("collector.toml")).arg("serve");
        Process::start("collector", &mut command, self.folder.path())
    }

    pub fn serve(&self) -> Result<Process> {
        let mut collector = self.start()?;
        net::wait_ready(&mut collector, self.http, "/healthz", LIMIT)?;
        Ok(collector)
    }

    /// Starts the collector with its closed days on a file system of this size, which only it and
    /// commands see from now on.
    pub fn serve_with_small_disk(&mut self, size: &str) -> Result<Process> {
        let days = self.days();
        std::fs::create_dir(&days)?;
        let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$1\"; exec \"$2\" --config \"$3\" serve");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", &mount, "sh"]).arg(days);
        command.arg(built::binary("gpuledger")?).arg(self.folder.path().join("collector.toml"));
        let mut collector = Process::start("small", &mut command, self.folder.path())?;
        net::wait_ready(&mut collector, self.http, "/healthz", LIMIT)?;
        self.within = Some(collector.pid());
        Ok(collector)
    }

    pub fn resize_disk(&self, size: &str) -> Result<()> {
        let pid = self.within.context("there is no small disk")?.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "mount", "-o", &format!("remount,size={size}")]);
        run(command.arg(self.days())).map(drop)
    }

    /// The folder of closed days, where no other place is set.
    pub fn days(&self) -> PathBuf {
        self.folder.path().join("ledger.db.days")
    }

    /// Sends the whole history of these nodes.
    pub async fn replay(&self, nodes: Range<u32>) -> Result<()> {
        let progress = Arc::new(Progress::default());
        for node in nodes {
            let mut agent = self.plan.replay(node, Arc::clone(&progress)).await?;
            agent.committed().await?;
            agent.stop().await?;
        }
        Ok(())
    }

    /// Runs a command on the ledger.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(arguments)?)
    }

    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = built::binary("gpuledger")?;
        let mut command = match self.within {
            None => Command::new(program),
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["--target", &pid.to_string(), "--mount"]).arg(program);
                command
            }
        };
        command.envs(self.env.clone());
        command.arg("--ledger").arg(self.ledger()).args(arguments);
        Ok(command)
    }

    pub async fn open(&self) -> Result<Opened> {
        let location = self.ledger().to_str().context("a path in UTF-8")?.parse::<Location>()?;
        Ok(store::open(&location, None, Access::Read).await?)
    }

    /// Days of which rows lie in the store, of both tables.
    pub async fn open_days(&self) -> Result<usize> {
        let store = self.open().await?.store;
        let mut days = 0;
        for table in Table::ALL {
            days += store.open_days(table, Day(u32::MAX / 24)).await?.len();
        }
        Ok(days)
    }

    /// Waits until every day is closed.
    pub async fn wait_closed(&self, collector: &mut Process) -> Result<()> {
        let asked = tokio::time::Instant::now();
        loop {
            collector.must_run()?;
            let days = self.open_days().await?;
            if days == 0 {
                return Ok(());
            }
            ensure!(asked.elapsed() < LIMIT, "{days} days are open still:\n{}", collector.errors());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Paths of the current files.
    pub async fn current(&self) -> Result<Vec<String>> {
        let files = self.open().await?.store.files().await?;
        let current = files.into_iter().filter(|file| file.status == FileStatus::Current);
        let mut paths: Vec<String> = current.map(|file| file.path).collect();
        paths.sort();
        Ok(paths)
    }

    /// The ledger holds what the fleet has told, as the collector's own check says and its report.
    pub fn assert_true(&self) -> Result<()> {
        println!("{}", self.run(&["verify"])?);
        let truth = Truth::of(&self.plan.fleet, STEP_MS);
        let expected: Vec<Vec<String>> = truth.gpus.iter().map(|(gpu, amounts)| row(gpu, amounts)).collect();
        let reported = self.report("gpu")?;
        ensure!(reported == expected, "reported: {reported:?}\nthe truth: {expected:?}");
        Ok(())
    }

    /// The energy report: names, millijoules and observed milliseconds, sorted.
    pub fn report(&self, by: &str) -> Result<Vec<Vec<String>>> {
        let csv =
            self.run(&[&["report", "energy"], &PERIOD[..], &["--by", by, "--format", "csv"]].concat())?;
        let columns = by.split(',').count() + 2;
        let rows = csv.lines().skip(1);
        let mut rows: Vec<Vec<String>> =
            rows.map(|row| row.split(',').take(columns).map(str::to_owned).collect()).collect();
        rows.sort();
        Ok(rows)
    }
}

fn row(gpu: &str, amounts: &Amounts) -> Vec<String> {
    let energy_mj = amounts.counter_mj + amounts.estimated_mj;
    let observed_ms = amounts.active_ms + amounts.held_ms + amounts.free_ms + amounts.down_ms;
    vec![gpu.to_owned(), energy_mj.to_string(), observed_ms.to_string()]
}

/// Every file below a folder, by path.
pub fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for table in Table::ALL {
        for entry in std::fs::read_dir(folder.join(table.name()))? {
            files.push(format!("{}/{}", table.name(), entry?.file_name().to_string_lossy()));
        }
    }
    files.sort();
    Ok(files)
}

/// Runs a Python that has DuckDB and moto; `None` where it is missing.
pub fn python(folder: &Path, code: &str) -> Result<Option<String>> {
    let Some(python) = parts::days("bin/python")? else { return Ok(None) };
    run(Command::new(python).current_dir(folder).args(["-c", code])).map(Some)
}

/// What a line of SQL gives in DuckDB, run in a folder: values as text, rows sorted.
pub fn duckdb(folder: &Path, sql: &str) -> Result<Option<Vec<Vec<String>>>> {
    let code = format!("import duckdb\nfor row in duckdb.sql({sql:?}).fetchall(): print(*row, sep=',')");
    let answer = python(folder, &code)?;
    let row = |line: &str| line.split(',').map(str::to_owned).collect();
    Ok(answer.map(|text| {
        let mut rows: Vec<Vec<String>> = text.lines().map(row).collect();
        rows.sort();
        rows
    }))
}
