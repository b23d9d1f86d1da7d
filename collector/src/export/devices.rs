//! The devices of one scrape: who they are as label blocks, and their readings, a few metrics at a time.
//!
//! The format wants each family in one piece, while a reading lies with the other readings of its
//! device. So a scrape goes over all devices once for every [`METRICS_AT_ONCE`] metrics, takes these
//! readings out into columns, and writes column after column. What a scrape holds is so the block, a
//! few words and the columns of each device, about 250 bytes a GPU, however many lines it writes.
//!
//! Invariant: while a node sends what waited in its spool, its devices are known and their readings
//! are not: they are of another time.

use super::labels::{Block, Blocks};
use crate::latest::NodeLatest;
use gpuledger_proto::catalogue::Metric;
use gpuledger_proto::frame::{DeviceFrame, Gpu};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::reading::Reading;

/// Columns that are held at one time: 16 bytes a device each, for one way through all samples.
pub const METRICS_AT_ONCE: usize = 8;

/// A sample that is older than this when it is asked for is history. Clocks of nodes may be wrong
/// by minutes; what waits in a spool soon is older.
const PAST_MS: u64 = 600_000;

/// One device of a kind.
#[derive(Clone, Copy)]
pub struct Device<'a, T> {
    pub of: T,
    /// Its sample, if that is current.
    pub frame: Option<&'a DeviceFrame>,
}

/// Where a GPU is, and what.
#[derive(Clone, Copy)]
pub struct GpuOf<'a> {
    pub node: &'a NodeName,
    pub gpu: &'a Gpu,
}

/// All devices of a kind with their label blocks.
pub struct Devices<'a, T> {
    blocks: Blocks,
    devices: Vec<Device<'a, T>>,
}

pub type Nodes<'a> = Devices<'a, &'a NodeLatest>;
pub type Gpus<'a> = Devices<'a, GpuOf<'a>>;

/// The devices of these nodes.
pub fn of<'a>(
    nodes: impl Iterator<Item = (&'a NodeName, &'a NodeLatest)>,
    now_ms: u64,
) -> (Nodes<'a>, Gpus<'a>) {
    let (mut of_nodes, mut of_gpus) = (Nodes::new(), Gpus::new());
    for (name, node) in nodes {
        let current = node.sampled_ms.saturating_add(PAST_MS) >= now_ms;
        let frame = |position: usize| node.devices.get(position).filter(|_| current);
        of_nodes.push(&[("node", name.as_str())], node, frame(0));
        for (position, gpu) in node.inventory.gpus.iter().enumerate() {
            let index = gpu.index.to_string();
            // The labels that every sample of a GPU has. What else is known of it is in `gpuledger_gpu_info`.
            let labels = [("uuid", gpu.uuid.as_str()), ("node", name.as_str()), ("gpu", &index)];
            of_gpus.push(&labels, GpuOf { node: name, gpu }, frame(position + 1));
        }
    }
    (of_nodes, of_gpus)
}

impl<'a, T: Copy> Devices<'a, T> {
    const fn new() -> Self {
        Self { blocks: Blocks::new(), devices: Vec::new() }
    }

    fn push(&mut self, labels: &[(&str, &str)], of: T, frame: Option<&'a DeviceFrame>) {
        self.blocks.push(labels);
        self.devices.push(Device { of, frame });
    }

    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        self.blocks.iter()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Block<'_>, Device<'a, T>)> {
        self.blocks.iter().zip(self.devices.iter().copied())
    }

    /// Those with a current sample.
    pub fn sampled(&self) -> impl Iterator<Item = (Block<'_>, T, &'a DeviceFrame)> {
        self.iter().filter_map(|(block, device)| device.frame.map(|frame| (block, device.of, frame)))
    }

    /// The readings of a few metrics, each as one column with an entry for every device.
    pub fn columns<'m>(&self, metrics: &[&'m Metric]) -> Vec<(&'m Metric, Vec<Option<i64>>)> {
        let mut columns: Vec<_> =
            metrics.iter().map(|metric| (*metric, Vec::with_capacity(self.devices.len()))).collect();
        for device in &self.devices {
            for (metric, column) in &mut columns {
                let reading = device.frame.and_then(|frame| frame.reading(metric.id));
                column.push(reading.and_then(Reading::value));
            }
        }
        columns
    }
}
