//! Backups of a running collector, and a ledger that moves: each is a ledger of its own that keeps every
//! promise, and collector and agents go on with it.

use anyhow::{Context as _, Result, bail, ensure};
use gpuledger_collector::store::{self, Access, Location, Opened};
use gpuledger_e2e::process::{Process, finish, run};
use gpuledger_e2e::{built, net};
use gpuledger_fleet::agents::{Agent, Plan, Progress};
use gpuledger_fleet::model::{Faults, Fleet};
use gpuledger_fleet::replay;
use gpuledger_fleet::truth::Truth;
use gpuledger_ledger::transfer::digest;
use gpuledger_real_postgres::{Server, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const STEP_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
const DAYS: u32 = 8;
const LIMIT: Duration = Duration::from_secs(120);

/// A collector that closes days as soon as it sees them, and a fleet without mishaps: all of its energy
/// can be foretold.
struct Scene {
    folder: TempDir,
    ledger: String,
    plan: Plan,
    progress: Arc<Progress>,
    collector: Option<Process>,
    http: u16,
}

impl Scene {
    fn on(folder: TempDir, ledger: String, settings: &str) -> Result<Self> {
        let (grpc, http) = (net::free_port()?, net::free_port()?);
        let text = format!(
            "ledger = {ledger:?}\ninsecure = true\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n\
             commit_interval = \"50ms\"\nlongest_gap = \"90s\"\n[archive]\nevery = \"1s\"\n{settings}"
        );
        fs::write(folder.path().join("collector.toml"), text)?;
        let fleet = Fleet { faults: Faults::default(), ..Fleet::ending_at(END_MS, DAYS, 2, 4, 5) };
        let plan = Plan {
            fleet: Arc::new(fleet),
            step_ms: STEP_MS,
            endpoint: format!("http://127.0.0.1:{grpc}"),
            folder: folder.path().join("spools"),
        };
        let mut scene = Self { folder, ledger, plan, progress: Arc::default(), collector: None, http };
        scene.start()?;
        Ok(scene)
    }

    fn on_a_file() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ledger = folder.path().join("ledger.db").display().to_string();
        Self::on(folder, ledger, "")
    }

    fn start(&mut self) -> Result<()> {
        let mut command = Command::new(built::binary("gpuledger")?);
        command.arg("--config").arg(self.folder.path().join("collector.toml")).arg("serve");
        let mut collector = Process::start("collector", &mut command, self.folder.path())?;
        net::wait_ready(&mut collector, self.http, "/readyz", LIMIT)?;
        self.collector = Some(collector);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.collector.take().context("no collector runs")?.stop(LIMIT)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replays the history; whoever waits for it gets the agents, with everything acknowledged.
    fn replay(&self) -> tokio::task::JoinHandle<Result<Vec<Agent>>> {
        let (plan, progress) = (self.plan.clone(), Arc::clone(&self.progress));
        tokio::spawn(async move { Ok(replay::all(&plan, &progress).await?) })
    }

    /// Waits until so much of the history is acknowledged, and some of its days are closed.
    fn reach(&self, part: f64) -> Result<()> {
        let batches = f64::from(u32::try_from(self.plan.batches())?) * part;
        net::wait_for("a part of the history", LIMIT, || {
            let acknowledged = f64::from(u32::try_from(self.progress.acknowledged())?);
            ensure!(acknowledged >= batches, "{acknowledged} of {batches} batches are acknowledged");
            Ok(())
        })
    }

    /// Waits until so many days of GPU rows are closed.
    fn closed_days(&self, least: usize) -> Result<()> {
        net::wait_for("closed days", LIMIT, || {
            let log = self.collector.as_ref().map(Process::errors).unwrap_or_default();
            let closed = log.lines().filter(|line| line.contains("closed a day")).count();
            ensure!(closed >= least, "{closed} files of days are written");
            Ok(())
        })
    }

    /// A command on the scene's ledger, to its end.
    fn gpuledger(&self, arguments: &[&str]) -> Result<Output> {
        finish(Command::new(built::binary("gpuledger")?).args(["--ledger", &self.ledger]).args(arguments))
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn verify(ledger: &str) -> Result<String> {
    run(Command::new(built::binary("gpuledger")?).args(["--ledger", ledger, "verify"]))
}

async fn opened(ledger: &str) -> Result<Opened> {
    Ok(store::open(&ledger.parse::<Location>()?, None, Access::Read).await?)
}

/// Puts a backup in the place of a ledger whose collector has ended, as the help says.
fn restore(backup: &Path, ledger: &Path) -> Result<()> {
    let days = |path: &Path| PathBuf::from(format!("{}.days", path.display()));
    fs::remove_file(ledger)?;
    fs::remove_dir_all(days(ledger))?;
    fs::rename(backup, ledger)?;
    Ok(fs::rename(days(backup), days(ledger))?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_a_busy_collector_are_whole_and_the_last_one_is_the_ledger() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    let replayed = scene.replay();
    for (number, part) in [0.2, 0.4, 0.6].into_iter().enumerate() {
        scene.reach(part)?;
        let out = scene.path(&format!("backup-{number}.db")).display().to_string();
        let made = scene.gpuledger(&["backup", "--out", &out])?;
        ensure!(made.status.success(), "{}", text(&made));
        println!("{}{}", text(&made), verify(&out)?);
    }
    for agent in replayed.await?? {
        agent.stop().await?;
    }
    scene.closed_days(2 * usize::try_from(DAYS)?)?;
    let taken = scene.gpuledger(&["backup", "--out", &scene.path("backup-0.db").display().to_string()])?;
    ensure!(taken.status.code() == Some(2) && text(&taken).contains("exists already"), "{}", text(&taken));
    // The collector still runs, and has nothing to do.
    let out = scene.path("last.db").display().to_string();
    let made = scene.gpuledger(&["backup", "--out", &out])?;
    ensure!(made.status.success(), "{}", text(&made));
    scene.stop()?;
    let (ledger, backup) = (opened(&scene.ledger).await?, opened(&out).await?);
    let expected = digest(ledger.store.as_ref()).await?;
    ensure!(digest(backup.store.as_ref()).await? == expected, "the backup is not the ledger");
    ensure!(text(&made).contains(&expected.to_string()), "{} does not tell {expected}", text(&made));
    let truth = Truth::of(&scene.plan.fleet, STEP_MS);
    println!("{}", truth.compare(backup.ledger.as_ref()).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_send_a_restored_ledger_what_is_still_in_their_spools_and_go_on() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    let agents = scene.replay().await??;
    scene.closed_days(2)?;
    let backup = scene.path("backup.db");
    let made = scene.gpuledger(&["backup", "--out", &backup.display().to_string()])?;
    ensure!(made.status.success(), "{}", text(&made));
    // The agents live on for two hours, which are in the ledger and not in the backup.
    let now_ms = Arc::new(AtomicU64::new(END_MS + 2 * HOUR_MS));
    let cancel = CancellationToken::new();
    let live = agents.into_iter().map(|agent| {
        let now_ms = Arc::clone(&now_ms);
        let now_ms = move || now_ms.load(Ordering::Relaxed);
        tokio::spawn(agent.live(STEP_MS, Duration::from_millis(50), now_ms, cancel.clone()))
    });
    let live: Vec<_> = live.collect();
    let location: Location = scene.ledger.parse()?;
    wait_until_seen(&location, END_MS + 2 * HOUR_MS).await?;
    scene.stop()?;
    restore(&backup, &scene.path("ledger.db"))?;
    scene.start()?;
    let to_ms = END_MS + 4 * HOUR_MS;
    now_ms.store(to_ms, Ordering::Relaxed);
    wait_until_seen(&location, to_ms).await?;
    cancel.cancel();
    for agent in live {
        agent.await??;
    }
    scene.stop()?;
    println!("{}", verify(&scene.ledger)?);
    let truth = Truth::of(&Fleet { to_ms, ..scene.plan.fleet.as_ref().clone() }, STEP_MS);
    println!("{}", truth.compare(opened(&scene.ledger).await?.ledger.as_ref()).await?);
    Ok(())
}

/// Waits until the ledger has seen every GPU at this instant.
async fn wait_until_seen(location: &Location, at_ms: u64) -> Result<()> {
    let until = std::time::Instant::now() + LIMIT;
    loop {
        let ledger = store::open(location, None, Access::Read).await?.ledger;
        let last: Vec<_> = ledger.gpus().await?.into_iter().map(|gpu| gpu.last_ms).collect();
        if last.iter().all(|last| *last == Some(at_ms)) {
            return Ok(());
        }
        if std::time::Instant::now() > until {
            bail!("the GPUs were last seen at {last:?}, not at {at_ms}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_moves_to_postgres_and_back_and_stays_equal() -> Result<()> {
    let Some(server) = Server::start(&Settings::default())? else { return Ok(()) };
    let mut scene = Scene::on_a_file()?;
    replay::stop(scene.replay().await??).await?;
    scene.closed_days(2 * usize::try_from(DAYS)? - 2)?;
    scene.stop()?;
    let original = fs::read(scene.path("ledger.db"))?;
    let truth = Truth::of(&scene.plan.fleet, STEP_MS);

    let (database, days) = (server.fresh()?, scene.path("days").display().to_string());
    let homeless = scene.gpuledger(&["migrate", "--to", &database])?;
    ensure!(
        homeless.status.code() == Some(2) && text(&homeless).contains("--archive"),
        "{}",
        text(&homeless)
    );
    let moved = scene.gpuledger(&["migrate", "--to", &database, "--archive", &days])?;
    ensure!(moved.status.success(), "{}", text(&moved));
    println!("{}", text(&moved));
    ensure!(fs::read(scene.path("ledger.db"))? == original, "the old ledger was changed");
    println!("{}{}", verify(&database)?, truth.compare(opened(&database).await?.ledger.as_ref()).await?);
    let again = scene.gpuledger(&["migrate", "--to", &database])?;
    ensure!(again.status.code() == Some(2) && text(&again).contains("is not empty"), "{}", text(&again));

    let back = scene.path("back.db").display().to_string();
    let moved = run(
        Command::new(built::binary("gpuledger")?).args(["--ledger", &database, "migrate", "--to", &back])
    )?;
    println!("{moved}{}", verify(&back)?);
    println!("{}", truth.compare(opened(&back).await?.ledger.as_ref()).await?);
    let saved = scene.path("saved.db").display().to_string();
    println!(
        "{}",
        run(Command::new(built::binary("gpuledger")?)
            .args(["--ledger", &database, "backup", "--out", &saved]))?
    );
    println!("{}{}", verify(&saved)?, truth.compare(opened(&saved).await?.ledger.as_ref()).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_nobody_knows_are_named_and_removed_and_the_others_stay() -> Result<()> {
    let mut scene = Scene::on_a_file()?;
    replay::stop(scene.replay().await??).await?;
    scene.closed_days(2)?;
    scene.stop()?;
    let orphan = scene.path("ledger.db.days/gpu_hours/2026-09-14.v0009-abcdef.parquet");
    fs::write(&orphan, "left by a process that died")?;
    let looked = scene.gpuledger(&["gc", "--dry-run", "--grace", "0s"])?;
    ensure!(
        text(&looked).contains("2026-09-14.v0009-abcdef.parquet (27 bytes): not known"),
        "{}",
        text(&looked)
    );
    ensure!(orphan.exists());
    let kept = scene.gpuledger(&["gc", "--keep-unknown"])?;
    ensure!(kept.status.success() && orphan.exists(), "{}", text(&kept));
    let removed = scene.gpuledger(&["gc", "--grace", "0s"])?;
    ensure!(removed.status.success() && !orphan.exists(), "{}", text(&removed));
    println!("{}{}", text(&removed), verify(&scene.ledger)?);
    let location: Location = scene.ledger.parse()?;
    let ledger = store::open(&location, None, Access::Read).await?.ledger;
    println!("{}", Truth::of(&scene.plan.fleet, STEP_MS).compare(ledger.as_ref()).await?);
    let none = finish(Command::new(built::binary("gpuledger")?).args(["--ledger", "none.db", "gc"]))?;
    ensure!(none.status.code() == Some(2) && !Path::new("none.db").exists(), "{}", text(&none));
    Ok(())
}
