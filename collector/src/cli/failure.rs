//! How a command ends, and the exit code that says so.

use crate::costing::CostingError;
use crate::store::StoreError;
use gpuledger_ledger::LedgerError;
use std::io;
use std::process::ExitCode;

/// Why a command did not end well. The text is told once, by `main`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A check found something; it has been printed.
    #[error("the check found faults")]
    Found,
    /// Wrong use or bad input; nothing was changed.
    #[error("{0}")]
    Usage(String),
    /// Something failed at run time.
    #[error("{0}")]
    Runtime(String),
    /// The reader of our output went away: no error of ours.
    #[error("the reader of the output went away")]
    PipeClosed,
}

impl Failure {
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::PipeClosed => ExitCode::SUCCESS,
            Self::Found => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(3),
        }
    }

    /// What `main` prints, if anything.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Usage(text) | Self::Runtime(text) => Some(format!("error: {text}")),
            Self::Found | Self::PipeClosed => None,
        }
    }
}

impl From<io::Error> for Failure {
    /// For writes to standard output: files have messages of their own.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::PipeClosed;
        }
        Self::Runtime(format!("cannot write the output: {error}"))
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        StoreError::Ledger(error).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_usage() { Self::Usage(error.to_string()) } else { Self::Runtime(error.to_string()) }
    }
}

impl From<CostingError> for Failure {
    fn from(error: CostingError) -> Self {
        match error {
            CostingError::Ledger(error) => error.into(),
            // What the register says and what was measured do not go together: the message says how
            // to mend it.
            other => Self::Usage(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.exit_code(), closed.message()), (ExitCode::SUCCESS, None));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit_code(), ExitCode::from(3));
        assert!(full.message().is_some());
    }

    #[test]
    fn the_wrong_file_is_wrong_use_and_a_failing_store_is_not() {
        let wrong = LedgerError::NotALedger { path: "x".into(), reason: "it is empty".into() };
        assert_eq!(Failure::from(wrong).exit_code(), ExitCode::from(2));
        let failing = LedgerError::DiskFull { operation: "commit rows" };
        assert_eq!(Failure::from(failing).exit_code(), ExitCode::from(3));
    }
}
