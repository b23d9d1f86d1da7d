//! A disk in memory that fills up, fails, and loses what was not synced, for tests.
//!
//! Every file has contents as the kernel sees them and contents as they are on the medium; so has
//! the folder. A power failure keeps, block by block, either of the two, or zeros where the medium
//! never had the block: what file systems really do to a file that was not synced.

use crate::fs::{File, Filesystem};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const BLOCK: usize = 64;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    locked: bool,
    /// Bytes that may still be written; `None` is unlimited.
    space: Option<usize>,
    read_only: bool,
    failing_syncs: u32,
    process: Process,
}

#[derive(Default, PartialEq, Eq)]
enum Process {
    #[default]
    Alive,
    /// Killed at its next sync.
    Dying,
    Dead,
}

#[derive(Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that may still be written before the disk is full; `None` lifts the limit.
    pub fn set_space(&self, bytes: Option<usize>) {
        self.state().space = bytes;
    }

    /// Whether every change is refused.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Lets the next syncs of files fail.
    pub fn fail_syncs(&self, count: u32) {
        self.state().failing_syncs = count;
    }

    /// The process is gone: what it wrote stays, its lock does not.
    pub fn kill_process(&self) {
        let mut state = self.state();
        state.locked = false;
        state.process = Process::Alive;
    }

    /// The process is going to be killed when it syncs a file next: it changes nothing from there
    /// on, until [`SimDisk::kill_process`] or [`SimDisk::fail_power`] makes way for another one.
    pub fn kill_at_next_sync(&self) {
        self.state().process = Process::Dying;
    }

    /// The power is gone. What was not synced is kept, lost or torn as the seed decides.
    pub fn fail_power(&self, seed: u64) {
        let mut dice = Dice(seed | 1);
        self.kill_process();
        let mut state = self.state();
        for inode in &mut state.files {
            inode.seen = inode.after_power_failure(&mut dice);
            inode.durable.clone_from(&inode.seen);
        }
        let (current, durable) = (state.names.clone(), state.durable_names.clone());
        let mut names = BTreeMap::new();
        for (path, &inode) in current.iter().chain(&durable) {
            let kept = current.contains_key(path) && durable.contains_key(path);
            if kept || dice.roll(2) == 0 {
                names.insert(path.clone(), inode);
            }
        }
        state.durable_names.clone_from(&names);
        state.names = names;
    }

    /// Another disk with what this one holds now, as if a folder had been copied file by file: what
    /// was not synced is in the copy, and nobody has it locked.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let files =
            state.files.iter().map(|file| Inode { seen: file.seen.clone(), durable: file.seen.clone() });
        let (names, files) = (state.names.clone(), files.collect());
        let copied = State { files, durable_names: names.clone(), names, ..State::default() };
        Self(Arc::new(Mutex::new(copied)))
    }

    /// Paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's contents; `None` where there is none.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|&inode| state.files[inode].seen.clone())
    }

    /// Changes a file's contents behind everybody's back, durably.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if let Some(&inode) = state.names.get(path) {
            let inode = &mut state.files[inode];
            change(&mut inode.seen);
            inode.durable.clone_from(&inode.seen);
        }
    }
}

impl Inode {
    fn after_power_failure(&self, dice: &mut Dice) -> Vec<u8> {
        if self.seen == self.durable {
            return self.seen.clone();
        }
        let bytes = if dice.roll(2) == 0 { self.seen.len() } else { self.durable.len() };
        let mut kept = vec![0; bytes];
        for (number, block) in kept.chunks_mut(BLOCK).enumerate() {
            let source = if dice.roll(2) == 0 { &self.seen } else { &self.durable };
            let from = source.get(number * BLOCK..).unwrap_or(&[]);
            let part = from.len().min(block.len());
            block[..part].copy_from_slice(&from[..part]);
        }
        kept
    }
}

/// A small generator of repeatable randomness (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

impl State {
    fn check_writable(&self) -> io::Result<()> {
        if self.process == Process::Dead {
            return Err(io::Error::other("the process was killed"));
        }
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

struct Guard(SimDisk);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl Filesystem for SimDisk {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        self.state().check_writable()
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Guard(self.clone()))))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inode = self.state().names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.check_writable()?;
        let found = state.names.get(path).copied();
        let inode = found.unwrap_or(state.files.len());
        if found.is_none() {
            state.files.push(Inode::default());
            state.names.insert(path.to_owned(), inode);
        }
        state.files[inode].seen.clear();
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_writable()?;
        let inode = state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        if let Some(space) = state.space {
            state.space = Some(space + state.files[inode].seen.len());
        }
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl File for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.inode].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = state.files[self.inode].seen.get(from..from.saturating_add(buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_writable()?;
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let part = state.space.map_or(bytes.len(), |space| space.min(bytes.len()));
        if let Some(space) = &mut state.space {
            *space -= part;
        }
        let seen = &mut state.files[self.inode].seen;
        seen.resize(seen.len().max(from + part), 0);
        seen[from..from + part].copy_from_slice(&bytes[..part]);
        if part < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_writable()?;
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let before = state.files[self.inode].seen.len();
        state.files[self.inode].seen.resize(bytes, 0);
        if let Some(space) = &mut state.space {
            *space += before.saturating_sub(bytes);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.process != Process::Alive {
            state.process = Process::Dead;
            return Err(io::Error::other("the process was killed"));
        }
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(io::Error::other("the medium failed"));
        }
        let inode = &mut state.files[self.inode];
        inode.durable.clone_from(&inode.seen);
        Ok(())
    }
}
