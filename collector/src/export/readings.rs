//! The latest readings of every node that reports: all metrics of the catalogue, who holds a GPU,
//! what is absent and why.
//!
//! Invariant: what has not been heard of for a minute has no sample, whatever was known of it. While
//! a node sends what waited in its spool, there are samples about the node but not of its readings:
//! they are of another time.

use super::families::{
    FLEET_GPUS, FLEET_NODES, GPU_ABSENT, GPU_INFO, GPU_OWNER_SHARE, GPU_THROTTLED, NODE_ABSENT, NODE_GPUS,
    NODE_INFO, NODE_LAST_SAMPLE, NODE_SKEW,
};
use super::text::{Labels, Text};
use crate::latest::{Latest, NodeLatest};
use gpuledger_proto::catalogue::{
    self, CATALOGUE, GPU_HOLDER, GPU_THROTTLE_REASONS, Metric, MetricId, Scope, Unit,
};
use gpuledger_proto::frame::{DeviceFrame, Gpu, Holding};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::reading::Reading;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The bits of NVML's clock event reasons that hold a clock down, and their names in labels.
const THROTTLE_BITS: [(i64, &str); 5] = [
    (0x04, "sw_power_cap"),
    (0x08, "hw_slowdown"),
    (0x20, "sw_thermal_slowdown"),
    (0x40, "hw_thermal_slowdown"),
    (0x80, "hw_power_brake_slowdown"),
];

/// A node that has sent nothing for so long has vanished.
const SILENT_MS: u64 = 60_000;
/// A sample that is older than this when it is asked for is history. Clocks of nodes may be wrong
/// by minutes; what waits in a spool soon is older.
const PAST_MS: u64 = 600_000;

/// The nodes that report, by name.
pub type Current = Vec<(NodeName, Arc<NodeLatest>)>;

/// The nodes that have sent something within the last minute.
pub fn current(latest: &Latest, now_ms: u64) -> Current {
    let mut nodes = latest.snapshot();
    nodes.retain(|(_, node)| node.arrived_ms.saturating_add(SILENT_MS) >= now_ms);
    nodes
}

/// One device with its labels rendered.
struct Device<'a> {
    labels: Labels,
    frame: &'a DeviceFrame,
}

/// Everything of one scrape, by scope.
struct Devices<'a> {
    nodes: Vec<Device<'a>>,
    gpus: Vec<(Device<'a>, &'a Gpu)>,
}

pub fn render(text: &mut Text<'_>, nodes: &Current, now_ms: u64) -> io::Result<()> {
    let devices = label(nodes, now_ms);
    about_nodes(text, nodes)?;
    about_gpus(text, &devices)?;
    for metric in CATALOGUE {
        let Some(mut samples) = text.metric(metric) else { continue };
        for device in devices.of(metric.scope) {
            if let Some(Reading::Value(value)) = device.frame.reading(metric.id) {
                samples.scaled(&device.labels, value.into(), metric.unit.base_decimals())?;
            }
        }
    }
    throttling(text, &devices)?;
    owners(text, &devices)?;
    absences(text, &devices)
}

fn label(nodes: &Current, now_ms: u64) -> Devices<'_> {
    let mut devices = Devices { nodes: Vec::new(), gpus: Vec::new() };
    for (name, node) in nodes.iter().filter(|(_, node)| node.sampled_ms.saturating_add(PAST_MS) >= now_ms) {
        let mut frames = node.devices.iter();
        devices.nodes.extend(frames.next().map(|frame| Device { labels: node_labels(name), frame }));
        for (gpu, frame) in node.inventory.gpus.iter().zip(frames) {
            devices.gpus.push((Device { labels: gpu_labels(gpu, name.as_str()), frame }, gpu));
        }
    }
    devices
}

fn node_labels(name: &NodeName) -> Labels {
    Labels::new(&[("node", name.as_str())])
}

/// The labels that every sample of a GPU has. What else is known of it is in `gpuledger_gpu_info`.
pub(super) fn gpu_labels(gpu: &Gpu, node: &str) -> Labels {
    Labels::new(&[("uuid", gpu.uuid.as_str()), ("node", node), ("gpu", &gpu.index.to_string())])
}

impl<'a> Devices<'a> {
    fn of(&self, scope: Scope) -> impl Iterator<Item = &Device<'a>> {
        let (nodes, gpus) = match scope {
            Scope::Node => (&self.nodes[..], &self.gpus[..0]),
            Scope::Gpu => (&self.nodes[..0], &self.gpus[..]),
        };
        nodes.iter().chain(gpus.iter().map(|(device, _)| device))
    }
}

fn about_nodes(text: &mut Text<'_>, nodes: &Current) -> io::Result<()> {
    let mut samples = text.family(&NODE_INFO);
    for (name, node) in nodes {
        let host = &node.inventory.host;
        let driver = host.driver_version.as_deref().unwrap_or_default();
        let more = [("hostname", host.hostname.as_str()), ("os", &host.os), ("driver_version", driver)];
        samples.integer(&node_labels(name).with(&more), 1)?;
    }
    let mut samples = text.family(&NODE_GPUS);
    for (name, node) in nodes {
        samples.integer(&node_labels(name), count(node.inventory.gpus.len()))?;
    }
    let mut samples = text.family(&NODE_LAST_SAMPLE);
    for (name, node) in nodes {
        samples.scaled(&node_labels(name), node.sampled_ms.into(), Unit::Millis.base_decimals())?;
    }
    let mut samples = text.family(&NODE_SKEW);
    for (name, node) in nodes {
        if let Some(skew_ms) = node.skew_ms {
            samples.scaled(&node_labels(name), skew_ms.into(), Unit::Millis.base_decimals())?;
        }
    }
    let gpus: usize = nodes.iter().map(|(_, node)| node.inventory.gpus.len()).sum();
    text.family(&FLEET_NODES).integer(&Labels::default(), count(nodes.len()))?;
    text.family(&FLEET_GPUS).integer(&Labels::default(), count(gpus))
}

fn count(number: usize) -> i128 {
    number as i128
}

fn about_gpus(text: &mut Text<'_>, devices: &Devices<'_>) -> io::Result<()> {
    let mut samples = text.family(&GPU_INFO);
    for (device, gpu) in &devices.gpus {
        let more = [
            ("model", gpu.model.as_str()),
            ("serial", gpu.serial.as_deref().unwrap_or_default()),
            ("pci_bus_id", gpu.pci_bus_id.as_deref().unwrap_or_default()),
            ("simulated", if gpu.simulated { "true" } else { "false" }),
        ];
        samples.integer(&device.labels.with(&more), 1)?;
    }
    Ok(())
}

fn throttling(text: &mut Text<'_>, devices: &Devices<'_>) -> io::Result<()> {
    let mut samples = text.family(&GPU_THROTTLED);
    for device in devices.of(Scope::Gpu) {
        let Some(Reading::Value(reasons)) = device.frame.reading(GPU_THROTTLE_REASONS) else { continue };
        for (bit, reason) in THROTTLE_BITS {
            samples.integer(&device.labels.with(&[("reason", reason)]), i128::from(reasons & bit != 0))?;
        }
    }
    Ok(())
}

fn owners(text: &mut Text<'_>, devices: &Devices<'_>) -> io::Result<()> {
    let mut samples = text.family(&GPU_OWNER_SHARE);
    for device in devices.of(Scope::Gpu) {
        let Some(Reading::Value(holding)) = &device.frame.holding else { continue };
        for ((kind, account, name), share_ppm) in shares(holding) {
            let labels = device.labels.with(&[("kind", kind), ("account", account), ("owner", name)]);
            samples.scaled(&labels, share_ppm, Unit::Ppm.base_decimals())?;
        }
    }
    Ok(())
}

/// Shares by owner without the job: a label that is new with every job would grow without end.
fn shares(holding: &Holding) -> BTreeMap<(&'static str, &str, &str), i128> {
    let mut shares = BTreeMap::new();
    for share in holding {
        let owner = &share.owner;
        let key = (owner.kind.name(), owner.account.as_str(), owner.name.as_str());
        *shares.entry(key).or_insert(0) += i128::from(share.share_ppm);
    }
    shares
}

fn absences(text: &mut Text<'_>, devices: &Devices<'_>) -> io::Result<()> {
    for (scope, family) in [(Scope::Node, &NODE_ABSENT), (Scope::Gpu, &GPU_ABSENT)] {
        let mut samples = text.family(family);
        for device in devices.of(scope) {
            for (metric, reason) in absent(device.frame).filter(|(metric, _)| metric.scope == scope) {
                let labels = device.labels.with(&[("reading", metric.name), ("reason", reason)]);
                samples.integer(&labels, 1)?;
            }
        }
    }
    Ok(())
}

fn absent(frame: &DeviceFrame) -> impl Iterator<Item = (&'static Metric, &'static str)> {
    let named = |(id, reading): (MetricId, Reading<()>)| match reading {
        Reading::Absent(reason) => catalogue::metric(id).map(|metric| (metric, reason.name())),
        Reading::Value(()) => None,
    };
    let holder = frame.holding.as_ref().map(|holding| match holding {
        Reading::Value(_) => (GPU_HOLDER, Reading::Value(())),
        Reading::Absent(reason) => (GPU_HOLDER, Reading::Absent(*reason)),
    });
    let readings = frame.readings.iter().filter(|(id, _)| *id != GPU_HOLDER);
    readings.map(|(id, reading)| (*id, reading.map(drop))).chain(holder).filter_map(named)
}
