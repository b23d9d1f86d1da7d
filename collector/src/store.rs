//! Opens the ledger that a location names, and the archive of its closed days: the one place that
//! knows which stores there are.
//!
//! Where the archive is: where the configuration says; else where the ledger remembers it to be; else
//! in the folder `LEDGER.days` beside an SQLite file. That folder goes by the ledger's name, so that
//! both can be moved together. A PostgreSQL ledger has no such folder: until one is configured, none of
//! its days are closed.

pub mod backup;
mod location;
pub mod migrate;
mod place;
#[cfg(test)]
mod tests;

pub use location::{Location, LocationError, PostgresUrl};
pub use place::OWN_FOLDER;

use crate::verify::ClosedDays;
use async_trait::async_trait;
use gpuledger_archive::{ArchivedLedger, Root, RootError};
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{DayFile, DayRows, FileStatus, Ledger, LedgerError, Store};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a command does with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Writes: a ledger that does not exist is created, one of an older version is brought up to date.
    Write,
    /// Reads one that exists; nothing of it is changed.
    Read,
}

/// A ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("this build of gpuledger has no PostgreSQL: it was built without the feature `postgres`")]
    NoPostgres,
    #[error(transparent)]
    Archive(#[from] RootError),
    #[error("the archive {text:?} is a relative folder, and {ledger} lies in none; give a whole path")]
    NoFolder { text: String, ledger: String },
    #[error(
        "the archive cannot be at {to}: {file} {fault}; copy the files of closed days from {from} there first"
    )]
    NotMoved { from: String, to: String, file: String, fault: String },
    #[error("cannot open the ledger: {0}")]
    Runtime(String),
}

impl StoreError {
    /// True where the ledger's name is the mistake: there is none there, or none that this build can
    /// read; false where something failed at run time.
    pub fn is_usage(&self) -> bool {
        use LedgerError::{NotALedger, NotEmpty, Open, TooNew};
        match self {
            Self::Ledger(error) => {
                matches!(error, Open { .. } | NotALedger { .. } | NotEmpty { .. } | TooNew { .. })
            }
            Self::NoPostgres | Self::Archive(_) | Self::NoFolder { .. } | Self::NotMoved { .. } => true,
            Self::Runtime(_) => false,
        }
    }
}

/// An open ledger.
pub struct Opened {
    /// Everything: open and closed days.
    pub ledger: Arc<dyn Ledger>,
    /// The transactional part by itself.
    pub store: Arc<dyn Store>,
    /// The files of closed days; `None` where the ledger has no place for them.
    pub archive: Option<Archive>,
}

/// The archive of an open ledger.
#[derive(Clone)]
pub struct Archive {
    pub days: Arc<ArchivedLedger>,
    pub root: Root,
}

/// Opens a ledger and the archive of its closed days. The archive is at `archive` where that is given;
/// whoever opens it for writing has the ledger remember it.
pub async fn open(location: &Location, archive: Option<&str>, access: Access) -> Result<Opened, StoreError> {
    let store = open_store(location, access).await?;
    let before = place::of(store.as_ref(), location).await?;
    let Some(place) = archive.or(before.as_deref()) else {
        return Ok(Opened { ledger: store.clone(), store, archive: None });
    };
    let root = place::root(place, location)?;
    let days = Arc::new(ArchivedLedger::open(store.clone(), root.clone())?);
    if access == Access::Write && archive.is_some() && archive != before.as_deref() {
        check_moved(&days, &root, before.as_deref()).await?;
        store.set_archive_location(place).await?;
    }
    Ok(Opened { ledger: days.clone(), store, archive: Some(Archive { days, root }) })
}

/// The store by itself, without the archive.
pub async fn open_store(location: &Location, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    match location {
        Location::File(path) => Ok(Arc::new(sqlite(path.clone(), access).await?)),
        Location::Postgres(url) => postgres(url, access).await,
    }
}

/// Closed days that the ledger has already must be at a new place before it is taken.
async fn check_moved(days: &ArchivedLedger, root: &Root, before: Option<&str>) -> Result<(), StoreError> {
    let files = days.store().files().await?;
    let current = files.into_iter().filter(|file| file.status == FileStatus::Current);
    let Some(smallest) = current.min_by_key(|file| file.bytes) else { return Ok(()) };
    let read = days.check_file(&smallest).await;
    read.map_err(|fault| StoreError::NotMoved {
        from: before.unwrap_or("where they are").to_owned(),
        to: root.to_string(),
        file: smallest.path,
        fault: fault.to_string(),
    })
}

#[async_trait]
impl ClosedDays for Archive {
    async fn rows(&self, file: &DayFile, to: mpsc::Sender<DayRows>) -> Result<(), String> {
        self.days.day_rows(file, to).await.map_err(|fault| fault.to_string())
    }
}

/// Opening waits for the disk, and after a crash for the whole file.
async fn sqlite(path: PathBuf, access: Access) -> Result<SqliteLedger, StoreError> {
    let opened = tokio::task::spawn_blocking(move || match access {
        Access::Write => SqliteLedger::open(&path),
        Access::Read => SqliteLedger::open_existing(&path),
    });
    Ok(opened.await.map_err(|error| StoreError::Runtime(error.to_string()))??)
}

#[cfg(feature = "postgres")]
async fn postgres(url: &PostgresUrl, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    use gpuledger_ledger::postgres::PostgresLedger;
    Ok(Arc::new(match access {
        Access::Write => PostgresLedger::connect(url.expose()).await?,
        Access::Read => PostgresLedger::connect_read_only(url.expose()).await?,
    }))
}

#[cfg(not(feature = "postgres"))]
#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
async fn postgres(_: &PostgresUrl, _: Access) -> Result<Arc<dyn Store>, StoreError> {
    Err(StoreError::NoPostgres)
}
