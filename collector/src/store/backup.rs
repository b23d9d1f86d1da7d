//! A backup: the whole ledger of one moment in a new SQLite file, and the files of its closed days.
//!
//! A collector may go on meanwhile. Files of closed days never change, so those that the copy names are
//! copied after it. What is being made has another name until it is whole: a file of the name that was
//! asked for is a complete backup.

use super::{Access, Archive, Location, OWN_FOLDER, Opened, StoreError, open_store, place};
use gpuledger_archive::{Copied, Root};
use gpuledger_ledger::sqlite::{self, SqliteLedger};
use gpuledger_ledger::transfer::{self, Digest, TransferError};
use gpuledger_ledger::{DayFile, FileStatus, LedgerError, Store};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A backup could not be made; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Copy(#[from] sqlite::BackupError),
    #[error("{} exists already: a backup is always a new file", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be a backup: {reason}", path.display())]
    Place { path: PathBuf, reason: String },
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the ledger has closed days and does not say where: set location under [archive]")]
    NoArchive,
}

impl BackupError {
    /// True where something that was given is wrong, so that nothing was begun.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_usage(),
            Self::Exists(_) | Self::Place { .. } | Self::NoArchive => true,
            Self::Transfer(_) | Self::Copy(_) | Self::Write { .. } => false,
        }
    }
}

impl From<LedgerError> for BackupError {
    fn from(error: LedgerError) -> Self {
        Self::Store(error.into())
    }
}

/// What was written.
#[derive(Debug)]
pub struct Backup {
    pub digest: Digest,
    pub days: Days,
}

/// What became of the files of closed days.
#[derive(Debug, PartialEq, Eq)]
pub enum Days {
    /// There are none.
    None,
    Copied {
        to: PathBuf,
        copied: Copied,
    },
    /// They stay in the object store.
    Referenced {
        files: usize,
        root: String,
    },
}

/// How far it is: bytes or records of the ledger, then files of closed days of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Bytes(u64, u64),
    Records(u64),
    Files(usize, usize),
}

/// Writes a backup of an open ledger to `out`.
pub async fn backup(
    (from, location): (&Opened, &Location),
    out: &Path,
    progress: &mut (dyn FnMut(Step) + Send),
) -> Result<Backup, BackupError> {
    let days = folder_of(out);
    for path in [out, &days] {
        if path.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(path.to_owned()));
        }
    }
    check_place(out)?;
    let mut unfinished = Unfinished::new(out, &days);
    let copy = Location::File(unfinished.file.clone());
    let copy = match location {
        Location::File(path) => {
            copy_file(path.clone(), unfinished.file.clone(), progress).await?;
            let copy = open_store(&copy, Access::Write).await?;
            // The archive of the original is not the copy's to clear up.
            copy.set_identity(None).await?;
            copy
        }
        Location::Postgres(_) => {
            let copy = open_store(&copy, Access::Write).await?;
            let step = |records| progress(Step::Records(records));
            transfer::copy(from.store.as_ref(), copy.as_ref(), step).await?;
            copy
        }
    };
    let days = copy_days(from.archive.as_ref(), copy.as_ref(), &days, progress).await?;
    let digest = transfer::digest(copy.as_ref()).await?;
    // Closing folds the log into the file.
    drop(copy);
    unfinished.finish(out).map_err(|error| BackupError::Write { path: out.to_owned(), error })?;
    Ok(Backup { digest, days })
}

/// Copies an SQLite file that may be in use. Waits for the disk on a thread that may.
async fn copy_file(
    from: PathBuf,
    to: PathBuf,
    progress: &mut (dyn FnMut(Step) + Send),
) -> Result<(), BackupError> {
    let (told, mut steps) = tokio::sync::mpsc::channel(1);
    // Where the one before is not shown yet, this one is left out.
    let tell = move |done, whole| told.try_send((done, whole)).unwrap_or_default();
    let work = move || SqliteLedger::backup(&from, &to, tell);
    let copied = tokio::task::spawn_blocking(work);
    while let Some((done, whole)) = steps.recv().await {
        progress(Step::Bytes(done, whole));
    }
    copied.await.map_err(|error| StoreError::Runtime(error.to_string()))??;
    Ok(())
}

/// Files that are the current ones of their days.
pub(super) async fn current_files(store: &dyn Store) -> Result<Vec<DayFile>, LedgerError> {
    let files = store.files().await?;
    Ok(files.into_iter().filter(|file| file.status == FileStatus::Current).collect())
}

async fn copy_days(
    archive: Option<&Archive>,
    copy: &dyn Store,
    to: &Path,
    progress: &mut (dyn FnMut(Step) + Send),
) -> Result<Days, BackupError> {
    let files = current_files(copy).await?;
    let Some(archive) = archive else {
        return if files.is_empty() { Ok(Days::None) } else { Err(BackupError::NoArchive) };
    };
    if !matches!(archive.root, Root::Folder(_)) {
        copy.set_archive_location(&archive.root.to_string()).await?;
        return Ok(Days::Referenced { files: files.len(), root: archive.root.to_string() });
    }
    if copy.archive_location().await?.is_some() {
        copy.set_archive_location(OWN_FOLDER).await?;
    }
    if files.is_empty() {
        return Ok(Days::None);
    }
    let whole = files.len();
    let copied = archive
        .days
        .copy_files(&files, Root::Folder(to.to_owned()), &mut |done| progress(Step::Files(done, whole)))
        .await?;
    Ok(Days::Copied { to: to.to_owned(), copied })
}

/// Names what is wrong with the place before anything is read.
fn check_place(out: &Path) -> Result<(), BackupError> {
    let wrong = |reason: String| Err(BackupError::Place { path: out.to_owned(), reason });
    if out.as_os_str().as_encoded_bytes().ends_with(b"/") || out.file_name().is_none() {
        return wrong("it names a folder; expected a file in it".to_owned());
    }
    let folder = folder_above(out);
    if folder.is_dir() {
        return Ok(());
    }
    wrong(format!("there is no folder {}; create it first", folder.display()))
}

fn folder_above(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a ledger of this name looks for its closed days.
fn folder_of(out: &Path) -> PathBuf {
    let name = place::own(&Location::File(out.to_owned())).unwrap_or_default();
    out.with_file_name(name)
}

/// What is not yet whole; removed unless it is finished.
pub(super) struct Unfinished {
    file: PathBuf,
    days: PathBuf,
    finished: bool,
}

impl Unfinished {
    fn new(out: &Path, days: &Path) -> Self {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let file = out.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        // What a process with our number left when it died.
        remove_ledger(&file);
        Self { file, days: days.to_owned(), finished: false }
    }

    /// Gives it its name, where that is still free.
    fn finish(&mut self, out: &Path) -> io::Result<()> {
        fs::hard_link(&self.file, out)?;
        self.finished = true;
        File::open(folder_above(out))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove_ledger(&self.file);
        if !self.finished {
            // It was not there when we began.
            let _ = fs::remove_dir_all(&self.days);
        }
    }
}

/// Removes an SQLite file and what lies beside it while it is open. What is not there is no error.
pub(super) fn remove_ledger(file: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(end);
        let _ = fs::remove_file(path);
    }
}
