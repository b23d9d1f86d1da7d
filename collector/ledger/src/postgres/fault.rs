//! What the server and the connection say, in the ledger's words.

use crate::LedgerError;
use crate::columns::Unfit;
use gpuledger_units::Overflow;
use std::error::Error as _;
use std::fmt::Write as _;
use tokio_postgres::error::SqlState;

/// Why an operation ended without its answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The connection was dead before anything was asked of it.
    #[error("the connection was lost")]
    Stale(#[source] tokio_postgres::Error),
    /// The connection was lost while the server was asked to make everything durable: only the next
    /// question shows whether it did.
    #[error("the answer was lost")]
    InDoubt(#[source] tokio_postgres::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A row holds what this crate never writes.
    #[error("{0}")]
    Damaged(String),
    /// What the operation started from has changed: it is rolled back.
    #[error("what was there has changed")]
    Moved,
    /// Another transaction came between: nothing was written, and the next attempt sees it.
    #[error("another transaction came between")]
    Crossed,
    #[error("{0}")]
    Other(String),
}

impl From<Overflow> for Fault {
    fn from(overflow: Overflow) -> Self {
        Self::Ledger(overflow.into())
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        Self::Damaged(unfit.to_string())
    }
}

impl Fault {
    /// Whether the same may be asked again at once: the transaction is rolled back for certain, and
    /// only because of another one, or because the connection was an old one.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Stale(_) | Self::Crossed => true,
            Self::Postgres(error) => matches!(
                error.code(),
                Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
            ),
            _ => false,
        }
    }

    /// The ledger's error for an operation.
    pub fn during(self, operation: &'static str) -> LedgerError {
        match self {
            Self::Ledger(error) => error,
            Self::Postgres(error) | Self::Stale(error) => of_server(operation, &error),
            Self::InDoubt(error) => {
                let lost = told(&error);
                let reason =
                    format!("PostgreSQL: {lost}; whether it was carried out shows when it is asked again");
                LedgerError::Failed { operation, reason }
            }
            Self::Damaged(reason) => LedgerError::Corrupt { operation, reason },
            Self::Moved | Self::Crossed => {
                let reason = "other collectors kept coming between; try again".to_owned();
                LedgerError::Failed { operation, reason }
            }
            Self::Other(reason) => LedgerError::Failed { operation, reason },
        }
    }
}

fn of_server(operation: &'static str, error: &tokio_postgres::Error) -> LedgerError {
    let Some(code) = error.code() else {
        return LedgerError::Failed { operation, reason: format!("PostgreSQL: {}", told(error)) };
    };
    match *code {
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE => LedgerError::Overflow(Overflow("a stored sum")),
        SqlState::DISK_FULL => LedgerError::DiskFull { operation },
        SqlState::READ_ONLY_SQL_TRANSACTION => LedgerError::ReadOnly { operation },
        SqlState::LOCK_NOT_AVAILABLE => LedgerError::Locked { operation },
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
            LedgerError::Corrupt { operation, reason: told(error) }
        }
        _ => LedgerError::Failed { operation, reason: format!("PostgreSQL: {}", told(error)) },
    }
}

/// The error with its causes. What the server says of rows (`DETAIL`) is left out: it may be long.
pub fn told(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        let mut text = format!("{} ({})", server.message(), server.code().code());
        if let Some(hint) = server.hint() {
            let _ = write!(text, "; {hint}");
        }
        return text;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}
