//! Other people's monitors on the simulated NVML agree with our own `probe`, on whole GPUs, on instances and
//! on GPUs of which one is ill.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::fake::{CUT, FakeNvml};
use gpuledger_e2e::parts;
use gpuledger_e2e::process::{run, run_json};
use gpuledger_e2e::tool::skip;

/// Steady values, each different from all others, so that a mix-up shows.
const STEADY: &str = r"
[[gpu]]
count = 2
memory_mib = 80000
power_limit_mw = 650000
[[gpu.phase]]
power_mw = 345670
gpu_util = 87
memory_util = 31
encoder_util = 7
decoder_util = 11
memory_used_mib = 4321
temperature_c = 55
processes = [{ pid = 1, memory_mib = 4001 }]
";

/// A program beside the Python of the tests, or `None` after one line that says so.
fn client(name: &str) -> Result<Option<PathBuf>> {
    let Some(python) = parts::python()? else { return Ok(None) };
    let program = python.with_file_name(name);
    if program.exists() {
        return Ok(Some(program));
    }
    skip(&format!("{name} is missing (./tests/parts puts it there)"))?;
    Ok(None)
}

/// What our own `probe` reads, as JSON.
fn probed(fake: &FakeNvml) -> Result<serde_json::Value> {
    let program = gpuledger_e2e::built::binary("gpuledger-agent")?;
    run_json(fake.attach(Command::new(program).args(["probe", "--format", "json"])))
}

/// A reading of a GPU in our report, in the unit of the catalogue.
fn reading(report: &serde_json::Value, gpu: usize, metric: &str) -> Option<i64> {
    let rows = report["gpus"][gpu]["readings"].as_array()?;
    rows.iter().find(|row| row["metric"] == metric)?["value"].as_i64()
}

#[test]
fn gpustat_and_our_probe_agree() -> Result<()> {
    let Some(gpustat) = client("gpustat")? else { return Ok(()) };
    let (_folder, fake) = FakeNvml::alone(STEADY)?;
    let theirs = run_json(fake.attach(Command::new(gpustat).arg("--json")))?;
    let ours = probed(&fake)?;
    for (at, gpu) in theirs["gpus"].as_array().context("no GPUs")?.iter().enumerate() {
        ensure!(gpu["uuid"] == ours["gpus"][at]["uuid"], "{gpu}");
        for (their, metric, unit) in [
            ("temperature.gpu", "gpu_temperature", 1_000),
            ("utilization.gpu", "gpu_utilization", 10_000),
            ("utilization.enc", "gpu_utilization_encoder", 10_000),
            ("utilization.dec", "gpu_utilization_decoder", 10_000),
            ("enforced.power.limit", "gpu_power_limit", 1_000),
            ("power.draw", "gpu_power_average", 1_000),
            ("memory.used", "gpu_memory_used", 1 << 20),
            ("memory.total", "gpu_memory_total", 1 << 20),
        ] {
            let our = reading(&ours, at, metric).with_context(|| format!("we have no {metric}"))?;
            ensure!(gpu[their].as_i64() == Some(our / unit), "{their}: {} and {our}", gpu[their]);
        }
    }
    Ok(())
}

/// nvitop's own classes, one line a GPU or instance.
const NVITOP: &str = r"
from nvitop import Device, NA
for device in Device.all():
    mode = device.is_mig_mode_enabled()
    print('gpu', device.uuid(), device.power_usage(), device.temperature(), device.memory_used(), device.memory_total(), mode)
    for part in device.mig_devices() if mode else []:
        print('mig', part.uuid(), part.memory_used(), part.memory_total())
";

#[test]
fn nvitop_and_our_probe_agree_also_on_instances() -> Result<()> {
    let Some(python) = client("nvitop")?.map(|nvitop| nvitop.with_file_name("python")) else { return Ok(()) };
    for scenario in [STEADY, CUT] {
        let (_folder, fake) = FakeNvml::alone(scenario)?;
        let theirs = run(fake.attach(Command::new(&python).args(["-c", NVITOP])))?;
        let ours = probed(&fake)?;
        let mut expected = String::new();
        for (at, gpu) in ours["gpus"].as_array().context("no GPUs")?.iter().enumerate() {
            let of = |metric| reading(&ours, at, metric).with_context(|| format!("we have no {metric}"));
            let uuid = gpu["uuid"].as_str().context("no UUID")?;
            let mig = if of("gpu_mig_mode")? == 1 { "True" } else { "False" };
            let (power, degrees) = (of("gpu_power_average")?, of("gpu_temperature")? / 1_000);
            let (used, total) = (of("gpu_memory_used")?, of("gpu_memory_total")?);
            writeln!(expected, "gpu {uuid} {power} {degrees} {used} {total} {mig}")?;
            for part in gpu["instances"].as_array().context("no instances")? {
                let rows = part["readings"].as_array().context("no readings")?;
                let of =
                    |metric: &str| rows.iter().find(|row| row["metric"] == metric).map(|row| &row["value"]);
                let (used, total) = of("gpu_memory_used").zip(of("gpu_memory_total")).context("no memory")?;
                writeln!(expected, "mig {} {used} {total}", part["uuid"].as_str().context("no UUID")?)?;
            }
        }
        ensure!(theirs == expected, "nvitop:\n{theirs}our probe:\n{expected}");
    }
    Ok(())
}

/// Single calls fail on one GPU: readings are absent there, and everything else is told.
#[test]
fn gpustat_survives_a_sick_gpu() -> Result<()> {
    let Some(gpustat) = client("gpustat")? else { return Ok(()) };
    let (_folder, sick) = FakeNvml::alone(
        "[[gpu]]\ncount = 2\n[[fault]]\nkind = \"answer\"\ncode = \"UNKNOWN\"\ngpu = 1\n\
         calls = [\"nvmlDeviceGetTemperature*\", \"nvmlDeviceGetPowerUsage\", \"field:185\"]",
    )?;
    let theirs = run_json(sick.attach(Command::new(gpustat).arg("--json")))?;
    ensure!(
        theirs["gpus"].as_array().map(Vec::len) == Some(2) && theirs["gpus"][0]["power.draw"] == 70,
        "{theirs}"
    );
    let ours = probed(&sick)?;
    ensure!(reading(&ours, 0, "gpu_power_average") == Some(70_000));
    ensure!(reading(&ours, 1, "gpu_temperature").is_none() && reading(&ours, 1, "gpu_up") == Some(1));
    Ok(())
}

/// One GPU that has something to tell of everything.
const RICH: &str = r"
[[gpu]]
fans = [40, 55]
compute_mode = 3
persistence = false
slowdown_c = 90
ecc_corrected = 7
remapped_rows = { corrected = 3, uncorrected = 1, pending = true, failed = false }
[gpu.links]
pcie_sent_mib_s = 100
pcie_received_mib_s = 200
pcie_replays = 5
nvlink_sent_mib_s = 300
nvlink_received_mib_s = 400
nvlinks_down = 2
nvlink_errors = 1
[[gpu.phase]]
power_mw = 400000
gpu_util = 50
memory_util = 30
temperature_c = 60
sm_mhz = 1500
clock_reasons = 4
";

/// Everything that is not in the daily table: links, rows, fans, modes, GPM and what they are measured in.
#[test]
fn probe_shows_links_rows_fans_modes_and_gpm_in_the_unit_of_the_catalogue() -> Result<()> {
    let (_folder, fake) = FakeNvml::alone(RICH)?;
    let ours = probed(&fake)?;
    for (metric, expected) in [
        ("gpu_power_memory", 50_000),
        ("gpu_power_limit_min", 200_000),
        ("gpu_power_limit_max", 700_000),
        ("gpu_temperature_margin", 30_000),
        ("gpu_temperature_slowdown", 90_000),
        ("gpu_clock_video", 1_350_000),
        ("gpu_clock_sm_max", 1_980_000),
        ("gpu_memory_reserved", 330 << 20),
        ("gpu_sm_active", 450_000),
        ("gpu_tensor_active", 250_000),
        ("gpu_dram_active", 300_000),
        ("gpu_fp64_active", 10_000),
        ("gpu_pcie_sent_rate", 100 << 20),
        ("gpu_nvlink_received_rate", 400 << 20),
        ("gpu_ecc_mode", 1),
        ("gpu_ecc_corrected_dram", 7),
        ("gpu_ecc_corrected_l2", 0),
        ("gpu_remapped_rows_corrected", 3),
        ("gpu_remapped_rows_uncorrected", 1),
        ("gpu_remapped_rows_pending", 1),
        ("gpu_remapped_rows_failed", 0),
        ("gpu_nvlinks", 18),
        ("gpu_nvlinks_active", 16),
        ("gpu_nvlink_replay", 18),
        ("gpu_pcie_generation", 5),
        ("gpu_pcie_width", 16),
        ("gpu_pcie_replays", 5),
        ("gpu_fan_speed", 550_000),
        ("gpu_persistence_mode", 0),
        ("gpu_compute_mode", 3),
        ("gpu_mig_mode", 0),
        ("gpu_mig_instances", 0),
        ("gpu_xid_events", 0),
    ] {
        let got = reading(&ours, 0, metric);
        ensure!(got == Some(expected), "{metric}: expected {expected}, probe has {got:?}");
    }
    for counter in ["gpu_throttled_power", "gpu_pcie_sent", "gpu_pcie_received", "gpu_nvlink_sent"] {
        ensure!(reading(&ours, 0, counter).is_some(), "{counter} is absent");
    }
    ensure!(reading(&ours, 0, "gpu_power_module").is_none(), "no CPU is on this module");
    ensure!(ours["gpus"][0]["facts"]["vbios"] == "96.00.51.31.7F", "{}", ours["gpus"][0]["facts"]);
    Ok(())
}
