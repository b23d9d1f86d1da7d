//! A collector whose disk is really full: it says so, acknowledges nothing, and goes on by itself once
//! there is room; nothing is lost and nothing counted twice.
//!
//! The collector runs in a mount namespace of its own, with its ledger on a file system of one MiB
//! that the replayed fleet fills and that is then made larger.

use anyhow::{Context as _, Result, ensure};
use gpuledger_e2e::process::{Process, run};
use gpuledger_e2e::{built, net, tool};
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::model::Fleet;
use gpuledger_fleet::replay;
use gpuledger_fleet::truth::Truth;
use gpuledger_ledger::sqlite::SqliteLedger;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const STEP_MS: u64 = 60_000;
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Starts the collector with `folder/disk` as a small file system that only it sees.
fn start(folder: &Path, grpc: u16, http: u16) -> Result<Process> {
    let disk = folder.join("disk");
    std::fs::create_dir(&disk)?;
    let config = folder.join("collector.toml");
    let text = format!(
        "ledger = \"{}\"\ninsecure = true\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n\
         commit_interval = \"100ms\"\nlongest_gap = \"90s\"\n[archive]\nenabled = false\n",
        disk.join("ledger.db").display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-ec",
        "mount -t tmpfs -o size=1m tmpfs \"$1\"; exec \"$2\" --config \"$3\" serve",
    ]);
    command.arg("sh").arg(&disk).arg(built::binary("gpuledger")?).arg(&config);
    let mut collector = Process::start("collector", &mut command, folder)?;
    net::wait_ready(&mut collector, http, "/readyz", LIMIT)?;
    Ok(collector)
}

/// The disk as the collector sees it.
fn disk_of(collector: &Process, folder: &Path) -> Result<PathBuf> {
    let inside = folder.join("disk").strip_prefix("/").context("an absolute folder")?.to_path_buf();
    Ok(PathBuf::from(format!("/proc/{}/root", collector.pid())).join(inside))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_outlived_and_nothing_is_lost() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return tool::skip("a file system of one's own needs root");
    }
    let folder = tempfile::tempdir()?;
    let (grpc, http) = (net::free_port()?, net::free_port()?);
    let mut collector = start(folder.path(), grpc, http)?;
    let plan = Plan {
        fleet: Arc::new(Fleet::ending_at(END_MS, 10, 2, 8, 5)),
        step_ms: STEP_MS,
        endpoint: format!("http://127.0.0.1:{grpc}"),
        folder: folder.path().join("spools"),
    };
    let progress = Arc::new(Progress::default());
    let replayed = {
        let (plan, progress) = (plan.clone(), Arc::clone(&progress));
        tokio::spawn(async move { replay::all(&plan, &progress).await })
    };
    net::wait_for("a full disk", LIMIT, || {
        collector.must_run()?;
        let answer = net::get(http, "/readyz")?;
        ensure!(answer.status == 503, "{}: {}", answer.status, answer.body);
        ensure!(answer.body.contains("disk is full"), "{}", answer.body);
        Ok(())
    })?;
    // The store finds a little room once or twice by tidying up; then there is none.
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(progress.acknowledged() < plan.batches(), "the disk was full only when all was done");

    let pid = collector.pid().to_string();
    let disk = folder.path().join("disk");
    run(Command::new("nsenter")
        .args(["--target", &pid, "--mount", "mount", "-o", "remount,size=64m"])
        .arg(&disk))?;
    let agents = tokio::time::timeout(LIMIT, replayed).await.context("it did not go on")???;
    for agent in agents {
        agent.stop().await?;
    }
    net::wait_ready(&mut collector, http, "/readyz", LIMIT)?;
    // The file system ends with the collector, and nothing is written any more.
    let ledger = folder.path().join("ledger.db");
    let disk = disk_of(&collector, folder.path())?;
    for file in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(disk.join(file), folder.path().join(file)).with_context(|| format!("copy {file}"))?;
    }
    let agreement = Truth::of(&plan.fleet, STEP_MS).compare(&SqliteLedger::open_existing(&ledger)?).await?;
    println!("{agreement}");
    println!(
        "{}",
        run(Command::new(built::binary("gpuledger")?).arg("--ledger").arg(&ledger).arg("verify"))?
    );
    let told = collector.errors().lines().filter(|line| line.contains("disk is full")).count();
    ensure!((1..=5).contains(&told), "the full disk stands {told} times in the log:\n{}", collector.errors());
    collector.stop(LIMIT)
}
