//! The spool itself: opening and what is known of its segments. `write.rs` appends, `read.rs` reads.

use crate::CAP_BYTES_MIN;
use crate::error::SpoolError;
use crate::fs::{Disk, File, Filesystem};
use crate::journal::{Entry, Journal};
use crate::recover::{self, Damage, Recovery, Scan, Scanned, Tail};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Segments that a full spool has at least: dropping one then loses at most about this part.
const SEGMENTS_PER_CAP: u64 = 16;
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
/// Above this, a segment only delays giving space back.
const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
const SEGMENT_SUFFIX: &str = ".segment";
const DAMAGED_SUFFIX: &str = ".segment.damaged";
pub(crate) const REFUSED_SUFFIX: &str = ".segment.refused";

/// How much disk the spool may use.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of all segments together, at least [`CAP_BYTES_MIN`].
    pub cap_bytes: u64,
}

/// Number of a segment's file. Rises within one opening of a spool, and is not used again in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    pub id: SegmentId,
    pub first_sequence: u64,
    /// One above the last record; equal to `first_sequence` while there is none.
    pub next_sequence: u64,
    /// Whether more records may come.
    pub is_open: bool,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub path: PathBuf,
    pub first_sequence: u64,
    pub next_sequence: u64,
    /// Offset of the first record.
    pub start: u64,
    /// Offset behind the last synced record: what is behind does not exist.
    pub end: u64,
    /// One above the last acknowledged sequence, and the offset behind its record.
    pub acknowledged_next: u64,
    pub acknowledged_end: u64,
}

impl Segment {
    /// A segment that has a head of so many bytes and no record.
    pub fn empty(path: PathBuf, first_sequence: u64, start: u64) -> Self {
        Self {
            path,
            first_sequence,
            next_sequence: first_sequence,
            start,
            end: start,
            acknowledged_next: first_sequence,
            acknowledged_end: start,
        }
    }

    pub fn waiting(&self) -> u64 {
        self.next_sequence.saturating_sub(self.acknowledged_next)
    }
}

/// The segment that takes records.
pub(crate) struct Open {
    pub id: SegmentId,
    pub file: Box<dyn File>,
    pub blob: Vec<u8>,
    /// Sequence of the next record. Above the segment's own where damage was cut off it.
    pub next_sequence: u64,
    /// Something may lie behind the segment's end that has to be cut off first.
    pub torn: bool,
}

/// A durable queue of numbered records in a folder.
pub struct Spool {
    pub(crate) fs: Arc<dyn Filesystem>,
    pub(crate) folder: PathBuf,
    pub(crate) options: Options,
    pub(crate) segments: BTreeMap<SegmentId, Segment>,
    pub(crate) open: Option<Open>,
    /// Copies of damaged segments and of refused records with their sizes, oldest first.
    pub(crate) copies: VecDeque<(PathBuf, u64)>,
    pub(crate) next_id: u64,
    pub(crate) dropped_records: u64,
    _lock: Box<dyn Send + Sync>,
}

impl Spool {
    /// Opens the spool in a folder of the real file system, see [`Spool::open_on`].
    pub fn open(
        folder: &Path,
        options: Options,
    ) -> Result<(Self, Journal, Vec<Entry>, Recovery), SpoolError> {
        Self::open_on(Arc::new(Disk), folder, options)
    }

    /// Takes the lock, checks every record, and mends what a crash left. Returns the journal and
    /// what it held as well. There is no open segment yet: begin one before appending.
    pub fn open_on(
        fs: Arc<dyn Filesystem>,
        folder: &Path,
        options: Options,
    ) -> Result<(Self, Journal, Vec<Entry>, Recovery), SpoolError> {
        if options.cap_bytes < CAP_BYTES_MIN {
            return Err(SpoolError::CapTooSmall { bytes: options.cap_bytes });
        }
        fs.create_folder(folder).map_err(|e| SpoolError::io("create the folder", folder, e))?;
        let path = folder.join("lock");
        let lock = fs.lock(&path).map_err(|e| SpoolError::io("lock", &path, e))?;
        let lock = lock.ok_or_else(|| SpoolError::Locked { path: folder.to_owned() })?;
        let (journal, entries) = Journal::open(fs.as_ref(), folder)?;
        let mut spool = Self {
            fs,
            folder: folder.to_owned(),
            options,
            segments: BTreeMap::new(),
            open: None,
            copies: VecDeque::new(),
            next_id: 1,
            dropped_records: 0,
            _lock: lock,
        };
        let recovery = spool.recover()?;
        Ok((spool, journal, entries, recovery))
    }

    fn recover(&mut self) -> Result<Recovery, SpoolError> {
        let mut names = self.fs.list(&self.folder).map_err(|e| SpoolError::io("list", &self.folder, e))?;
        names.sort_unstable();
        let mut recovery = Recovery::default();
        for (name, id) in names.iter().filter_map(|n| Some((n, copy_number(n)?))) {
            self.next_id = self.next_id.max(id.saturating_add(1));
            let path = self.folder.join(name);
            // A copy that cannot be looked at still takes no more than a segment.
            let bytes = self.fs.open(&path).and_then(|f| f.bytes()).unwrap_or(self.segment_bytes());
            self.copies.push_back((path, bytes));
        }
        let segments: Vec<u64> = names.iter().filter_map(|n| number(n, SEGMENT_SUFFIX)).collect();
        for (position, &id) in segments.iter().enumerate() {
            self.next_id = self.next_id.max(id.saturating_add(1));
            self.recover_segment(SegmentId(id), position + 1 == segments.len(), &mut recovery)?;
        }
        self.fs.sync_folder(&self.folder).map_err(|e| SpoolError::io("sync", &self.folder, e))?;
        // The cap may be lower than before, and a power failure brings removed segments back.
        self.make_room(0)?;
        recovery.records = self.waiting_records();
        Ok(recovery)
    }

    fn recover_segment(
        &mut self,
        id: SegmentId,
        is_last: bool,
        recovery: &mut Recovery,
    ) -> Result<(), SpoolError> {
        let path = self.segment_path(id);
        let mut file = self.fs.open(&path).map_err(|e| SpoolError::io("open", &path, e))?;
        let bytes = file.bytes().map_err(|e| SpoolError::io("read", &path, e))?;
        let scan = match recover::scan(file.as_ref(), &path)? {
            Scanned::Segment(scan) => scan,
            Scanned::Unborn => {
                recovery.torn_bytes += bytes;
                return self.fs.remove(&path).map_err(|e| SpoolError::io("remove", &path, e));
            }
            Scanned::Headless => {
                let copy = self.set_aside(file.as_ref(), &path);
                recovery.damaged.push(Damage {
                    segment: path.clone(),
                    kept_records: 0,
                    lost_bytes: bytes,
                    copy,
                });
                return self.fs.remove(&path).map_err(|e| SpoolError::io("remove", &path, e));
            }
        };
        let Scan { first_sequence, next_sequence, start, end, tail } = scan;
        match tail {
            Tail::Clean => {}
            // Only the segment that was written last can end in an unfinished write.
            Tail::Torn if is_last => recovery.torn_bytes += bytes - end,
            Tail::Torn | Tail::Damaged => {
                let copy = self.set_aside(file.as_ref(), &path);
                let kept_records = next_sequence - first_sequence;
                recovery.damaged.push(Damage {
                    segment: path.clone(),
                    kept_records,
                    lost_bytes: bytes - end,
                    copy,
                });
            }
        }
        if tail != Tail::Clean {
            file.truncate(end).map_err(|e| SpoolError::io("truncate", &path, e))?;
        }
        // A process that was killed leaves whole records that were never synced. They are read from
        // now on, so they have to be durable.
        file.sync().map_err(|e| SpoolError::io("sync", &path, e))?;
        self.segments
            .insert(id, Segment { next_sequence, end, ..Segment::empty(path, first_sequence, start) });
        self.retire(id)
    }

    /// See [`Filesystem::blocks`].
    pub fn blocks(&self) -> bool {
        self.fs.blocks()
    }

    /// Bytes of all files: what the cap limits.
    pub fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|s| s.end).sum();
        let copies: u64 = self.copies.iter().map(|c| c.1).sum();
        segments + copies
    }

    /// Bytes of the records that are not acknowledged.
    pub fn waiting_bytes(&self) -> u64 {
        self.segments.values().map(|s| s.end.saturating_sub(s.acknowledged_end)).sum()
    }

    /// Records that are not acknowledged.
    pub fn waiting_records(&self) -> u64 {
        self.segments.values().map(Segment::waiting).sum()
    }

    /// Unacknowledged records that were dropped since the spool was opened, because it was full or
    /// because they could not be read back.
    pub fn dropped_records(&self) -> u64 {
        self.dropped_records
    }

    /// Segments in the spool, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> {
        self.segments.iter().map(|(&id, segment)| self.info(id, segment))
    }

    /// The oldest segment, or the next one after a given one.
    pub fn segment_after(&self, id: Option<SegmentId>) -> Option<SegmentInfo> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.segments.range((from, Bound::Unbounded)).next().map(|(&id, segment)| self.info(id, segment))
    }

    fn info(&self, id: SegmentId, segment: &Segment) -> SegmentInfo {
        SegmentInfo {
            id,
            first_sequence: segment.first_sequence,
            next_sequence: segment.next_sequence,
            is_open: self.is_open(id),
        }
    }

    pub(crate) fn is_open(&self, id: SegmentId) -> bool {
        self.open.as_ref().is_some_and(|open| open.id == id)
    }

    pub(crate) fn segment_path(&self, id: SegmentId) -> PathBuf {
        self.folder.join(format!("{:020}{SEGMENT_SUFFIX}", id.0))
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.options.cap_bytes / SEGMENTS_PER_CAP).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }

    /// Copies a damaged segment beside itself, so that people can look at it.
    pub(crate) fn set_aside(&mut self, file: &dyn File, path: &Path) -> Option<PathBuf> {
        let copy = recover::set_aside(self.fs.as_ref(), file, path)?;
        self.copies.retain(|c| c.0 != copy);
        self.copies.push_back((copy.clone(), file.bytes().unwrap_or(self.segment_bytes())));
        Some(copy)
    }

    /// Removes a segment that nobody needs any more: closed, and all of it acknowledged.
    pub(crate) fn retire(&mut self, id: SegmentId) -> Result<(), SpoolError> {
        match self.segments.get(&id) {
            Some(segment) if segment.waiting() == 0 && !self.is_open(id) => self.remove(id),
            _ => Ok(()),
        }
    }

    pub(crate) fn remove(&mut self, id: SegmentId) -> Result<(), SpoolError> {
        let Some(segment) = self.segments.get(&id) else { return Ok(()) };
        self.fs.remove(&segment.path).map_err(|e| SpoolError::io("remove", &segment.path, e))?;
        self.dropped_records += segment.waiting();
        self.segments.remove(&id);
        Ok(())
    }
}

/// The number in the name of a copy.
fn copy_number(name: &str) -> Option<u64> {
    [DAMAGED_SUFFIX, REFUSED_SUFFIX].into_iter().find_map(|suffix| number(name, suffix))
}

/// The number in a file's name; `None` for a file that is none of ours. One that leaves no higher number is
/// none: the next segment would be written over it.
fn number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let number = (digits.len() == 20).then(|| digits.parse().ok())?;
    number.filter(|&number: &u64| number <= u64::MAX / 2)
}
