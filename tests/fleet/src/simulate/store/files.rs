//! A ledger's files, which can be copied, put back and torn.

use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{LedgerError, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A ledger's file and its log.
#[derive(Clone, PartialEq, Eq)]
pub struct Files {
    pub main: Vec<u8>,
    pub log: Vec<u8>,
}

/// Opens the SQLite ledger of a generation; creates it where there is none.
pub fn open_in(folder: &Path, generation: u32) -> Result<Arc<dyn Store>, LedgerError> {
    Ok(Arc::new(SqliteLedger::open(&file_in(folder, generation))?))
}

fn file_in(folder: &Path, generation: u32) -> PathBuf {
    folder.join(format!("ledger-{generation}.db"))
}

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

impl Files {
    pub fn read(folder: &Path, generation: u32) -> Result<Self, LedgerError> {
        let path = file_in(folder, generation);
        let main = std::fs::read(&path).map_err(|error| failed(&path, &error))?;
        Ok(Self { main, log: std::fs::read(log_of(&path)).unwrap_or_default() })
    }

    /// Writes them where the ledger of a generation is opened.
    pub fn write(&self, folder: &Path, generation: u32) -> Result<(), LedgerError> {
        let path = file_in(folder, generation);
        let write = |path: &Path, bytes| std::fs::write(path, bytes).map_err(|error| failed(path, &error));
        write(&path, &self.main)?;
        write(&log_of(&path), &self.log)
    }
}

fn failed(path: &Path, error: &std::io::Error) -> LedgerError {
    LedgerError::Open { path: path.to_owned(), reason: error.to_string() }
}
