//! Where the ledger lies, and whether the file that lies there is still the one that was opened.
//!
//! A file can be moved away, be put in another one's place (a backup that is restored), or vanish with
//! its disk, while this process has it open: what is written then goes where nobody will look for it.
//! Files are told apart by device, inode and, where the file system knows it, when they were made.
//!
//! A file that came in place of another finds the other's log beside it, of which SQLite cannot know
//! that it is not its own. So the connection that writes folds its log back and puts log and index out
//! of the way before anything opens the new file: it *settles* the site.

use crate::LedgerError;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    /// An inode is used anew once its file is gone.
    made: Option<SystemTime>,
}

/// The files of the ledger as they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    database: Option<FileId>,
    log: Option<FileId>,
    index: Option<FileId>,
}

pub struct Site {
    path: PathBuf,
    held: Mutex<Held>,
}

impl Site {
    /// The site of a ledger that has just been opened.
    pub fn of(path: &Path) -> Self {
        let site = Self { path: path.to_owned(), held: Mutex::default() };
        site.hold();
        site
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that lies here now.
    pub fn here(&self) -> Result<FileId, LedgerError> {
        match id(&self.path) {
            Ok(id) => Ok(id),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(LedgerError::Gone { path: self.path.clone() })
            }
            Err(error) => {
                let reason = format!("{}: {error}", self.path.display());
                Err(LedgerError::Disk { operation: "look at the ledger", reason })
            }
        }
    }

    /// Whether this file may be opened: no other's log lies beside it.
    pub fn is_settled(&self, file: FileId) -> bool {
        self.held().database == Some(file)
    }

    /// Remembers the files that lie here. Called by who writes, whenever it has opened them.
    pub fn hold(&self) {
        let found = Held {
            database: id(&self.path).ok(),
            log: id(&beside(&self.path, "-wal")).ok(),
            index: id(&beside(&self.path, "-shm")).ok(),
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// Puts the log and the index of the file that was here out of the way of the one that is. They are
    /// told by their inodes: those that came with the new file stay.
    pub fn clear(&self) -> std::io::Result<()> {
        let held = self.held();
        if held.database == id(&self.path).ok() {
            return Ok(());
        }
        let log = beside(&self.path, "-wal");
        if held.log.is_some() && id(&log).ok() == held.log {
            // Empty where it could be folded back into its own file; else the commits in it are kept.
            if fs::metadata(&log)?.len() == 0 {
                fs::remove_file(&log)?;
            } else {
                fs::rename(&log, beside(&self.path, "-wal.of-replaced"))?;
            }
        }
        let index = beside(&self.path, "-shm");
        if held.index.is_some() && id(&index).ok() == held.index {
            fs::remove_file(&index)?;
        }
        Ok(())
    }

    fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that SQLite keeps beside the ledger's.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn id(path: &Path) -> std::io::Result<FileId> {
    // Never opened and closed again: closing a file drops the locks that SQLite holds on it.
    let found = fs::metadata(path)?;
    Ok(FileId { device: found.dev(), inode: found.ino(), made: found.created().ok() })
}
