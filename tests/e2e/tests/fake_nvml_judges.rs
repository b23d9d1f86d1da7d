//! The simulated NVML in front of NVIDIA's own clients: they run on it without complaint and print
//! what the scenario says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::fake::{CUT, FakeNvml, boot_ms};
use gpuledger_e2e::parts::{self, Release};
use gpuledger_e2e::process::{finish, run};
use gpuledger_e2e::tool::skip;

/// Steady values, each different from all others, so that a mix-up shows.
const STEADY: &str = r#"
node = "judged"

[[gpu]]
count = 2
memory_mib = 80000
reserved_mib = 300
power_limit_mw = 650000
ecc_corrected = 3
ecc_uncorrected = 2

[[gpu.phase]]
power_mw = 345670
gpu_util = 87
memory_util = 31
encoder_util = 7
decoder_util = 11
memory_used_mib = 4321
temperature_c = 55
memory_temperature_c = 66
sm_mhz = 1755
memory_mhz = 2600
pstate = 2
clock_reasons = 4
processes = [{ pid = 1, memory_mib = 4001 }]
"#;

/// What `nvidia-smi --query-gpu` must print for the scenario above, for GPU 0.
const EXPECTED: &[(&str, &str)] = &[
    ("index", "0"),
    ("name", "Simulated H100 80GB HBM3"),
    ("pci.bus_id", "00000000:10:00.0"),
    ("power.draw", "345.67"),
    ("power.draw.average", "345.67"),
    ("power.draw.instant", "345.67"),
    ("power.limit", "650.00"),
    ("enforced.power.limit", "650.00"),
    ("power.min_limit", "200.00"),
    ("power.max_limit", "700.00"),
    ("temperature.gpu", "55"),
    ("temperature.memory", "66"),
    ("utilization.gpu", "87"),
    ("utilization.memory", "31"),
    ("memory.total", "80000"),
    ("memory.reserved", "300"),
    ("memory.used", "4321"),
    ("memory.free", "75379"),
    ("clocks.sm", "1755"),
    ("clocks.mem", "2600"),
    ("clocks.max.sm", "1980"),
    ("pstate", "P2"),
    ("clocks_throttle_reasons.active", "0x0000000000000004"),
    ("ecc.errors.corrected.volatile.total", "3"),
    ("ecc.errors.uncorrected.volatile.total", "2"),
    ("persistence_mode", "Enabled"),
    ("mig.mode.current", "Disabled"),
    ("compute_cap", "9.0"),
];

fn smi(program: &Path, fake: &FakeNvml) -> Command {
    let mut command = Command::new(program);
    fake.attach(&mut command);
    command
}

fn nvidia_smi_prints_the_scenario(release: Release) -> Result<()> {
    let Some(program) = parts::nvidia_smi(release)? else { return Ok(()) };
    let (_folder, fake) = FakeNvml::alone(STEADY)?;

    let fields: Vec<&str> = EXPECTED.iter().map(|pair| pair.0).collect();
    let query = format!("--query-gpu={}", fields.join(","));
    let csv = run(smi(&program, &fake).args([&query, "--format=csv,noheader,nounits"]))?;
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(", ").collect()).collect();
    ensure!(rows.len() == 2, "two GPUs, not:\n{csv}");
    for ((field, expected), got) in EXPECTED.iter().zip(&rows[0]) {
        ensure!(
            got == expected,
            "{field}: expected {expected}, nvidia-smi {} prints {got}",
            release.series()
        );
    }
    ensure!(rows[1][2] == "00000000:11:00.0", "the second GPU has a bus of its own: {csv}");

    let table = run(&mut smi(&program, &fake))?;
    for part in ["Simulated H100 80GB HBM3", "345W", "650W", "4321MiB", "80000MiB", "87%", "4001MiB"] {
        ensure!(table.contains(part), "the table of {} has no {part}:\n{table}", release.series());
    }
    let processes =
        run(smi(&program, &fake).args(["--query-compute-apps=pid,used_memory", "--format=csv,noheader"]))?;
    ensure!(processes == "1, 4001 MiB\n1, 4001 MiB\n", "processes: {processes}");

    let all = run(smi(&program, &fake).arg("-q"))?;
    for complaint in ["Function Not Found", "Unknown Error", "Mismatch", "mismatch"] {
        ensure!(!all.contains(complaint), "nvidia-smi {} -q says {complaint:?}:\n{all}", release.series());
    }
    let xml = run(smi(&program, &fake).args(["-q", "-x"]))?;
    ensure!(xml.trim_end().ends_with("</nvidia_smi_log>"), "an XML report that ends early");
    Ok(())
}

#[test]
fn nvidia_smi_535_prints_the_scenario() -> Result<()> {
    nvidia_smi_prints_the_scenario(Release::R535)
}

#[test]
fn nvidia_smi_550_prints_the_scenario() -> Result<()> {
    nvidia_smi_prints_the_scenario(Release::R550)
}

#[test]
fn nvidia_smi_tells_what_a_scenario_breaks() -> Result<()> {
    let Some(program) = parts::nvidia_smi(Release::R550)? else { return Ok(()) };
    let query = ["--query-gpu=index,utilization.gpu,power.draw.instant", "--format=csv,noheader"];

    let unsupported = "[[gpu]]\ncount = 3\n[[fault]]\nkind = \"answer\"\ncode = \"NOT_SUPPORTED\"\ngpu = 1\n\
                calls = [\"nvmlDeviceGetUtilizationRates\", \"field:186\"]";
    let (_folder, partly) = FakeNvml::alone(unsupported)?;
    let csv = run(smi(&program, &partly).args(query))?;
    ensure!(csv == "0, 0 %, 70.00 W\n1, [N/A], [N/A]\n2, 0 %, 70.00 W\n", "{csv}");

    for (code, part) in [
        ("DRIVER_NOT_LOADED", "couldn't communicate with the NVIDIA driver"),
        ("LIB_RM_VERSION_MISMATCH", "Driver/library version mismatch"),
    ] {
        let (_folder, fake) = FakeNvml::alone(&format!("[[fault]]\nkind = \"answer\"\ncode = \"{code}\""))?;
        let output = finish(&mut smi(&program, &fake))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!output.status.success() && text.contains(part), "{code}: {text}");
    }
    let (_folder, none) = FakeNvml::alone("[[gpu]]\ncount = 2\n[[fault]]\nkind = \"hidden\"")?;
    let output = finish(smi(&program, &none).arg("-L"))?;
    ensure!(String::from_utf8_lossy(&output.stdout).contains("No devices found"), "{output:?}");
    Ok(())
}

#[test]
fn the_real_library_finds_no_driver() -> Result<()> {
    let Some(library) = parts::real_nvml(Release::R535)? else { return Ok(()) };
    let Some(program) = parts::nvidia_smi(Release::R535)? else { return Ok(()) };
    if parts::driver_is_loaded() {
        return skip("this machine has a driver, so the real library does not fail");
    }
    let folder = library.parent().context("a library without folder")?;
    let output = finish(Command::new(program).env("LD_LIBRARY_PATH", folder))?;
    ensure!(output.status.code() == Some(9), "NVML's code for a driver that is not loaded: {output:?}");
    Ok(())
}

/// Prints one `key value` line for each reading of GPU 0.
const READ: &str = r"
import pynvml as n
n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(0)
m = n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2)
u = n.nvmlDeviceGetUtilizationRates(h)
p = n.nvmlDeviceGetComputeRunningProcesses(h)
f = n.nvmlDeviceGetFieldValues(h, [n.NVML_FI_DEV_POWER_INSTANT, n.NVML_FI_DEV_MEMORY_TEMP, 9999])
out = dict(
    count=n.nvmlDeviceGetCount(), driver=n.nvmlSystemGetDriverVersion(), cuda=n.nvmlSystemGetCudaDriverVersion(),
    name=n.nvmlDeviceGetName(h), serial=n.nvmlDeviceGetSerial(h), bus=n.nvmlDeviceGetPciInfo(h).busId,
    by_uuid=n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByUUID(n.nvmlDeviceGetUUID(h))),
    power=n.nvmlDeviceGetPowerUsage(h), limit=n.nvmlDeviceGetEnforcedPowerLimit(h),
    temperature=n.nvmlDeviceGetTemperature(h, 0), sm=n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM),
    used=m.used >> 20, reserved=m.reserved >> 20, total=m.total >> 20, gpu=u.gpu, memory=u.memory,
    pid=p[0].pid, process=p[0].usedGpuMemory >> 20, ecc=n.nvmlDeviceGetTotalEccErrors(h, 1, 0),
    instant=f[0].value.uiVal, memory_temperature=f[1].value.uiVal, unknown=f[2].nvmlReturn,
    encoder=n.nvmlDeviceGetEncoderUtilization(h)[0], decoder=n.nvmlDeviceGetDecoderUtilization(h)[0],
    reasons=n.nvmlDeviceGetCurrentClocksEventReasons(h), pstate=n.nvmlDeviceGetPerformanceState(h),
    architecture=n.nvmlDeviceGetArchitecture(h), gpm=n.nvmlGpmQueryDeviceSupport(h).isSupportedDevice,
    samples=len(n.nvmlDeviceGetSamples(h, n.NVML_GPU_UTILIZATION_SAMPLES, 0)[1]) > 0,
    energy=n.nvmlDeviceGetTotalEnergyConsumption(h),
)
for key, value in out.items():
    print(key, value)
n.nvmlShutdown()
";

#[test]
fn nvidia_ml_py_reads_the_scenario() -> Result<()> {
    let Some(python) = parts::python()? else { return Ok(()) };
    let start = boot_ms() - 10_000;
    let (_folder, fake) = FakeNvml::alone(&format!("{STEADY}\n[clock]\nstart_boot_ms = {start}\n"))?;
    let text = run(fake.attach(Command::new(python).args(["-c", READ])))?;
    let read: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    for (key, expected) in [
        ("count", "2"),
        ("driver", "550.163.01"),
        ("cuda", "12040"),
        ("name", "Simulated H100 80GB HBM3"),
        ("bus", "00000000:10:00.0"),
        ("by_uuid", "0"),
        ("power", "345670"),
        ("limit", "650000"),
        ("temperature", "55"),
        ("sm", "1755"),
        ("used", "4321"),
        ("reserved", "300"),
        ("total", "80000"),
        ("gpu", "87"),
        ("memory", "31"),
        ("pid", "1"),
        ("process", "4001"),
        ("ecc", "2"),
        ("instant", "345670"),
        ("memory_temperature", "66"),
        ("unknown", "3"),
        ("encoder", "7"),
        ("decoder", "11"),
        ("reasons", "4"),
        ("pstate", "2"),
        ("architecture", "9"),
        ("gpm", "1"),
        ("samples", "True"),
    ] {
        let got = read.get(key).with_context(|| format!("no {key} in:\n{text}"))?;
        ensure!(*got == expected, "{key}: expected {expected}, nvidia-ml-py reads {got}");
    }
    // The scenario began ten seconds before; the truth has what Python was told, and when.
    let truth = fake.truth()?;
    let told = truth.values().next().and_then(|told| told.first()).context("no truth was written")?;
    ensure!(read["energy"] == told.counter_mj.to_string(), "{} is not the truth {told:?}", read["energy"]);
    let elapsed_us = u64::try_from(told.boot_ns / 1000 - start * 1000)?;
    ensure!(
        told.counter_mj.abs_diff(345_670 * elapsed_us / 1_000_000) <= 345,
        "{told:?} after {elapsed_us} µs"
    );
    Ok(())
}

/// What is up to date with the newest drivers and missing in the older library.
const NEWER: [&str; 2] = ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetMarginTemperature"];

/// The names that a library exports as functions, by its dynamic symbols.
fn exports(library: &Path) -> Result<BTreeSet<String>> {
    let table = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library))?;
    let names = table.lines().filter_map(|line| line.split(" T ").nth(1));
    let names = names.filter_map(|name| name.split('@').next()).filter(|name| name.starts_with("nvml"));
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn every_function_of_the_real_libraries_535_and_550_is_exported() -> Result<()> {
    let ours = exports(&gpuledger_e2e::built::fake_nvml()?)?;
    ensure!(NEWER.iter().all(|name| ours.contains(*name)), "{NEWER:?}");
    for release in [Release::R535, Release::R550] {
        let Some(library) = parts::real_nvml(release)? else { continue };
        let real = exports(&library)?;
        ensure!(real.len() > 300, "the real library has {} functions only", real.len());
        let missing: Vec<_> = real.difference(&ours).collect();
        ensure!(missing.is_empty(), "of {}: {missing:?}", release.series());
    }
    Ok(())
}

#[test]
fn nvidia_smi_lists_the_instances_of_a_gpu_that_is_cut() -> Result<()> {
    let Some(program) = parts::nvidia_smi(Release::R550)? else { return Ok(()) };
    let (_folder, cut) = FakeNvml::alone(CUT)?;
    let list = run(smi(&program, &cut).arg("-L"))?;
    ensure!(list.matches("GPU-").count() == 2 && list.matches("MIG-").count() == 2, "{list}");
    let table = run(&mut smi(&program, &cut))?;
    for part in ["1000MiB / 40448MiB", "0MiB / 20096MiB", "900MiB"] {
        ensure!(table.contains(part), "the table has no {part}:\n{table}");
    }
    let query = ["--query-gpu=mig.mode.current,utilization.gpu", "--format=csv,noheader"];
    let csv = run(smi(&program, &cut).args(query))?;
    ensure!(csv == "Disabled, 42 %\nEnabled, [N/A]\n", "{csv}");
    Ok(())
}
