//! Bytes as the files of a spool's folder: heads and records, sound and not, and anything between.
//!
//! Holds for any folder: nothing panics; what is read back lies in its file as a record whose checksum
//! is right; the spool stays within its cap; opened again, after a kill or a power failure, it has the
//! same records and nothing to mend; and it takes new ones.

use crate::bytes::Bytes;
use gpuledger_spool::sim::SimDisk;
use gpuledger_spool::{
    CAP_BYTES_MIN, Entry, Filesystem, Journal, Next, Options, Recovery, Spool, SpoolError,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const OPTIONS: Options = Options { cap_bytes: CAP_BYTES_MIN };
const FILES_MAX: u8 = 6;
const PARTS_MAX: usize = 40;
/// Two segments in a row, one far away, the last number there is, copies, and one that is none of ours.
const NAMES: [&str; 8] = [
    "journal",
    "00000000000000000001.segment",
    "00000000000000000002.segment",
    "00000000000000000900.segment",
    "18446744073709551615.segment",
    "00000000000000000001.segment.damaged",
    "00000000000000000002.segment.refused",
    "notes.txt",
];

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let disk = SimDisk::default();
    let power_fails = bytes.coin();
    for _ in 0..=bytes.pick(FILES_MAX) {
        let path = folder().join(NAMES[usize::from(bytes.pick(8))]);
        write(&disk, &path, &contents(&mut bytes));
    }
    let before = disk.copy();
    let Ok((mut spool, _, entries, recovery)) = open(&disk) else { return };
    let records = read_all(&mut spool);
    assert_eq!(recovery.records, records.len() as u64);
    assert_eq!(spool.dropped_records(), 0, "what was found sound was read back");
    check_origin(&before, &records, &entries);
    let waiting = spool.waiting_bytes();
    drop(spool);
    if power_fails {
        disk.fail_power(u64::from(bytes.byte()));
    } else {
        disk.kill_process();
    }
    check_again(&disk, &records, (!power_fails).then_some(&entries), waiting);
}

fn folder() -> &'static Path {
    Path::new("/spool")
}

fn open(disk: &SimDisk) -> Result<(Spool, Journal, Vec<Entry>, Recovery), SpoolError> {
    Spool::open_on(Arc::new(disk.clone()), folder(), OPTIONS)
}

fn write(disk: &SimDisk, path: &Path, contents: &[u8]) {
    let written = disk.create(path).and_then(|mut file| {
        file.write_at(0, contents)?;
        file.sync()
    });
    assert!(written.and_then(|()| disk.sync_folder(folder())).is_ok(), "a simulated disk takes everything");
}

/// A file: parts in any order, which are right unless the bytes say otherwise.
fn contents(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut sequence = 1;
    for _ in 0..PARTS_MAX {
        match bytes.pick(16) {
            0 => break,
            1 => {
                let length = usize::from(bytes.byte());
                file.extend_from_slice(bytes.raw(length));
            }
            2 => file.resize(file.len() + usize::from(bytes.byte()) * 16, 0),
            3 => {
                let cut = usize::from(bytes.byte());
                file.truncate(file.len().saturating_sub(cut));
            }
            4 => sequence = bytes.number().cast_unsigned(),
            5 => {
                // The last byte of a head, a record or anything else.
                if let Some(last) = file.last_mut() {
                    *last ^= bytes.byte();
                }
            }
            6 | 7 => sequence = head(bytes, &mut file),
            _ => {
                record(bytes, sequence, &mut file);
                sequence = sequence.wrapping_add(1);
            }
        }
    }
    file
}

/// A head under its checksum. Gives the sequence that follows.
fn head(bytes: &mut Bytes<'_>, file: &mut Vec<u8>) -> u64 {
    let magic = if bytes.coin() { b"GLJOURN\n" } else { b"GLSPOOL\n" };
    let version = if bytes.pick(16) == 1 { 2_u32 } else { 1 };
    let first = if bytes.pick(4) == 1 { bytes.number().cast_unsigned() } else { 1 };
    let length = usize::from(bytes.pick(64));
    let blob = bytes.raw(length);
    let claimed = if bytes.pick(16) == 1 { wide(bytes) } else { narrow(blob.len()) };
    let mut fixed = magic.to_vec();
    fixed.extend_from_slice(&version.to_le_bytes());
    fixed.extend_from_slice(&claimed.to_le_bytes());
    fixed.extend_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&fixed), blob);
    file.extend_from_slice(&fixed);
    file.extend_from_slice(&crc.to_le_bytes());
    file.extend_from_slice(blob);
    first
}

/// A record, mostly under its checksum.
fn record(bytes: &mut Bytes<'_>, sequence: u64, file: &mut Vec<u8>) {
    let length = usize::from(bytes.byte());
    let payload = bytes.raw(length);
    let mut sound = sound_record(sequence, payload);
    match bytes.pick(16) {
        1 => sound[..4].copy_from_slice(&wide(bytes).to_le_bytes()),
        2 => sound[4] ^= 1,
        _ => {}
    }
    file.extend_from_slice(&sound);
}

/// A record as the format's documentation says, made apart from the crate that is tested.
fn sound_record(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let length = narrow(payload.len()).to_le_bytes();
    let sequence = sequence.to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&length), &sequence), payload);
    [&length[..], &crc.to_le_bytes(), &sequence, payload].concat()
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A length that may be anything.
fn wide(bytes: &mut Bytes<'_>) -> u32 {
    u32::try_from(bytes.number() & i64::from(u32::MAX)).unwrap_or(u32::MAX)
}

type Records = Vec<(PathBuf, u64, Vec<u8>)>;

/// Every record with the file that it is in.
fn read_all(spool: &mut Spool) -> Records {
    let mut records = Vec::new();
    let ids: Vec<_> = spool.segments().map(|segment| segment.id).collect();
    for id in ids {
        let path = folder().join(format!("{:020}.segment", id.0));
        assert!(matches!(spool.header(id), Ok(Some(_))), "a head that was found sound");
        let Ok(Some(mut cursor)) = spool.cursor(id, 0) else { unreachable!("{id:?} is there") };
        while let Ok(Next::Record(record)) = spool.next(&mut cursor) {
            records.push((path.clone(), record.sequence, record.payload));
        }
    }
    records
}

/// Each record lay in its file, under its checksum.
fn check_origin(before: &SimDisk, records: &Records, entries: &[Entry]) {
    let lies_in = |path: &Path, sequence, payload: &[u8]| {
        let sound = sound_record(sequence, payload);
        let file = before.contents(path).unwrap_or_default();
        assert!(file.windows(sound.len()).any(|window| window == sound), "{sequence} is not in {path:?}");
    };
    for (path, sequence, payload) in records {
        lies_in(path, *sequence, payload);
    }
    for entry in entries {
        lies_in(&folder().join("journal"), entry.tag, &entry.bytes);
    }
}

/// Opened again: the same records, nothing to mend, and room for new ones. The journal is not synced,
/// so a power failure may take from it.
fn check_again(disk: &SimDisk, records: &Records, entries: Option<&Vec<Entry>>, waiting_bytes: u64) {
    let Ok((mut spool, _, found, recovery)) = open(disk) else { unreachable!("it could be opened before") };
    assert_eq!((recovery.torn_bytes, &recovery.damaged[..]), (0, &[][..]));
    assert_eq!(&read_all(&mut spool), records);
    assert!(entries.is_none_or(|entries| &found == entries));
    assert_eq!(spool.waiting_bytes(), waiting_bytes);
    assert!(spool.bytes() <= OPTIONS.cap_bytes);
    let Ok(id) = spool.begin_segment(b"next", 7) else { unreachable!("there is room for a segment") };
    assert!(matches!(spool.append(&[b"one", b"two"]), Ok(8)));
    let Ok(Some(mut cursor)) = spool.cursor(id, 7) else { unreachable!("it has just begun") };
    let Ok(Next::Record(record)) = spool.next(&mut cursor) else { unreachable!("it was appended") };
    assert_eq!((record.sequence, &record.payload[..]), (8, &b"two"[..]));
}
