//! What a killed process left in the journal, as the batches that it was going to write.

use super::encode;
use gpuledger_proto::convert::inventory_from_wire;
use gpuledger_proto::frame::Frame;
use gpuledger_proto::ids::{NodeName, Sequence};
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
/// cannot be understood, or stand behind a header that is not theirs, were written by another version
/// or are what a power failure left; their number is the second result.
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
        let Some(batch) = encode::journalled(header, &entry.bytes, *devices) else {
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

/// The first name other than this one under which something in the spool was written.
pub(super) fn other_node(
    entries: &[Entry],
    spool: &mut Spool,
    node: &NodeName,
) -> Result<Option<String>, SpoolError> {
    let other = |header: &[u8]| {
        let wrote = v1::Segment::decode(header).ok()?.node;
        // Agents before the first that told it left it out.
        (!wrote.is_empty() && wrote != node.as_str()).then_some(wrote)
    };
    if let Some(found) = entries.iter().filter(|entry| entry.tag == 0).find_map(|entry| other(&entry.bytes)) {
        return Ok(Some(found));
    }
    let segments: Vec<_> = spool.segments().collect();
    for info in segments {
        if let Some(found) = spool.header(info.id)?.and_then(|header| other(&header)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
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
    use crate::record::{Identity, RecordError, Recorder, RecorderOptions, SpoolHandle};
    use gpuledger_proto::catalogue::MetricId;
    use gpuledger_proto::frame::{DeviceFrame, Gpu, Inventory, Stamp};
    use gpuledger_proto::ids::{Epoch, GpuUuid};
    use gpuledger_proto::reading::Reading;
    use gpuledger_spool::sim::SimDisk;
    use gpuledger_spool::{Options, Spool};
    use std::path::Path;

    /// Opens a recorder of this node on the disk.
    fn opened(disk: &SimDisk, node: &str) -> Result<(Recorder, SpoolHandle), RecordError> {
        let node = NodeName::new(node).unwrap();
        let identity = Identity { node, epoch: Epoch::begin(), boot_id: None };
        Recorder::open_on(Arc::new(disk.clone()), Path::new("/spool"), RecorderOptions::default(), identity)
    }

    /// Leaves one sample behind: in the journal of a killed process, or in the spool of one that ended.
    fn left(disk: &SimDisk, flush: bool) {
        let (mut recorder, _spool) = opened(disk, "old").unwrap();
        recorder.set_inventory(Inventory::default()).unwrap();
        recorder.push(Frame { stamp: Stamp::default(), devices: vec![DeviceFrame::default()] }).unwrap();
        if flush {
            recorder.flush().unwrap();
        }
        drop(recorder);
        disk.kill_process();
    }

    #[test]
    fn what_another_node_left_is_refused_as_it_is_and_taken_in_under_the_old_name() {
        for flush in [false, true] {
            let disk = SimDisk::default();
            left(&disk, flush);
            for _ in 0..2 {
                let refused = opened(&disk, "new").map(drop).unwrap_err().to_string();
                assert!(refused.contains("node \"old\"") && refused.contains("/spool"), "{refused}");
                assert!(
                    refused.contains("node = \"old\"") && refused.contains("move the folder away"),
                    "{refused}"
                );
                disk.kill_process();
            }
            assert_eq!(opened(&disk, "old").unwrap().1.waiting_batches(), 1);
        }
    }

    #[test]
    fn a_spool_that_does_not_say_whose_it_is_is_taken_in_by_any_node() {
        let disk = SimDisk::default();
        let (recorder, spool) = opened(&disk, "old").unwrap();
        let header = v1::Segment { epoch: vec![7; 16], ..v1::Segment::default() }.encode_to_vec();
        spool.with(|spool| spool.begin_segment(&header, 1).and_then(|_| spool.append(&[b"x"]))).unwrap();
        drop((recorder, spool));
        disk.kill_process();
        assert_eq!(opened(&disk, "new").unwrap().1.waiting_batches(), 1);
    }

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
        let node = NodeName::new("n1").unwrap();
        let identity = Identity { node, epoch: Epoch::begin(), boot_id: None };
        let header = encode::segment_header(&identity, &inventory);
        let bytes = encode::frame(&header, Sequence(1), &frame);
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
