//! Opens the ledger that a location names: the one place that knows which stores there are.

mod location;

pub use location::{Location, LocationError, PostgresUrl};

use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{Ledger, LedgerError};
use std::path::PathBuf;
use std::sync::Arc;

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
    #[error("cannot open the ledger: {0}")]
    Runtime(String),
}

impl StoreError {
    /// True where the ledger's name is the mistake: there is none there, or none that this build can
    /// read; false where something failed at run time.
    pub fn is_usage(&self) -> bool {
        use LedgerError::{NotALedger, Open, TooNew};
        match self {
            Self::Ledger(error) => matches!(error, Open { .. } | NotALedger { .. } | TooNew { .. }),
            Self::NoPostgres => true,
            Self::Runtime(_) => false,
        }
    }
}

/// An open ledger.
pub struct Opened {
    /// Everything: open and closed days.
    pub ledger: Arc<dyn Ledger>,
}

/// Opens a ledger and the archive of its closed days. The archive is at `archive` where that is
/// given, else where the ledger remembers it to be.
pub async fn open(location: &Location, archive: Option<&str>, access: Access) -> Result<Opened, StoreError> {
    let _ = archive;
    match location {
        Location::File(path) => Ok(Opened { ledger: Arc::new(sqlite(path.clone(), access).await?) }),
        Location::Postgres(_) => Err(StoreError::NoPostgres),
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
