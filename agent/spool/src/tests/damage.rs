//! Bytes that changed after they were synced.

use super::*;
use crate::{Damage, SEQUENCE_FIRST_MAX};

/// Offset of the first record below the header that the tests use.
const START: usize = 28 + 6;
const RECORD: usize = 16 + 3;

#[test]
fn damage_in_the_middle_keeps_the_sound_beginning_and_sets_a_copy_aside() {
    for byte in 0..RECORD {
        let disk = SimDisk::default();
        drop(with_records(&disk, &[b"one", b"two", b"thr"]));
        disk.tamper(&segment_path(1), |bytes| bytes[START + RECORD + byte] ^= 0x40);
        let as_found = disk.contents(&segment_path(1)).unwrap();
        let (mut spool, recovery) = open(&disk);
        assert_eq!(payloads(&mut spool), [b"one"], "byte {byte}");
        let copy = PathBuf::from("/spool/00000000000000000001.segment.damaged");
        assert_eq!(disk.contents(&copy).unwrap(), as_found);
        let lost_bytes = 2 * RECORD as u64;
        let expected = Damage { segment: segment_path(1), kept_records: 1, lost_bytes, copy: Some(copy) };
        assert_eq!(recovery.damaged, [expected]);
        drop(spool);
        assert!(open(&disk).1.damaged.is_empty(), "it is reported once");
    }
}

#[test]
fn a_damaged_segment_does_not_touch_the_others() {
    let disk = SimDisk::default();
    let (mut spool, _) = with_records(&disk, &[b"one", b"two"]);
    spool.begin_segment(b"header", 3).unwrap();
    spool.append(&[b"thr"]).unwrap();
    drop(spool);
    disk.tamper(&segment_path(1), |bytes| bytes[START + RECORD + 17] ^= 1);
    let (mut spool, recovery) = open(&disk);
    assert_eq!(payloads(&mut spool), [b"one", b"thr"]);
    assert_eq!(recovery.damaged.len(), 1, "a closed segment has no torn tail: {recovery:?}");
}

#[test]
fn a_segment_without_a_sound_head_is_set_aside_whole() {
    for byte in 0..START {
        let disk = SimDisk::default();
        drop(with_records(&disk, &[b"one"]));
        disk.tamper(&segment_path(1), |bytes| bytes[byte] ^= 0x04);
        let (mut spool, recovery) = open(&disk);
        assert!(payloads(&mut spool).is_empty());
        assert_eq!(recovery.damaged.len(), 1, "byte {byte}");
        assert_eq!(recovery.damaged[0].lost_bytes, (START + RECORD) as u64);
        assert!(disk.contents(&segment_path(1)).is_none());
        spool.begin_segment(b"header", 2).unwrap();
        spool.append(&[b"two"]).unwrap();
        assert_eq!(payloads(&mut spool), [b"two"]);
    }
}

/// Found by fuzzing: a record 0 was counted and never read, and numbers that ran out were used again.
#[test]
fn a_segment_that_begins_where_none_can_is_set_aside_and_never_begun() {
    for first in [0, SEQUENCE_FIRST_MAX + 1, u64::MAX] {
        let disk = SimDisk::default();
        drop(with_records(&disk, &[b"one"]));
        disk.tamper(&segment_path(1), |bytes| {
            bytes[16..24].copy_from_slice(&first.to_le_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..24]), b"header");
            bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        });
        let (mut spool, recovery) = open(&disk);
        assert_eq!((recovery.records, recovery.damaged.len()), (0, 1), "{first}");
        assert!(matches!(spool.begin_segment(b"header", first), Err(SpoolError::Sequence { .. })));
        spool.begin_segment(b"header", SEQUENCE_FIRST_MAX).unwrap();
        assert_eq!(spool.append(&[b"one", b"two"]).unwrap(), SEQUENCE_FIRST_MAX + 1);
        assert_eq!(payloads(&mut spool), [b"one", b"two"]);
    }
}

#[test]
fn a_file_with_the_last_number_there_is_is_left_alone_and_not_written_over() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[b"one"]));
    let fs: &dyn crate::Filesystem = &disk;
    let last = folder().join(format!("{}.segment", u64::MAX));
    fs.create(&last).unwrap().write_at(0, b"mine").unwrap();
    let (mut spool, _) = open(&disk);
    for first in 2..5 {
        spool.begin_segment(b"header", first).unwrap();
        spool.append(&[b"two"]).unwrap();
    }
    assert_eq!(payloads(&mut spool), [b"one", b"two", b"two", b"two"]);
    assert_eq!(disk.contents(&last).unwrap(), b"mine");
}

#[test]
fn a_segment_of_a_newer_version_is_left_alone_and_named() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[b"one"]));
    disk.tamper(&segment_path(1), |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..24]), b"header");
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    });
    let before = disk.contents(&segment_path(1)).unwrap();
    let error = open_all(&disk).err().unwrap().to_string();
    assert!(error.contains("1.segment has format version 2"), "{error}");
    assert_eq!(disk.contents(&segment_path(1)).unwrap(), before);
}

#[test]
fn damage_that_comes_while_the_spool_is_open_ends_the_segment_there() {
    let disk = SimDisk::default();
    let (mut spool, id) = with_records(&disk, &[b"one", b"two", b"thr"]);
    disk.tamper(&segment_path(1), |bytes| bytes[START + RECORD + 17] ^= 1);
    assert_eq!(payloads(&mut spool), [b"one"]);
    assert_eq!(spool.dropped_records(), 2);
    assert_eq!(spool.waiting_records(), 1);
    assert_eq!(spool.append(&[b"fou"]).unwrap(), 4, "a sequence is not used again");
    let found: Vec<_> = read_all(&mut spool).into_iter().map(|r| (r.1, r.2)).collect();
    assert_eq!(found, [(1, b"one".to_vec()), (4, b"fou".to_vec())]);
    assert!(spool.segments().any(|s| s.id == id), "what is sound stays");
    drop(spool);
    let (mut spool, recovery) = open(&disk);
    assert!(recovery.damaged.is_empty());
    assert_eq!(payloads(&mut spool), [b"one", b"fou"]);
}

#[test]
fn an_open_segment_that_loses_its_head_is_given_up_and_the_next_one_is_begun() {
    let disk = SimDisk::default();
    let (mut spool, id) = with_records(&disk, &[b"one"]);
    disk.tamper(&segment_path(1), |bytes| bytes[30] ^= 1);
    assert_eq!(spool.header(id).unwrap(), None);
    assert_eq!(spool.dropped_records(), 1);
    assert_eq!(spool.next_sequence(), None);
    spool.begin_segment(b"header", 2).unwrap();
    spool.append(&[b"two"]).unwrap();
    assert_eq!(payloads(&mut spool), [b"two"]);
}

#[test]
fn a_closed_segment_goes_when_all_before_its_damage_was_acknowledged() {
    let disk = SimDisk::default();
    let (mut spool, _) = with_records(&disk, &[b"one", b"two"]);
    let first = spool.segment_after(None).unwrap().id;
    spool.begin_segment(b"header", 3).unwrap();
    disk.tamper(&segment_path(1), |bytes| bytes[START + RECORD + 17] ^= 1);
    spool.acknowledge(first, 1).unwrap();
    let mut cursor = spool.cursor(first, 1).unwrap().unwrap();
    assert_eq!(spool.next(&mut cursor).unwrap(), Next::End);
    assert_eq!((spool.dropped_records(), spool.waiting_records()), (1, 0));
    assert!(disk.contents(&segment_path(1)).is_none());
}

#[test]
fn a_full_disk_does_not_keep_a_damaged_spool_from_opening() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[b"one", b"two", b"thr"]));
    disk.tamper(&segment_path(1), |bytes| bytes[START + RECORD + 17] ^= 1);
    disk.set_space(Some(10));
    let (mut spool, recovery) = open(&disk);
    assert_eq!(recovery.damaged[0].copy, None);
    assert_eq!(payloads(&mut spool), [b"one"]);
    assert!(disk.paths().iter().all(|p| p.extension().is_none_or(|e| e != "damaged")), "no half copy");
}

#[test]
fn copies_of_damaged_segments_go_before_any_record_does() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[&[1; 3_000], b"two", b"thr"]));
    disk.tamper(&segment_path(1), |bytes| bytes[START + 3_016 + 17] ^= 1);
    let (mut spool, recovery) = open(&disk);
    let copy = recovery.damaged[0].copy.clone().unwrap();
    assert_eq!(spool.bytes(), 2 * (START as u64 + 3_016) + 2 * RECORD as u64);
    spool.begin_segment(b"header", 2).unwrap();
    while disk.contents(&copy).is_some() {
        assert_eq!(spool.dropped_records(), 0);
        assert!(spool.append(&[&[0; 1_000]]).unwrap() < 1_000, "the copy stays");
    }
    assert_eq!(spool.dropped_records(), 0);
    assert!(spool.bytes() <= CAP);
}

#[test]
fn foreign_files_in_the_folder_are_left_alone() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[b"one"]));
    let fs: &dyn crate::Filesystem = &disk;
    for name in ["notes.txt", "1.segment", "x0000000000000000001.segment", "00000000000000000002.segment.tmp"]
    {
        fs.create(&folder().join(name)).unwrap().write_at(0, b"mine").unwrap();
    }
    let (mut spool, recovery) = open(&disk);
    assert_eq!((recovery.records, recovery.damaged.len()), (1, 0));
    assert_eq!(payloads(&mut spool), [b"one"]);
    assert_eq!(disk.contents(&folder().join("1.segment")).unwrap(), b"mine");
}
