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
    // One batch at a time: as frames, a full journal takes ten times its size.
    let mut gathered: Option<Gathered> = None;
    let mut closed = Vec::new();
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
        match &mut gathered {
            Some(last) if last.sequence == sequence && last.header == *header => last.frames.extend(frames),
            _ => {
                let next = Gathered { header: Arc::clone(header), sequence, devices: *devices, frames };
                unreadable += close(gathered.replace(next), &mut closed);
            }
        }
    }
    unreadable += close(gathered, &mut closed);
    Ok((closed, unreadable))
}

/// Adds a batch that is complete; gives the number of its frames that cannot be a batch.
fn close(gathered: Option<Gathered>, closed: &mut Vec<Closed>) -> usize {
    let Some(Gathered { header, sequence, devices, frames }) = gathered else { return 0 };
    match encode::batch(sequence, &frames, devices) {
        Ok(payload) => {
            closed.push(Closed { header, sequence, payload });
            0
        }
        Err(_) => frames.len(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue::MetricId;
    use gpuledger_proto::frame::{DeviceFrame, Gpu, Inventory, Stamp};
    use gpuledger_proto::ids::{Epoch, GpuUuid};
    use gpuledger_proto::reading::Reading;
    use gpuledger_spool::sim::SimDisk;
    use gpuledger_spool::{Options, Spool};
    use std::path::Path;

    /// The most memory that this process ever held, other tests on its threads included.
    fn peak_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    #[test]
    fn a_long_journal_is_taken_in_batch_by_batch() {
        let gpu = |index| Gpu {
            uuid: GpuUuid::new(&format!("GPU-{index}")).unwrap(),
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index,
            memory_bytes: None,
            simulated: true,
        };
        let inventory = Inventory { gpus: (0..8).map(gpu).collect(), ..Inventory::default() };
        let readings = (1..20).map(|id| (MetricId(id), Reading::Value(1_000))).collect();
        let device = DeviceFrame { readings, holding: None };
        let frame = Frame { stamp: Stamp::default(), devices: vec![device; 9] };
        let bytes = encode::frame(Sequence(1), &frame);
        let header = encode::segment_header(Epoch::begin(), None, &inventory);
        let mut entries = vec![Entry { tag: 0, bytes: header }];
        entries.extend((0..20_000).map(|n| Entry { tag: n / 10 + 1, bytes: bytes.clone() }));
        let options = Options { cap_bytes: 1 << 20 };
        let disk = Arc::new(SimDisk::default());
        let mut spool = Spool::open_on(disk, Path::new("/spool"), options).unwrap().0;

        let before = peak_bytes();
        let (closed, unreadable) = batches(&entries, &mut spool).unwrap();
        let taken = peak_bytes() - before;
        assert_eq!((closed.len(), unreadable), (2_000, 0));
        assert!(taken < 96 << 20, "{taken} bytes; all frames at once take 150 MiB");
    }
}
