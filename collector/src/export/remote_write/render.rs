//! Records of the queue → requests. A pure function of the records in their order: read again from the
//! same place with the same memory, the same requests come out. That is what makes it possible to go on
//! after a crash in the middle of a record.
//!
//! - A batch is rendered once, by its epoch and sequence, however often it was queued.
//! - Of every step of the resolution the first sample is sent, as it is and at its own time. A step is
//!   a multiple of the resolution since 1970.
//! - A reading that is absent has no sample. A series that was live is ended by a stale marker: at the
//!   sample where its reading is absent, or right after the last sample of a device or node that is gone.
//! - Samples that are older than what was sent of the node, or were an agent's backlog, go into requests
//!   of their own: a receiver that does not take them must not refuse others with them.
//! - Time goes on by the collector's clock when a record was written. What the clock did while no record
//!   was written, because the collector was down, counts as little as possible: only who listens can
//!   know that a node is silent.

use super::batch::{Content, Rendering};
use super::labels::Labels;
use super::node::Node;
use super::record::{Kept, Record};
use super::request::{Request, Requests};
use super::selection::Selection;
use gpuledger_proto::column::Columns;
use gpuledger_proto::convert::{columns_from_wire, holdings_from_wire, inventory_from_wire};
use gpuledger_proto::ids::{Epoch, NodeName};
use gpuledger_proto::v1;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Listening time without a word of a node after which its series end.
const SILENT_MS: u64 = 120_000;
/// Longest time between two records that counts as listening: twice the time of a record that carries
/// the time alone.
const LISTENED_MS_MAX: u64 = 60_000;
/// How often it is looked who is silent.
const LOOK_MS: u64 = 10_000;
/// Listening time after which a node is forgotten.
const FORGET_MS: u64 = 86_400_000;

/// What is sent, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub selection: Selection,
    /// 0 sends every sample.
    pub resolution_ms: u64,
    /// Labels of every series.
    pub extra: Labels,
}

/// Memory of what was rendered.
#[derive(Debug, Clone)]
pub struct Renderer {
    pub(super) shape: Arc<Shape>,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    /// Whose an epoch is.
    pub(super) epochs: HashMap<Epoch, NodeName>,
    /// Time listened so far.
    pub(super) clock_ms: u64,
    pub(super) at_ms: u64,
    pub(super) looked_ms: u64,
    /// Batches before the next record.
    pub(super) batches: u64,
    /// Buffers for one batch after the other.
    pub(super) columns: Columns,
}

/// What became of one record.
#[derive(Debug, Default, PartialEq)]
pub struct Rendered {
    pub requests: Vec<Request>,
    /// Batches that fell out of the queue before this record.
    pub missed: u64,
    /// Why batches could not be read, one entry each.
    pub unreadable: Vec<String>,
    /// Samples that were passed over because the node's clock is ahead.
    pub ahead: u64,
}

impl Renderer {
    pub fn new(shape: Arc<Shape>) -> Self {
        let (nodes, epochs, columns) = (BTreeMap::new(), HashMap::new(), Columns::default());
        Self { shape, nodes, epochs, clock_ms: 0, at_ms: 0, looked_ms: 0, batches: 0, columns }
    }

    pub fn render(&mut self, record: Record) -> Rendered {
        let missed = if self.at_ms == 0 { 0 } else { record.first.saturating_sub(self.batches) };
        self.batches = record.first.saturating_add(record.kept.len() as u64);
        let mut rendered = Rendered { missed, ..Rendered::default() };
        let (mut current, mut late) = (Requests::default(), Requests::default());
        self.listen(record.at_ms);
        for kept in record.kept {
            match self.batch(kept, &mut current, &mut late) {
                Ok(ahead) => rendered.ahead += ahead,
                Err(why) => rendered.unreadable.push(why),
            }
        }
        self.end_silent(&mut current);
        // A node's backlog is older than what may follow it in the same record.
        rendered.requests = late.finish();
        rendered.requests.extend(current.finish());
        rendered
    }

    /// Batches that were ever queued, up to here.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    fn listen(&mut self, at_ms: u64) {
        if self.at_ms > 0 {
            self.clock_ms += at_ms.saturating_sub(self.at_ms).min(LISTENED_MS_MAX);
        }
        self.at_ms = at_ms.max(1);
    }

    /// One batch; gives how many samples were ahead of the clock.
    fn batch(&mut self, kept: Kept, current: &mut Requests, late: &mut Requests) -> Result<u64, String> {
        let epoch = Epoch::from_slice(&kept.epoch).map_err(|error| error.to_string())?;
        if let Some(source) = kept.source {
            let name = NodeName::new(&source.node).map_err(|error| error.to_string())?;
            let inventory = inventory_from_wire(source.inventory.unwrap_or_default());
            let inventory = Arc::new(inventory.map_err(|error| error.to_string())?);
            let node = self.nodes.entry(name.clone()).or_insert_with(|| Node::new(&inventory));
            node.begin(epoch, inventory);
            self.epochs.insert(epoch, name);
        }
        let unknown = || format!("the queue does not say whose epoch {epoch} is");
        let name = self.epochs.get(&epoch).ok_or_else(unknown)?;
        let node = self.nodes.get_mut(name).ok_or_else(unknown)?;
        let mut wire = v1::Batch::decode(kept.batch.as_slice()).map_err(|error| error.to_string())?;
        if !node.is_new(epoch, wire.sequence) {
            return Ok(0);
        }
        let run = node.epochs.iter().find(|run| run.epoch == epoch).ok_or_else(unknown)?;
        let inventory = Arc::clone(&run.inventory);
        current.node();
        late.node();
        if node.devices.is_empty() || *node.inventory != *inventory {
            let ended = node.equip(name, &inventory, &self.shape.selection, &self.shape.extra);
            for series in ended {
                current.push(series);
            }
        }
        let holdings = std::mem::take(&mut wire.holdings);
        let holdings = holdings_from_wire(holdings).map_err(|error| error.to_string())?;
        columns_from_wire(&wire, holdings.len(), inventory.gpus.len() + 1, &mut self.columns)
            .map_err(|error| error.to_string())?;
        node.heard_ms = self.clock_ms;
        let (columns, holdings) = (&self.columns, holdings.as_slice());
        let content = Content { epoch, arrived_ms: kept.arrived_ms, columns, holdings };
        Ok(Rendering::of(node, &self.shape, content).push(node, current, late))
    }

    /// Ends the series of nodes that have not been heard of for a while.
    fn end_silent(&mut self, requests: &mut Requests) {
        if self.clock_ms.saturating_sub(self.looked_ms) < LOOK_MS {
            return;
        }
        self.looked_ms = self.clock_ms;
        let clock_ms = self.clock_ms;
        for node in self.nodes.values_mut().filter(|node| node.heard_ms + SILENT_MS <= clock_ms) {
            requests.node();
            node.end().into_iter().for_each(|series| requests.push(series));
        }
        self.nodes.retain(|_, node| node.heard_ms + FORGET_MS > clock_ms);
        let nodes = &self.nodes;
        self.epochs.retain(|epoch, name| {
            nodes.get(name).is_some_and(|node| node.epochs.iter().any(|run| run.epoch == *epoch))
        });
    }
}

#[cfg(test)]
mod tests;
