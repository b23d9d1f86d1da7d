//! Records that the receiver will never take: each becomes a segment of its own under a suffix that
//! nothing reads, so that the ones behind it can go on and it is not lost.
//!
//! Invariants: copies never make the spool larger than its cap, and never cost a record its place; the
//! same record is copied once, however often it is set aside.

use crate::error::SpoolError;
use crate::format;
use crate::read::Record;
use crate::recover::read_vec;
use crate::spool::{REFUSED_SUFFIX, Spool};
use std::io;
use std::path::{Path, PathBuf};

/// What became of a record that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// It was copied into this file and counts as dropped.
    Copied(PathBuf),
    /// It was copied before, as by the process before this one.
    Known(PathBuf),
    /// Records take all the room there is: it counts as dropped, and there is no copy.
    NoRoom,
}

impl Spool {
    /// Copies a record into a file of its own and counts it as dropped. What it is a copy of stays in
    /// its segment until it is acknowledged there. The file has the format of a segment with this
    /// header: under the name of one it is sent again after the next start.
    pub fn set_record_aside(&mut self, header: &[u8], record: &Record) -> Result<Aside, SpoolError> {
        let mut bytes = format::encode_head(format::SEGMENT_MAGIC, record.sequence, header);
        format::encode_record(&mut bytes, record.sequence, &record.payload);
        if let Some(known) = self.copy_of(&bytes) {
            return Ok(Aside::Known(known));
        }
        if !self.make_room_for_copy(bytes.len() as u64)? {
            self.dropped_records += 1;
            return Ok(Aside::NoRoom);
        }
        let path = self.folder.join(format!("{:020}{REFUSED_SUFFIX}", self.next_id));
        if let Err(error) = self.write_aside(&path, &bytes) {
            // Half a copy helps nobody and takes room.
            let _ = self.fs.remove(&path);
            return Err(SpoolError::io("write", &path, error));
        }
        self.next_id = self.next_id.saturating_add(1);
        self.copies.push_back((path.clone(), bytes.len() as u64));
        self.dropped_records += 1;
        Ok(Aside::Copied(path))
    }

    /// A copy that holds just this. One that cannot be read is none.
    fn copy_of(&self, bytes: &[u8]) -> Option<PathBuf> {
        let length = bytes.len() as u64;
        let same = |path: &Path| {
            let file = self.fs.open(path)?;
            Ok::<_, io::Error>(read_vec(file.as_ref(), 0, bytes.len(), length)?.is_some_and(|it| it == bytes))
        };
        let mut alike = self.copies.iter().filter(|copy| copy.1 == length);
        alike.find(|copy| same(&copy.0).unwrap_or(false)).map(|copy| copy.0.clone())
    }

    /// Drops older copies until so many bytes fit; false where only records are left to drop.
    fn make_room_for_copy(&mut self, bytes: u64) -> Result<bool, SpoolError> {
        while self.bytes() + bytes > self.options.cap_bytes {
            let Some((path, _)) = self.copies.front() else { return Ok(false) };
            self.fs.remove(path).map_err(|e| SpoolError::io("remove", path, e))?;
            self.copies.pop_front();
        }
        Ok(true)
    }

    fn write_aside(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.fs.create(path)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        self.fs.sync_folder(&self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filesystem;
    use crate::sim::SimDisk;
    use crate::{CAP_BYTES_MIN, Next, Options};
    use std::sync::Arc;

    fn open(disk: &SimDisk) -> Spool {
        let options = Options { cap_bytes: CAP_BYTES_MIN };
        Spool::open_on(Arc::new(disk.clone()), Path::new("/spool"), options).unwrap().0
    }

    /// A spool with a segment of two records, and the second of them.
    fn second(disk: &SimDisk) -> (Spool, Record) {
        let mut spool = open(disk);
        let id = spool.begin_segment(b"header", 7).unwrap();
        spool.append(&[b"good", b"bad"]).unwrap();
        let mut cursor = spool.cursor(id, 7).unwrap().unwrap();
        let Next::Record(record) = spool.next(&mut cursor).unwrap() else { panic!("no record") };
        (spool, record)
    }

    fn copied(spool: &mut Spool, record: &Record) -> PathBuf {
        let Aside::Copied(path) = spool.set_record_aside(b"header", record).unwrap() else {
            panic!("not copied")
        };
        path
    }

    #[test]
    fn a_record_that_was_set_aside_is_sent_again_under_the_name_of_a_segment() {
        let disk = SimDisk::default();
        let (mut spool, record) = second(&disk);
        let path = copied(&mut spool, &record);
        assert_eq!((spool.dropped_records(), spool.waiting_records()), (1, 2));
        let aside = disk.contents(&path).unwrap();
        drop(spool);

        let elsewhere = SimDisk::default();
        open(&elsewhere);
        elsewhere.kill_process();
        let name = Path::new("/spool").join(format!("{:020}.segment", 3));
        elsewhere.create(&name).unwrap().write_at(0, &aside).unwrap();
        let mut spool = open(&elsewhere);
        let info = spool.segment_after(None).unwrap();
        assert_eq!(spool.header(info.id).unwrap().unwrap(), b"header");
        let mut cursor = spool.cursor(info.id, 0).unwrap().unwrap();
        assert_eq!(spool.next(&mut cursor).unwrap(), Next::Record(record));
    }

    #[test]
    fn what_was_set_aside_counts_against_the_cap_and_goes_first_after_a_restart_too() {
        let disk = SimDisk::default();
        let (mut spool, record) = second(&disk);
        let path = copied(&mut spool, &record);
        drop(spool);
        disk.kill_process();
        let mut spool = open(&disk);
        assert_eq!(spool.bytes(), disk.contents(&path).unwrap().len() as u64 + spool.waiting_bytes() + 34);
        spool.begin_segment(b"next", 1).unwrap();
        while disk.contents(&path).is_some() {
            assert_eq!(spool.dropped_records(), 0, "records go only after copies");
            spool.append(&[&[0; 1_000]]).unwrap();
        }
    }

    #[test]
    fn a_full_disk_sets_nothing_aside_and_drops_nothing() {
        let disk = SimDisk::default();
        let (mut spool, record) = second(&disk);
        disk.set_space(Some(10));
        assert!(matches!(spool.set_record_aside(b"header", &record), Err(SpoolError::DiskFull { .. })));
        assert_eq!((spool.dropped_records(), disk.paths().len()), (0, 2), "the segment and the journal");
    }

    #[test]
    fn the_same_record_is_copied_once_however_often_the_process_starts() {
        let disk = SimDisk::default();
        let (mut spool, record) = second(&disk);
        let path = copied(&mut spool, &record);
        for _ in 0..3 {
            drop(spool);
            disk.kill_process();
            spool = open(&disk);
            let again = spool.set_record_aside(b"header", &record).unwrap();
            assert_eq!((again, spool.dropped_records()), (Aside::Known(path.clone()), 0));
        }
        let other = Record { sequence: 8, payload: b"BAD".to_vec() };
        assert_ne!(copied(&mut spool, &other), path, "as long, and another");
    }

    #[test]
    fn copies_stay_within_the_cap_and_cost_no_record_its_place() {
        let disk = SimDisk::default();
        let (mut spool, _) = second(&disk);
        let record = |sequence| Record { sequence, payload: vec![7; 20_000] };
        for sequence in 1..20 {
            copied(&mut spool, &record(sequence));
            assert!(spool.bytes() <= CAP_BYTES_MIN);
        }
        assert_eq!((spool.dropped_records(), spool.waiting_records()), (19, 2));
        while spool.bytes() + 20_000 <= CAP_BYTES_MIN || !spool.copies.is_empty() {
            spool.append(&[&[0; 1_000]]).unwrap();
        }
        let (waiting, dropped) = (spool.waiting_records(), spool.dropped_records());
        assert_eq!(spool.set_record_aside(b"header", &record(20)).unwrap(), Aside::NoRoom);
        assert_eq!((spool.waiting_records(), spool.dropped_records()), (waiting, dropped + 1));
    }
}
