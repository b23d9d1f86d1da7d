//! A ledger's whole content from one store into another, and the proof that both hold the same.
//!
//! The exporting and the importing side run at once with a bounded channel between them, so that
//! memory does not grow with the ledger. A side that fails ends the other: the sender finds nobody who
//! takes, the receiver finds no [`Record::End`] and keeps nothing.

mod digest;

pub use digest::{Digest, Part, digest};

use crate::{LedgerError, Record, Store};
use tokio::sync::mpsc;

/// Pieces of some thousand records that wait between the two sides: one that is being written, one
/// that is ready and one that is being read.
const CHUNKS_WAITING: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("cannot read the ledger that is copied: {0}")]
    From(#[source] LedgerError),
    #[error("cannot fill the new ledger: {0}")]
    To(#[source] LedgerError),
    #[error("the two ledgers differ in their {what}: {from} in the one, {to} in the other")]
    Different { what: &'static str, from: Part, to: Part },
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub records: u64,
}

/// Fills the empty store `to` with all that is in `from`, all or nothing. Says after each piece how
/// many records have passed.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    progress: impl FnMut(u64),
) -> Result<Copied, TransferError> {
    let (out, passing) = mpsc::channel(CHUNKS_WAITING);
    let (passed, into) = mpsc::channel(CHUNKS_WAITING);
    let (exported, stopped, imported) =
        tokio::join!(from.export(out), pass(passing, passed, progress), to.import(into));
    match (exported, stopped, imported) {
        (Ok(()), Ok(records), Ok(())) => Ok(Copied { records }),
        // Who fails second says only that the other has gone.
        (_, Err(Untaken), Err(error)) | (Ok(()), _, Err(error)) => Err(TransferError::To(error)),
        (Err(error), ..) => Err(TransferError::From(error)),
        (Ok(()), Err(Untaken), Ok(())) => Err(TransferError::To(LedgerError::Failed {
            operation: "import a ledger",
            reason: "it ended before everything was there".to_owned(),
        })),
    }
}

/// The importing side takes no more.
struct Untaken;

/// Hands everything on and counts it.
async fn pass(
    mut from: mpsc::Receiver<Vec<Record>>,
    to: mpsc::Sender<Vec<Record>>,
    mut progress: impl FnMut(u64),
) -> Result<u64, Untaken> {
    let mut records = 0;
    while let Some(chunk) = from.recv().await {
        records += chunk.iter().map(|record| u64::from(!matches!(record, Record::End(_)))).sum::<u64>();
        to.send(chunk).await.map_err(|_| Untaken)?;
        progress(records);
    }
    Ok(records)
}

/// Reads both stores and gives their common digest; or the first kind of record in which they differ.
pub async fn prove_equal(from: &dyn Store, to: &dyn Store) -> Result<Digest, TransferError> {
    let one = digest(from).await.map_err(TransferError::From)?;
    let other = digest(to).await.map_err(TransferError::To)?;
    match one.first_difference(&other) {
        None => Ok(one),
        Some((what, from, to)) => Err(TransferError::Different { what, from, to }),
    }
}
