//! Records that the receiver will never take: each becomes a segment of its own under a suffix that
//! nothing reads, so that the ones behind it can go on and it is not lost.

use crate::error::SpoolError;
use crate::format;
use crate::read::Record;
use crate::spool::{REFUSED_SUFFIX, SegmentId, Spool};
use std::io;
use std::path::{Path, PathBuf};

impl Spool {
    /// Copies a record of a segment into a file of its own and counts it as dropped. It stays in its
    /// segment until it is acknowledged there. The file has the format of a segment: under the name of
    /// one it is sent again after the next start.
    pub fn set_record_aside(&mut self, id: SegmentId, record: &Record) -> Result<PathBuf, SpoolError> {
        let header = self.header(id)?.unwrap_or_default();
        let mut bytes = format::encode_head(format::SEGMENT_MAGIC, record.sequence, &header);
        format::encode_record(&mut bytes, record.sequence, &record.payload);
        let path = self.folder.join(format!("{:020}{REFUSED_SUFFIX}", self.next_id));
        if let Err(error) = self.write_aside(&path, &bytes) {
            // Half a copy helps nobody and takes room.
            let _ = self.fs.remove(&path);
            return Err(SpoolError::io("write", &path, error));
        }
        self.next_id = self.next_id.saturating_add(1);
        self.copies.push_back((path.clone(), bytes.len() as u64));
        self.dropped_records += 1;
        Ok(path)
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
    fn second(disk: &SimDisk) -> (Spool, SegmentId, Record) {
        let mut spool = open(disk);
        let id = spool.begin_segment(b"header", 7).unwrap();
        spool.append(&[b"good", b"bad"]).unwrap();
        let mut cursor = spool.cursor(id, 7).unwrap().unwrap();
        let Next::Record(record) = spool.next(&mut cursor).unwrap() else { panic!("no record") };
        (spool, id, record)
    }

    #[test]
    fn a_record_that_was_set_aside_is_sent_again_under_the_name_of_a_segment() {
        let disk = SimDisk::default();
        let (mut spool, id, record) = second(&disk);
        let path = spool.set_record_aside(id, &record).unwrap();
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
        let (mut spool, id, record) = second(&disk);
        let path = spool.set_record_aside(id, &record).unwrap();
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
        let (mut spool, id, record) = second(&disk);
        disk.set_space(Some(10));
        assert!(matches!(spool.set_record_aside(id, &record), Err(SpoolError::DiskFull { .. })));
        assert_eq!((spool.dropped_records(), disk.paths().len()), (0, 2), "the segment and the journal");
    }
}
