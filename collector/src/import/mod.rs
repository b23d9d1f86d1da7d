//! History that exists already, brought in through the same fold as live readings.
//!
//! A CSV of power or energy readings becomes one series for each node (or GPU):
//!
//! 1. [`table`] reads and checks every row of the file: the first bad cell ends the import with its
//!    line and column, before anything is written;
//! 2. [`integrate`] turns a series into samples of a cumulative energy, by the trapezoid rule in
//!    integers, with an interpolated sample at each full hour, so that hour rows are exact;
//! 3. [`feed`] hands the samples in batches to the fold and commits all nodes in one transaction.
//!
//! Files that the register names are made from those of others: [`catalog`] reads the price lists of
//! clouds and [`price_book`] keeps them, [`rates_book`] keeps exchange rates.
//!
//! Invariants: an epoch is named by the bytes of the file, the mapping and the series, so the same
//! import has the same sequences and changes nothing the second time; time that the ledger already
//! counted for a node or GPU is never counted again, whichever file it comes from.

pub mod catalog;
pub mod feed;
pub mod integrate;
pub mod mapping;
mod number;
pub mod price_book;
pub mod rates_book;
mod source;
mod summary;
pub mod table;

pub use mapping::Mapping;
pub use summary::{SeriesSummary, Summary};

use gpuledger_ledger::LedgerError;
use std::path::PathBuf;

/// Why an import was refused or could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    /// Something in the file is not what the mapping says; the place is in the text.
    #[error("{path}{place}: {problem}")]
    Input { path: PathBuf, place: Place, problem: String },
    #[error("{0}")]
    Mapping(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot add up the readings of {series}: {reason}")]
    Fold { series: String, reason: String },
    #[error("another process keeps writing to node {0} of this ledger; try again when it is quiet")]
    Contended(String),
}

impl ImportError {
    /// True where the user can mend the input and nothing was written.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Input { .. } | Self::Mapping(_))
    }
}

/// Where in a CSV file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// From 1; the header is line 1.
    pub line: Option<u64>,
    pub column: Option<String>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column {column:?}")?;
        }
        Ok(())
    }
}
