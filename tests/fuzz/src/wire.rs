//! Bytes as a message of an agent or a collector, and every conversion of what is in it.
//!
//! Holds for any bytes: nothing panics; what is accepted is within every limit, and is the same again
//! after it went over the wire once more, and whatever the buffers held before that it is decoded into; no
//! list has more entries than were counted before it was decoded.

use gpuledger_proto::codec::entries::{self, FromPeer, Undecodable};
use gpuledger_proto::column::Columns;
use gpuledger_proto::convert::{
    Malformed, batch_from_wire, batch_to_wire, columns_from_wire, inventory_from_wire, inventory_to_wire,
};
use gpuledger_proto::frame::{Batch, Inventory};
use gpuledger_proto::ids::{Epoch, NodeName};
use gpuledger_proto::limits::{
    COLUMNS_PER_BATCH_MAX, DEVICES_PER_NODE_MAX, HOLDINGS_PER_BATCH_MAX, NAME_BYTES_MAX,
    SAMPLES_PER_BATCH_MAX, SHARES_PER_HOLDING_MAX, VALUES_PER_BATCH_MAX,
};
use gpuledger_proto::v1;
use gpuledger_proto::v1::agent_message::Kind;

/// Devices of the node that a batch is said to come from; the first byte chooses.
const DEVICES: [usize; 5] = [1, 2, 9, 17, DEVICES_PER_NODE_MAX];

/// The first byte chooses how many devices the node has, the rest is the message.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let devices = DEVICES[usize::from(choice) % DEVICES.len()];
    // What an agent reads: nothing of it is converted further than this.
    drop(decode::<v1::CollectorMessage>(bytes));
    let Some(message) = decode::<v1::AgentMessage>(bytes) else { return };
    check_entries(bytes, &message);
    match message.kind {
        Some(Kind::Hello(hello)) => hear(&hello),
        Some(Kind::Segment(segment)) => open(segment),
        Some(Kind::Batch(batch)) => take_in(&batch, devices),
        None => {}
    }
}

/// As a stream decodes it: what was counted, and only that.
fn decode<M: FromPeer>(bytes: &[u8]) -> Option<M> {
    match (entries::count::<M>(bytes), M::decode(bytes)) {
        (Err(Undecodable::TooMany), _) => None,
        (Err(_), decoded) => {
            assert!(decoded.is_err(), "what cannot be counted cannot be decoded");
            None
        }
        (Ok(_), decoded) => decoded.ok(),
    }
}

/// Nothing is in a message that was not counted before.
fn check_entries(bytes: &[u8], message: &v1::AgentMessage) {
    let held = match &message.kind {
        Some(Kind::Segment(segment)) => segment.inventory.iter().map(|inventory| inventory.gpus.len()).sum(),
        Some(Kind::Batch(batch)) => {
            batch.holdings.len() + batch.holdings.iter().map(|holding| holding.shares.len()).sum::<usize>()
        }
        _ => 0,
    };
    assert!(entries::count::<v1::AgentMessage>(bytes).is_ok_and(|counted| held <= counted));
}

fn hear(hello: &v1::Hello) {
    if let Ok(name) = NodeName::new(&hello.node) {
        assert_eq!(name.as_str(), hello.node);
        assert!((1..=NAME_BYTES_MAX).contains(&name.as_str().len()));
    }
}

fn open(segment: v1::Segment) {
    if let Ok(epoch) = Epoch::from_slice(&segment.epoch) {
        assert_eq!(epoch.0.as_bytes()[..], segment.epoch);
    }
    let Some(Ok(inventory)) = segment.inventory.map(inventory_from_wire) else { return };
    check_inventory(&inventory);
    assert_eq!(inventory_from_wire(inventory_to_wire(&inventory)), Ok(inventory));
}

fn check_inventory(inventory: &Inventory) {
    assert!(inventory.gpus.len() < DEVICES_PER_NODE_MAX);
    let host = &inventory.host;
    let mut texts = vec![&host.hostname, &host.os];
    texts.extend(&host.driver_version);
    for gpu in &inventory.gpus {
        texts.push(&gpu.model);
        texts.extend(gpu.serial.iter().chain(&gpu.pci_bus_id));
    }
    for text in texts {
        assert!(text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control), "{text:?}");
    }
}

fn take_in(wire: &v1::Batch, devices: usize) {
    let read = batch_from_wire(wire.clone(), devices);
    check_buffers(wire, devices, &read);
    let Ok(batch) = read else { return };
    check_batch(&batch);
    assert_eq!(batch_from_wire(batch_to_wire(&batch), devices), Ok(batch));
}

/// Buffers that held another batch, or a part of one, do not show in the next one.
fn check_buffers(wire: &v1::Batch, devices: usize, read: &Result<Batch, Malformed>) {
    let mut columns = Columns::default();
    let mut decode = |wire: &v1::Batch| {
        let sequence = columns_from_wire(wire, wire.holdings.len(), devices, &mut columns);
        sequence.map(|sequence| (sequence, columns.stamps().to_vec(), columns.to_columns()))
    };
    let first = decode(wire);
    let half = wire.columns[..wire.columns.len() / 2].to_vec();
    drop(decode(&v1::Batch { columns: half, holdings: Vec::new(), ..wire.clone() }));
    assert_eq!(decode(wire), first);
    if let Ok(batch) = read {
        assert_eq!(first, Ok((batch.sequence, batch.stamps.clone(), batch.columns.clone())));
    }
}

fn check_batch(batch: &Batch) {
    let samples = batch.stamps.len();
    assert!((1..=SAMPLES_PER_BATCH_MAX).contains(&samples));
    assert!(batch.columns.len() <= COLUMNS_PER_BATCH_MAX);
    assert!(batch.points() <= VALUES_PER_BATCH_MAX);
    assert!(batch.holdings.len() <= HOLDINGS_PER_BATCH_MAX);
    for holding in &batch.holdings {
        assert!((1..=SHARES_PER_HOLDING_MAX).contains(&holding.len()));
        assert_eq!(holding.iter().map(|share| u64::from(share.share_ppm)).sum::<u64>(), 1_000_000);
    }
    assert!(batch.columns.iter().all(|column| column.readings.len() == samples));
    assert!(batch.columns.is_sorted_by(|a, b| (a.device, a.metric) < (b.device, b.metric)));
}
