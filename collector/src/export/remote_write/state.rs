//! The renderer's memory as bytes, so that it can go on in the middle of the queue.
//!
//! A protobuf message under its own numbers. What is live is told by position in the selection, so it
//! is taken over only where the shape is the same; everything else is taken over in any case.

use super::labels::Labels;
use super::more::More;
use super::node::{Device, Node, Run};
use super::render::{Renderer, Shape};
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::convert::{inventory_from_wire, inventory_to_wire};
use gpuledger_proto::frame::{Inventory, OwnerKind};
use gpuledger_proto::ids::{Epoch, NodeName};
use gpuledger_proto::reading::Absence;
use gpuledger_proto::v1;
use prost::Message;
use std::sync::Arc;

#[derive(Clone, PartialEq, prost::Message)]
struct Memory {
    #[prost(string, tag = "1")]
    shape: String,
    #[prost(uint64, tag = "2")]
    clock_ms: u64,
    #[prost(uint64, tag = "3")]
    at_ms: u64,
    #[prost(uint64, tag = "4")]
    looked_ms: u64,
    #[prost(uint64, tag = "5")]
    batches: u64,
    #[prost(message, repeated, tag = "6")]
    nodes: Vec<NodeMemory>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NodeMemory {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    runs: Vec<RunMemory>,
    /// Which run's inventory is in force, from 1; 0 where it is none of them any more.
    #[prost(uint32, tag = "3")]
    run: u32,
    #[prost(uint64, tag = "4")]
    last_ms: u64,
    #[prost(uint64, tag = "5")]
    heard_ms: u64,
    #[prost(message, repeated, tag = "6")]
    devices: Vec<DeviceMemory>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunMemory {
    #[prost(bytes = "vec", tag = "1")]
    epoch: Vec<u8>,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(message, optional, tag = "3")]
    inventory: Option<v1::Inventory>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeviceMemory {
    #[prost(uint32, repeated, tag = "1")]
    live: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    more: Vec<MoreMemory>,
}

/// A series with labels of its own: what tells it apart, and all of its labels.
#[derive(Clone, PartialEq, prost::Message)]
struct MoreMemory {
    #[prost(uint32, tag = "1")]
    family: u32,
    /// 0 info, 1 throttle, 2 owner, 3 absent.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint32, repeated, tag = "3")]
    numbers: Vec<u32>,
    #[prost(string, repeated, tag = "4")]
    texts: Vec<String>,
    /// Names and values in turn.
    #[prost(string, repeated, tag = "5")]
    labels: Vec<String>,
}

impl Renderer {
    pub fn to_bytes(&self) -> Vec<u8> {
        let nodes = self.nodes.iter().map(|(name, node)| node_memory(name, node)).collect();
        Memory {
            shape: self.shape.describe(),
            clock_ms: self.clock_ms,
            at_ms: self.at_ms,
            looked_ms: self.looked_ms,
            batches: self.batches,
            nodes,
        }
        .encode_to_vec()
    }

    /// `None` where these are not the bytes of a memory. The flag says whether records are rendered into
    /// the same requests as before: false after a change of the configuration.
    pub fn from_bytes(bytes: &[u8], shape: &Arc<Shape>) -> Option<(Self, bool)> {
        let memory = Memory::decode(bytes).ok()?;
        let is_same = memory.shape == shape.describe();
        let mut renderer = Self {
            clock_ms: memory.clock_ms,
            at_ms: memory.at_ms,
            looked_ms: memory.looked_ms,
            batches: memory.batches,
            ..Self::new(Arc::clone(shape))
        };
        for known in memory.nodes {
            let name = NodeName::new(&known.name).ok()?;
            let node = node(&name, known, shape, is_same)?;
            renderer.epochs.extend(node.epochs.iter().map(|run| (run.epoch, name.clone())));
            renderer.nodes.insert(name, node);
        }
        Some((renderer, is_same))
    }
}

impl Shape {
    /// Differs wherever a record would be rendered into other requests.
    fn describe(&self) -> String {
        format!("{} {:?} {}", self.resolution_ms, self.extra, self.selection.describe())
    }
}

fn node_memory(name: &NodeName, node: &Node) -> NodeMemory {
    let runs = node.epochs.iter().map(|run| RunMemory {
        epoch: run.epoch.0.as_bytes().to_vec(),
        sequence: run.sequence,
        inventory: Some(inventory_to_wire(&run.inventory)),
    });
    let run = node.epochs.iter().position(|run| *run.inventory == *node.inventory);
    NodeMemory {
        name: name.as_str().to_owned(),
        runs: runs.collect(),
        run: run.and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(0),
        last_ms: node.last_ms,
        heard_ms: node.heard_ms,
        devices: node.devices.iter().map(device_memory).collect(),
    }
}

fn node(name: &NodeName, memory: NodeMemory, shape: &Shape, is_same: bool) -> Option<Node> {
    let mut epochs = Vec::new();
    for run in memory.runs {
        let inventory: Inventory = inventory_from_wire(run.inventory.unwrap_or_default()).ok()?;
        let (epoch, sequence) = (Epoch::from_slice(&run.epoch).ok()?, run.sequence);
        epochs.push(Run { epoch, sequence, inventory: Arc::new(inventory) });
    }
    let in_force = usize::try_from(memory.run).ok()?.checked_sub(1).and_then(|at| epochs.get(at));
    let mut node = Node::new(&Arc::new(Inventory::default()));
    if let Some(run) = in_force {
        node.equip(name, &Arc::clone(&run.inventory), &shape.selection, &shape.extra);
    }
    (node.epochs, node.last_ms, node.heard_ms) = (epochs, memory.last_ms, memory.heard_ms);
    for (device, known) in node.devices.iter_mut().zip(memory.devices).filter(|_| is_same) {
        restore(device, known)?;
    }
    Some(node)
}

fn device_memory(device: &Device) -> DeviceMemory {
    let live = device.live.iter().enumerate().filter(|(_, live)| **live);
    let more = device.live_more.iter().map(|((family, more), labels)| {
        let (kind, numbers, texts) = match more {
            More::Info => (0, vec![], vec![]),
            More::Throttle { bit } => (1, vec![u32::try_from(*bit).unwrap_or(u32::MAX)], vec![]),
            More::Owner { kind, account, name } => {
                (2, vec![], vec![(*kind).to_owned(), account.clone(), name.clone()])
            }
            More::Absent { metric, reason } => {
                (3, vec![u32::from(metric.0), u32::from(reason.code())], vec![])
            }
        };
        let labels = labels.pairs().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]);
        MoreMemory { family: u32::from(*family), kind, numbers, texts, labels: labels.collect() }
    });
    DeviceMemory { live: live.filter_map(|(at, _)| u32::try_from(at).ok()).collect(), more: more.collect() }
}

fn restore(device: &mut Device, memory: DeviceMemory) -> Option<()> {
    for at in memory.live {
        *device.live.get_mut(usize::try_from(at).ok()?)? = true;
    }
    for known in memory.more {
        let number = |at: usize| known.numbers.get(at).copied();
        let text = |at: usize| known.texts.get(at).cloned();
        let more = match known.kind {
            0 => More::Info,
            1 => More::Throttle { bit: usize::try_from(number(0)?).ok()? },
            2 => {
                let kind = OwnerKind::from_name(&text(0)?)?.name();
                More::Owner { kind, account: text(1)?, name: text(2)? }
            }
            3 => {
                let metric = MetricId(u16::try_from(number(0)?).ok()?);
                More::Absent { metric, reason: Absence::from_code(u8::try_from(number(1)?).ok()?) }
            }
            _ => return None,
        };
        let pairs = known.labels.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
        let labels = Arc::new(Labels::new(pairs));
        device.live_more.insert((u16::try_from(known.family).ok()?, more), labels);
    }
    Some(())
}
