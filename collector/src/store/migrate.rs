//! A ledger moves to another store: everything is copied, and both are proved to hold the same.
//!
//! The old ledger is only read and stays as it is. Files of closed days are copied first, so that a new
//! ledger that can be opened has all of its days.

use super::backup::{Step, current_files, remove_ledger};
use super::{Access, Location, OWN_FOLDER, Opened, StoreError, open_store, place};
use gpuledger_archive::{ArchivedLedger, Claim, Copied, Root};
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
    #[error(
        "the {files} files of closed days at {at} have no place in the new ledger: say with --archive where they \
         go, a folder or s3://BUCKET/PREFIX; --archive {at} leaves them there, for the new ledger alone"
    )]
    NoPlace { files: usize, at: String },
    #[error(
        "{at} holds the closed days of another ledger ({claimant}): two ledgers cannot share an archive. Choose \
         another place; or, where that ledger is not used any more, remove the file LEDGER there"
    )]
    Anothers { at: String, claimant: String },
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
            Self::Same(_) | Self::NoArchive | Self::NoPlace { .. } | Self::Anothers { .. } => true,
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
    /// They stay where they are, and are the new ledger's from now on.
    Stayed {
        at: String,
        files: usize,
    },
}

/// Copies an open ledger to an empty place. Its closed days go to `archive` where that is given, else
/// into the new ledger's own folder.
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
    let goal = Goal::of(to, archive)?;
    let days = copy_days(opened, goal.as_ref(), progress).await?;
    let mut created = Created::watch(to);
    let target = open_store(to, Access::Write).await?;
    let copied =
        transfer::copy(opened.store.as_ref(), target.as_ref(), |records| progress(Step::Records(records)));
    copied.await.map_err(MigrateError::Transfer)?;
    let digest = transfer::prove_equal(opened.store.as_ref(), target.as_ref()).await.map_err(of_proof)?;
    if let Some(goal) = goal {
        remember(&target, goal, &days).await?;
    }
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

/// Where the closed days will be, and how the new ledger remembers it.
struct Goal {
    root: Root,
    remembered: String,
}

impl Goal {
    /// `None` where nobody says it and the new ledger has no folder of its own.
    fn of(to: &Location, archive: Option<&str>) -> Result<Option<Self>, StoreError> {
        let own = || place::own(to).map(|own| (own, OWN_FOLDER.to_owned()));
        let goal = archive.map(|text| (text.to_owned(), text.to_owned())).or_else(own);
        goal.map(|(text, remembered)| Ok(Self { root: place::root(&text, to)?, remembered })).transpose()
    }
}

/// Copies the closed days, unless they are to stay where they are.
async fn copy_days(
    opened: &Opened,
    goal: Option<&Goal>,
    progress: &mut (dyn FnMut(Step) + Send),
) -> Result<Days, MigrateError> {
    let files = current_files(opened.store.as_ref()).await?;
    if files.is_empty() {
        return Ok(Days::None);
    }
    let archive = opened.archive.as_ref().ok_or(MigrateError::NoArchive)?;
    let Some(Goal { root, .. }) = goal else {
        return Err(MigrateError::NoPlace { files: files.len(), at: whole_name(&archive.root) });
    };
    let there = ArchivedLedger::open(Arc::clone(&opened.store), root.clone())?;
    match there.claimed().await? {
        Claim::Anothers(claimant) => Err(MigrateError::Anothers { at: root.to_string(), claimant }),
        // The same place, under whatever name.
        Claim::Ours => Ok(Days::Stayed { at: whole_name(root), files: files.len() }),
        Claim::Nobodys if whole_name(root) == whole_name(&archive.root) => {
            Ok(Days::Stayed { at: whole_name(root), files: files.len() })
        }
        Claim::Nobodys => {
            let whole = files.len();
            let step = &mut |done| progress(Step::Files(done, whole));
            let copied = archive.days.copy_files(&files, root.clone(), step).await?;
            Ok(Days::Copied { to: root.to_string(), copied })
        }
    }
}

/// A folder by its whole path, so that two names of one folder are equal.
fn whole_name(root: &Root) -> String {
    match root {
        Root::Folder(folder) => {
            folder.canonicalize().unwrap_or_else(|_| folder.clone()).display().to_string()
        }
        other => other.to_string(),
    }
}

/// Has the new ledger remember where its closed days are, or will be; those that are there are its own,
/// and the old ledger can no longer change them.
async fn remember(target: &Arc<dyn Store>, goal: Goal, days: &Days) -> Result<(), LedgerError> {
    if target.archive_location().await?.unwrap_or_default() != goal.remembered {
        target.set_archive_location(&goal.remembered).await?;
    }
    if *days == Days::None {
        return Ok(());
    }
    ArchivedLedger::open(Arc::clone(target), goal.root)?.take_over().await
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
