//! Counted once: a collector that is killed at random moments while eight agents stream ends with a
//! ledger that equals the truth, to the millijoule and the millisecond.
//!
//! The agents are the product's own recorder, spool and upload, fed by the simulated fleet, whose
//! truth is computed from its model alone. The collector is the real program. A month passes while
//! it is killed, so that most kills fall between folding, committing and acknowledging.

use anyhow::{Context as _, Result, ensure};
use gpuledger_collector::store::{self, Access, Location};
use gpuledger_e2e::process::{Process, run};
use gpuledger_e2e::{built, net};
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::model::{Fleet, draw};
use gpuledger_fleet::replay;
use gpuledger_fleet::truth::Truth;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NODES: u32 = 8;
const GPUS_PER_NODE: u32 = 8;
const KILLS: u64 = 20;
/// Time between two samples of the simulated history.
const STEP_MS: u64 = 60_000;
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
const DAYS: u32 = 14;
const LIMIT: Duration = Duration::from_secs(120);

/// The collector's configuration in `folder`; commits are frequent, so that kills fall into them.
fn configure(folder: &Path, port: u16) -> Result<()> {
    let text = format!(
        "ledger = {:?}\ninsecure = true\ngrpc_listen = \"127.0.0.1:{port}\"\nhttp_listen = \"127.0.0.1:0\"\n\
         commit_interval = \"50ms\"\nlongest_gap = \"90s\"\n",
        folder.join("ledger.db")
    );
    std::fs::write(folder.join("collector.toml"), text).context("write collector.toml")
}

fn start(folder: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(built::binary("gpuledger")?);
    command.arg("--config").arg(folder.join("collector.toml")).arg("serve");
    let mut collector = Process::start("collector", &mut command, folder)?;
    net::wait_listening(&mut collector, port, LIMIT)?;
    Ok(collector)
}

/// Kills and restarts the collector, each time after a pause drawn from the seed and, so that every
/// kill falls into the stream, not before something new was acknowledged.
fn kill_again_and_again(folder: &Path, port: u16, seed: u64, progress: &Progress) -> Result<Process> {
    let mut collector = start(folder, port)?;
    for kill in 0..KILLS {
        let acknowledged = progress.acknowledged();
        net::wait_for("an acknowledgement", LIMIT, || {
            ensure!(progress.acknowledged() > acknowledged, "none since kill {kill}");
            Ok(())
        })?;
        std::thread::sleep(Duration::from_millis(draw(seed, &[kill]) % 200));
        collector.kill()?;
        collector = start(folder, port)?;
    }
    Ok(collector)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_killed_twenty_times_counts_everything_once() -> Result<()> {
    let seed = u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos());
    println!("seed of the kills: {seed}");
    let folder = tempfile::tempdir()?;
    let port = net::free_port()?;
    configure(folder.path(), port)?;
    let plan = Plan {
        fleet: Arc::new(Fleet::ending_at(END_MS, DAYS, NODES, GPUS_PER_NODE, 7)),
        step_ms: STEP_MS,
        endpoint: format!("http://127.0.0.1:{port}"),
        folder: folder.path().join("spools"),
    };
    let path = folder.path().to_path_buf();
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let killer = tokio::task::spawn_blocking(move || kill_again_and_again(&path, port, seed, &watched));
    let agents = replay::all(&plan, &progress).await?;
    let collector = killer.await??;
    for agent in agents {
        agent.stop().await?;
    }
    let errors = collector.errors();
    collector.stop(LIMIT)?;
    ensure!(!errors.contains("ERROR"), "the collector logged an error:\n{errors}");

    let location = Location::from(folder.path().join("ledger.db"));
    let ledger = store::open(&location, None, Access::Read).await?.ledger;
    let agreement = Truth::of(&plan.fleet, STEP_MS).compare(ledger.as_ref()).await?;
    println!("{agreement}");
    ensure!(agreement.energy_mj > 0 && agreement.observed_ms > 0);
    drop(ledger);
    let mut verify = Command::new(built::binary("gpuledger")?);
    verify.arg("--ledger").arg(folder.path().join("ledger.db")).arg("verify");
    println!("{}", run(&mut verify)?);
    Ok(())
}
