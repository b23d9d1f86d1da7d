//! The last sample of every node, for `/metrics` and the live view.
//!
//! Invariants: a node's entry is the last sample of one batch and nothing older, so a GPU or a
//! reading that is no longer told vanishes; late data does not replace newer. Which entries are too
//! old to show is for the reader to say.

use gpuledger_proto::catalogue::GPU_HOLDER;
use gpuledger_proto::frame::{Batch, DeviceFrame, Holding, Inventory};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::reading::Reading;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A newer sample keeps its place against older ones for this long after it arrived. A node whose
/// clock was ahead and has been set right is so shown again after a minute.
const NEWER_KEPT_MS: u64 = 60_000;

/// The last sample of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLatest {
    /// What the devices are: the node itself, then its GPUs.
    pub inventory: Arc<Inventory>,
    /// The collector's wall clock when the batch arrived.
    pub arrived_ms: u64,
    /// How far the node's clock was ahead of the collector's then; negative behind it. `None` while it
    /// is not known.
    pub skew_ms: Option<i64>,
    /// The node's wall clock when the sample was taken.
    pub sampled_ms: u64,
    /// The sample: one entry for the node and each GPU of the inventory, in its order.
    pub devices: Vec<DeviceFrame>,
}

/// When a batch arrived, and what was known of the node's clock then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// The collector's wall clock.
    pub at_ms: u64,
    pub skew_ms: Option<i64>,
}

/// The last sample of every node.
#[derive(Debug, Default)]
pub struct Latest {
    nodes: RwLock<BTreeMap<NodeName, Arc<NodeLatest>>>,
}

impl Latest {
    /// The last sample of every node, by name.
    pub fn snapshot(&self) -> Vec<(NodeName, Arc<NodeLatest>)> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().map(|(name, latest)| (name.clone(), Arc::clone(latest))).collect()
    }

    /// Takes in a batch that arrived now. One that is older than what has just come changes nothing.
    pub fn update(&self, node: &NodeName, inventory: &Arc<Inventory>, batch: &Batch, arrival: Arrival) {
        let Arrival { at_ms: arrived_ms, skew_ms } = arrival;
        let Some(sampled_ms) = batch.stamps.last().map(|stamp| stamp.wall_ms) else { return };
        let late = |known: &Arc<NodeLatest>| {
            sampled_ms < known.sampled_ms && arrived_ms < known.arrived_ms.saturating_add(NEWER_KEPT_MS)
        };
        if self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(node).is_some_and(late) {
            return;
        }
        let devices = last_sample(batch, inventory.gpus.len() + 1);
        let latest =
            NodeLatest { inventory: Arc::clone(inventory), arrived_ms, skew_ms, sampled_ms, devices };
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(node.clone(), Arc::new(latest));
    }
}

/// The last sample of a batch, device by device. Columns are sorted by device and metric, so the
/// readings of a device come out sorted.
fn last_sample(batch: &Batch, devices: usize) -> Vec<DeviceFrame> {
    let mut frames = vec![DeviceFrame::default(); devices];
    for column in &batch.columns {
        let frame = frames.get_mut(usize::from(column.device));
        let (Some(frame), Some(&reading)) = (frame, column.readings.last()) else { continue };
        if column.metric == GPU_HOLDER {
            frame.holding = Some(holding(batch, reading));
        } else {
            frame.readings.push((column.metric, reading));
        }
    }
    frames
}

/// What a holder's code refers to: 0 is nobody, and codes were checked when the batch came in.
fn holding(batch: &Batch, code: Reading<i64>) -> Reading<Holding> {
    code.map(|code| {
        let entry = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
        entry.and_then(|entry| batch.holdings.get(entry)).cloned().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue::{GPU_POWER_AVERAGE, NODE_CPU};
    use gpuledger_proto::frame::{Frame, Gpu, Host, Owner, OwnerKind, Share, Stamp};
    use gpuledger_proto::ids::{GpuUuid, Sequence};

    fn inventory(gpus: u32) -> Arc<Inventory> {
        let gpu = |index| Gpu {
            uuid: GpuUuid::new(&format!("GPU-{index}")).unwrap(),
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index,
            memory_bytes: None,
            simulated: true,
        };
        Arc::new(Inventory { host: Host::default(), gpus: (0..gpus).map(gpu).collect() })
    }

    fn owner() -> Holding {
        let owner = Owner {
            kind: OwnerKind::User,
            account: String::new(),
            name: "anna".to_owned(),
            job: String::new(),
        };
        vec![Share { owner, share_ppm: 1_000_000 }]
    }

    /// Two samples, the second with the given power of one GPU.
    fn batch(wall_ms: u64, power: i64) -> Batch {
        let frame = |offset: u64, power: i64| Frame {
            stamp: Stamp { wall_ms: wall_ms + offset, boot_ms: offset },
            devices: vec![
                DeviceFrame { readings: vec![(NODE_CPU, Reading::Value(1))], holding: None },
                DeviceFrame {
                    readings: vec![(GPU_POWER_AVERAGE, Reading::Value(power))],
                    holding: Some(Reading::Value(owner())),
                },
            ],
        };
        Batch::from_frames(Sequence(1), &[frame(0, 0), frame(1_000, power)])
    }

    fn at(at_ms: u64) -> Arrival {
        Arrival { at_ms, skew_ms: None }
    }

    fn power(latest: &Latest) -> Option<Reading<i64>> {
        let nodes = latest.snapshot();
        nodes.first().and_then(|(_, node)| node.devices[1].reading(GPU_POWER_AVERAGE))
    }

    #[test]
    fn the_last_sample_is_told_with_its_holder() {
        let (latest, node) = (Latest::default(), NodeName::new("a").unwrap());
        latest.update(&node, &inventory(1), &batch(5_000, 300), at(7_000));
        let (name, told) = latest.snapshot().remove(0);
        assert_eq!((name, told.sampled_ms, told.arrived_ms), (node, 6_000, 7_000));
        assert_eq!(told.devices[0].reading(NODE_CPU), Some(Reading::Value(1)));
        assert_eq!(told.devices[1].reading(GPU_POWER_AVERAGE), Some(Reading::Value(300)));
        assert_eq!(told.devices[1].holding, Some(Reading::Value(owner())));
    }

    #[test]
    fn late_data_does_not_replace_newer_until_nothing_newer_comes() {
        let (latest, node) = (Latest::default(), NodeName::new("a").unwrap());
        latest.update(&node, &inventory(1), &batch(1_000_000, 300), at(0));
        latest.update(&node, &inventory(1), &batch(2_000, 1), at(59_999));
        assert_eq!(power(&latest), Some(Reading::Value(300)));
        latest.update(&node, &inventory(1), &batch(2_000, 1), at(60_000));
        assert_eq!(power(&latest), Some(Reading::Value(1)));
    }

    #[test]
    fn a_gpu_that_is_no_longer_there_vanishes() {
        let (latest, node) = (Latest::default(), NodeName::new("a").unwrap());
        latest.update(&node, &inventory(1), &batch(0, 300), at(0));
        let mut without = batch(1_000, 0);
        without.columns.retain(|column| column.device == 0);
        latest.update(&node, &inventory(0), &without, at(1_000));
        assert_eq!(latest.snapshot()[0].1.devices.len(), 1);
    }
}
