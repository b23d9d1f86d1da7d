//! The journal against killed processes and full disks.

use super::*;

fn entry(tag: u64, bytes: &[u8]) -> Entry {
    Entry { tag, bytes: bytes.to_vec() }
}

fn reopened(disk: &SimDisk) -> (Journal, Vec<Entry>) {
    disk.kill_process();
    let (_, journal, entries, _) = open_all(disk).unwrap();
    (journal, entries)
}

#[test]
fn entries_survive_a_killed_process_and_more_can_follow() {
    let disk = SimDisk::default();
    let (mut journal, entries) = reopened(&disk);
    assert!(entries.is_empty() && journal.is_empty());
    journal.append(&[(0, b"head"), (5, b"a")]).unwrap();
    let (mut journal, entries) = reopened(&disk);
    assert_eq!(entries, [entry(0, b"head"), entry(5, b"a")]);
    journal.append(&[(5, b"b")]).unwrap();
    assert_eq!(reopened(&disk).1, [entry(0, b"head"), entry(5, b"a"), entry(5, b"b")]);
}

#[test]
fn a_cleared_journal_is_empty_after_a_restart() {
    let disk = SimDisk::default();
    let (mut journal, _) = reopened(&disk);
    journal.append(&[(1, b"a")]).unwrap();
    journal.clear().unwrap();
    assert!(journal.is_empty());
    assert!(reopened(&disk).1.is_empty());
}

#[test]
fn a_torn_or_damaged_end_costs_only_itself() {
    let disk = SimDisk::default();
    let path = folder().join("journal");
    let (mut journal, _) = reopened(&disk);
    journal.append(&[(1, b"aa"), (1, b"bb")]).unwrap();
    let whole = disk.contents(&path).unwrap();
    for cut in 1..18 {
        disk.tamper(&path, |bytes| *bytes = whole[..whole.len() - cut].to_vec());
        assert_eq!(reopened(&disk).1, [entry(1, b"aa")]);
    }
    disk.tamper(&path, |bytes| {
        bytes.clone_from(&whole);
        bytes[3] ^= 1;
    });
    let (mut journal, entries) = reopened(&disk);
    assert!(entries.is_empty(), "not a journal");
    journal.append(&[(2, b"cc")]).unwrap();
    assert_eq!(reopened(&disk).1, [entry(2, b"cc")]);
}

#[test]
fn a_full_disk_refuses_an_entry_whole_and_goes_on_later() {
    let disk = SimDisk::default();
    let (mut journal, _) = reopened(&disk);
    journal.append(&[(1, b"a")]).unwrap();
    for space in 0..2 * 17 {
        disk.set_space(Some(space));
        let error = journal.append(&[(1, b"b"), (1, b"c")]).unwrap_err();
        assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
    }
    disk.set_space(None);
    journal.append(&[(1, b"d")]).unwrap();
    assert_eq!(reopened(&disk).1, [entry(1, b"a"), entry(1, b"d")]);
}

#[test]
fn a_power_failure_leaves_a_journal_that_opens() {
    for seed in 0..200 {
        let disk = SimDisk::default();
        let (mut journal, _) = reopened(&disk);
        journal.append(&[(1, &[1; 100]), (2, &[2; 100]), (3, &[3; 100])]).unwrap();
        disk.fail_power(seed);
        let (_, entries) = reopened(&disk);
        let all = [entry(1, &[1; 100]), entry(2, &[2; 100]), entry(3, &[3; 100])];
        assert!(all.starts_with(&entries), "seed {seed}: {entries:?}");
    }
}

#[test]
fn it_does_not_grow_without_bound() {
    let disk = SimDisk::default();
    let (mut journal, _) = reopened(&disk);
    let mib = vec![0; 1024 * 1024];
    let refused = (0..32).find_map(|_| journal.append(&[(1, &mib)]).err()).unwrap();
    assert!(matches!(refused, SpoolError::TooLarge { .. }), "{refused}");
    journal.clear().unwrap();
    journal.append(&[(1, &mib)]).unwrap();
}
