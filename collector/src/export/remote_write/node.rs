//! What is remembered of a node: which of its batches were rendered, how far its time has come, and
//! which of its series are live, so that each can be ended by a stale marker.

use super::labels::Labels;
use super::more::More;
use super::request::{STALE, Sample, Series};
use super::selection::Selection;
use gpuledger_proto::catalogue::Scope;
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::{Epoch, NodeName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs of an agent that are remembered of one node: two that take turns after a machine was copied,
/// and those whose batches may still come.
const EPOCHS_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The runs of its agent, the last one heard of at the end.
    pub epochs: Vec<Run>,
    /// What the devices are: of the last run heard of.
    pub inventory: Arc<Inventory>,
    /// The node itself, then its GPUs.
    pub devices: Vec<Device>,
    /// The latest of its time that was rendered, by its own clock.
    pub last_ms: u64,
    /// When it was last heard of, by the renderer's clock.
    pub heard_ms: u64,
}

/// One run of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub epoch: Epoch,
    /// The last batch that was rendered.
    pub sequence: u64,
    pub inventory: Arc<Inventory>,
}

/// A device with its live series.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub scope: Scope,
    pub labels: Arc<Labels>,
    /// By position in the selection.
    pub live: Vec<bool>,
    /// Those that have labels of their own, with all of them.
    pub live_more: BTreeMap<(u16, More), Arc<Labels>>,
}

impl Node {
    pub fn new(inventory: &Arc<Inventory>) -> Self {
        Self {
            epochs: Vec::new(),
            inventory: Arc::clone(inventory),
            devices: Vec::new(),
            last_ms: 0,
            heard_ms: 0,
        }
    }

    /// Notes whose batches follow: the run goes to the end, and the oldest is forgotten.
    pub fn begin(&mut self, epoch: Epoch, inventory: Arc<Inventory>) {
        let known = self.epochs.iter().position(|run| run.epoch == epoch);
        let sequence = known.map_or(0, |at| self.epochs.remove(at).sequence);
        self.epochs.push(Run { epoch, sequence, inventory });
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.remove(0);
        }
    }

    /// Whether a batch is new; then it is known from now on.
    pub fn is_new(&mut self, epoch: Epoch, sequence: u64) -> bool {
        let run = self.epochs.iter_mut().find(|run| run.epoch == epoch);
        run.is_some_and(|run| {
            let is_new = sequence > run.sequence;
            run.sequence = run.sequence.max(sequence);
            is_new
        })
    }

    /// Takes the devices of an inventory. Gives the end of every live series of those that are gone.
    pub fn equip(
        &mut self,
        name: &NodeName,
        inventory: &Arc<Inventory>,
        selection: &Selection,
        extra: &Labels,
    ) -> Vec<Series> {
        self.inventory = Arc::clone(inventory);
        let host = Device::new(Scope::Node, Labels::of_node(name.as_str(), extra), selection);
        let gpus = inventory.gpus.iter().map(|gpu| Labels::of_gpu(gpu, name.as_str(), extra));
        let gpus = gpus.map(|labels| Device::new(Scope::Gpu, labels, selection));
        let mut before = std::mem::take(&mut self.devices);
        self.devices = std::iter::once(host).chain(gpus).collect();
        for device in &mut self.devices {
            // What a device is called has to be the same: other labels are other series.
            if let Some(at) = before.iter().position(|known| known.labels == device.labels) {
                *device = before.swap_remove(at);
            }
        }
        before.iter_mut().flat_map(|device| device.end(after(self.last_ms))).collect()
    }

    /// Ends every live series: the node is not heard of any more.
    pub fn end(&mut self) -> Vec<Series> {
        let at_ms = after(self.last_ms);
        let ended: Vec<Series> = self.devices.iter_mut().flat_map(|device| device.end(at_ms)).collect();
        if !ended.is_empty() {
            self.last_ms = self.last_ms.saturating_add(1);
        }
        ended
    }
}

impl Device {
    pub fn new(scope: Scope, labels: Labels, selection: &Selection) -> Self {
        let live = vec![false; selection.families.len()];
        Self { scope, labels: Arc::new(labels), live, live_more: BTreeMap::new() }
    }

    fn end(&mut self, at_ms: i64) -> Vec<Series> {
        let none = vec![false; self.live.len()];
        let live = std::mem::replace(&mut self.live, none);
        let live = live.into_iter().enumerate().filter(|(_, live)| *live);
        let own = live.filter_map(|(at, _)| Some(ended(u16::try_from(at).ok()?, &self.labels, at_ms)));
        let more = std::mem::take(&mut self.live_more);
        own.chain(more.iter().map(|((family, _), labels)| ended(*family, labels, at_ms))).collect()
    }
}

/// The moment after the last: later than every sample before, earlier than any to come.
fn after(last_ms: u64) -> i64 {
    i64::try_from(last_ms).unwrap_or(i64::MAX).saturating_add(1)
}

/// The end of a series.
pub fn ended(family: u16, labels: &Arc<Labels>, at_ms: i64) -> Series {
    let samples = vec![Sample { at_ms, value: STALE }];
    Series { family, labels: Arc::clone(labels), created_ms: 0, samples }
}
