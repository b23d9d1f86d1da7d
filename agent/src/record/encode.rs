//! Frames, batches and segment headers as bytes.

use super::Identity;
use gpuledger_proto::catalogue::GPU_HOLDER;
use gpuledger_proto::convert::{Malformed, batch_from_wire, batch_to_wire, inventory_to_wire};
use gpuledger_proto::frame::{Batch, DeviceFrame, Frame, Inventory};
use gpuledger_proto::ids::Sequence;
use gpuledger_proto::v1;
use prost::Message;

/// The header of every segment of this run and inventory.
pub(super) fn segment_header(identity: &Identity, inventory: &Inventory) -> Vec<u8> {
    let segment = v1::Segment {
        epoch: identity.epoch.0.as_bytes().to_vec(),
        boot_id: identity.boot_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
        inventory: Some(inventory_to_wire(inventory)),
        first_sequence: 0,
        node: identity.node.as_str().to_owned(),
    };
    segment.encode_to_vec()
}

/// One frame under a segment header, to be read back by [`journalled`].
///
/// It begins with the header's checksum: a power failure may leave blocks of an older journal beside
/// newer ones, and a frame must never be taken for one of another run.
pub(super) fn frame(header: &[u8], sequence: Sequence, frame: &Frame) -> Vec<u8> {
    let mut bytes = crc32c::crc32c(header).to_le_bytes().to_vec();
    batch_to_wire(&Batch::from_frames(sequence, std::slice::from_ref(frame))).encode_raw(&mut bytes);
    bytes
}

/// The frame of a journal entry, as a batch; `None` where it does not belong to the header, or was
/// written by another version.
pub(super) fn journalled(header: &[u8], entry: &[u8], devices: usize) -> Option<Batch> {
    let (mark, batch) = entry.split_first_chunk()?;
    let own = u32::from_le_bytes(*mark) == crc32c::crc32c(header);
    batch_from_wire(v1::Batch::decode(batch).ok().filter(|_| own)?, devices).ok()
}

/// A batch as the collector will read it. What we could not read ourselves is an error here, where
/// it costs one batch, and not at the collector, where it would hold up everything behind it.
pub(super) fn batch(sequence: Sequence, frames: &[Frame], devices: usize) -> Result<Vec<u8>, Malformed> {
    let wire = batch_to_wire(&Batch::from_frames(sequence, frames));
    let bytes = wire.encode_to_vec();
    batch_from_wire(wire, devices)?;
    Ok(bytes)
}

/// The frames of a batch of a node with so many devices, the node included.
pub(super) fn frames(batch: &Batch, devices: usize) -> Vec<Frame> {
    let empty = |&stamp| Frame { stamp, devices: vec![DeviceFrame::default(); devices] };
    let mut frames: Vec<Frame> = batch.stamps.iter().map(empty).collect();
    for column in &batch.columns {
        for (frame, &reading) in frames.iter_mut().zip(&column.readings) {
            // Both are within the batch: it was checked when it was converted.
            let Some(device) = frame.devices.get_mut(usize::from(column.device)) else { continue };
            if column.metric != GPU_HOLDER {
                device.readings.push((column.metric, reading));
                continue;
            }
            device.holding = Some(reading.map(|code| {
                let position = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
                position.and_then(|at| batch.holdings.get(at)).cloned().unwrap_or_default()
            }));
        }
    }
    frames
}
