//! The devices of one scrape: who they are as label blocks, and their readings as columns.
//!
//! The format wants each family in one piece, while a reading lies with the other readings of its
//! device. So a scrape goes once over all samples, takes the readings of the catalogue out into columns,
//! and writes column after column. What it holds is so the block, a few words and the readings of each
//! device, below 1,200 bytes a GPU or 96 MB for 80,000, however many lines it writes.
//!
//! Invariant: while a node sends what waited in its spool, its devices are known and their readings
//! are not: they are of another time.

use super::labels::{Block, Blocks};
use crate::latest::NodeLatest;
use gpuledger_proto::catalogue::{CATALOGUE, Metric, MetricId, Scope};
use gpuledger_proto::frame::{DeviceFrame, Gpu};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::reading::Reading;

/// A sample that is older than this when it is asked for is history. Clocks of nodes may be wrong
/// by minutes; what waits in a spool soon is older.
const PAST_MS: u64 = 600_000;

/// A bit for each metric of a scope, by its place in the catalogue.
type Bits = u128;

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
    each: Vec<Device<'a, T>>,
    columns: Columns,
}

pub type Nodes<'a> = Devices<'a, &'a NodeLatest>;
pub type Gpus<'a> = Devices<'a, GpuOf<'a>>;

/// The devices of these nodes.
pub fn of<'a>(
    nodes: impl Iterator<Item = (&'a NodeName, &'a NodeLatest)>,
    now_ms: u64,
) -> (Nodes<'a>, Gpus<'a>) {
    let (mut of_nodes, mut of_gpus) = (Nodes::new(Scope::Node), Gpus::new(Scope::Gpu));
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
    fn new(scope: Scope) -> Self {
        Self { blocks: Blocks::new(), each: Vec::new(), columns: Columns::new(scope) }
    }

    fn push(&mut self, labels: &[(&str, &str)], of: T, frame: Option<&'a DeviceFrame>) {
        self.blocks.push(labels);
        self.each.push(Device { of, frame });
        self.columns.push(frame);
    }

    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        self.blocks.iter()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Block<'_>, Device<'a, T>)> {
        self.blocks.iter().zip(self.each.iter().copied())
    }

    /// Those with a current sample.
    pub fn sampled(&self) -> impl Iterator<Item = (Block<'_>, T, &'a DeviceFrame)> {
        self.iter().filter_map(|(block, device)| device.frame.map(|frame| (block, device.of, frame)))
    }

    /// Those that lack a reading which they should have.
    pub fn lacking(&self) -> impl Iterator<Item = (Block<'_>, &'a DeviceFrame)> {
        let lacks = |frame: &DeviceFrame| matches!(frame.holding, Some(Reading::Absent(_)));
        let absent = self.iter().zip(&self.columns.absent);
        absent.filter_map(move |((block, device), absent)| {
            device.frame.filter(|frame| *absent || lacks(frame)).map(|frame| (block, frame))
        })
    }

    /// The metrics that devices of this kind have.
    pub fn metrics(&self) -> &[&'static Metric] {
        &self.columns.metrics
    }

    /// Each value of a metric and the labels of the device that tells it.
    pub fn values(&self, metric: MetricId) -> impl Iterator<Item = (Block<'_>, i64)> {
        let at = self.columns.metrics.iter().position(|known| known.id == metric);
        let column = at.map(|at| self.columns.of(at));
        self.blocks
            .iter()
            .zip(column.into_iter().flatten())
            .filter_map(|(block, value)| Some((block, value?)))
    }
}

/// Readings of many devices, metric by metric.
struct Columns {
    /// By number, as the readings of a sample are.
    metrics: Vec<&'static Metric>,
    values: Vec<Vec<i64>>,
    /// Which of the metrics each device has a value of.
    told: Vec<Bits>,
    /// Whether it has one that is absent.
    absent: Vec<bool>,
}

impl Columns {
    fn new(scope: Scope) -> Self {
        let metrics: Vec<_> = CATALOGUE.iter().filter(|metric| metric.scope == scope).collect();
        let values = vec![Vec::new(); metrics.len()];
        Self { metrics, values, told: Vec::new(), absent: Vec::new() }
    }

    fn push(&mut self, frame: Option<&DeviceFrame>) {
        let (mut told, mut absent) = (0, false);
        let mut readings = frame.map_or(&[][..], |frame| &frame.readings).iter().peekable();
        for (bit, (metric, values)) in self.metrics.iter().zip(&mut self.values).enumerate() {
            // Readings that this build has no name for.
            while readings.next_if(|(id, _)| *id < metric.id).is_some() {}
            let reading = readings.next_if(|(id, _)| *id == metric.id).map(|(_, reading)| *reading);
            absent |= matches!(reading, Some(Reading::Absent(_)));
            let value = reading.and_then(Reading::value);
            told |= Bits::from(value.is_some()) << bit;
            // Where it is not told it is not looked at.
            values.push(value.unwrap_or_default());
        }
        self.told.push(told);
        self.absent.push(absent);
    }

    /// The values of one metric, device by device.
    fn of(&self, at: usize) -> impl Iterator<Item = Option<i64>> {
        let told = self.told.iter().map(move |told| told >> at & 1 == 1);
        self.values[at].iter().zip(told).map(|(value, told)| told.then_some(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_a_scope_has_its_bit() {
        for scope in [Scope::Node, Scope::Gpu] {
            let metrics = Columns::new(scope).metrics;
            assert!(metrics.len() <= Bits::BITS as usize, "{scope:?}");
            assert!(metrics.is_sorted_by_key(|metric| metric.id), "{scope:?}");
        }
    }
}
