//! What can befall the ledger of a running collector: a process that holds it locked, a file that is
//! moved away, made read-only or damaged, a database server that is killed.
//!
//! Each time the collector says on `/readyz` and once in its log what is wrong, acknowledges nothing,
//! and goes on by itself when it is mended; then the ledger equals the truth of the simulated fleet.
//! The full disk has a test of its own, `full_disk`.

use anyhow::{Result, bail, ensure};
use gpuledger_collector::store::{self, Access, Location};
use gpuledger_e2e::process::{Process, finish, run};
use gpuledger_e2e::{built, net};
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::model::Fleet;
use gpuledger_fleet::replay;
use gpuledger_fleet::truth::Truth;
use gpuledger_real_postgres::{Server, Settings};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const STEP_MS: u64 = 60_000;
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
const DAYS: u32 = 10;
const LIMIT: Duration = Duration::from_secs(60);
/// How long it must stay so that nothing is acknowledged.
const STANDSTILL: Duration = Duration::from_secs(1);

/// A collector, its ledger and a fleet whose history is replayed into it.
struct Scene {
    folder: TempDir,
    ledger: String,
    collector: Process,
    http: u16,
    plan: Plan,
    progress: Arc<Progress>,
}

impl Scene {
    /// Starts a collector on a file in the test's folder.
    fn on_a_file() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ledger = folder.path().join("ledger.db").display().to_string();
        Self::start(folder, ledger, &mut Command::new(built::binary("gpuledger")?))
    }

    fn start(folder: TempDir, ledger: String, command: &mut Command) -> Result<Self> {
        let (grpc, http) = (net::free_port()?, net::free_port()?);
        let config = folder.path().join("collector.toml");
        let text = format!(
            "ledger = {ledger:?}\ninsecure = true\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n\
             commit_interval = \"50ms\"\nlongest_gap = \"90s\"\n[archive]\nenabled = false\n"
        );
        fs::write(&config, text)?;
        let collector = command.arg("--config").arg(&config).arg("serve");
        let mut collector = Process::start("collector", collector, folder.path())?;
        net::wait_ready(&mut collector, http, "/readyz", LIMIT)?;
        let plan = Plan {
            fleet: Arc::new(Fleet::ending_at(END_MS, DAYS, 3, 4, 5)),
            step_ms: STEP_MS,
            endpoint: format!("http://127.0.0.1:{grpc}"),
            folder: folder.path().join("spools"),
        };
        Ok(Self { folder, ledger, collector, http, plan, progress: Arc::default() })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn replay(&self) -> tokio::task::JoinHandle<Result<()>> {
        let (plan, progress) = (self.plan.clone(), Arc::clone(&self.progress));
        tokio::spawn(async move { Ok(replay::stop(replay::all(&plan, &progress).await?).await?) })
    }

    /// Waits until something was acknowledged, and more is to come.
    fn in_the_middle(&mut self) -> Result<()> {
        net::wait_for("a first acknowledgement", LIMIT, || {
            self.collector.must_run()?;
            ensure!(self.progress.acknowledged() > 0, "none");
            Ok(())
        })
    }

    /// Waits until `/readyz` says what is wrong, in one line; nothing is acknowledged from then on.
    async fn stands_still(&mut self, told: &str) -> Result<()> {
        let body = net::wait_for("trouble on /readyz", LIMIT, || {
            self.collector.must_run()?;
            let answer = net::get(self.http, "/readyz")?;
            ensure!(answer.status == 503, "{}: {}", answer.status, answer.body);
            Ok(answer.body)
        })?;
        println!("/readyz: {}", body.trim_end());
        ensure!(body.contains(told) && body.lines().count() == 1, "{body:?} does not say {told:?}");
        // What was committed before may still be on its way to the agents.
        let mut before = u64::MAX;
        while before != self.progress.acknowledged() {
            before = self.progress.acknowledged();
            tokio::time::sleep(STANDSTILL).await;
        }
        ensure!(before < self.plan.batches(), "everything was acknowledged before the trouble began");
        ensure!(net::get(self.http, "/readyz")?.status == 503, "it went on before it was mended");
        ensure!(net::get(self.http, "/healthz")?.status == 200, "the process itself is well");
        Ok(())
    }

    /// The fleet is replayed to its end, and the ledger equals the truth.
    async fn goes_on(mut self, replayed: tokio::task::JoinHandle<Result<()>>) -> Result<()> {
        let Ok(ended) = tokio::time::timeout(LIMIT, replayed).await else {
            let told = net::get(self.http, "/readyz")?.body;
            bail!("it did not go on by itself: {told}{}", self.collector.errors());
        };
        ended??;
        net::wait_ready(&mut self.collector, self.http, "/readyz", LIMIT)?;
        let log = self.collector.errors();
        let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        let told = [lines("agents keep their batches"), lines("the ledger works again"), lines("ERROR")];
        ensure!(told == [1, 1, 1], "begin, end and errors are told {told:?} times:\n{log}");
        self.collector.stop(LIMIT)?;
        let location: Location = self.ledger.parse()?;
        let opened = store::open(&location, None, Access::Read).await?;
        println!("{}", Truth::of(&self.plan.fleet, STEP_MS).compare(opened.ledger.as_ref()).await?);
        let mut verify = Command::new(built::binary("gpuledger")?);
        println!("{}", run(verify.arg("--ledger").arg(&self.ledger).arg("verify"))?);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_ledger_is_told_and_outlived() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    let replayed = scene.replay();
    scene.in_the_middle()?;
    let other = Connection::open(scene.file())?;
    other.busy_timeout(LIMIT)?;
    other.execute_batch("BEGIN EXCLUSIVE")?;
    scene.stands_still("locked by another process").await?;
    other.execute_batch("ROLLBACK")?;
    drop(other);
    scene.goes_on(replayed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_ledger_sends_agents_away_and_takes_them_when_it_is_free() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    let other = Connection::open(scene.file())?;
    other.execute_batch("BEGIN EXCLUSIVE")?;
    // No agent has ever come: the first one shows that something is wrong.
    let replayed = scene.replay();
    scene.stands_still("locked by another process").await?;
    ensure!(scene.progress.acknowledged() == 0);
    other.execute_batch("ROLLBACK")?;
    drop(other);
    scene.goes_on(replayed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_moved_away_is_missed_until_it_is_back() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    let replayed = scene.replay();
    scene.in_the_middle()?;
    let away = scene.folder.path().join("away.db");
    fs::rename(scene.file(), &away)?;
    scene.stands_still("is gone: it was moved or removed").await?;
    fs::rename(&away, scene.file())?;
    scene.goes_on(replayed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_put_back_read_only_is_told_until_it_can_be_written() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger.db").display().to_string();
    // For root no file is read-only.
    let mut command = if rustix::process::geteuid().is_root() {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(built::binary("gpuledger")?);
        command
    } else {
        Command::new(built::binary("gpuledger")?)
    };
    let mut scene = Scene::start(folder, ledger, &mut command)?;
    // As an operator does who restores a file: the same content, other rights.
    let copy = scene.folder.path().join("copy.db");
    run(Command::new(built::binary("gpuledger")?)
        .args(["--ledger", &scene.ledger, "backup", "--out"])
        .arg(&copy))?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o444))?;
    fs::rename(&copy, scene.file())?;
    let replayed = scene.replay();
    scene.stands_still("read-only").await?;
    fs::set_permissions(scene.file(), fs::Permissions::from_mode(0o666))?;
    scene.goes_on(replayed).await
}

/// Damages every page of the file but the first, in a moment when none of them is in the log, and
/// makes everybody read them again. Gives a copy of what was there.
fn damage(file: &Path, other: &Connection) -> Result<PathBuf> {
    let log = PathBuf::from(format!("{}-wal", file.display()));
    loop {
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        other.execute_batch("BEGIN IMMEDIATE")?;
        if fs::metadata(&log)?.len() == 0 {
            break;
        }
        other.execute_batch("ROLLBACK")?;
    }
    let good = file.with_extension("good");
    run(Command::new("cp").arg(file).arg(&good))?;
    let mut bytes = fs::read(&good)?;
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    bytes[page..].fill(0xa5);
    let bad = file.with_extension("bad");
    fs::write(&bad, bytes)?;
    overwrite(file, &bad)?;
    let version: i64 = other.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    other.execute_batch(&format!("PRAGMA user_version = {version}; COMMIT"))?;
    Ok(good)
}

/// In place: the file stays the one that processes have open. By another process, because closing a
/// file drops the locks that this one holds on it.
fn overwrite(file: &Path, from: &Path) -> Result<()> {
    let (from, to) = (format!("if={}", from.display()), format!("of={}", file.display()));
    run(Command::new("dd").args([&from, &to, "bs=1M", "conv=notrunc,fsync", "status=none"])).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_ledger_is_told_and_goes_on_once_its_pages_are_back() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    let replayed = scene.replay();
    scene.in_the_middle()?;
    // Open until the end: so nobody is the last to close the file and folds a log into bad pages.
    let other = Connection::open(scene.file())?;
    other.busy_timeout(LIMIT)?;
    let good = damage(&scene.file(), &other)?;
    scene.stands_still("damaged").await?;
    overwrite(&scene.file(), &good)?;
    let end = scene.goes_on(replayed).await;
    drop(other);
    end
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_dies_is_told_and_outlived() -> Result<()> {
    let Some(mut server) =
        Server::start(&Settings { password: Some("s3cret".to_owned()), ..Settings::default() })?
    else {
        return Ok(());
    };
    let mut scene =
        Scene::start(tempfile::tempdir()?, server.fresh()?, &mut Command::new(built::binary("gpuledger")?))?;
    let replayed = scene.replay();
    scene.in_the_middle()?;
    server.kill()?;
    scene.stands_still("PostgreSQL").await?;
    server.start_again()?;
    ensure!(!scene.collector.errors().contains("s3cret"), "the log tells the password");
    scene.goes_on(replayed).await
}

#[test]
fn no_message_tells_a_password() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("collector.toml");
    fs::write(&config, "insecure = true\nledger = \"postgres://u:s3cret@127.0.0.1:1/d\"\n")?;
    let config = config.display().to_string();
    let table: &[(&[&str], i32, &str)] = &[
        (&["--ledger", "postgres://u:s3cret@127.0.0.1:1/d", "verify"], 3, "postgres://u@127.0.0.1:1/d"),
        (&["--ledger", "postgres://u:s3@cret@127.0.0.1:1/d", "verify"], 2, "@ is %40"),
        (&["--ledger", "mysql://u:s3cret@h/d", "verify"], 2, "a ledger cannot be at mysql://…; expected"),
        (&["--ledger", "", "verify"], 2, "--ledger: the ledger's name is empty"),
        (&["--config", &config, "check-config"], 0, "postgres://u@127.0.0.1:1/d"),
        (&["--config", &config, "serve"], 3, "postgres://u@127.0.0.1:1/d"),
        (&["--config", &config, "backup", "--out", "none.db"], 3, "postgres://u@127.0.0.1:1/d"),
        (
            &["--ledger", "none.db", "migrate", "--to", "ftp://u:s3cret@h/d"],
            2,
            "--to: a ledger cannot be at ftp://…",
        ),
        (&["--help"], 0, "GPULEDGER_LEDGER"),
    ];
    for (arguments, code, told) in table {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.env("GPULEDGER_LEDGER", "postgres://u:s3cret@h/d").current_dir(folder.path());
        if arguments[0] == "--config" {
            command.env_remove("GPULEDGER_LEDGER");
        }
        let output = finish(command.args(*arguments))?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(*code), "{arguments:?}: {}: {text}", output.status);
        ensure!(text.contains(told), "{arguments:?}: {text:?} does not say {told:?}");
        ensure!(!text.contains("s3cret") && !text.contains("cret@"), "{arguments:?}: {text}");
    }
    ensure!(!folder.path().join("none.db").exists());
    Ok(())
}
