//! The files of an archive in another place, for a backup or a ledger that moves.

use crate::files::{FileFault, Files};
use crate::{ArchivedLedger, Root, RootError, sha256};
use bytes::Bytes;
use gpuledger_ledger::{DayFile, LedgerError};

const OPERATION: &str = "copy the archive";

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
    /// Of them, those that lay there already with the same content.
    pub there: u64,
}

impl ArchivedLedger {
    /// Copies these files under another root; each is held against its checksum on the way and
    /// durable when this returns. What lies there already with the same content stays. `progress` is
    /// told how many are done.
    pub async fn copy_files(
        &self,
        files: &[DayFile],
        to: Root,
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Copied, LedgerError> {
        let place = to.to_string();
        let to = Files::open(to).map_err(|error: RootError| LedgerError::Failed {
            operation: OPERATION,
            reason: error.to_string(),
        })?;
        let mut copied = Copied::default();
        for (done, file) in files.iter().enumerate() {
            progress(done);
            let bytes = self.files.read(&file.path).await.and_then(|bytes| checked(file, bytes));
            let bytes = bytes.map_err(|fault| fault.of(OPERATION, self.files.place(&file.path)))?;
            let there = matches!(to.read(&file.path).await, Ok(there) if there == bytes);
            if !there {
                let written = to.write(&file.path, bytes).await;
                written.map_err(|fault| fault.of(OPERATION, format!("{place}/{}", file.path)))?;
            }
            copied.files += 1;
            copied.bytes = copied.bytes.saturating_add(file.bytes);
            copied.there += u64::from(there);
        }
        progress(files.len());
        Ok(copied)
    }
}

fn checked(file: &DayFile, bytes: Bytes) -> Result<Bytes, FileFault> {
    if sha256(&bytes) == file.sha256 {
        return Ok(bytes);
    }
    Err(FileFault::damaged("its SHA-256 is not the one that the ledger knows"))
}
