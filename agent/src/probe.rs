//! `probe`: what can be measured on this node, what cannot, why, and what would help.
//!
//! It takes its readings by the same code as `run`, twice, since some are differences. The JSON
//! form is an interface:
//!
//! ```json
//! {"node": "gpu-01", "agent_version": "0.1.0", "driver": "550.54" | null, "simulated": false,
//!  "fault": null | {"reason": "driver not loaded", "help": "load the kernel module …"},
//!  "gpus": [{"uuid": "GPU-…", "model": "…", "index": 0, "serial": null, "pci_bus_id": "…", "simulated": false,
//!            "readings": [{"metric": "gpu_power_average", "value": 77700 | null, "unit": "mW",
//!                          "absence": null | "unsupported", "help": null | "…"}],
//!            "facts": {"vbios": "…" | null, "board_part": "…" | null, "minor": 0 | null},
//!            "instances": [{"uuid": "MIG-…", "gpu_instance": 1, "compute_instance": 0, "slices": 3,
//!                           "share_ppm": 428571 | null, "readings": […]}],
//!            "holders": null | [{"kind": "user", "account": "", "name": "alice", "job": "", "share_ppm": 1000000}]}],
//!  "host": {"hostname": "…", "os": "…", "memory_bytes": 1, "cpus": 1, "readings": […]}}
//! ```
//!
//! Values are integers in the unit of the catalogue. `value` and `absence` are never both null and
//! never both set. The reading `gpu_holder` has the number of holders as its value.

mod table;

use crate::app;
use crate::collect::Instance;
use crate::collect::gpu::Facts;
use crate::collect::gpu::roster::Roster;
use crate::config::Config;
use crate::events::Counters;
use crate::sample::{SETTLE, Sampler};
use gpuledger_proto::catalogue::{self, MetricId, Unit};
use gpuledger_proto::frame::{DeviceFrame, Frame, Gpu, Host, Inventory, Share};
use gpuledger_proto::reading::{Absence, Reading};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between the two samples: CPU time is counted in hundredths of a second.
const PAUSE: Duration = Duration::from_millis(300);
/// A probe is patient: a GPU without persistence mode takes seconds to wake up.
const INTERVAL_MS: u64 = 10_000;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    node: String,
    agent_version: &'static str,
    driver: Option<String>,
    simulated: bool,
    fault: Option<Fault>,
    gpus: Vec<GpuReport>,
    host: HostReport,
}

#[derive(Debug, Serialize)]
struct Fault {
    reason: String,
    help: &'static str,
}

#[derive(Debug, Serialize)]
struct GpuReport {
    #[serde(flatten)]
    gpu: Gpu,
    facts: Facts,
    readings: Vec<Row>,
    /// Of a GPU that is cut by MIG.
    instances: Vec<InstanceReport>,
    holders: Option<Vec<Holder>>,
}

/// One MIG instance. What it draws is an estimate: its share of what the whole GPU measures.
#[derive(Debug, Serialize)]
struct InstanceReport {
    uuid: String,
    gpu_instance: u32,
    compute_instance: u32,
    slices: u32,
    share_ppm: Option<u32>,
    readings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct HostReport {
    #[serde(flatten)]
    host: Host,
    readings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Holder {
    kind: &'static str,
    account: String,
    name: String,
    job: String,
    share_ppm: u32,
}

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    metric: &'static str,
    value: Option<i64>,
    unit: &'static str,
    absence: Option<&'static str>,
    help: Option<&'static str>,
    #[serde(skip)]
    scale: Unit,
}

/// Samples this node twice and reports the second sample.
pub fn run(config: &Config) -> std::io::Result<Report> {
    let config = Config { sample_interval_ms: INTERVAL_MS, ..config.clone() };
    let stop = CancellationToken::new();
    let (mut sampler, board) = app::build_sampler(&config, Arc::<Counters>::default(), stop.clone())?;
    let _ends = stop.drop_guard();
    sampler.settle();
    board.settle(SETTLE);
    let first = sampler.sample();
    std::thread::sleep(PAUSE);
    let second = sampler.sample();
    // The first sample has one always, the second where it differs. Not a measurement.
    let inventory = second.inventory.or(first.inventory).unwrap_or_default();
    Ok(report(config.node.as_str(), &sampler, inventory, second.frame))
}

fn report(node: &str, sampler: &Sampler, inventory: Inventory, frame: Frame) -> Report {
    let mut devices = frame.devices.into_iter();
    let host = devices.next().unwrap_or_default();
    let fault = sampler.roster().fault();
    Report {
        node: node.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION"),
        driver: inventory.host.driver_version.clone(),
        simulated: inventory.gpus.iter().any(|gpu| gpu.simulated),
        fault: fault.map(|fault| Fault { reason: fault.to_string(), help: fault.help() }),
        gpus: gpus(sampler.roster(), inventory.gpus, devices),
        host: HostReport { host: inventory.host, readings: rows(&host.readings) },
    }
}

fn gpus(roster: &Roster, gpus: Vec<Gpu>, devices: impl Iterator<Item = DeviceFrame>) -> Vec<GpuReport> {
    let report = |(at, (gpu, device))| GpuReport {
        facts: roster.facts(at),
        instances: roster.instances(at).iter().map(instance).collect(),
        ..gpu_report(gpu, device)
    };
    gpus.into_iter().zip(devices).enumerate().map(report).collect()
}

fn instance(instance: &Instance) -> InstanceReport {
    let readings: Vec<_> = instance.readings.iter().collect();
    InstanceReport {
        uuid: instance.uuid.as_str().to_owned(),
        gpu_instance: instance.gpu_instance,
        compute_instance: instance.compute_instance,
        slices: instance.slices,
        share_ppm: instance.share_ppm.value(),
        readings: rows(&readings),
    }
}

fn gpu_report(gpu: Gpu, device: DeviceFrame) -> GpuReport {
    let holding = device.holding.unwrap_or(Reading::Absent(Absence::Unsupported));
    let mut readings = rows(&device.readings);
    let holders = holding.clone().map(|shares| i64::try_from(shares.len()).unwrap_or(i64::MAX));
    readings.extend(row(catalogue::GPU_HOLDER, holders));
    GpuReport {
        gpu,
        facts: Facts::default(),
        readings,
        instances: Vec::new(),
        holders: holding.value().map(|h| h.into_iter().map(holder).collect()),
    }
}

fn holder(share: Share) -> Holder {
    let Share { owner, share_ppm } = share;
    Holder { kind: owner.kind.name(), account: owner.account, name: owner.name, job: owner.job, share_ppm }
}

fn rows(readings: &[(MetricId, Reading<i64>)]) -> Vec<Row> {
    readings.iter().filter_map(|&(id, reading)| row(id, reading)).collect()
}

/// A reading as a row; every metric that a source reads is in the catalogue.
fn row(id: MetricId, reading: Reading<i64>) -> Option<Row> {
    let metric = catalogue::metric(id)?;
    let absence = match reading {
        Reading::Value(_) => None,
        Reading::Absent(reason) => Some(reason),
    };
    Some(Row {
        metric: metric.name,
        value: reading.value(),
        unit: metric.unit.symbol(),
        absence: absence.map(Absence::name),
        help: absence.map(|reason| help(id, reason)),
        scale: metric.unit,
    })
}

/// The counters of RAPL.
fn is_energy(id: MetricId) -> bool {
    [catalogue::NODE_ENERGY_CPU, catalogue::NODE_ENERGY_MEMORY, catalogue::NODE_ENERGY_PLATFORM].contains(&id)
}

/// What a person can do about an absent reading.
fn help(id: MetricId, reason: Absence) -> &'static str {
    match reason {
        Absence::Unsupported if id == catalogue::GPU_ENERGY => {
            "this GPU or driver has no energy counter: energy is integrated from power"
        }
        Absence::Unsupported if id == catalogue::GPU_XID_EVENTS => {
            "neither the driver's events nor the kernel's log can be listened to"
        }
        Absence::Unsupported if id == catalogue::NODE_POWER => {
            "no BMC (load ipmi_devintf and install ipmitool or freeipmi-tools), ACPI power meter or platform counter; \
             node_power_estimated stands beside it"
        }
        Absence::Unsupported => "this device or driver does not have it",
        Absence::NoPermission if id == catalogue::GPU_HOLDER => {
            "/proc hides the processes: run on the host, or add this user to the group of /proc's hidepid option \
             (key proc_path for a mounted host /proc)"
        }
        Absence::NoPermission if id == catalogue::NODE_POWER => {
            "let this user's group open /dev/ipmi0 (a udev rule), or run as root"
        }
        Absence::NoPermission if is_energy(id) => {
            "let this user's group read /sys/class/powercap/*/energy_uj (a udev rule), or run as root"
        }
        Absence::NoPermission => "the driver does not let this user read it",
        Absence::Lost => "the GPU fell off the bus or needs a reset: see dmesg (NVRM, Xid)",
        Absence::TimedOut => "a driver call does not return: see dmesg (NVRM, Xid)",
        Absence::Failed => "the call failed: see dmesg (NVRM, Xid)",
        Absence::Stale => "the last value is too old, or the system has put the GPU to sleep",
        Absence::Pending => "needs a second sample",
    }
}

impl Report {
    /// The interface for programs.
    pub fn json(&self) -> String {
        // A structure of strings and integers always has a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The page for people.
    pub fn table(&self) -> String {
        table::render(self)
    }
}

#[cfg(test)]
mod tests;
