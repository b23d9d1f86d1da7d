//! The agent's `run` over simulated GPUs, without a collector: what it writes into its spool, and
//! how it meets sick GPUs and drivers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built;
use gpuledger_e2e::fake::{self, FakeNvml};
use gpuledger_e2e::parts::{Release, real_nvml};
use gpuledger_e2e::process::{Process, finish, run_json};
use gpuledger_e2e::spooled;
use gpuledger_proto::catalogue::{self, MetricId};
use gpuledger_proto::frame::{Batch, Inventory};
use gpuledger_proto::reading::{Absence, Reading};

/// Far above what anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn agent() -> Result<Command> {
    let mut command = Command::new(built::binary("gpuledger-agent")?);
    command.env_remove("GPULEDGER_NVML_LIBRARY");
    Ok(command)
}

#[test]
fn nvidia_s_own_library_on_a_machine_without_a_gpu_gives_host_readings_and_a_clean_end() -> Result<()> {
    for release in [Release::R535, Release::R550] {
        let Some(library) = real_nvml(release)? else { continue };
        if Path::new("/proc/driver/nvidia/version").exists() {
            gpuledger_e2e::tool::skip("this machine has the NVIDIA driver")?;
            continue;
        }
        let report =
            run_json(agent()?.args(["probe", "--format", "json"]).env("GPULEDGER_NVML_LIBRARY", &library))?;
        ensure!(report["fault"]["reason"] == "driver not loaded" && report["simulated"] == false, "{report}");

        let folder = tempfile::tempdir()?;
        let mut running = Running::start(folder.path(), agent()?.env("GPULEDGER_NVML_LIBRARY", &library))?;
        running.wait_for("driver not loaded")?;
        std::thread::sleep(Duration::from_secs(1));
        let recorded = running.stop()?;
        ensure!(recorded.iter().all(|(inventory, _)| inventory.gpus.is_empty()));
        let memory = column(&recorded, 0, catalogue::NODE_MEMORY_USED);
        ensure!(!memory.is_empty() && memory.iter().all(|r| r.value().is_some()), "{memory:?}");
    }
    Ok(())
}

/// A `run` with a spool in a test's folder and no collector.
struct Running {
    process: Process,
    spool: std::path::PathBuf,
}

type Recorded = Vec<(Inventory, Batch)>;

impl Running {
    /// 2 Hz, so that faults of some seconds are seen by several samples.
    fn start(folder: &Path, command: &mut Command) -> Result<Self> {
        let spool = folder.join("spool");
        command.args([
            "run",
            "--sample-interval=500ms",
            "--batch-span=1s",
            "--insecure",
            "--collector=127.0.0.1:1",
            "--spool-dir",
        ]);
        Ok(Self { process: Process::start("agent", command.arg(&spool), folder)?, spool })
    }

    fn wait_for(&mut self, message: &str) -> Result<()> {
        let started = Instant::now();
        while !self.process.errors().contains(message) {
            self.process.must_run()?;
            ensure!(started.elapsed() < PATIENCE, "no {message:?} in the log:\n{}", self.process.errors());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// SIGTERM and a clean end; then everything that is in the spool.
    fn stop(self) -> Result<Recorded> {
        self.process.stop(PATIENCE)?;
        spooled::batches(&self.spool)
    }
}

/// All readings of a device's metric, in order.
fn column(recorded: &Recorded, device: u16, metric: MetricId) -> Vec<Reading<i64>> {
    let of = |batch: &Batch| {
        let found = batch.columns.iter().find(|c| c.device == device && c.metric == metric);
        found.map(|c| c.readings.clone()).unwrap_or_default()
    };
    recorded.iter().flat_map(|(_, batch)| of(batch)).collect()
}

/// The runs of equal things: `[1, 1, 0, 1]` is `[1, 0, 1]`.
fn runs<T: PartialEq>(mut all: Vec<T>) -> Vec<T> {
    all.dedup();
    all
}

const TWO_GPUS: &str = "[[gpu]]\ncount = 2\n[[gpu.phase]]\npower_mw = 200000\n";

/// A scenario whose time starts now, for every process alike.
fn from_now(rest: &str) -> String {
    format!("[clock]\nstart_boot_ms = {}\n{TWO_GPUS}{rest}", fake::boot_ms())
}

#[test]
fn a_lost_gpu_is_down_while_it_is_lost_and_the_other_misses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fault =
        "[[fault]]\nkind = \"answer\"\ncode = \"GPU_IS_LOST\"\ngpu = 0\nfrom_ms = 3000\nto_ms = 5000\n";
    let fake = FakeNvml::new(folder.path(), &from_now(fault))?;
    let mut running = Running::start(folder.path(), fake.attach(&mut agent()?))?;
    running.wait_for("GPU is down")?;
    running.wait_for("GPU answers again")?;
    std::thread::sleep(Duration::from_secs(1));
    let recorded = running.stop()?;

    let up = column(&recorded, 1, catalogue::GPU_UP);
    ensure!(runs(up.clone()) == [1, 0, 1].map(Reading::Value), "{up:?}");
    for metric in
        [catalogue::GPU_ENERGY, catalogue::GPU_POWER_AVERAGE, catalogue::GPU_PROCESSES, catalogue::GPU_HOLDER]
    {
        for (reading, up) in column(&recorded, 1, metric).into_iter().zip(&up) {
            let lost = reading == Reading::Absent(Absence::Lost);
            ensure!(lost == (*up == Reading::Value(0)), "{metric:?} reads {reading:?} while up is {up:?}");
        }
    }
    ensure!(column(&recorded, 2, catalogue::GPU_ENERGY).iter().all(|r| r.value().is_some()));
    ensure!(
        runs(recorded.iter().map(|(i, _)| i.gpus.len()).collect()) == [2],
        "the lost GPU keeps its place"
    );
    Ok(())
}

#[test]
fn a_gpu_whose_call_hangs_costs_only_its_own_readings_and_is_picked_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fault = "[[fault]]\nkind = \"block\"\ngpu = 0\nfrom_ms = 3000\nto_ms = 6000\n";
    let fake = FakeNvml::new(folder.path(), &from_now(fault))?;
    let mut running = Running::start(folder.path(), fake.attach(&mut agent()?))?;
    running.wait_for("GPU answers again")?;
    std::thread::sleep(Duration::from_secs(1));
    let recorded = running.stop()?;

    let power = column(&recorded, 1, catalogue::GPU_POWER_AVERAGE);
    let hung = power.iter().filter(|r| **r == Reading::Absent(Absence::TimedOut)).count();
    ensure!(hung >= 3 && power.first() == power.last(), "{power:?}");
    ensure!(column(&recorded, 1, catalogue::GPU_UP).contains(&Reading::Value(0)));
    let healthy = column(&recorded, 2, catalogue::GPU_POWER_AVERAGE);
    ensure!(
        healthy.len() == power.len() && healthy.iter().all(|r| *r == Reading::Value(200_000)),
        "{healthy:?}"
    );
    Ok(())
}

#[test]
fn a_driver_that_goes_away_and_comes_back_is_met_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fault = "[[fault]]\nkind = \"answer\"\ncode = \"DRIVER_NOT_LOADED\"\nfrom_ms = 3000\nto_ms = 5000\n";
    let fake = FakeNvml::new(folder.path(), &from_now(fault))?;
    let mut running = Running::start(folder.path(), fake.attach(&mut agent()?))?;
    running.wait_for("driver not loaded")?;
    running.wait_for("GPU answers again")?;
    std::thread::sleep(Duration::from_secs(1));
    let log = running.process.errors();
    let recorded = running.stop()?;
    ensure!(log.matches("driver not loaded").count() == 1, "told once:\n{log}");
    for gpu in [1, 2] {
        let up = runs(column(&recorded, gpu, catalogue::GPU_UP));
        ensure!(up == [1, 0, 1].map(Reading::Value), "{up:?}");
    }
    let host = column(&recorded, 0, catalogue::NODE_MEMORY_USED);
    ensure!(host.iter().all(|r| r.value().is_some()), "the host goes on: {host:?}");
    Ok(())
}

#[test]
fn a_reading_that_is_not_supported_is_not_asked_for_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Were it asked again after four seconds, it would answer.
    let fault = "[[fault]]\nkind = \"answer\"\ncode = \"NOT_SUPPORTED\"\ngpu = 0\nfrom_ms = 0\nto_ms = 4000\n\
                 calls = [\"nvmlDeviceGetTotalEccErrors\", \"field:82\"]\n";
    let fake = FakeNvml::new(folder.path(), &from_now(fault))?;
    let mut running = Running::start(folder.path(), fake.attach(&mut agent()?))?;
    running.wait_for("GPU library is open")?;
    std::thread::sleep(Duration::from_secs(6));
    let recorded = running.stop()?;
    for metric in [catalogue::GPU_ECC_CORRECTED, catalogue::GPU_TEMPERATURE_MEMORY] {
        let readings = runs(column(&recorded, 1, metric));
        ensure!(readings == [Reading::Absent(Absence::Unsupported)], "{metric:?}: {readings:?}");
        ensure!(column(&recorded, 2, metric).iter().all(|r| r.value().is_some()), "only on that GPU");
    }
    Ok(())
}

#[test]
fn every_counter_reading_of_the_gpus_is_in_the_spool_once_and_in_order() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fake = FakeNvml::new(folder.path(), &from_now(""))?;
    let mut running = Running::start(folder.path(), fake.attach(&mut agent()?))?;
    running.wait_for("GPU library is open")?;
    std::thread::sleep(Duration::from_secs(4));
    let recorded = running.stop()?;
    let truth = fake.truth()?;
    let (inventory, _) = recorded.first().context("nothing recorded")?;
    ensure!(inventory.gpus.iter().all(|gpu| gpu.simulated));
    for (gpu, device) in inventory.gpus.iter().zip(1..) {
        let told: Vec<_> =
            truth[gpu.uuid.as_str()].iter().map(|t| i64::try_from(t.counter_mj)).collect::<Result<_, _>>()?;
        let energy: Vec<_> =
            column(&recorded, device, catalogue::GPU_ENERGY).into_iter().filter_map(Reading::value).collect();
        ensure!(energy == told, "{energy:?}\n{told:?}");
    }
    let boot: Vec<u64> = recorded.iter().flat_map(|(_, b)| b.stamps.iter().map(|s| s.boot_ms)).collect();
    ensure!(boot.len() >= 5 && boot.windows(2).all(|w| w[0] < w[1]), "{boot:?}");
    ensure!(column(&recorded, 0, catalogue::NODE_SPOOL).last().is_some_and(|r| r.value() > Some(0)));
    Ok(())
}

#[test]
fn a_spool_that_cannot_be_opened_ends_with_code_3_and_names_the_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "")?;
    let output = finish(agent()?.args(["run", "--spool-dir"]).arg(file.join("spool")))?;
    let message = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(3), "{}", output.status);
    ensure!(message.contains(&file.display().to_string()) && message.contains("spool_dir"), "{message}");
    // Two agents on one spool would count everything twice.
    let fake = FakeNvml::new(folder.path(), TWO_GPUS)?;
    let mut first = Running::start(folder.path(), fake.attach(&mut agent()?))?;
    first.wait_for("started")?;
    let second = finish(agent()?.args(["run", "--spool-dir"]).arg(&first.spool))?;
    ensure!(second.status.code() == Some(3), "{second:?}");
    first.process.must_run()
}
