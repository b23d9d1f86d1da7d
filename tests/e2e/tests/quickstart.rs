//! The quickstart as a stranger runs it, with a shorter history: it ends with a statement and with a
//! ledger that equals the simulated truth, and goes on live with this machine's GPUs. And its sister:
//! `gpuledger-fleet replay` into a collector of its own process.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built::binary;
use gpuledger_e2e::fake::FakeNvml;
use gpuledger_e2e::net::{get_ok, wait_for};
use gpuledger_e2e::process::{Process, finish, run};
use gpuledger_e2e::world::World;
use rustix::process::{Pid, Signal, kill_process};

/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn quickstart(temporary: &std::path::Path) -> Result<Command> {
    let mut command = Command::new(binary("quickstart")?);
    command.env("TMPDIR", temporary).env_remove("RUST_LOG").env("GPULEDGER_NVML_LIBRARY", "/nonexistent");
    Ok(command)
}

#[test]
fn once_prints_the_statement_and_nothing_else_and_the_ledger_equals_the_truth() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let done = finish(quickstart(temporary.path())?.args(["--once", "--days", "3"]))?;
    let (out, err) = (String::from_utf8(done.stdout)?, String::from_utf8(done.stderr)?);
    ensure!(done.status.success(), "{}: {err}", done.status);
    ensure!(out.starts_with("*** SIMULATED DATA"), "the statement does not say that it is simulated:\n{out}");
    for part in
        ["Total cost   USD ", "Simulated NVIDIA H100", "Simulated NVIDIA L40S", "aws p5.48xlarge", "96.7 %"]
    {
        ensure!(out.contains(part), "the statement has no {part:?}:\n{out}");
    }
    let truth = err.lines().find_map(|line| line.trim().strip_prefix("ledger equals the simulated truth: "));
    let truth = truth.with_context(|| format!("no word of the truth:\n{err}"))?;
    let numbers: Vec<u64> =
        truth.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    ensure!(numbers.len() == 2 && numbers.iter().all(|&n| n > 1_000_000_000), "{truth}");
    ensure!(!out.contains("ledger equals") && !err.contains("WARN") && !err.contains("ERROR"), "{err}");
    let left = std::fs::read_dir(temporary.path())?.count();
    ensure!(left == 0, "{left} files are left behind");
    Ok(())
}

#[test]
fn what_it_logs_to_a_file_has_no_colours() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let mut command = quickstart(temporary.path())?;
    let done = finish(command.env("RUST_LOG", "info").args(["--once", "--days", "1"]))?;
    let err = String::from_utf8(done.stderr)?;
    ensure!(err.contains("INFO") && !err.contains('\u{1b}'), "{err:?}");
    Ok(())
}

#[test]
fn the_same_seed_and_hour_give_the_same_statement() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let statement = |seed: &str| -> Result<String> {
        let done = finish(quickstart(temporary.path())?.args(["--once", "--days", "1", "--seed", seed]))?;
        // The folder's random name stands in the sources of prices.
        let out = String::from_utf8(done.stdout)?;
        Ok(out.lines().filter(|line| !line.contains("quickstart-") && !line.contains("fleet.toml")).collect())
    };
    let (a, b, other) = (statement("5")?, statement("5")?, statement("6")?);
    ensure!(a.contains("Total cost"), "{a}");
    // A run that began in one hour and another that began in the next differ by their period.
    let period =
        |text: &str| text.split("Period").nth(1).map(|after| after.chars().take(60).collect::<String>());
    if period(&a) == period(&b) {
        ensure!(a == b, "{a}\n{b}");
    }
    ensure!(a != other, "another seed gave the same fleet");
    Ok(())
}

#[test]
fn it_goes_on_live_with_this_machines_gpus_until_it_is_interrupted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    let scenario = "node = \"own\"\n[[gpu]]\n[[gpu.phase]]\npower_mw = 300000\ngpu_util = 50\n";
    let fake = FakeNvml::new(folder.path(), scenario)?;
    let mut command = quickstart(&temporary)?;
    let mut quickstart =
        Process::start("quickstart", fake.attach(&mut command).args(["--days", "1"]), folder.path())?;
    let port = wait_for("the address of the metrics", PATIENCE, || {
        quickstart.must_run()?;
        let errors = quickstart.errors();
        let address = errors.split("metrics   http://127.0.0.1:").nth(1).context("not told yet")?;
        Ok(address.split('/').next().unwrap_or_default().parse::<u16>()?)
    })?;
    ensure!(quickstart.errors().contains("This machine's 1 GPUs are attached"), "{}", quickstart.errors());
    wait_for("readings of both fleets", PATIENCE, || {
        quickstart.must_run()?;
        let metrics = get_ok(port, "/metrics")?;
        let power =
            |of: &str| metrics.lines().any(|l| l.starts_with("gpuledger_gpu_power_watts{") && l.contains(of));
        ensure!(power("GPU-simulated-"), "no simulated GPU yet");
        ensure!(
            metrics.lines().any(|l| l.starts_with("gpuledger_gpu_power_watts{") && l.ends_with(" 300")),
            "not this machine's GPU yet"
        );
        Ok(())
    })?;
    let pid = i32::try_from(quickstart.pid()).ok().and_then(Pid::from_raw).context("pid")?;
    kill_process(pid, Signal::INT)?;
    let status = quickstart.wait(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", quickstart.errors());
    ensure!(std::fs::read_dir(&temporary)?.count() == 0, "files are left behind");
    Ok(())
}

#[test]
fn a_fleet_replayed_into_a_served_collector_is_counted_to_the_unit() -> Result<()> {
    let world = World::new()?;
    let collector = world.collector()?;
    let settings: toml::Table = std::fs::read_to_string(world.folder().join("collector.toml"))?.parse()?;
    let address = settings["grpc_listen"].as_str().context("no address")?;
    let truth = world.folder().join("truth.json");
    let mut replay = Command::new(binary("gpuledger-fleet")?);
    replay
        .env("TMPDIR", world.folder())
        .args(["replay", "--nodes", "2", "--gpus", "3", "--days", "1", "--seed", "9"]);
    run(replay.args(["--collector", &format!("http://{address}"), "--truth"]).arg(&truth))?;
    collector.stop(PATIENCE)?;
    world.verify()?;
    let counted = world.counted()?;
    let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(&truth)?)?;
    let gpus = truth["gpus"].as_object().context("no GPUs")?;
    ensure!(gpus.len() == 6 && counted.len() == 6, "{truth} {counted:?}");
    for (uuid, amounts) in gpus {
        let total = counted.get(uuid).with_context(|| format!("{uuid} is not in the ledger"))?.total;
        let found = serde_json::json!({
            "counter_mj": total.counter_mj, "estimated_mj": total.estimated_mj, "active_ms": total.active_ms,
            "held_ms": total.held_ms, "free_ms": total.free_ms, "down_ms": total.down_ms,
        });
        ensure!(found == *amounts, "{uuid}: truth {amounts}, ledger {found}");
    }
    Ok(())
}

#[test]
fn a_replay_to_nowhere_says_so_at_once() -> Result<()> {
    let mut replay = Command::new(binary("gpuledger-fleet")?);
    let done = finish(replay.args(["replay", "--collector", "http://127.0.0.1:1"]))?;
    let error = String::from_utf8(done.stderr)?;
    ensure!(
        done.status.code() == Some(3) && error.contains("cannot reach a collector at http://127.0.0.1:1"),
        "{error}"
    );
    let done = finish(Command::new(binary("gpuledger-fleet")?).args(["replay", "--step", "7"]))?;
    ensure!(done.status.code() == Some(2), "{}", String::from_utf8(done.stderr)?);
    Ok(())
}
