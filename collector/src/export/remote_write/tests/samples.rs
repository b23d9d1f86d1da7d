//! Small nodes and what they tell.

use super::super::encode::encode;
use super::super::encode::judge::{Told, read};
use super::super::protocol::Protocol;
use super::super::request::Request;
use super::super::selection::Selection;
use crate::ingest::tap::Offered;
use gpuledger_proto::catalogue::{GPU_ENERGY, GPU_POWER_AVERAGE, MetricId, NODE_CPU};
use gpuledger_proto::convert::batch_to_wire;
use gpuledger_proto::frame::{Batch, DeviceFrame, Frame, Gpu, Host, Inventory, Stamp};
use gpuledger_proto::ids::{Epoch, GpuUuid, NodeName, Sequence};
use gpuledger_proto::reading::{Absence, Reading};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// 2026-01-01T00:00Z.
pub const START_MS: u64 = 1_767_225_600_000;

pub fn epoch(number: u128) -> Epoch {
    Epoch(Uuid::from_u128(number))
}

pub fn inventory(gpus: &[&str]) -> Arc<Inventory> {
    let gpu = |(index, uuid): (usize, &&str)| Gpu {
        uuid: GpuUuid::new(uuid).unwrap(),
        model: "H100".to_owned(),
        serial: None,
        pci_bus_id: None,
        index: u32::try_from(index).unwrap(),
        memory_bytes: None,
        simulated: true,
    };
    let host = Host { hostname: "host".to_owned(), os: "Linux".to_owned(), ..Host::default() };
    Arc::new(Inventory { host, gpus: gpus.iter().enumerate().map(gpu).collect() })
}

/// What a GPU tells at a second: power and energy.
pub fn busy(second: u64) -> Vec<(MetricId, Reading<i64>)> {
    let energy = i64::try_from(second).unwrap() * 300_000;
    vec![(GPU_ENERGY, Reading::Value(energy)), (GPU_POWER_AVERAGE, Reading::Value(300_500))]
}

/// The same without its power.
pub fn powerless(second: u64) -> Vec<(MetricId, Reading<i64>)> {
    let mut readings = busy(second);
    readings[1].1 = Reading::Absent(Absence::Failed);
    readings
}

/// A batch of these seconds since the start, all GPUs of the inventory alike.
pub fn batch(
    node: &str,
    run: u128,
    sequence: u64,
    inventory: &Arc<Inventory>,
    seconds: impl IntoIterator<Item = u64>,
    readings: impl Fn(u64) -> Vec<(MetricId, Reading<i64>)>,
) -> Offered {
    let mut last_ms = 0;
    let frames: Vec<Frame> = seconds
        .into_iter()
        .map(|second| {
            last_ms = START_MS + second * 1_000;
            let host = DeviceFrame { readings: vec![(NODE_CPU, Reading::Value(250_000))], holding: None };
            let gpu = DeviceFrame { readings: readings(second), holding: None };
            let gpus = std::iter::repeat_n(gpu, inventory.gpus.len());
            let stamp = Stamp { wall_ms: last_ms, boot_ms: second * 1_000 };
            Frame { stamp, devices: std::iter::once(host).chain(gpus).collect() }
        })
        .collect();
    let batch = Batch::from_frames(Sequence(sequence), &frames);
    Offered {
        node: NodeName::new(node).unwrap(),
        epoch: epoch(run),
        inventory: Arc::clone(inventory),
        arrived_ms: last_ms + 500,
        wire: batch_to_wire(&batch).encode_to_vec(),
    }
}

/// What requests say, series by series, each sample as second since the start and value.
pub fn told(requests: &[Request], selection: &Selection) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut all: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for request in requests {
        let series: Vec<Told> = read(&encode(request, selection, Protocol::V2), Protocol::V2);
        for (name, samples) in series {
            let samples = samples.into_iter().map(|(at_ms, bits)| (seconds(at_ms), f64::from_bits(bits)));
            all.entry(name).or_default().extend(samples);
        }
    }
    all
}

#[allow(clippy::cast_precision_loss, reason = "seconds of a test")]
fn seconds(at_ms: i64) -> f64 {
    (at_ms - i64::try_from(START_MS).unwrap()) as f64 / 1_000.0
}
