//! What a killed process left in the journal, as the batches that it was going to write.

use super::encode;
use gpuledger_proto::convert::{batch_from_wire, inventory_from_wire};
use gpuledger_proto::frame::Frame;
use gpuledger_proto::ids::Sequence;
use gpuledger_proto::v1;
use gpuledger_spool::{Entry, Spool, SpoolError};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A closed batch on its way to the spool.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub header: Arc<Vec<u8>>,
    pub sequence: Sequence,
    pub payload: Vec<u8>,
}

/// The frames of one batch as they are gathered from the journal.
struct Gathered {
    header: Arc<Vec<u8>>,
    sequence: Sequence,
    devices: usize,
    frames: Vec<Frame>,
}

/// Turns journal entries into batches, but for those that are in the spool already. Entries that
/// cannot be understood were written by another version and are left out; their number is the
/// second result.
pub(super) fn batches(entries: &[Entry], spool: &mut Spool) -> Result<(Vec<Closed>, usize), SpoolError> {
    if entries.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let spooled = spooled_sequences(spool)?;
    let mut gathered: Vec<Gathered> = Vec::new();
    let mut under: Option<(Arc<Vec<u8>>, v1::Segment, usize)> = None;
    let mut unreadable = 0;
    for entry in entries {
        if entry.tag == 0 {
            under = read_header(&entry.bytes);
            unreadable += usize::from(under.is_none());
            continue;
        }
        let Some((header, segment, devices)) = &under else {
            unreadable += 1;
            continue;
        };
        if spooled.get(&segment.epoch).is_some_and(|&last| entry.tag <= last) {
            continue;
        }
        let wire = v1::Batch::decode(entry.bytes.as_slice()).ok();
        let Some(batch) = wire.and_then(|wire| batch_from_wire(wire, *devices).ok()) else {
            unreadable += 1;
            continue;
        };
        let sequence = Sequence(entry.tag);
        let frames = encode::frames(&batch, *devices);
        match gathered.last_mut() {
            Some(last) if last.sequence == sequence && last.header == *header => last.frames.extend(frames),
            _ => gathered.push(Gathered { header: Arc::clone(header), sequence, devices: *devices, frames }),
        }
    }
    let mut closed = Vec::new();
    for Gathered { header, sequence, devices, frames } in gathered {
        match encode::batch(sequence, &frames, devices) {
            Ok(payload) => closed.push(Closed { header, sequence, payload }),
            Err(_) => unreadable += frames.len(),
        }
    }
    Ok((closed, unreadable))
}

fn read_header(bytes: &[u8]) -> Option<(Arc<Vec<u8>>, v1::Segment, usize)> {
    let mut segment = v1::Segment::decode(bytes).ok()?;
    let inventory = inventory_from_wire(segment.inventory.take()?).ok()?;
    Some((Arc::new(bytes.to_vec()), segment, inventory.gpus.len() + 1))
}

/// The last sequence in the spool, by epoch.
fn spooled_sequences(spool: &mut Spool) -> Result<BTreeMap<Vec<u8>, u64>, SpoolError> {
    let segments: Vec<_> = spool.segments().collect();
    let mut last = BTreeMap::new();
    for info in segments {
        let Some(header) = spool.header(info.id)? else { continue };
        let Ok(segment) = v1::Segment::decode(header.as_slice()) else { continue };
        let known: &mut u64 = last.entry(segment.epoch).or_default();
        *known = (*known).max(info.next_sequence.saturating_sub(1));
    }
    Ok(last)
}
