//! The agent's program over simulated GPUs: what `probe` says, what `run` writes into its spool,
//! and how it meets sick GPUs, a missing driver and wrong settings.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built;
use gpuledger_e2e::fake::{self, FakeNvml};
use gpuledger_e2e::parts::{Release, real_nvml};
use gpuledger_e2e::process::{Process, finish, run_json};
use gpuledger_proto::catalogue::{self, MetricId};
use gpuledger_proto::convert::{batch_from_wire, inventory_from_wire};
use gpuledger_proto::frame::{Batch, Inventory};
use gpuledger_proto::reading::{Absence, Reading};
use gpuledger_proto::v1;
use gpuledger_spool::{Next, Options, Spool};
use prost::Message;
use serde_json::Value;

/// Far above what anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn agent() -> Result<Command> {
    let mut command = Command::new(built::binary("gpuledger-agent")?);
    command.env_remove("GPULEDGER_NVML_LIBRARY");
    Ok(command)
}

fn probe(folder: &Path, scenario: &str) -> Result<Value> {
    let fake = FakeNvml::new(folder, scenario)?;
    run_json(fake.attach(agent()?.args(["probe", "--format", "json"])))
}

/// The row of a metric among a device's readings.
fn row<'a>(device: &'a Value, metric: &str) -> Result<&'a Value> {
    let rows = device["readings"].as_array().context("no readings")?;
    rows.iter().find(|row| row["metric"] == metric).with_context(|| format!("no row {metric} in {rows:?}"))
}

fn value(device: &Value, metric: &str) -> Result<i64> {
    let row = row(device, metric)?;
    row["value"].as_i64().with_context(|| format!("{metric} has no value: {row}"))
}

fn absence<'a>(device: &'a Value, metric: &str) -> Result<&'a str> {
    let row = row(device, metric)?;
    ensure!(row["value"].is_null() && row["help"].is_string(), "{metric} is not absent: {row}");
    row["absence"].as_str().with_context(|| format!("{metric} has no reason: {row}"))
}

#[test]
fn probe_shows_every_reading_of_a_healthy_gpu_in_the_unit_of_the_catalogue() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let report = probe(
        folder.path(),
        r#"
        [[gpu]]
        memory_mib = 81559
        ecc_corrected = 7
        ecc_uncorrected = 2
        energy_start_mj = 5000000000
        [[gpu.phase]]
        power_mw = 301250
        gpu_util = 42
        memory_util = 17
        memory_used_mib = 1234
        temperature_c = 51
        memory_temperature_c = 60
        sm_mhz = 1755
        memory_mhz = 2619
        pstate = 2
        clock_reasons = 4
        processes = [{ pid = "self", memory_mib = 1000 }]
        "#,
    )?;
    ensure!(report["simulated"] == true && report["driver"] == "550.163.01" && report["fault"].is_null());
    let gpu = &report["gpus"][0];
    ensure!(gpu["simulated"] == true && gpu["model"] == "Simulated H100 80GB HBM3", "{gpu}");
    for (metric, expected) in [
        ("gpu_up", 1),
        ("gpu_power_average", 301_250),
        ("gpu_power_instant", 301_250),
        ("gpu_power_limit", 700_000),
        ("gpu_temperature", 51_000),
        ("gpu_temperature_memory", 60_000),
        ("gpu_utilization", 420_000),
        ("gpu_utilization_memory", 170_000),
        ("gpu_memory_used", 1_234 << 20),
        ("gpu_memory_total", 81_559 << 20),
        ("gpu_clock_sm", 1_755_000),
        ("gpu_clock_memory", 2_619_000),
        ("gpu_throttle_reasons", 4),
        ("gpu_performance_state", 2),
        ("gpu_ecc_corrected", 7),
        ("gpu_ecc_uncorrected", 2),
        ("gpu_processes", 1),
        ("gpu_holder", 1),
    ] {
        ensure!(value(gpu, metric)? == expected, "{metric}: {}", row(gpu, metric)?);
    }
    ensure!(value(gpu, "gpu_energy")? >= 5_000_000_000);
    ensure!(value(gpu, "gpu_energy_integrated")? > 0, "two samples make a span");
    let holders = gpu["holders"].as_array().context("no holders")?;
    ensure!(holders.len() == 1 && holders[0]["kind"] == "user" && holders[0]["share_ppm"] == 1_000_000);
    for row in gpu["readings"].as_array().context("no readings")? {
        ensure!(row["value"].is_null() != row["absence"].is_null(), "value or reason, never both: {row}");
    }
    Ok(())
}

#[test]
fn a_reading_that_fails_is_absent_with_its_reason_and_never_zero() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut scenario = String::from("[[gpu]]\n[[gpu.phase]]\npower_mw = 250000\n");
    for (code, calls) in [
        (
            "NOT_SUPPORTED",
            r#"["nvmlDeviceGetTotalEnergyConsumption", "field:82", "nvmlDeviceGetTotalEccErrors"]"#,
        ),
        ("NO_PERMISSION", r#"["nvmlDeviceGetComputeRunningProcesses*"]"#),
        ("UNKNOWN", r#"["nvmlDeviceGetUtilizationRates"]"#),
        ("TIMEOUT", r#"["nvmlDeviceGetEnforcedPowerLimit"]"#),
    ] {
        scenario += &format!("[[fault]]\nkind = \"answer\"\ngpu = 0\ncode = \"{code}\"\ncalls = {calls}\n");
    }
    let report = probe(folder.path(), &scenario)?;
    let gpu = &report["gpus"][0];
    for (metric, reason) in [
        ("gpu_energy", "unsupported"),
        ("gpu_temperature_memory", "unsupported"),
        ("gpu_ecc_corrected", "unsupported"),
        ("gpu_processes", "no_permission"),
        ("gpu_holder", "no_permission"),
        ("gpu_utilization", "failed"),
        ("gpu_utilization_memory", "failed"),
        ("gpu_power_limit", "timed_out"),
    ] {
        ensure!(absence(gpu, metric)? == reason, "{metric}: {}", row(gpu, metric)?);
    }
    ensure!(gpu["holders"].is_null());
    ensure!(value(gpu, "gpu_up")? == 1 && value(gpu, "gpu_power_average")? == 250_000, "the rest goes on");
    ensure!(value(gpu, "gpu_energy_integrated")? > 0, "integrated where there is no counter");
    Ok(())
}

#[test]
fn old_calls_stand_in_where_a_driver_does_not_have_the_new_ones() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fault = r#"[[fault]]
        kind = "answer"
        gpu = 0
        code = "NOT_SUPPORTED"
        calls = ["field:185", "field:186", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperatureV",
                 "nvmlDeviceGetCurrentClocksEventReasons"]
        "#;
    let gpu = "[[gpu]]\nreserved_mib = 300\n[[gpu.phase]]\npower_mw = 99000\nmemory_used_mib = 10\ntemperature_c = 44\nclock_reasons = 8\n";
    let report = probe(folder.path(), &format!("{gpu}{fault}"))?;
    let hopper = &report["gpus"][0];
    ensure!(value(hopper, "gpu_power_average")? == 99_000, "on Hopper the old call gives the average");
    ensure!(absence(hopper, "gpu_power_instant")? == "unsupported");
    ensure!(value(hopper, "gpu_memory_used")? == 310 << 20, "version 1 counts what the driver reserves");
    ensure!(value(hopper, "gpu_temperature")? == 44_000 && value(hopper, "gpu_throttle_reasons")? == 8);

    let other = tempfile::tempdir()?;
    let volta = gpu.replacen("[[gpu]]", "[[gpu]]\narchitecture = 5\nname = \"Tesla V100\"", 1);
    let report = probe(other.path(), &format!("{volta}{fault}"))?;
    let volta = &report["gpus"][0];
    ensure!(value(volta, "gpu_power_instant")? == 99_000, "on Volta it gives the moment");
    ensure!(absence(volta, "gpu_power_average")? == "unsupported");
    Ok(())
}

#[test]
fn without_a_usable_library_probe_says_why_and_shows_the_host() -> Result<()> {
    for (code, reason) in [
        ("DRIVER_NOT_LOADED", "driver not loaded"),
        ("LIB_RM_VERSION_MISMATCH", "driver and library versions differ"),
    ] {
        let folder = tempfile::tempdir()?;
        let scenario = format!("[[fault]]\nkind = \"answer\"\ncode = \"{code}\"\ncalls = [\"nvmlInit*\"]\n");
        let report = probe(folder.path(), &scenario)?;
        ensure!(report["fault"]["reason"] == reason && report["fault"]["help"].is_string(), "{report}");
        ensure!(report["driver"].is_null() && report["gpus"] == serde_json::json!([]));
        ensure!(value(&report["host"], "node_memory_total")? > 0);
    }
    let folder = tempfile::tempdir()?;
    let report = probe(folder.path(), "[[gpu]]\n[[fault]]\nkind = \"hidden\"\n")?;
    ensure!(report["fault"]["reason"] == "the driver is loaded and shows no GPU", "{report}");
    let missing = agent()?.args(["probe", "--nvml-library", "/nonexistent/nvml.so"]).output()?;
    ensure!(missing.status.success());
    let page = String::from_utf8(missing.stdout)?;
    ensure!(
        page.contains("library not found: /nonexistent/nvml.so") && page.contains("node_memory_used"),
        "{page}"
    );
    Ok(())
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
        recorded(&self.spool)
    }
}

fn recorded(folder: &Path) -> Result<Recorded> {
    let (mut spool, journal, _, _) = Spool::open(folder, Options { cap_bytes: 1 << 30 })?;
    ensure!(journal.is_empty(), "a clean end leaves nothing in the journal");
    let segments: Vec<_> = spool.segments().collect();
    let mut batches = Vec::new();
    for info in segments {
        let header = spool.header(info.id)?.context("a segment without header")?;
        let segment = v1::Segment::decode(header.as_slice())?;
        let inventory = inventory_from_wire(segment.inventory.context("a segment without inventory")?)?;
        let mut cursor = spool.cursor(info.id, info.first_sequence - 1)?.context("a segment vanished")?;
        while let Next::Record(record) = spool.next(&mut cursor)? {
            let batch =
                batch_from_wire(v1::Batch::decode(record.payload.as_slice())?, inventory.gpus.len() + 1)?;
            batches.push((inventory.clone(), batch));
        }
    }
    Ok(batches)
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
fn wrong_use_and_wrong_settings_end_with_code_2_a_place_and_a_remedy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.toml");
    let spool = folder.path().join("spool");
    let with_file = |text: &str| -> Result<Output> {
        std::fs::write(&file, text)?;
        finish(agent()?.args(["run", "--config"]).arg(&file).arg("--spool-dir").arg(&spool))
    };
    let name = file.display().to_string();
    for (text, expected) in [
        (
            "node = \"a\"\ncolector = \"b\"\n",
            format!("{name}:2: unknown key \"colector\"; did you mean \"collector\"?"),
        ),
        (
            "sample_interval = \"1 fortnight\"",
            format!("{name}:1: sample_interval: \"1 fortnight\" has the unknown unit"),
        ),
        (
            "spool_size = \"1KiB\"",
            format!("{name}:1: spool_size: \"1KiB\" is out of range; expected 1MiB to 1TiB"),
        ),
        ("node = [1]", format!("{name}:1: node: expected text in quotes")),
        ("node = \"a", format!("{name}:1: ")),
        (
            "collector = \"https://c\"",
            format!("{name}:1: collector: \"https://c\": TLS comes in a later version"),
        ),
        ("collector = \"10.0.0.1\"", format!("{name}:1: collector: \"10.0.0.1\" is on another machine")),
    ] {
        let output = with_file(text)?;
        let message = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{text:?} ended with {}", output.status);
        ensure!(message.starts_with(&format!("gpuledger-agent: {expected}")), "{text:?} gives {message}");
    }
    for arguments in [&["rnu"][..], &["run", "--sample-interval=0s"], &["run", "--config=/nonexistent"], &[]]
    {
        let output = finish(agent()?.args(arguments))?;
        ensure!(output.status.code() == Some(2) && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    ensure!(!spool.exists(), "nothing was started");
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

#[test]
fn check_config_accepts_its_own_example_and_shows_where_settings_come_from() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.toml");
    let example = finish(agent()?.args(["check-config", "--example"]))?;
    std::fs::write(&file, &example.stdout)?;
    let output = finish(agent()?.args(["check-config", "--node=n7", "--config"]).arg(&file))?;
    let page = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && page.contains("n7") && page.contains("flag --node"), "{page}");
    Ok(())
}
