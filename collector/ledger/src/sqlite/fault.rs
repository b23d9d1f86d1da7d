//! SQLite's result codes in the ledger's words.

use crate::LedgerError;
use gpuledger_units::Overflow;
use rusqlite::ffi;
use rusqlite::{Error, ErrorCode};

/// What went wrong in an operation, by SQLite's code.
pub fn during(operation: &'static str, error: &Error) -> LedgerError {
    let reason = error.to_string();
    let Error::SqliteFailure(failure, message) = error else {
        return match error {
            // A row holds what this crate never writes: a negative quantity, a text for a number.
            Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..) => LedgerError::Corrupt { operation, reason },
            _ => LedgerError::Failed { operation, reason },
        };
    };
    match failure.code {
        ErrorCode::DiskFull => LedgerError::DiskFull { operation },
        ErrorCode::ReadOnly => LedgerError::ReadOnly { operation },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            LedgerError::Locked { operation }
        }
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => LedgerError::Disk { operation, reason },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => LedgerError::Corrupt { operation, reason },
        // A sum above 63 bits becomes a float, which a STRICT integer column refuses.
        _ if failure.extended_code == ffi::SQLITE_CONSTRAINT_DATATYPE => {
            LedgerError::Overflow(Overflow("a stored sum"))
        }
        _ if message.as_deref() == Some("integer overflow") => {
            LedgerError::Overflow(Overflow("a sum over rows"))
        }
        _ => LedgerError::Failed { operation, reason },
    }
}

/// Adapter for `map_err`.
pub fn at(operation: &'static str) -> impl Fn(Error) -> LedgerError {
    move |error| during(operation, &error)
}
