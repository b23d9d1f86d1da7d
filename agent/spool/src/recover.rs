//! What a segment holds after whatever happened to it: scanning, cutting, setting aside.

use crate::error::SpoolError;
use crate::format::{self, HEAD_BYTES, RECORD_HEAD_BYTES};
use crate::fs::{File, Filesystem};
use std::io;
use std::path::{Path, PathBuf};

/// What opening a spool found and did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Records that wait in the spool.
    pub records: u64,
    /// Bytes of unfinished writes that were cut off.
    pub torn_bytes: u64,
    /// Segments in which damage was found.
    pub damaged: Vec<Damage>,
}

/// A segment that could be read only up to a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub segment: PathBuf,
    /// Sound records from its beginning, which stay in the spool.
    pub kept_records: u64,
    /// Bytes behind them that are not.
    pub lost_bytes: u64,
    /// Copy of the segment as it was found; `None` where it could not be written.
    pub copy: Option<PathBuf>,
}

/// A segment's file, checked from end to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub first_sequence: u64,
    pub next_sequence: u64,
    /// Offset of the first record.
    pub start: u64,
    /// Offset behind the last sound record.
    pub end: u64,
    pub tail: Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Clean,
    /// An unfinished write: nothing sound behind it.
    Torn,
    /// Sound records are behind it.
    Damaged,
}

pub(crate) enum Scanned {
    Segment(Scan),
    /// A segment whose creation was cut short: it never held a record.
    Unborn,
    /// The head cannot be trusted, so nothing behind it can be either.
    Headless,
}

/// Reads a whole segment; memory is bounded by its largest record, or its size where it is damaged.
pub(crate) fn scan(file: &dyn File, path: &Path) -> Result<Scanned, SpoolError> {
    let read = |e| SpoolError::io("read", path, e);
    let bytes = file.bytes().map_err(read)?;
    let Some(fixed) = read_array::<HEAD_BYTES>(file, 0, bytes).map_err(read)? else {
        return Ok(Scanned::Unborn);
    };
    if fixed == [0; HEAD_BYTES] && is_zero(file, bytes).map_err(read)? {
        return Ok(Scanned::Unborn);
    }
    let Some(head) = format::decode_head(format::SEGMENT_MAGIC, &fixed) else {
        return Ok(Scanned::Headless);
    };
    let start = HEAD_BYTES as u64 + head.blob_bytes as u64;
    let blob = read_vec(file, HEAD_BYTES as u64, head.blob_bytes, bytes).map_err(read)?;
    let sound = blob.is_some_and(|blob| format::head_is_sound(head, &fixed, &blob));
    if !sound {
        // A length that was damaged must not make records look like the rest of a blob.
        let rest = usize::try_from(bytes).unwrap_or(usize::MAX) - HEAD_BYTES;
        let rest = read_vec(file, HEAD_BYTES as u64, rest, bytes).map_err(read)?;
        let before_first = head.first_sequence.saturating_sub(1);
        let holds_records = rest.is_some_and(|rest| format::holds_a_later_record(&rest, before_first));
        return Ok(if bytes > start || holds_records { Scanned::Headless } else { Scanned::Unborn });
    }
    if head.version != format::VERSION {
        return Err(SpoolError::NewerFormat { path: path.to_owned(), version: head.version });
    }
    let (mut end, mut next_sequence) = (start, head.first_sequence);
    while let Some((sequence, payload)) = read_record(file, end, bytes).map_err(read)?
        && sequence == next_sequence
    {
        end += (RECORD_HEAD_BYTES + payload.len()) as u64;
        next_sequence = next_sequence.saturating_add(1);
    }
    let tail = classify(file, end, bytes, next_sequence).map_err(read)?;
    Ok(Scanned::Segment(Scan { first_sequence: head.first_sequence, next_sequence, start, end, tail }))
}

fn classify(file: &dyn File, end: u64, bytes: u64, expected: u64) -> io::Result<Tail> {
    if end == bytes {
        return Ok(Tail::Clean);
    }
    let rest = usize::try_from(bytes - end).unwrap_or(usize::MAX);
    let tail = read_vec(file, end, rest, bytes)?;
    let later = tail.is_some_and(|tail| format::holds_a_later_record(&tail, expected));
    Ok(if later { Tail::Damaged } else { Tail::Torn })
}

/// The record at `offset`, or `None` where there is no sound one.
pub(crate) fn read_record(file: &dyn File, offset: u64, end: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let Some(fixed) = read_array::<RECORD_HEAD_BYTES>(file, offset, end)? else { return Ok(None) };
    let Some(head) = format::decode_record_head(&fixed) else { return Ok(None) };
    let payload = read_vec(file, offset + RECORD_HEAD_BYTES as u64, head.payload_bytes, end)?;
    Ok(payload.filter(|p| format::record_is_sound(head, p)).map(|p| (head.sequence, p)))
}

/// Sequence and whole length of the record at `offset` without reading its payload.
pub(crate) fn read_record_head(file: &dyn File, offset: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let fixed = read_array::<RECORD_HEAD_BYTES>(file, offset, end)?;
    let head = fixed.as_ref().and_then(format::decode_record_head);
    Ok(head.map(|h| (h.sequence, (RECORD_HEAD_BYTES + h.payload_bytes) as u64)))
}

/// The blob of a segment that has been scanned before.
pub(crate) fn read_blob(file: &dyn File, start: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(fixed) = read_array::<HEAD_BYTES>(file, 0, start)? else { return Ok(None) };
    let blob = read_vec(
        file,
        HEAD_BYTES as u64,
        usize::try_from(start).unwrap_or(usize::MAX).saturating_sub(HEAD_BYTES),
        start,
    )?;
    let head = format::decode_head(format::SEGMENT_MAGIC, &fixed);
    Ok(blob.filter(|blob| head.is_some_and(|h| format::head_is_sound(h, &fixed, blob))))
}

/// Copies a damaged file beside itself. Not being able to must not keep the agent from starting,
/// so there is no error: the damage is reported without a copy.
pub(crate) fn set_aside(fs: &dyn Filesystem, file: &dyn File, path: &Path) -> Option<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    let copy = PathBuf::from(name);
    let done = fs.create(&copy).and_then(|mut to| {
        let bytes = file.bytes()?;
        let mut chunk = vec![0; 64 * 1024];
        let mut offset = 0;
        while offset < bytes {
            let part = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(chunk.len());
            file.read_at(offset, &mut chunk[..part])?;
            to.write_at(offset, &chunk[..part])?;
            offset += part as u64;
        }
        to.sync()
    });
    if done.is_ok() {
        return Some(copy);
    }
    // Half a copy helps nobody and takes room. Where it cannot go either, it is found and counted
    // the next time the spool is opened.
    let _ = fs.remove(&copy);
    None
}

pub(crate) fn read_array<const N: usize>(
    file: &dyn File,
    offset: u64,
    end: u64,
) -> io::Result<Option<[u8; N]>> {
    let mut array = [0; N];
    if offset.saturating_add(N as u64) > end {
        return Ok(None);
    }
    file.read_at(offset, &mut array)?;
    Ok(Some(array))
}

pub(crate) fn read_vec(file: &dyn File, offset: u64, bytes: usize, end: u64) -> io::Result<Option<Vec<u8>>> {
    if offset.saturating_add(bytes as u64) > end {
        return Ok(None);
    }
    let mut buffer = vec![0; bytes];
    file.read_at(offset, &mut buffer)?;
    Ok(Some(buffer))
}

fn is_zero(file: &dyn File, bytes: u64) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    let mut offset = 0;
    while offset < bytes {
        let part = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(chunk.len());
        file.read_at(offset, &mut chunk[..part])?;
        if chunk[..part].iter().any(|&b| b != 0) {
            return Ok(false);
        }
        offset += part as u64;
    }
    Ok(true)
}
