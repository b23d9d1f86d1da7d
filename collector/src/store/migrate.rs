//! A ledger moves to another store: everything is copied, and both are proved to hold the same.
//!
//! The old ledger is only read and stays as it is. Files of closed days are copied first, so that a new
//! ledger that can be opened has all of its days.

use super::backup::{Step, current_files, remove_ledger};
use super::{Access, Archive, Location, OWN_FOLDER, Opened, StoreError, open_store, place};
use gpuledger_archive::{Copied, Root};
use gpuledger_ledger::transfer::{self, Digest, TransferError};
use gpuledger_ledger::{LedgerError, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A ledger could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the ledger is at {0} already")]
    Same(String),
    #[error("the ledger has closed days and does not say where: set location under [archive]")]
    NoArchive,
    #[error(transparent)]
    Transfer(TransferError),
    #[error(
        "{0}\nA collector may have written to the old ledger meanwhile: stop it and migrate again, into an \
         empty place. What was copied so far is not to be used."
    )]
    Different(TransferError),
}

impl MigrateError {
    /// True where something that was given is wrong, so that nothing was changed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_usage(),
            Self::Same(_) | Self::NoArchive => true,
            Self::Transfer(TransferError::To(error)) => matches!(error, LedgerError::NotEmpty { .. }),
            Self::Transfer(_) | Self::Different(_) => false,
        }
    }
}

impl From<LedgerError> for MigrateError {
    fn from(error: LedgerError) -> Self {
        Self::Store(error.into())
    }
}

/// What was copied and is equal.
#[derive(Debug)]
pub struct Migrated {
    pub digest: Digest,
    pub days: Days,
}

/// What became of the files of closed days.
#[derive(Debug, PartialEq, Eq)]
pub enum Days {
    /// There are none.
    None,
    Copied {
        to: String,
        copied: Copied,
    },
    /// They stay where they are, and both ledgers name them.
    Shared {
        at: String,
        files: usize,
    },
}

/// Copies an open ledger to an empty place. Its closed days go to `archive` where that is given.
pub async fn migrate(
    from: (&Opened, &Location),
    to: &Location,
    archive: Option<&str>,
    progress: &mut (dyn FnMut(Step) + Send),
) -> Result<Migrated, MigrateError> {
    let (opened, location) = from;
    if is_same(location, to) {
        return Err(MigrateError::Same(to.to_string()));
    }
    refuse_unless_empty(to).await?;
    let goal = Goal::of(opened.archive.as_ref(), to, archive)?;
    let days = copy_days(opened, &goal, progress).await?;
    let mut created = Created::watch(to);
    let target = open_store(to, Access::Write).await?;
    let copied =
        transfer::copy(opened.store.as_ref(), target.as_ref(), |records| progress(Step::Records(records)));
    copied.await.map_err(MigrateError::Transfer)?;
    let digest = transfer::prove_equal(opened.store.as_ref(), target.as_ref()).await.map_err(of_proof)?;
    remember(&target, &goal, opened.archive.as_ref(), &days).await?;
    created.keep();
    Ok(Migrated { digest, days })
}

fn of_proof(error: TransferError) -> MigrateError {
    match error {
        TransferError::Different { .. } => MigrateError::Different(error),
        other => MigrateError::Transfer(other),
    }
}

fn is_same(one: &Location, other: &Location) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    match (one, other) {
        (Location::File(one), Location::File(other)) => {
            one == other || real(one).is_some_and(|one| real(other) == Some(one))
        }
        _ => one == other,
    }
}

/// A ledger that holds something is not even opened for writing: nothing of it changes.
async fn refuse_unless_empty(to: &Location) -> Result<(), MigrateError> {
    if to.file().is_some_and(|path| !path.exists()) {
        return Ok(());
    }
    let store = match open_store(to, Access::Read).await {
        Ok(store) => store,
        // No ledger yet; or something else, which opening for writing refuses as well.
        Err(StoreError::Ledger(LedgerError::NotALedger { .. })) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let empty = store.nodes().await?.is_empty() && store.assets().await?.is_empty();
    if empty { Ok(()) } else { Err(LedgerError::NotEmpty { ledger: to.to_string() }.into()) }
}

/// Where the closed days will be.
enum Goal {
    /// In a place of the new ledger's own, under the name that it remembers.
    Own { root: Root, remembered: String },
    /// Where they are.
    Stay,
}

impl Goal {
    fn of(from: Option<&Archive>, to: &Location, archive: Option<&str>) -> Result<Self, MigrateError> {
        if let Some(text) = archive {
            return Ok(Self::Own { root: place::root(text, to)?, remembered: text.to_owned() });
        }
        match (from.map(|archive| &archive.root), place::own(to)) {
            (Some(Root::Folder(_)), Some(own)) => {
                Ok(Self::Own { root: place::root(&own, to)?, remembered: OWN_FOLDER.to_owned() })
            }
            _ => Ok(Self::Stay),
        }
    }
}

async fn copy_days(
    opened: &Opened,
    goal: &Goal,
    progress: &mut (dyn FnMut(Step) + Send),
) -> Result<Days, MigrateError> {
    let files = current_files(opened.store.as_ref()).await?;
    if files.is_empty() {
        return Ok(Days::None);
    }
    let archive = opened.archive.as_ref().ok_or(MigrateError::NoArchive)?;
    match goal {
        Goal::Stay => Ok(Days::Shared { at: whole_name(&archive.root), files: files.len() }),
        Goal::Own { root, .. } => {
            let whole = files.len();
            let step = &mut |done| progress(Step::Files(done, whole));
            let copied = archive.days.copy_files(&files, root.clone(), step).await?;
            Ok(Days::Copied { to: root.to_string(), copied })
        }
    }
}

/// A folder by its whole path: the new ledger is opened from elsewhere.
fn whole_name(root: &Root) -> String {
    match root {
        Root::Folder(folder) => {
            folder.canonicalize().unwrap_or_else(|_| folder.clone()).display().to_string()
        }
        other => other.to_string(),
    }
}

/// Has the new ledger remember where its closed days are, or will be.
async fn remember(
    target: &Arc<dyn Store>,
    goal: &Goal,
    archive: Option<&Archive>,
    days: &Days,
) -> Result<(), LedgerError> {
    let before = target.archive_location().await?.unwrap_or_default();
    let text = match (goal, archive) {
        (Goal::Own { remembered, .. }, _) => remembered.clone(),
        // A folder that nobody has named and that is empty need not be remembered.
        (Goal::Stay, Some(archive)) if before != OWN_FOLDER || *days != Days::None => {
            whole_name(&archive.root)
        }
        (Goal::Stay, _) => return Ok(()),
    };
    if before == text { Ok(()) } else { target.set_archive_location(&text).await }
}

/// A file that was not there when we began; removed unless it becomes a ledger.
struct Created(Option<PathBuf>);

impl Created {
    fn watch(to: &Location) -> Self {
        Self(to.file().filter(|path| !path.exists()).map(Path::to_owned))
    }

    fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            remove_ledger(path);
        }
    }
}
