//! A copy of a ledger that is in use.
//!
//! SQLite's backup interface copies the file page by page. By itself it begins anew whenever another
//! process commits between two steps, so that a busy collector would keep it from ever ending. Here one
//! read transaction stays open over all steps: every page is as it was at one moment, writers go on
//! meanwhile (their log cannot be cut back until the copy is done), and nothing begins anew. `VACUUM INTO`
//! would do the same, but rebuilds every tree and says nothing until it is done.
//!
//! The copy is written under another name, examined, synchronised and then renamed: under its own name
//! it is whole. It is an ordinary ledger file. To restore it, put it in the ledger's place with `mv` (not
//! `cp`, which would overwrite a file that is in use), and remove the `-wal` and `-shm` files of the
//! ledger that was there where no collector is running.

use super::site::beside;
use super::{SqliteLedger, fault, open};
use crate::LedgerError;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const OPERATION: &str = "back up the ledger";
/// Pages copied between two reports of progress: one megabyte.
const STEP_PAGES: i32 = 256;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("there is a file {to} already: a backup replaces none")]
    Exists { to: PathBuf },
    #[error("cannot write the backup {to}: {reason}")]
    Write { to: PathBuf, reason: String },
}

/// A backup that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    pub bytes: u64,
}

impl SqliteLedger {
    /// Copies the ledger `from`, which any process may be writing, to the new file `to`. Says how many
    /// bytes are copied and how many there are. Waits for the disk: not for async threads.
    pub fn backup(from: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<BackedUp, BackupError> {
        let source = open::for_backup(from)?;
        refuse_existing(to)?;
        let write = |reason: String| BackupError::Write { to: to.to_owned(), reason };
        let partial = Partial(beside(to, &format!(".partial-{}", std::process::id())));
        // The copy is as confidential as the ledger, from its first byte.
        let rights = fs::metadata(from).map_err(|error| write(error.to_string()))?.permissions();
        let file = File::create(&partial.0).map_err(|error| write(error.to_string()))?;
        file.set_permissions(rights).map_err(|error| write(error.to_string()))?;
        drop(file);
        copy(&source, &partial.0, progress).map_err(|error| match error {
            Fault::Source(error) => BackupError::Ledger(error),
            Fault::Target(reason) => write(reason),
        })?;
        stand(&partial.0, to).map_err(|error| write(error.to_string()))?;
        let bytes = fs::metadata(to).map_err(|error| write(error.to_string()))?.len();
        Ok(BackedUp { bytes })
    }
}

fn refuse_existing(to: &Path) -> Result<(), BackupError> {
    if fs::symlink_metadata(to).is_ok() { Err(BackupError::Exists { to: to.to_owned() }) } else { Ok(()) }
}

/// The copy while it is incomplete; removed when it does not come to stand.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Not there any more where it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

/// Whose fault it is that there is no copy.
enum Fault {
    Source(LedgerError),
    Target(String),
}

impl Fault {
    fn of(error: &rusqlite::Error) -> Self {
        // Only the ledger is read from a disk that has not just been written.
        if let rusqlite::Error::SqliteFailure(failure, _) = error
            && matches!(failure.extended_code, ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ)
        {
            return Self::Source(fault::during(OPERATION, error));
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Target("its disk is full".to_owned()),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
                Self::Target(error.to_string())
            }
            _ => Self::Source(fault::during(OPERATION, error)),
        }
    }
}

fn copy(source: &Connection, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), Fault> {
    let fault = |error| Fault::of(&error);
    let moment = source.unchecked_transaction().map_err(fault)?;
    // A transaction begins with its first read.
    let page_bytes: u32 = moment.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(fault)?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(fault)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags).map_err(fault)?;
    // Without journal and without waiting: until it is renamed, nobody takes it for a ledger.
    target.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(())).map_err(fault)?;
    target.pragma_update(None, "synchronous", "off").map_err(fault)?;
    let backup = Backup::new(&moment, &mut target).map_err(fault)?;
    loop {
        let step = backup.step(STEP_PAGES).map_err(fault)?;
        let pages = backup.progress();
        let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * u64::from(page_bytes);
        progress(bytes(pages.pagecount - pages.remaining), bytes(pages.pagecount));
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Neither side waits for a lock here: the source's is held, nobody knows of the target.
            _ => return Err(Fault::Source(LedgerError::Locked { operation: OPERATION })),
        }
    }
    drop(backup);
    let verdict: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fault)?;
    if verdict != "ok" {
        // A page that is damaged in the ledger is damaged in its copy.
        return Err(Fault::Source(LedgerError::Corrupt { operation: OPERATION, reason: verdict }));
    }
    target.close().map_err(|(_, error)| Fault::of(&error))
}

/// Makes the copy durable and gives it its name.
fn stand(partial: &Path, to: &Path) -> std::io::Result<()> {
    File::open(partial)?.sync_all()?;
    if fs::symlink_metadata(to).is_ok() {
        return Err(std::io::Error::other("a file of this name has come meanwhile"));
    }
    fs::rename(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
