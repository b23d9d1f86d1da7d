//! The latest readings of every node that reports: all metrics of the catalogue, who holds a GPU,
//! what is absent and why.
//!
//! Invariant: what has not been heard of for a minute has no sample, whatever was known of it. While
//! a node sends what waited in its spool, there are samples about the node but not of its readings:
//! they are of another time.

use super::devices::{Devices, Gpus, Nodes};
use super::families::{
    FLEET_GPUS, FLEET_NODES, Family, GPU_ABSENT, GPU_INFO, GPU_OWNER_SHARE, GPU_THROTTLED, NODE_ABSENT,
    NODE_GPUS, NODE_INFO, NODE_LAST_SAMPLE, NODE_SKEW,
};
use super::labels::{Block, Tail};
use super::text::Text;
use crate::latest::{Latest, NodeLatest};
use gpuledger_proto::catalogue::{GPU_HOLDER, GPU_THROTTLE_REASONS, Metric, Unit};
use gpuledger_proto::frame::{DeviceFrame, Holding};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The bits of NVML's clock event reasons that hold a clock down, and their names in labels.
pub(super) const THROTTLE_BITS: [(i64, &str); 5] = [
    (0x04, "sw_power_cap"),
    (0x08, "hw_slowdown"),
    (0x20, "sw_thermal_slowdown"),
    (0x40, "hw_thermal_slowdown"),
    (0x80, "hw_power_brake_slowdown"),
];

/// A node that has sent nothing for so long has vanished.
const SILENT_MS: u64 = 60_000;

/// The nodes that report, by name.
pub type Current = Vec<(NodeName, Arc<NodeLatest>)>;

/// The nodes that have sent something within the last minute.
pub fn current(latest: &Latest, now_ms: u64) -> Current {
    let mut nodes = latest.snapshot();
    nodes.retain(|(_, node)| node.arrived_ms.saturating_add(SILENT_MS) >= now_ms);
    nodes
}

pub fn render(text: &mut Text<'_>, nodes: &Nodes<'_>, gpus: &Gpus<'_>) -> io::Result<()> {
    about_nodes(text, nodes)?;
    about_gpus(text, gpus)?;
    metrics(text, gpus)?;
    metrics(text, nodes)?;
    throttling(text, gpus)?;
    owners(text, gpus)?;
    absences(text, &NODE_ABSENT, nodes)?;
    absences(text, &GPU_ABSENT, gpus)
}

/// How many nodes and GPUs report, whatever part of them is asked for.
pub fn fleet(text: &mut Text<'_>, nodes: &Current) -> io::Result<()> {
    let gpus: usize = nodes.iter().map(|(_, node)| node.inventory.gpus.len()).sum();
    text.family(&FLEET_NODES, |samples| samples.integer(Block::NONE, &[], nodes.len() as i128))?;
    text.family(&FLEET_GPUS, |samples| samples.integer(Block::NONE, &[], gpus as i128))
}

fn about_nodes(text: &mut Text<'_>, nodes: &Nodes<'_>) -> io::Result<()> {
    let all = || nodes.iter().map(|(block, node)| (block, node.of));
    text.family(&NODE_INFO, |samples| {
        all().try_for_each(|(block, node)| {
            let host = &node.inventory.host;
            let driver = host.driver_version.as_deref().unwrap_or_default();
            let more = [("hostname", host.hostname.as_str()), ("os", &host.os), ("driver_version", driver)];
            samples.integer(block, &more, 1)
        })
    })?;
    text.family(&NODE_GPUS, |samples| {
        all().try_for_each(|(block, node)| samples.integer(block, &[], node.inventory.gpus.len() as i128))
    })?;
    text.family(&NODE_LAST_SAMPLE, |samples| {
        let millis = |(block, node): (_, &NodeLatest)| {
            samples.scaled_with(block, &[], node.sampled_ms.into(), Unit::Millis.base_decimals())
        };
        all().try_for_each(millis)
    })?;
    text.family(&NODE_SKEW, |samples| {
        let mut known = all().filter_map(|(block, node)| Some((block, node.skew_ms?)));
        known.try_for_each(|(block, skew_ms)| samples.scaled(block, skew_ms, Unit::Millis.base_decimals()))
    })
}

fn about_gpus(text: &mut Text<'_>, gpus: &Gpus<'_>) -> io::Result<()> {
    text.family(&GPU_INFO, |samples| {
        gpus.sampled().try_for_each(|(block, of, _)| {
            let gpu = of.gpu;
            let more = [
                ("model", gpu.model.as_str()),
                ("serial", gpu.serial.as_deref().unwrap_or_default()),
                ("pci_bus_id", gpu.pci_bus_id.as_deref().unwrap_or_default()),
                ("simulated", if gpu.simulated { "true" } else { "false" }),
            ];
            samples.integer(block, &more, 1)
        })
    })
}

/// The metrics of the catalogue.
fn metrics<T: Copy>(text: &mut Text<'_>, devices: &Devices<'_, T>) -> io::Result<()> {
    for metric in devices.metrics() {
        text.metric(metric, |samples| {
            let decimals = metric.unit.base_decimals();
            devices.values(metric.id).try_for_each(|(block, value)| samples.scaled(block, value, decimals))
        })?;
    }
    Ok(())
}

fn throttling(text: &mut Text<'_>, gpus: &Gpus<'_>) -> io::Result<()> {
    text.family(&GPU_THROTTLED, |samples| {
        let bits = THROTTLE_BITS.map(|(bit, reason)| (bit, Tail::new(&[("reason", reason)])));
        for (block, reasons) in gpus.values(GPU_THROTTLE_REASONS) {
            for (bit, tail) in &bits {
                samples.tailed(block, tail, i128::from(reasons & bit != 0), 0)?;
            }
        }
        Ok(())
    })
}

fn owners(text: &mut Text<'_>, gpus: &Gpus<'_>) -> io::Result<()> {
    text.family(&GPU_OWNER_SHARE, |samples| {
        for (block, _, frame) in gpus.sampled() {
            let Some(Reading::Value(holding)) = &frame.holding else { continue };
            for ((kind, account, name), share_ppm) in shares(holding) {
                let more = [("kind", kind), ("account", account), ("owner", name)];
                samples.scaled_with(block, &more, share_ppm, Unit::Ppm.base_decimals())?;
            }
        }
        Ok(())
    })
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

/// Each reading that a device should have and has not at present, with the reason.
fn absences<T: Copy>(text: &mut Text<'_>, family: &Family, devices: &Devices<'_, T>) -> io::Result<()> {
    text.family(family, |samples| {
        for (block, frame) in devices.lacking() {
            for metric in devices.metrics() {
                if let Some(reason) = absence(frame, metric) {
                    samples.integer(block, &[("reading", metric.name), ("reason", reason)], 1)?;
                }
            }
        }
        Ok(())
    })
}

fn absence(frame: &DeviceFrame, metric: &Metric) -> Option<&'static str> {
    let absent = match &frame.holding {
        Some(Reading::Absent(reason)) if metric.id == GPU_HOLDER => Some(*reason),
        _ => match frame.reading(metric.id) {
            Some(Reading::Absent(reason)) if metric.id != GPU_HOLDER => Some(reason),
            _ => None,
        },
    };
    absent.map(Absence::name)
}
