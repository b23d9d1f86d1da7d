//! The last sample of every node, for `/metrics` and the live view.
//!
//! Invariants: a node's entry is the last sample of one batch and nothing older, so a GPU or a
//! reading that is no longer told vanishes; late data does not replace newer. Which entries are too
//! old to show is for the reader to say.

use gpuledger_proto::catalogue::{GPU_HOLDER, MetricId};
use gpuledger_proto::column::{Cells, Columns};
use gpuledger_proto::frame::{Batch, DeviceFrame, Holding, Inventory, Share};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::reading::Reading;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

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
    nodes: RwLock<BTreeMap<NodeName, Arc<Slot>>>,
}

/// The place of one node's last sample, which its stream keeps at hand: an update asks no other node.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Option<Arc<NodeLatest>>>);

impl Latest {
    /// The last sample of every node, by name. Whoever reads it holds nobody up: a node that is updated
    /// meanwhile gets a new sample, and the one that is read stays.
    pub fn snapshot(&self) -> Vec<(NodeName, Arc<NodeLatest>)> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter_map(|(name, slot)| Some((name.clone(), slot.lock().clone()?))).collect()
    }

    /// Where a node's last sample goes.
    pub fn slot(&self, node: &NodeName) -> Arc<Slot> {
        let known = self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        known.unwrap_or_else(|| {
            let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(nodes.entry(node.clone()).or_default())
        })
    }

    /// [`Slot::update`] of a batch in memory.
    pub fn update(&self, node: &NodeName, inventory: &Arc<Inventory>, batch: &Batch, arrival: Arrival) {
        self.slot(node).update(inventory, &Columns::of(batch), &batch.holdings, arrival);
    }
}

impl Slot {
    /// Takes in a batch that arrived now. One that is older than what has just come changes nothing.
    pub fn update(
        &self,
        inventory: &Arc<Inventory>,
        columns: &Columns,
        holdings: &[Holding],
        arrival: Arrival,
    ) {
        let Arrival { at_ms: arrived_ms, skew_ms } = arrival;
        let Some(sampled_ms) = columns.stamps().last().map(|stamp| stamp.wall_ms) else { return };
        let mut slot = self.lock();
        let is_late = |known: &Arc<NodeLatest>| {
            sampled_ms < known.sampled_ms && arrived_ms < known.arrived_ms.saturating_add(NEWER_KEPT_MS)
        };
        if slot.as_ref().is_some_and(is_late) {
            return;
        }
        // Where nobody reads the sample of before, the new one takes its place.
        let mut free = slot.as_mut().and_then(Arc::get_mut);
        let mut devices = free.as_mut().map_or_else(Vec::new, |before| std::mem::take(&mut before.devices));
        last_sample(columns, holdings, inventory.gpus.len() + 1, &mut devices);
        let inventory = Arc::clone(inventory);
        let latest = NodeLatest { inventory, arrived_ms, skew_ms, sampled_ms, devices };
        match free {
            Some(before) => *before = latest,
            None => *slot = Some(Arc::new(latest)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<NodeLatest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last sample of a batch, device by device, in the place of what was there. Columns are sorted by
/// device and metric, so the readings of a device come out sorted.
fn last_sample(columns: &Columns, holdings: &[Holding], devices: usize, frames: &mut Vec<DeviceFrame>) {
    frames.resize(devices, DeviceFrame::default());
    let mut told = 0;
    for device in columns.devices() {
        let at = usize::from(device.device());
        let Some(before) = frames.get_mut(told..at) else { continue };
        before.fill(DeviceFrame::default());
        let Some(frame) = frames.get_mut(at) else { continue };
        told = at + 1;
        let mut holder = None;
        let mut count = 0;
        for (metric, cells) in device.iter() {
            if metric == GPU_HOLDER {
                holder = Some(cells.last());
                continue;
            }
            put(&mut frame.readings, count, metric, cells);
            count += 1;
        }
        frame.readings.truncate(count);
        hold(&mut frame.holding, holder, holdings);
    }
    frames.iter_mut().skip(told).for_each(|frame| *frame = DeviceFrame::default());
}

/// Puts the last reading of a column in its place, where nearly always the same metric had a value before:
/// then the value alone is written.
fn put(readings: &mut Vec<(MetricId, Reading<i64>)>, at: usize, metric: MetricId, cells: Cells<'_>) {
    match (readings.get_mut(at), cells) {
        (Some((known, Reading::Value(value))), Cells::Values(values)) if *known == metric => {
            if let Some(last) = values.last() {
                *value = *last;
            }
        }
        (Some((known, Reading::Value(value))), Cells::Same(Reading::Value(same))) if *known == metric => {
            *value = same;
        }
        (Some(place), cells) => *place = (metric, cells.last()),
        (None, cells) => readings.push((metric, cells.last())),
    }
}

/// Puts what a holder's code refers to in the place of who held the GPU before, who nearly always is the
/// same. 0 is nobody, and codes were checked when the batch came in.
fn hold(holding: &mut Option<Reading<Holding>>, code: Option<Reading<i64>>, holdings: &[Holding]) {
    let now = code.map(|code| {
        code.map(|code| {
            let entry = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
            entry.and_then(|entry| holdings.get(entry)).map_or(&[][..], Vec::as_slice)
        })
    });
    match (holding, now) {
        (Some(Reading::Value(before)), Some(Reading::Value(now))) => {
            if before != now {
                *before = now.to_vec();
            }
        }
        (holding, now) => *holding = now.map(|now| now.map(<[Share]>::to_vec)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue::{GPU_POWER_AVERAGE, NODE_CPU};
    use gpuledger_proto::frame::{Frame, Gpu, Host, Owner, OwnerKind, Stamp};
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
    fn whoever_reads_keeps_what_was_there_and_what_comes_is_the_newest() {
        let (latest, node) = (Latest::default(), NodeName::new("a").unwrap());
        latest.update(&node, &inventory(1), &batch(0, 300), at(0));
        let read = latest.snapshot();
        latest.update(&node, &inventory(1), &batch(10_000, 400), at(10_000));
        assert_eq!(read[0].1.devices[1].reading(GPU_POWER_AVERAGE), Some(Reading::Value(300)));
        assert_eq!(power(&latest), Some(Reading::Value(400)));
        drop(read);
        // In the place of the one before, with a device less and a holder less.
        let mut without = batch(20_000, 500);
        without.columns.retain(|column| column.device == 1 && column.metric != GPU_HOLDER);
        latest.update(&node, &inventory(1), &without, at(20_000));
        let devices = &latest.snapshot()[0].1.devices;
        assert_eq!(devices[0], DeviceFrame::default());
        let readings = vec![(GPU_POWER_AVERAGE, Reading::Value(500))];
        assert_eq!(devices[1], DeviceFrame { readings, holding: None });
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
