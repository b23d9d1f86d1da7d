//! Crashes, full and failing disks, the cap.

use super::*;
use crate::{BLOB_BYTES_MAX, CAP_BYTES_MIN, RECORD_BYTES_MAX};

#[test]
fn records_come_back_in_order_with_their_headers_after_a_restart() {
    let disk = SimDisk::default();
    let (mut spool, _) = with_records(&disk, &[b"one", b"two"]);
    spool.begin_segment(b"other", 7).unwrap();
    assert_eq!(spool.append(&[b"seven", b"eight"]).unwrap(), 8);
    let expected = [("header", 1, "one"), ("header", 2, "two"), ("other", 7, "seven"), ("other", 8, "eight")]
        .map(|(header, sequence, payload)| (header.into(), sequence, payload.into()));
    assert_eq!(read_all(&mut spool), expected);
    drop(spool);
    let (mut spool, recovery) = open(&disk);
    assert_eq!(recovery.records, 4);
    assert_eq!(read_all(&mut spool), expected);
}

#[test]
fn a_second_process_is_turned_away_until_the_first_is_gone() {
    let disk = SimDisk::default();
    let (spool, _) = open(&disk);
    let refused = open_all(&disk).err().unwrap();
    assert!(matches!(refused, SpoolError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("/spool is in use by another process"));
    drop(spool);
    open(&disk);
}

#[test]
fn appending_without_a_segment_is_an_error_and_harms_nothing() {
    let disk = SimDisk::default();
    let (mut spool, _) = open(&disk);
    assert!(matches!(spool.append(&[b"x"]), Err(SpoolError::NoSegment)));
    assert_eq!(spool.next_sequence(), None);
    assert!(payloads(&mut spool).is_empty());
}

#[test]
fn a_torn_last_record_is_cut_off_at_every_length_and_the_ones_before_it_stay() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[b"one", b"two"]));
    let whole = disk.contents(&segment_path(1)).unwrap();
    let last = 16 + 3;
    for torn in 1..last {
        disk.tamper(&segment_path(1), |bytes| *bytes = whole[..whole.len() - torn].to_vec());
        let (mut spool, recovery) = open(&disk);
        assert_eq!(payloads(&mut spool), [b"one"]);
        assert_eq!(recovery.torn_bytes, (last - torn) as u64);
        assert!(recovery.damaged.is_empty());
    }
}

#[test]
fn a_tail_of_zeros_or_rubbish_is_cut_off() {
    for rubbish in [vec![0; 5_000], vec![0xff; 40], b"GLSPOOL\n".repeat(100)] {
        let disk = SimDisk::default();
        drop(with_records(&disk, &[b"one", b"two"]));
        disk.tamper(&segment_path(1), |bytes| bytes.extend(&rubbish));
        let (mut spool, recovery) = open(&disk);
        assert_eq!(payloads(&mut spool), [b"one", b"two"]);
        assert_eq!(recovery.torn_bytes, rubbish.len() as u64);
    }
}

#[test]
fn a_segment_whose_creation_was_cut_short_is_removed_quietly() {
    let disk = SimDisk::default();
    drop(with_records(&disk, &[b"one"]));
    let head = disk.contents(&segment_path(1)).unwrap()[..28 + 6].to_vec();
    for left in [0, 5, 27, 28, 30] {
        let (mut spool, _) = open(&disk);
        spool.begin_segment(b"header", 2).unwrap();
        let path = disk.paths().into_iter().rfind(|p| p.extension().is_some_and(|e| e == "segment")).unwrap();
        drop(spool);
        disk.tamper(&path, |bytes| *bytes = head[..left].to_vec());
        let (mut spool, recovery) = open(&disk);
        assert!(recovery.damaged.is_empty(), "{left}");
        assert!(disk.contents(&path).is_none(), "{left}");
        assert_eq!(payloads(&mut spool), [b"one"]);
    }
}

#[test]
fn what_a_killed_process_wrote_but_did_not_sync_is_durable_once_it_can_be_read() {
    for seed in 0..50 {
        let disk = SimDisk::default();
        let (mut spool, _) = with_records(&disk, &[b"one"]);
        disk.kill_at_next_sync();
        spool.append(&[b"two"]).unwrap_err();
        drop(spool);
        disk.kill_process();
        assert_eq!(payloads(&mut open(&disk).0), [b"one", b"two"]);
        disk.fail_power(seed);
        assert_eq!(payloads(&mut open(&disk).0), [b"one", b"two"], "seed {seed}");
    }
}

#[test]
fn a_power_failure_right_after_a_segment_was_begun_is_no_damage() {
    for seed in 0..50 {
        let disk = SimDisk::default();
        let (mut spool, _) = with_records(&disk, &[b"one"]);
        spool.begin_segment(&[7; 1_000], 2).unwrap();
        drop(spool);
        disk.fail_power(seed);
        let (mut spool, recovery) = open(&disk);
        assert_eq!((recovery.damaged, recovery.torn_bytes), (vec![], 0), "seed {seed}");
        assert_eq!(payloads(&mut spool), [b"one"]);
    }
}

#[test]
fn a_full_disk_refuses_the_record_and_takes_it_when_there_is_space_again() {
    let disk = SimDisk::default();
    let (mut spool, _) = with_records(&disk, &[b"one"]);
    for space in 0..16 + 3 {
        disk.set_space(Some(space));
        let error = spool.append(&[b"two"]).unwrap_err();
        assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
        assert_eq!(payloads(&mut spool), [b"one"], "with {space} bytes left");
    }
    disk.set_space(None);
    assert_eq!(spool.append(&[b"two"]).unwrap(), 2);
    drop(spool);
    let (mut spool, recovery) = open(&disk);
    assert_eq!(recovery.torn_bytes, 0);
    assert_eq!(payloads(&mut spool), [b"one", b"two"]);
}

#[test]
fn a_full_disk_leaves_the_open_segment_open_when_another_cannot_be_begun() {
    let disk = SimDisk::default();
    let (mut spool, id) = with_records(&disk, &[b"one"]);
    disk.set_space(Some(10));
    assert!(matches!(spool.begin_segment(b"other", 9), Err(SpoolError::DiskFull { .. })));
    disk.set_space(None);
    assert_eq!(spool.append(&[b"two"]).unwrap(), 2);
    assert_eq!(spool.segments().map(|s| (s.id, s.next_sequence)).collect::<Vec<_>>(), [(id, 3)]);
}

#[test]
fn a_disk_that_turns_read_only_keeps_what_it_has_readable() {
    let disk = SimDisk::default();
    let (mut spool, _) = with_records(&disk, &[b"one"]);
    disk.set_read_only(true);
    for _ in 0..3 {
        let error = spool.append(&[b"two"]).unwrap_err();
        assert!(matches!(error, SpoolError::ReadOnly { .. }), "{error}");
    }
    assert_eq!(payloads(&mut spool), [b"one"]);
    disk.set_read_only(false);
    spool.append(&[b"two"]).unwrap();
    assert_eq!(payloads(&mut spool), [b"one", b"two"]);
}

#[test]
fn a_record_whose_sync_failed_does_not_exist_and_is_overwritten_by_the_next() {
    let disk = SimDisk::default();
    let (mut spool, _) = with_records(&disk, &[b"one"]);
    for failing in 1..=3 {
        disk.fail_syncs(failing);
        spool.append(&[b"a longer record"]).unwrap_err();
        assert_eq!(payloads(&mut spool), [b"one"]);
        disk.fail_syncs(0);
    }
    assert_eq!(spool.append(&[b"two"]).unwrap(), 2);
    disk.fail_power(3);
    let (mut spool, recovery) = open(&disk);
    assert_eq!(payloads(&mut spool), [b"one", b"two"]);
    assert_eq!(recovery.torn_bytes, 0);
}

#[test]
fn a_full_spool_drops_its_oldest_segment_and_counts_only_what_was_not_acknowledged() {
    let disk = SimDisk::default();
    let (mut spool, first) = with_records(&disk, &[]);
    let record = [7; 1_000];
    while spool.dropped_records() == 0 {
        let last = spool.append(&[&record]).unwrap();
        assert!(last < 1_000, "nothing is dropped");
        spool.acknowledge(first, 1).unwrap();
        assert!(spool.bytes() <= CAP, "{} bytes after record {last}", spool.bytes());
    }
    assert!(spool.segments().all(|s| s.id != first));
    assert_eq!(spool.dropped_records(), 2, "three records fill a segment, one was acknowledged");
    let kept = read_all(&mut spool);
    assert_eq!(kept.first().unwrap().1, 4);
    assert!(kept.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1), "no hole but at the beginning");
    assert_eq!(spool.waiting_records(), kept.len() as u64);
}

#[test]
fn a_cap_that_was_lowered_holds_from_the_next_opening() {
    let disk = SimDisk::default();
    let options = Options { cap_bytes: 4 * CAP };
    let (mut spool, _, _, _) = Spool::open_on(Arc::new(disk.clone()), folder(), options).unwrap();
    spool.begin_segment(b"header", 1).unwrap();
    while spool.bytes() < 3 * CAP {
        spool.append(&[&[0; 1_000]]).unwrap();
    }
    let before = spool.waiting_records();
    drop(spool);
    let (spool, recovery) = open(&disk);
    assert!(spool.bytes() <= CAP && spool.bytes() > CAP / 2, "{}", spool.bytes());
    assert_eq!(spool.waiting_records() + spool.dropped_records(), before);
    assert_eq!(recovery.records, spool.waiting_records());
}

#[test]
fn a_segment_dropped_under_a_reader_is_told_to_it() {
    let disk = SimDisk::default();
    let (mut spool, first) = with_records(&disk, &[b"one"]);
    let mut cursor = spool.cursor(first, 0).unwrap().unwrap();
    spool.begin_segment(b"next", 2).unwrap();
    while spool.dropped_records() == 0 {
        assert!(spool.append(&[&[0; 1_000]]).unwrap() < 1_000, "nothing is dropped");
    }
    assert_eq!(spool.next(&mut cursor).unwrap(), Next::Gone);
    assert!(spool.cursor(first, 0).unwrap().is_none());
    assert!(spool.header(first).unwrap().is_none());
    spool.acknowledge(first, 1).unwrap();
}

#[test]
fn the_largest_header_and_records_always_find_room_without_touching_the_open_segment() {
    let disk = SimDisk::default();
    let (mut spool, _) = open(&disk);
    let blob = vec![1; usize::try_from(CAP / 4).unwrap()];
    let record = vec![2; usize::try_from(CAP / 2 - 16).unwrap()];
    for round in 0..5 {
        spool.begin_segment(&blob, 1 + round).unwrap();
        assert_eq!(spool.append(&[&record]).unwrap(), 1 + round);
        assert_eq!(read_all(&mut spool).last().unwrap().2, record);
        assert!(spool.bytes() <= CAP + 64, "{}", spool.bytes());
    }
}

#[test]
fn what_can_never_fit_is_refused_with_the_limit() {
    let disk = SimDisk::default();
    let refused = Spool::open_on(Arc::new(disk.clone()), folder(), Options { cap_bytes: CAP_BYTES_MIN - 1 });
    assert!(matches!(refused.err().unwrap(), SpoolError::CapTooSmall { .. }));
    let (mut spool, _, _, _) =
        Spool::open_on(Arc::new(disk), folder(), Options { cap_bytes: 1 << 30 }).unwrap();
    let error = spool.begin_segment(&vec![0; BLOB_BYTES_MAX + 1], 1).unwrap_err();
    assert!(error.to_string().contains("the limit is 262144 bytes"), "{error}");
    spool.begin_segment(b"", 1).unwrap();
    let error = spool.append(&[&vec![0; RECORD_BYTES_MAX + 1]]).unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { .. }), "{error}");
    assert_eq!(spool.append(&[b"fits"]).unwrap(), 1);
}

#[test]
fn an_acknowledged_segment_goes_when_it_is_closed_and_not_before() {
    let disk = SimDisk::default();
    let (mut spool, first) = with_records(&disk, &[b"one", b"two"]);
    spool.acknowledge(first, 1).unwrap();
    assert_eq!((spool.waiting_records(), spool.waiting_bytes()), (1, 16 + 3));
    spool.acknowledge(first, 99).unwrap();
    assert_eq!((spool.waiting_records(), spool.waiting_bytes()), (0, 0));
    assert!(disk.contents(&segment_path(1)).is_some());
    let mut cursor = spool.cursor(first, 2).unwrap().unwrap();
    assert_eq!(spool.next(&mut cursor).unwrap(), Next::Wait);
    spool.append(&[b"three"]).unwrap();
    assert!(matches!(spool.next(&mut cursor).unwrap(), Next::Record(r) if r.sequence == 3));
    spool.begin_segment(b"next", 4).unwrap();
    assert_eq!(spool.next(&mut cursor).unwrap(), Next::End);
    spool.acknowledge(first, 3).unwrap();
    assert!(disk.contents(&segment_path(1)).is_none());
    assert_eq!(spool.dropped_records(), 0);
}

#[test]
fn a_cursor_goes_on_behind_any_record_whatever_is_acknowledged() {
    let disk = SimDisk::default();
    let (mut spool, id) = with_records(&disk, &[b"a", b"b", b"c", b"d"]);
    for acknowledged in 0..4 {
        spool.acknowledge(id, acknowledged).unwrap();
        for after in 0..6 {
            let mut cursor = spool.cursor(id, after).unwrap().unwrap();
            let next = spool.next(&mut cursor).unwrap();
            if after >= 4 {
                assert_eq!(next, Next::Wait);
            } else {
                assert!(matches!(&next, Next::Record(r) if r.sequence == after + 1), "{after}: {next:?}");
            }
        }
    }
}

#[test]
fn on_the_real_file_system_it_locks_keeps_and_removes() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("a/spool");
    let options = Options { cap_bytes: CAP };
    let (mut spool, mut journal, _, _) = Spool::open(&folder, options).unwrap();
    assert!(matches!(Spool::open(&folder, options).err().unwrap(), SpoolError::Locked { .. }));
    let id = spool.begin_segment(b"header", 1).unwrap();
    spool.append(&[b"one", b"two"]).unwrap();
    journal.append(&[(3, b"gathered")]).unwrap();
    drop(spool);
    let (mut spool, _, entries, recovery) = Spool::open(&folder, options).unwrap();
    assert_eq!((recovery.records, entries), (2, vec![Entry { tag: 3, bytes: b"gathered".to_vec() }]));
    assert_eq!(payloads(&mut spool), [b"one", b"two"]);
    spool.acknowledge(id, 2).unwrap();
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "lock and journal only: {left:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    let folder = home.path().join("file/spool");
    let error = Spool::open(&folder, Options { cap_bytes: CAP }).err().unwrap().to_string();
    assert!(error.contains("cannot create the folder") && error.contains("file/spool"), "{error}");
}
