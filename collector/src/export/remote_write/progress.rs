//! How far the queue was sent, so that a restart goes on behind it.
//!
//! Two kinds of files beside the segments of the queue. Integers are little-endian, checksums CRC-32C
//! over what stands before them.
//!
//! ```text
//! memory-00000000000000000042   the renderer's memory before record 43: bytes, crc 4
//! progress                      two places of 32 bytes, written in turn:
//!                               turn 8 | record 8 | requests of the record after it 8 | zero 4 | crc 4
//! ```
//!
//! A memory is written now and then, a place in `progress` after every request that was answered. After
//! a restart the records between the two are rendered again and not sent again. Records go from the
//! queue when a memory behind them is durable.
//!
//! Invariants: a memory is complete and synced before the one before it is removed; of two places at
//! least one is sound whenever the process is killed. Places are not synced: after a power failure an
//! older one may be found, and what was sent since then is sent again, the same as before.

use gpuledger_spool::{File, Filesystem};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PLACE_BYTES: usize = 32;
const PREFIX: &str = "memory-";

/// What was done with: all records up to `record`, and so many requests of the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub record: u64,
    pub requests: u64,
}

pub struct Progress {
    fs: Arc<dyn Filesystem>,
    folder: PathBuf,
    file: Box<dyn File>,
    turn: u64,
}

/// What was found when the progress was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    pub place: Place,
    /// The newest memory that is sound, and the record that it ends with.
    pub memory: Option<(u64, Vec<u8>)>,
}

impl Progress {
    /// The folder must exist and be locked: it is the queue's.
    pub fn open(fs: Arc<dyn Filesystem>, folder: &Path) -> io::Result<(Self, Resumed)> {
        let path = folder.join("progress");
        let file = match fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create(&path)?,
            opened => opened?,
        };
        let places = [place(file.as_ref(), 0), place(file.as_ref(), 1)];
        let (turn, place) = places.into_iter().flatten().max_by_key(|(turn, _)| *turn).unwrap_or_default();
        let progress = Self { fs, folder: folder.to_owned(), file, turn };
        let memory = progress.newest_memory()?;
        Ok((progress, Resumed { place, memory }))
    }

    /// Notes how far the receiver has answered.
    pub fn note(&mut self, place: Place) -> io::Result<()> {
        self.turn = self.turn.saturating_add(1);
        let mut bytes = Vec::with_capacity(PLACE_BYTES);
        for number in [self.turn, place.record, place.requests] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        self.file.write_at(self.turn % 2 * PLACE_BYTES as u64, &bytes)
    }

    /// Keeps the memory behind a record, and forgets older ones.
    pub fn keep(&mut self, record: u64, memory: &[u8]) -> io::Result<()> {
        let path = self.path(record);
        let mut file = self.fs.create(&path)?;
        let mut bytes = memory.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(memory).to_le_bytes());
        file.write_at(0, &bytes)?;
        file.sync()?;
        self.fs.sync_folder(&self.folder)?;
        for older in self.memories()?.into_iter().filter(|&older| older < record) {
            // What cannot be removed now is older than another one at the next start too.
            let _ = self.fs.remove(&self.path(older));
        }
        Ok(())
    }

    fn newest_memory(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut records = self.memories()?;
        records.sort_unstable();
        let sound = |record: u64| Some((record, self.read(record)?));
        Ok(records.into_iter().rev().find_map(sound))
    }

    fn read(&self, record: u64) -> Option<Vec<u8>> {
        let file = self.fs.open(&self.path(record)).ok()?;
        let mut bytes = vec![0; usize::try_from(file.bytes().ok()?).ok()?];
        file.read_at(0, &mut bytes).ok()?;
        let memory = bytes.len().checked_sub(4)?;
        let crc = bytes.split_off(memory);
        (crc32c::crc32c(&bytes).to_le_bytes()[..] == crc[..]).then_some(bytes)
    }

    fn memories(&self) -> io::Result<Vec<u64>> {
        let names = self.fs.list(&self.folder)?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect())
    }

    fn path(&self, record: u64) -> PathBuf {
        self.folder.join(format!("{PREFIX}{record:020}"))
    }
}

/// A place, where it is sound.
fn place(file: &dyn File, number: u64) -> Option<(u64, Place)> {
    let mut bytes = [0; PLACE_BYTES];
    file.read_at(number * PLACE_BYTES as u64, &mut bytes).ok()?;
    let (told, crc) = bytes.split_at(PLACE_BYTES - 4);
    let number = |at: usize| told.get(at * 8..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let is_sound = crc32c::crc32c(told).to_le_bytes()[..] == *crc;
    let (turn, record, requests) = (number(0)?, number(1)?, number(2)?);
    is_sound.then_some((turn, Place { record, requests }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_spool::sim::SimDisk;

    const FOLDER: &str = "/queue";

    fn open(disk: &SimDisk) -> (Progress, Resumed) {
        Progress::open(Arc::new(disk.clone()), Path::new(FOLDER)).unwrap()
    }

    #[test]
    fn the_last_place_and_the_newest_memory_are_found_again() {
        let disk = SimDisk::default();
        let (mut progress, found) = open(&disk);
        assert_eq!(found, Resumed::default());
        for requests in 0..5 {
            progress.note(Place { record: 7, requests }).unwrap();
        }
        progress.keep(3, b"three").unwrap();
        progress.keep(7, b"seven").unwrap();
        let place = Place { record: 7, requests: 4 };
        assert_eq!(open(&disk).1, Resumed { place, memory: Some((7, b"seven".to_vec())) });
        let memories: Vec<_> =
            disk.paths().into_iter().filter(|p| p.to_str().unwrap().contains(PREFIX)).collect();
        assert_eq!(memories.len(), 1, "older memories are forgotten: {memories:?}");
    }

    #[test]
    fn a_torn_place_leaves_the_one_before() {
        let disk = SimDisk::default();
        let (mut progress, _) = open(&disk);
        progress.note(Place { record: 1, requests: 0 }).unwrap();
        progress.note(Place { record: 2, requests: 0 }).unwrap();
        for (torn, left) in [(40, 2), (8, 1)] {
            let copy = disk.copy();
            copy.tamper(&Path::new(FOLDER).join("progress"), |bytes| bytes[torn] ^= 1);
            assert_eq!(open(&copy).1.place.record, left, "byte {torn}");
        }
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let disk = SimDisk::default();
        let (mut progress, _) = open(&disk);
        progress.keep(3, b"three").unwrap();
        disk.tamper(&progress.path(3), |bytes| bytes[0] ^= 1);
        assert_eq!(open(&disk).1.memory, None);
    }

    #[test]
    fn a_power_failure_while_a_memory_is_written_leaves_the_one_before_or_it() {
        for seed in 0..50 {
            let disk = SimDisk::default();
            let (mut progress, _) = open(&disk);
            progress.keep(3, b"three").unwrap();
            disk.kill_at_next_sync();
            assert!(progress.keep(9, b"nine").is_err());
            disk.fail_power(seed);
            let found = open(&disk).1.memory.unwrap();
            assert!(
                found == (3, b"three".to_vec()) || found == (9, b"nine".to_vec()),
                "seed {seed}: {found:?}"
            );
        }
    }
}
