//! The agent's program: what `probe` says over simulated GPUs, and how wrong settings are refused.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built;
use gpuledger_e2e::fake::FakeNvml;
use gpuledger_e2e::process::{finish, run_json};
use serde_json::Value;

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
        write!(scenario, "[[fault]]\nkind = \"answer\"\ngpu = 0\ncode = \"{code}\"\ncalls = {calls}\n")?;
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
            "collector = \"http://127.0.0.1\"",
            format!("{name}:1: collector: \"http://127.0.0.1\" is plain text"),
        ),
        (
            "insecure = true\ncollector = \"https://c\"",
            format!("{name}:2: collector: \"https://c\" is TLS, and insecure = true is plain text"),
        ),
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
fn check_config_accepts_its_own_example_and_shows_where_settings_come_from() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.toml");
    let example = finish(agent()?.args(["check-config", "--example"]))?;
    std::fs::write(&file, &example.stdout)?;
    let output = finish(agent()?.args(["check-config", "--insecure", "--node=n7", "--config"]).arg(&file))?;
    let page = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && page.contains("n7") && page.contains("flag --node"), "{page}");
    Ok(())
}
