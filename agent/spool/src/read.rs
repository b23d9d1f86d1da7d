//! Reading in order, and acknowledging.

use crate::error::SpoolError;
use crate::fs::File;
use crate::recover;
use crate::spool::{SegmentId, Spool};

/// A place in a segment. It stays valid while records are appended, and after its segment is gone.
pub struct Cursor {
    segment: SegmentId,
    offset: u64,
    next_sequence: u64,
    file: Box<dyn File>,
}

/// What comes at a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Record(Record),
    /// Nothing yet: the segment is open.
    Wait,
    /// Nothing more: the segment is closed. Go on with the next one.
    End,
    /// The segment was dropped. Go on with the next one.
    Gone,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: u64,
    pub payload: Vec<u8>,
}

impl Cursor {
    pub fn segment(&self) -> SegmentId {
        self.segment
    }
}

impl Spool {
    /// The header of a segment; `None` when it was dropped, or cannot be trusted any more and is
    /// dropped now.
    pub fn header(&mut self, id: SegmentId) -> Result<Option<Vec<u8>>, SpoolError> {
        let Some(segment) = self.segments.get(&id) else { return Ok(None) };
        let start = segment.start;
        let file = self.fs.open(&segment.path).map_err(|e| SpoolError::io("open", &segment.path, e))?;
        let blob = recover::read_blob(file.as_ref(), start);
        let blob = blob.map_err(|e| SpoolError::io("read", &segment.path, e))?;
        if blob.is_none() {
            self.cut_damage(id, file, start, None)?;
        }
        Ok(blob)
    }

    /// A cursor behind the record with this sequence, or behind the last one when the segment does
    /// not come so far. `None` when the segment was dropped.
    pub fn cursor(&self, id: SegmentId, after: u64) -> Result<Option<Cursor>, SpoolError> {
        let Some(segment) = self.segments.get(&id) else { return Ok(None) };
        let file = self.fs.open(&segment.path).map_err(|e| SpoolError::io("open", &segment.path, e))?;
        let mut cursor =
            Cursor { segment: id, offset: segment.start, next_sequence: segment.first_sequence, file };
        // What is acknowledged needs no walk. An empty or damaged place is met by `next`.
        if after >= segment.acknowledged_next.saturating_sub(1) {
            cursor.offset = segment.acknowledged_end;
            cursor.next_sequence = segment.acknowledged_next;
        }
        cursor.skip(after, segment.end).map_err(|e| SpoolError::io("read", &segment.path, e))?;
        Ok(Some(cursor))
    }

    /// The record at a cursor, which moves behind it. Damage that has come since the spool was
    /// opened ends the segment there: what is behind it is set aside and counted as dropped.
    pub fn next(&mut self, cursor: &mut Cursor) -> Result<Next, SpoolError> {
        let id = cursor.segment;
        let Some(segment) = self.segments.get(&id) else { return Ok(Next::Gone) };
        if cursor.offset >= segment.end {
            return Ok(if self.is_open(id) { Next::Wait } else { Next::End });
        }
        let record = recover::read_record(cursor.file.as_ref(), cursor.offset, segment.end)
            .map_err(|e| SpoolError::io("read", &segment.path, e))?;
        if let Some((sequence, payload)) = record
            && sequence == cursor.next_sequence
        {
            cursor.offset += (crate::format::RECORD_HEAD_BYTES + payload.len()) as u64;
            cursor.next_sequence = sequence.saturating_add(1);
            return Ok(Next::Record(Record { sequence, payload }));
        }
        let path = segment.path.clone();
        let file = self.fs.open(&path).map_err(|e| SpoolError::io("open", &path, e))?;
        self.cut_damage(id, file, cursor.offset, Some(cursor.next_sequence))?;
        Ok(Next::End)
    }

    /// Everything in a segment up to this sequence has arrived. A closed segment that has arrived
    /// whole is removed.
    pub fn acknowledge(&mut self, id: SegmentId, sequence: u64) -> Result<(), SpoolError> {
        let Some(segment) = self.segments.get_mut(&id) else { return Ok(()) };
        let next = sequence.saturating_add(1).min(segment.next_sequence);
        if next <= segment.acknowledged_next {
            return Ok(());
        }
        let from = (segment.acknowledged_end, segment.acknowledged_next);
        segment.acknowledged_next = next;
        if next == segment.next_sequence {
            segment.acknowledged_end = segment.end;
            return self.retire(id);
        }
        let file = self.fs.open(&segment.path).map_err(|e| SpoolError::io("open", &segment.path, e))?;
        let mut cursor = Cursor { segment: id, offset: from.0, next_sequence: from.1, file };
        cursor.skip(sequence, segment.end).map_err(|e| SpoolError::io("read", &segment.path, e))?;
        segment.acknowledged_end = cursor.offset;
        Ok(())
    }

    /// Ends a segment at an offset, or removes it when not even its head is sound.
    fn cut_damage(
        &mut self,
        id: SegmentId,
        mut file: Box<dyn File>,
        offset: u64,
        next_sequence: Option<u64>,
    ) -> Result<(), SpoolError> {
        let Some(path) = self.segments.get(&id).map(|s| s.path.clone()) else { return Ok(()) };
        self.set_aside(file.as_ref(), &path);
        let Some(next_sequence) = next_sequence else {
            self.open.take_if(|open| open.id == id);
            return self.remove(id);
        };
        file.truncate(offset).map_err(|e| SpoolError::io("truncate", &path, e))?;
        file.sync().map_err(|e| SpoolError::io("sync", &path, e))?;
        if let Some(segment) = self.segments.get_mut(&id) {
            let waiting = segment.waiting();
            segment.end = offset;
            segment.next_sequence = next_sequence;
            segment.acknowledged_end = segment.acknowledged_end.min(offset);
            self.dropped_records += waiting.saturating_sub(segment.waiting());
        }
        // Where all that is left was acknowledged, nothing would remove it later.
        self.retire(id)
    }
}

impl Cursor {
    /// Moves behind the record with this sequence by heads alone; stops early where a head is not
    /// the one expected, which reading then notices.
    fn skip(&mut self, after: u64, end: u64) -> std::io::Result<()> {
        while self.next_sequence <= after
            && let Some((sequence, bytes)) = recover::read_record_head(self.file.as_ref(), self.offset, end)?
            && sequence == self.next_sequence
        {
            self.offset += bytes;
            self.next_sequence = sequence.saturating_add(1);
        }
        Ok(())
    }
}
