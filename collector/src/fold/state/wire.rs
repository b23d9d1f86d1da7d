//! The memory of a node as bytes.
//!
//! Protocol Buffers, so that a field can be added and an older state still be read. Epochs and boots, which
//! all devices have in common, are written once and referred to by number: the state is written with every
//! commit.

use super::{Device, DeviceMemory, Head, NodeMemory, StateError};
use crate::fold::coverage::{Coverage, Span};
use gpuledger_ledger::GpuKey;
use gpuledger_proto::ids::Epoch;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::collections::BTreeMap;
use uuid::Uuid;

impl NodeMemory {
    /// [`WireNode`] written field by field: it is written for every node with every commit, and a tree of
    /// messages in between would take longer than the bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut ids = Ids::default();
        let (mut node, mut scratch) =
            (Vec::with_capacity(self.devices.len() * DEVICE_BYTES), Scratch::default());
        for (&device, memory) in &self.devices {
            scratch.device(device, memory, &mut ids);
            put_bytes(1, &scratch.device, &mut node);
        }
        put_bytes(2, &ids.bytes, &mut node);
        node
    }

    pub fn decode(blob: &[u8]) -> Result<Self, StateError> {
        let node = WireNode::decode(blob).map_err(|e| StateError(e.to_string()))?;
        let devices =
            node.devices.iter().map(|device| from_wire(device, &node.ids)).collect::<Result<_, _>>()?;
        Ok(Self { devices })
    }
}

/// Epochs and boots by number, from 1; 0 is none.
#[derive(Default)]
struct Ids {
    numbers: BTreeMap<Uuid, u32>,
    bytes: Vec<u8>,
}

const ID_BYTES: usize = 16;

impl Ids {
    fn number(&mut self, id: Uuid) -> u32 {
        let Self { numbers, bytes } = self;
        // A node has at most 1,024 devices with 8 heads of 3 each.
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        *numbers.entry(id).or_insert_with(|| {
            bytes.extend(id.as_bytes());
            next
        })
    }

    fn of(number: u32, ids: &[u8]) -> Result<Option<Uuid>, StateError> {
        let Some(at) = number.checked_sub(1) else { return Ok(None) };
        let id = ids.chunks_exact(ID_BYTES).nth(at as usize).and_then(|id| Uuid::from_slice(id).ok());
        id.map(Some).ok_or_else(|| StateError(format!("it names epoch or boot {number} and has no such one")))
    }
}

#[derive(Clone, PartialEq, Message)]
struct WireNode {
    #[prost(message, repeated, tag = "1")]
    devices: Vec<WireDevice>,
    /// What heads refer to by number, 16 bytes each.
    #[prost(bytes = "vec", tag = "2")]
    ids: Vec<u8>,
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
    /// In states that were written before epochs and boots were written once; empty since.
    #[prost(bytes = "vec", tag = "1")]
    epoch_bytes: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    boot_bytes: Vec<u8>,
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
    clock_boot_bytes: Vec<u8>,
    #[prost(uint64, tag = "10")]
    clock_ms: u64,
    #[prost(bool, tag = "11")]
    was_live: bool,
    #[prost(uint32, tag = "12")]
    epoch: u32,
    #[prost(uint32, tag = "13")]
    boot: u32,
    #[prost(uint32, tag = "14")]
    clock_boot: u32,
}

/// Bytes of a device that nothing unusual has happened to, and more.
const DEVICE_BYTES: usize = 96;

/// Buffers of messages within messages, whose length comes before them.
#[derive(Default)]
struct Scratch {
    device: Vec<u8>,
    inner: Vec<u8>,
}

impl Scratch {
    /// A [`WireDevice`].
    fn device(&mut self, device: Device, memory: &DeviceMemory, ids: &mut Ids) {
        let Self { device: out, inner } = self;
        out.clear();
        if let Device::Gpu(key) = device {
            put(1, key.0.into(), out);
        }
        for (tag, spans) in [(2, memory.covered.spans()), (3, memory.bridged.spans())] {
            inner.clear();
            distances(spans).for_each(|distance| encode_varint(distance, inner));
            put_bytes(tag, inner, out);
        }
        for head in &memory.heads {
            inner.clear();
            put_head(head, ids, inner);
            put_bytes(4, inner, out);
        }
        put_unless_0(5, memory.counted_mj, out);
        put_unless_0(6, memory.estimated_mj, out);
    }
}

/// A [`WireHead`].
fn put_head(head: &Head, ids: &mut Ids, out: &mut Vec<u8>) {
    put_unless_0(3, head.at_ms, out);
    if let Some((counter_mj, at_ms)) = head.counter {
        put(4, counter_mj, out);
        put_unless_0(5, at_ms, out);
    }
    if let Some((integrated_mj, at_ms)) = head.integrated {
        put(6, integrated_mj, out);
        put_unless_0(7, at_ms, out);
    }
    put_unless_0(8, head.late_mj, out);
    put_unless_0(10, head.clock.map_or(0, |clock| clock.1), out);
    put_unless_0(11, head.was_live.into(), out);
    let mut number = |id: Option<Uuid>| id.map_or(0, |id| ids.number(id)).into();
    put_unless_0(12, number(Some(head.epoch.0)), out);
    put_unless_0(13, number(head.boot), out);
    put_unless_0(14, number(head.clock.map(|clock| clock.0)), out);
}

fn put_unless_0(tag: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put(tag, value, out);
    }
}

fn put(tag: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

/// A message, packed numbers or bytes.
fn put_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn from_wire(wire: &WireDevice, ids: &[u8]) -> Result<(Device, DeviceMemory), StateError> {
    let device = wire.gpu.map_or(Device::Node, |key| Device::Gpu(GpuKey(key)));
    let memory = DeviceMemory {
        covered: coverage(&wire.covered)?,
        bridged: coverage(&wire.bridged)?,
        heads: wire.heads.iter().map(|head| head_from_wire(head, ids)).collect::<Result<_, _>>()?,
        heads_before: None,
        counted_mj: wire.counted_mj,
        estimated_mj: wire.estimated_mj,
    };
    Ok((device, memory))
}

fn head_from_wire(wire: &WireHead, ids: &[u8]) -> Result<Head, StateError> {
    let epoch = either(wire.epoch, &wire.epoch_bytes, ids)?;
    let clock_boot = either(wire.clock_boot, &wire.clock_boot_bytes, ids)?;
    Ok(Head {
        epoch: Epoch(epoch.ok_or_else(|| StateError("a chain has no epoch".to_owned()))?),
        boot: either(wire.boot, &wire.boot_bytes, ids)?,
        at_ms: wire.at_ms,
        clock: clock_boot.map(|boot| (boot, wire.clock_ms)),
        counter: wire.counter_mj.map(|value| (value, wire.counter_at_ms)),
        integrated: wire.integrated_mj.map(|value| (value, wire.integrated_at_ms)),
        late_mj: wire.late_mj,
        was_live: wire.was_live,
    })
}

/// An epoch or boot by its number, or as it was written before there were numbers.
fn either(number: u32, bytes: &[u8], ids: &[u8]) -> Result<Option<Uuid>, StateError> {
    match bytes {
        [] => Ids::of(number, ids),
        bytes => Uuid::from_slice(bytes).map(Some).map_err(|e| StateError(e.to_string())),
    }
}

fn distances(spans: &[Span]) -> impl Iterator<Item = u64> {
    let mut at = 0;
    spans
        .iter()
        .flat_map(|span| [span.from, span.to])
        .map(move |edge| edge - std::mem::replace(&mut at, edge))
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
    fn a_state_that_names_each_epoch_where_it_stands_is_read_as_ever() {
        let (epoch, boot) = (Uuid::from_u128(3), Uuid::from_u128(4));
        let head = WireHead {
            epoch_bytes: epoch.as_bytes().to_vec(),
            boot_bytes: boot.as_bytes().to_vec(),
            clock_boot_bytes: boot.as_bytes().to_vec(),
            clock_ms: 7,
            ..WireHead::default()
        };
        let device = WireDevice { heads: vec![head], ..WireDevice::default() };
        let old = WireNode { devices: vec![device], ids: Vec::new() }.encode_to_vec();
        let memory = NodeMemory::decode(&old).unwrap();
        let head = memory.devices[&Device::Node].heads[0];
        assert_eq!((head.epoch, head.boot, head.clock), (Epoch(epoch), Some(boot), Some((boot, 7))));
        assert_eq!(NodeMemory::decode(&memory.encode()), Ok(memory));
    }

    #[test]
    fn the_memory_of_a_node_takes_few_bytes() {
        let (now_ms, boot) = (1_795_000_000_000, Uuid::from_u128(8));
        let head = Head {
            epoch: Epoch::begin(),
            boot: Some(boot),
            at_ms: now_ms,
            clock: Some((boot, 86_400_000)),
            counter: Some((91_234_567_890, now_ms)),
            integrated: Some((1_234_567_890, now_ms)),
            late_mj: 0,
            was_live: true,
        };
        let span = Span { from: now_ms - 86_400_000, to: now_ms };
        let covered = Coverage::from_spans([span]);
        let memory =
            DeviceMemory { covered, heads: vec![head], counted_mj: 1 << 40, ..DeviceMemory::default() };
        let gpus = (0..8).map(|gpu| (Device::Gpu(GpuKey(80_000 + gpu)), memory.clone()));
        let bytes = NodeMemory { devices: gpus.collect() }.encode().len();
        assert!(bytes < 800, "{bytes}");
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let head = WireHead { epoch: 2, ..WireHead::default() };
        let device = WireDevice { heads: vec![head], ..WireDevice::default() };
        let torn = WireNode { devices: vec![device], ids: vec![7; 31] };
        assert!(NodeMemory::decode(&torn.encode_to_vec()).is_err());
        assert!(NodeMemory::decode(&[0xff, 0xff, 0xff]).is_err());
    }
}
