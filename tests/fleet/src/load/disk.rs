//! A disk in memory for one agent's spool, so that the generator measures no disk of its own.
//!
//! A file is what its first write made of it, which is a segment's header, and what lies behind. What
//! is acknowledged is never read again, so the part behind the header can be forgotten: an hour's run
//! of ten thousand agents then takes no more memory than a minute's.

use gpuledger_spool::{File, Filesystem};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<PathBuf, MemoryFile>>>,
}

#[derive(Clone, Default)]
struct MemoryFile(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    head: Vec<u8>,
    /// Bytes behind the head that are forgotten.
    forgotten: usize,
    tail: Vec<u8>,
}

impl MemoryDisk {
    /// Forgets what lies behind the headers. Right while everything is acknowledged.
    pub fn forget(&self) {
        for file in self.files().values() {
            file.content().forget();
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, MemoryFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn forget(&mut self) {
        self.forgotten += self.tail.len();
        self.tail.clear();
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.forgotten + self.tail.len()
    }

    fn part(&self, offset: usize, bytes: usize) -> Option<&[u8]> {
        if offset < self.head.len() {
            return self.head.get(offset..offset.checked_add(bytes)?);
        }
        let offset = offset.checked_sub(self.head.len() + self.forgotten)?;
        self.tail.get(offset..offset.checked_add(bytes)?)
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        if self.bytes() == 0 {
            self.head = bytes.to_vec();
            return Ok(());
        }
        // Segments only grow; nothing rewrites what stands.
        if offset != self.bytes() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self, bytes: usize) {
        let (head, forgotten) = (self.head.len(), self.forgotten);
        self.head.truncate(bytes);
        self.forgotten = bytes.saturating_sub(head).min(forgotten);
        self.tail.truncate(bytes.saturating_sub(head + forgotten));
    }
}

impl Filesystem for MemoryDisk {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        // A disk has one agent.
        Ok(Some(Box::new(())))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = self.files();
        let inside = files.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let found = self.files().get(path).cloned();
        Ok(Box::new(found.ok_or(io::ErrorKind::NotFound)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = MemoryFile::default();
        self.files().insert(path.to_owned(), file.clone());
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl File for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content().bytes() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let content = self.content();
        let part = usize::try_from(offset).ok().and_then(|offset| content.part(offset, buffer.len()));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.content().put(offset, bytes)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.content().cut(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_spool::{Next, Options, Spool};

    #[test]
    fn a_spool_goes_on_where_everything_before_was_forgotten() {
        let disk = MemoryDisk::default();
        let options = Options { cap_bytes: 64 << 20 };
        let (mut spool, ..) = Spool::open_on(Arc::new(disk.clone()), Path::new("/spool"), options).unwrap();
        let id = spool.begin_segment(b"header", 1).unwrap();
        for sequence in 1..=100 {
            spool.append(&[&[7; 3_000]]).unwrap();
            let mut cursor = spool.cursor(id, sequence - 1).unwrap().unwrap();
            let Next::Record(record) = spool.next(&mut cursor).unwrap() else { panic!("no record") };
            assert_eq!((record.sequence, record.payload.len()), (sequence, 3_000));
            assert_eq!(spool.header(id).unwrap().unwrap(), b"header");
            spool.acknowledge(id, sequence).unwrap();
            disk.forget();
        }
        let kept: usize = disk.files().values().map(|file| file.content().tail.len()).sum();
        assert_eq!(kept, 0);
        assert_eq!((spool.waiting_records(), spool.dropped_records()), (0, 0));
    }

    #[test]
    fn what_was_forgotten_reads_as_gone_and_what_follows_does_not() {
        let disk = MemoryDisk::default();
        let mut file = disk.create(Path::new("/f")).unwrap();
        file.write_at(0, b"head").unwrap();
        file.write_at(4, b"old").unwrap();
        disk.forget();
        file.write_at(7, b"new").unwrap();
        let mut three = [0; 3];
        assert_eq!(file.read_at(4, &mut three).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.read_at(7, &mut three).unwrap();
        assert_eq!((&three, file.bytes().unwrap()), (b"new", 10));
        file.truncate(7).unwrap();
        assert_eq!(file.bytes().unwrap(), 7);
        assert!(file.write_at(2, b"x").is_err(), "nothing is rewritten");
        assert_eq!(disk.list(Path::new("/")).unwrap(), ["f"]);
        disk.remove(Path::new("/f")).unwrap();
        assert!(disk.open(Path::new("/f")).is_err());
    }
}
