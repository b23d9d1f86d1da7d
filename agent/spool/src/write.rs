//! Appending: segments, syncs, the cap, and mending what a failed write left.

use crate::error::SpoolError;
use crate::format::{self, RECORD_HEAD_BYTES};
use crate::fs::File;
use crate::spool::{Open, Segment, SegmentId, Spool};
use crate::{BLOB_BYTES_MAX, RECORD_BYTES_MAX};
use std::path::Path;

impl Spool {
    /// Begins a segment: records appended from here on stand under this header, the first with
    /// this sequence. The segment before it is closed. After an error it still is the open one.
    pub fn begin_segment(&mut self, blob: &[u8], first_sequence: u64) -> Result<SegmentId, SpoolError> {
        let limit = (BLOB_BYTES_MAX as u64).min(self.options.cap_bytes / 4);
        check_size("a segment header", blob.len() as u64, limit)?;
        if !format::can_begin_at(first_sequence) {
            return Err(SpoolError::Sequence { sequence: first_sequence });
        }
        self.heal()?;
        let head = format::encode_head(format::SEGMENT_MAGIC, first_sequence, blob);
        self.make_room(head.len() as u64)?;
        let id = SegmentId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let path = self.segment_path(id);
        let file = self.create_segment(&path, &head).inspect_err(|_| {
            // It holds nothing. What cannot be removed now is removed when the spool is opened.
            let _ = self.fs.remove(&path);
        })?;
        self.segments.insert(id, Segment::empty(path, first_sequence, head.len() as u64));
        let open = Open { id, file, blob: blob.to_owned(), next_sequence: first_sequence, torn: false };
        if let Some(before) = self.open.replace(open) {
            // The new segment stands. One that cannot be removed is retired when it is opened next.
            let _ = self.retire(before.id);
        }
        Ok(id)
    }

    fn create_segment(&self, path: &Path, head: &[u8]) -> Result<Box<dyn File>, SpoolError> {
        let mut file = self.fs.create(path).map_err(|e| SpoolError::io("create", path, e))?;
        file.write_at(0, head).map_err(|e| SpoolError::io("write", path, e))?;
        file.sync().map_err(|e| SpoolError::io("sync", path, e))?;
        self.fs.sync_folder(&self.folder).map_err(|e| SpoolError::io("sync", &self.folder, e))?;
        Ok(file)
    }

    /// Appends records and makes them durable with one sync: afterwards all of them can be read, or
    /// after an error none. Returns the sequence of the last one.
    pub fn append(&mut self, payloads: &[&[u8]]) -> Result<u64, SpoolError> {
        for payload in payloads {
            check_size("a record", payload.len() as u64, RECORD_BYTES_MAX as u64)?;
        }
        let bytes = payloads.iter().map(|p| (RECORD_HEAD_BYTES + p.len()) as u64).sum();
        check_size("records", bytes, self.options.cap_bytes / 2)?;
        self.heal()?;
        self.rotate_for(bytes)?;
        self.make_room(bytes)?;
        let open = self.open.as_mut().ok_or(SpoolError::NoSegment)?;
        let segment = self.segments.get_mut(&open.id).ok_or(SpoolError::NoSegment)?;
        let mut buffer = Vec::new();
        let mut sequence = open.next_sequence;
        for payload in payloads {
            format::encode_record(&mut buffer, sequence, payload);
            sequence = sequence.saturating_add(1);
        }
        let written = match open.file.write_at(segment.end, &buffer) {
            Ok(()) => open.file.sync().map_err(|e| SpoolError::io("sync", &segment.path, e)),
            Err(e) => Err(SpoolError::io("write", &segment.path, e)),
        };
        if let Err(error) = written {
            // The kernel may have thrown the pages of a failed sync away: nothing of it counts.
            open.torn = true;
            // Where it cannot be cut off now, it is before the next write.
            let _ = self.heal();
            return Err(error);
        }
        segment.end += bytes;
        segment.next_sequence = sequence;
        open.next_sequence = sequence;
        Ok(sequence.saturating_sub(1))
    }

    /// Closes the open segment, so that it goes when all of it is acknowledged, or now. Another one has
    /// to be begun before the next record.
    pub fn close_segment(&mut self) -> Result<(), SpoolError> {
        self.heal()?;
        self.open.take().map_or(Ok(()), |open| self.retire(open.id))
    }

    /// Sequence that the next record gets; `None` without an open segment.
    pub fn next_sequence(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.next_sequence)
    }

    /// Begins a segment under the same header where the open one is full, or was cut short.
    fn rotate_for(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let open = self.open.as_ref().ok_or(SpoolError::NoSegment)?;
        let segment = self.segments.get(&open.id).ok_or(SpoolError::NoSegment)?;
        let is_full = segment.end > segment.start && segment.end + bytes > self.segment_bytes();
        if is_full || segment.next_sequence != open.next_sequence {
            let (blob, next_sequence) = (open.blob.clone(), open.next_sequence);
            self.begin_segment(&blob, next_sequence)?;
        }
        Ok(())
    }

    /// Cuts off what a failed write left behind the end of the open segment.
    fn heal(&mut self) -> Result<(), SpoolError> {
        let Some(open) = self.open.as_mut().filter(|open| open.torn) else { return Ok(()) };
        let Some(segment) = self.segments.get(&open.id) else { return Ok(()) };
        open.file.truncate(segment.end).map_err(|e| SpoolError::io("truncate", &segment.path, e))?;
        // A segment that is closed must end cleanly on the disk too: in any but the last segment,
        // an unfinished record is damage.
        open.file.sync().map_err(|e| SpoolError::io("sync", &segment.path, e))?;
        open.torn = false;
        Ok(())
    }

    /// Drops copies of damaged segments, then the oldest segments, until so many bytes fit. The
    /// limits on headers and records leave room beside any open segment.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        while self.bytes() + bytes > self.options.cap_bytes {
            if let Some((path, _)) = self.copies.front() {
                self.fs.remove(path).map_err(|e| SpoolError::io("remove", path, e))?;
                self.copies.pop_front();
                continue;
            }
            let oldest = self.segments.keys().copied().find(|&id| !self.is_open(id));
            let Some(oldest) = oldest else { break };
            self.remove(oldest)?;
        }
        Ok(())
    }
}

fn check_size(what: &'static str, bytes: u64, limit: u64) -> Result<(), SpoolError> {
    if bytes > limit { Err(SpoolError::TooLarge { what, bytes, limit }) } else { Ok(()) }
}
