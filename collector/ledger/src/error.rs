//! Why the ledger could not do what it was asked.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot open the ledger {path}: {reason}")]
    Open { path: PathBuf, reason: String },
    /// Where it is may be right: it did not answer, or not now.
    #[error("cannot reach the ledger {path}: {reason}")]
    Unreachable { path: PathBuf, reason: String },
    #[error("{path} is not a gpuledger ledger: {reason}")]
    NotALedger { path: PathBuf, reason: String },
    #[error(
        "the ledger {path} was written by a newer version (schema {found}, this build knows {known}); use that version or a newer one"
    )]
    TooNew { path: PathBuf, found: i64, known: i64 },
    #[error("cannot {operation}: the ledger's disk is full")]
    DiskFull { operation: &'static str },
    #[error("cannot {operation}: the ledger is read-only")]
    ReadOnly { operation: &'static str },
    #[error("cannot {operation}: the ledger is locked by another process")]
    Locked { operation: &'static str },
    #[error("cannot {operation}: the ledger file is damaged: {reason}")]
    Corrupt { operation: &'static str, reason: String },
    #[error("cannot {operation}: the ledger's disk does not answer as it should: {reason}")]
    Disk { operation: &'static str, reason: String },
    #[error(
        "the ledger {path} is gone: it was moved or removed, or its disk is no longer mounted; put it back in its place"
    )]
    Gone { path: PathBuf },
    #[error("cannot tell whether the ledger could {operation}: another file was put in its place meanwhile")]
    Replaced { operation: &'static str },
    #[error("cannot {operation}: {reason}")]
    Failed { operation: &'static str, reason: String },
    #[error("the ledger is full: no number is left for another {what}")]
    Exhausted { what: &'static str },
    #[error("cannot add to a row: {0}")]
    Overflow(#[from] gpuledger_units::Overflow),
    #[error("cannot keep rows of the hour {hour} since 1970: the ledger holds the years 2020 to 2079")]
    HourOutOfRange { hour: u32 },
    #[error("epoch {epoch} belongs to node {owner:?}: its spool was copied from there")]
    ForeignEpoch { epoch: gpuledger_proto::ids::Epoch, owner: String },
    #[error("cannot {operation}: days of this range lie in the ledger's archive, which is not open")]
    Archived { operation: &'static str },
    #[error("the ledger {ledger} is not empty: what is there would be mixed with what comes")]
    NotEmpty { ledger: String },
    #[error("cannot {operation}: the archived file {file} {fault}")]
    Archive { operation: &'static str, file: String, fault: String },
    /// What was read so far is of a moment that is over: whoever reads begins anew.
    #[error("cannot {operation}: the archived file {file} was replaced by a newer one meanwhile; try again")]
    Superseded { operation: &'static str, file: String },
}

impl LedgerError {
    /// True where what was given can never be stored, however often it is tried; false where the
    /// store itself is in trouble and a later attempt may succeed.
    pub fn is_of_content(&self) -> bool {
        matches!(self, Self::Overflow(_) | Self::HourOutOfRange { .. } | Self::ForeignEpoch { .. })
    }

    /// True where the ledger's file or its disk is in trouble, so that a connection to it is worth nothing:
    /// it is opened anew before the next attempt.
    pub(crate) fn is_of_the_file(&self) -> bool {
        use LedgerError::{Corrupt, Disk, Gone, ReadOnly, Replaced};
        matches!(self, Corrupt { .. } | Disk { .. } | Gone { .. } | ReadOnly { .. } | Replaced { .. })
    }
}
