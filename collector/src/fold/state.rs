//! The fold's memory of a node between batches, stored with every commit.
//!
//! Encoded as Protocol Buffers, so that a field can be added and an older state still be read. It
//! holds, for the node and each of its GPUs: the time that was counted, the gaps whose energy was
//! counted, where each chain of samples stands, and what was counted in total. The total is the other
//! half of a paired check: `verify` compares it with the sum of the rows.

use super::chain::Energy;
use super::coverage::{Coverage, Span};
use gpuledger_ledger::GpuKey;
use gpuledger_proto::ids::Epoch;
use gpuledger_units::Overflow;
use prost::Message;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Chains of samples that a device remembers: the live one and late ones.
pub const HEADS_MAX: usize = 8;

/// Devices that a node remembers, itself included: four full inventories, so that every GPU of the
/// largest server can be replaced three times.
pub const DEVICES_PER_NODE_MAX: usize = 1_024;

/// The node itself or one of its GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    Node,
    Gpu(GpuKey),
}

/// Where one epoch's chain of samples stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub epoch: Epoch,
    pub boot: Option<Uuid>,
    /// Wall clock of the last sample.
    pub at_ms: u64,
    /// The boot in which the last sample was taken, and its boot-time clock.
    pub clock: Option<(Uuid, u64)>,
    /// The last value of the hardware counter and when it was read.
    pub counter: Option<(u64, u64)>,
    /// The last value of the integrated energy and when it was read.
    pub integrated: Option<(u64, u64)>,
    /// What a chain that is not live has counted by the hardware counter; in the live chain what of
    /// that the counter's next difference still holds.
    pub late_mj: u64,
    /// Whether it was the live chain once: its counter then is counted up to where it stands.
    pub was_live: bool,
}

/// What is remembered of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceMemory {
    /// Time that was counted.
    pub covered: Coverage,
    /// Time without samples whose energy was counted by the difference over it.
    pub bridged: Coverage,
    /// The live chain first; late ones after it, the most recently used in front.
    pub heads: Vec<Head>,
    /// What the heads were before the batch at hand, once more than where the live one stands has changed.
    heads_before: Option<Vec<Head>>,
    /// Sum of `counter_mj` over all rows.
    pub counted_mj: u64,
    /// Sum of `estimated_mj` over all rows.
    pub estimated_mj: u64,
}

/// What a device's memory was, but for what knows that by itself.
#[derive(Debug)]
pub struct Before {
    live: Option<Head>,
    counted_mj: u64,
    estimated_mj: u64,
}

impl DeviceMemory {
    /// Adds energy to what was counted in total; called with every energy that goes into a row.
    pub fn count(&mut self, energy: Energy) -> Result<(), Overflow> {
        let total = if energy.estimated { &mut self.estimated_mj } else { &mut self.counted_mj };
        *total = total.checked_add(energy.mj).ok_or(Overflow("Millijoules"))?;
        Ok(())
    }

    /// What is remembered now, so that [`DeviceMemory::undo`] can bring it back.
    pub fn begin(&mut self) -> Before {
        self.covered.begin();
        self.bridged.begin();
        let live = self.heads.first().copied();
        Before { live, counted_mj: self.counted_mj, estimated_mj: self.estimated_mj }
    }

    /// Heads are about to come, go or change places. Where the live one stood when the batch began is in
    /// [`Before`].
    pub fn heads_may_change(&mut self) {
        if self.heads_before.is_none() {
            self.heads_before = Some(self.heads.clone());
        }
    }

    /// What came since [`DeviceMemory::begin`] stays.
    pub fn settle(&mut self) {
        self.covered.keep();
        self.bridged.keep();
        self.heads_before = None;
    }

    /// What came since [`DeviceMemory::begin`] never came.
    pub fn undo(&mut self, before: Before) {
        self.covered.undo();
        self.bridged.undo();
        if let Some(heads) = self.heads_before.take() {
            self.heads = heads;
        }
        if let (Some(now), Some(live)) = (self.heads.first_mut(), before.live) {
            *now = live;
        }
        (self.counted_mj, self.estimated_mj) = (before.counted_mj, before.estimated_mj);
    }

    /// Takes in what another node remembers of the same device. Nothing is remembered here but in
    /// ledgers of the first version, which left a part of it with each node that had the device.
    pub fn absorb(&mut self, other: Self) -> Result<(), Overflow> {
        if self.heads.is_empty() && self.covered.spans().is_empty() {
            *self = other;
            return Ok(());
        }
        for (own, other) in [(&mut self.covered, &other.covered), (&mut self.bridged, &other.bridged)] {
            for span in other.spans() {
                own.claim(span.from, span.to, &mut Vec::new());
            }
        }
        let known: Vec<Epoch> = self.heads.iter().map(|head| head.epoch).collect();
        self.heads.extend(other.heads.into_iter().filter(|head| !known.contains(&head.epoch)));
        self.heads.sort_by_key(|head| std::cmp::Reverse(head.at_ms));
        self.heads.truncate(HEADS_MAX);
        let sum = |a: u64, b: u64| a.checked_add(b).ok_or(Overflow("Millijoules"));
        self.counted_mj = sum(self.counted_mj, other.counted_mj)?;
        self.estimated_mj = sum(self.estimated_mj, other.estimated_mj)?;
        Ok(())
    }
}

/// A stored state cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored state of a node cannot be read: {0}")]
pub struct StateError(String);

/// What is remembered of a whole node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeMemory {
    pub devices: BTreeMap<Device, DeviceMemory>,
}

impl NodeMemory {
    pub fn encode(&self) -> Vec<u8> {
        let devices = self.devices.iter().map(|(&device, memory)| to_wire(device, memory)).collect();
        WireNode { devices }.encode_to_vec()
    }

    pub fn decode(blob: &[u8]) -> Result<Self, StateError> {
        let node = WireNode::decode(blob).map_err(|e| StateError(e.to_string()))?;
        let devices = node.devices.iter().map(from_wire).collect::<Result<_, _>>()?;
        Ok(Self { devices })
    }
}

#[derive(Clone, PartialEq, Message)]
struct WireNode {
    #[prost(message, repeated, tag = "1")]
    devices: Vec<WireDevice>,
}

#[derive(Clone, PartialEq, Message)]
struct WireDevice {
    /// Absent on the node itself.
    #[prost(uint32, optional, tag = "1")]
    gpu: Option<u32>,
    /// Starts and ends in turn, each as the distance from the one before.
    #[prost(uint64, repeated, tag = "2")]
    covered: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    bridged: Vec<u64>,
    #[prost(message, repeated, tag = "4")]
    heads: Vec<WireHead>,
    #[prost(uint64, tag = "5")]
    counted_mj: u64,
    #[prost(uint64, tag = "6")]
    estimated_mj: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WireHead {
    #[prost(bytes = "vec", tag = "1")]
    epoch: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    boot: Vec<u8>,
    #[prost(uint64, tag = "3")]
    at_ms: u64,
    #[prost(uint64, optional, tag = "4")]
    counter_mj: Option<u64>,
    #[prost(uint64, tag = "5")]
    counter_at_ms: u64,
    #[prost(uint64, optional, tag = "6")]
    integrated_mj: Option<u64>,
    #[prost(uint64, tag = "7")]
    integrated_at_ms: u64,
    #[prost(uint64, tag = "8")]
    late_mj: u64,
    #[prost(bytes = "vec", tag = "9")]
    clock_boot: Vec<u8>,
    #[prost(uint64, tag = "10")]
    clock_ms: u64,
    #[prost(bool, tag = "11")]
    was_live: bool,
}

fn to_wire(device: Device, memory: &DeviceMemory) -> WireDevice {
    WireDevice {
        gpu: match device {
            Device::Node => None,
            Device::Gpu(key) => Some(key.0),
        },
        covered: distances(memory.covered.spans()),
        bridged: distances(memory.bridged.spans()),
        heads: memory.heads.iter().map(head_to_wire).collect(),
        counted_mj: memory.counted_mj,
        estimated_mj: memory.estimated_mj,
    }
}

fn head_to_wire(head: &Head) -> WireHead {
    WireHead {
        epoch: head.epoch.0.as_bytes().to_vec(),
        boot: boot_to_wire(head.boot),
        clock_boot: boot_to_wire(head.clock.map(|clock| clock.0)),
        clock_ms: head.clock.map_or(0, |clock| clock.1),
        at_ms: head.at_ms,
        counter_mj: head.counter.map(|c| c.0),
        counter_at_ms: head.counter.map_or(0, |c| c.1),
        integrated_mj: head.integrated.map(|i| i.0),
        integrated_at_ms: head.integrated.map_or(0, |i| i.1),
        late_mj: head.late_mj,
        was_live: head.was_live,
    }
}

fn from_wire(wire: &WireDevice) -> Result<(Device, DeviceMemory), StateError> {
    let device = wire.gpu.map_or(Device::Node, |key| Device::Gpu(GpuKey(key)));
    let memory = DeviceMemory {
        covered: coverage(&wire.covered)?,
        bridged: coverage(&wire.bridged)?,
        heads: wire.heads.iter().map(head_from_wire).collect::<Result<_, _>>()?,
        heads_before: None,
        counted_mj: wire.counted_mj,
        estimated_mj: wire.estimated_mj,
    };
    Ok((device, memory))
}

fn head_from_wire(wire: &WireHead) -> Result<Head, StateError> {
    Ok(Head {
        epoch: Epoch::from_slice(&wire.epoch).map_err(|e| StateError(e.to_string()))?,
        boot: boot_from_wire(&wire.boot)?,
        at_ms: wire.at_ms,
        clock: boot_from_wire(&wire.clock_boot)?.map(|boot| (boot, wire.clock_ms)),
        counter: wire.counter_mj.map(|value| (value, wire.counter_at_ms)),
        integrated: wire.integrated_mj.map(|value| (value, wire.integrated_at_ms)),
        late_mj: wire.late_mj,
        was_live: wire.was_live,
    })
}

fn boot_to_wire(boot: Option<Uuid>) -> Vec<u8> {
    boot.map(|b| b.as_bytes().to_vec()).unwrap_or_default()
}

fn boot_from_wire(bytes: &[u8]) -> Result<Option<Uuid>, StateError> {
    match bytes {
        [] => Ok(None),
        bytes => Uuid::from_slice(bytes).map(Some).map_err(|e| StateError(e.to_string())),
    }
}

fn distances(spans: &[Span]) -> Vec<u64> {
    let mut at = 0;
    spans
        .iter()
        .flat_map(|s| [s.from, s.to])
        .map(|edge| {
            let distance = edge - at;
            at = edge;
            distance
        })
        .collect()
}

fn coverage(distances: &[u64]) -> Result<Coverage, StateError> {
    let mut at: u64 = 0;
    let mut edges = Vec::with_capacity(distances.len());
    for distance in distances {
        at = at.checked_add(*distance).ok_or_else(|| StateError("a span leaves the range".to_owned()))?;
        edges.push(at);
    }
    let spans = edges.chunks_exact(2).map(|pair| Span { from: pair[0], to: pair[1] });
    Ok(Coverage::from_spans(spans))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_survives_its_encoding() {
        let head = Head {
            epoch: Epoch::begin(),
            boot: Some(Uuid::from_u128(7)),
            at_ms: 1_700_000_000_000,
            clock: Some((Uuid::from_u128(8), 99)),
            counter: Some((u64::MAX, 1_699_999_999_000)),
            integrated: None,
            late_mj: 3,
            was_live: true,
        };
        let memory = DeviceMemory {
            covered: Coverage::from_spans([Span { from: 5, to: 9 }, Span { from: 100, to: u64::MAX }]),
            bridged: Coverage::from_spans([Span { from: 9, to: 100 }]),
            heads: vec![
                head,
                Head { boot: None, clock: None, counter: None, integrated: Some((0, 4)), ..head },
            ],
            heads_before: None,
            counted_mj: 12,
            estimated_mj: 34,
        };
        let mut node = NodeMemory::default();
        node.devices.insert(Device::Node, DeviceMemory::default());
        node.devices.insert(Device::Gpu(GpuKey(0)), memory);
        assert_eq!(NodeMemory::decode(&node.encode()), Ok(node));
    }

    #[test]
    fn a_damaged_state_is_refused() {
        assert!(NodeMemory::decode(&[0xff, 0xff, 0xff]).is_err());
    }
}
