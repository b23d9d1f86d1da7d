//! Closed days as Parquet files, under a manifest in the ledger.
//!
//! A day that is over moves out of the transactional store into one file a table, which every engine
//! reads: `gpu_hours/2026-11-01.v0002-3fa94c.parquet` below the archive's [`Root`]. [`schema`] says what
//! is in it. What comes late for such a day lies in the store again and is added when the day is
//! read, until the next version of the file takes it in. An [`ArchivedLedger`] reads open rows and
//! files as one, and fetches of a file only the pieces, columns and rows that were asked for.
//!
//! # Other engines
//!
//! A folder can hold two versions of a day, until [`ArchivedLedger::gc`] has removed the older one; the
//! newest has everything. This line of SQL, for DuckDB, takes the newest of each day; the list of
//! names comes from the folder and not from the files, so it costs nothing:
//!
//! ```sql
//! SELECT node, gpu_uuid, sum(counter_mj + estimated_mj) AS energy_mj FROM 'ledger.db.days/gpu_hours/*.parquet' WHERE filename IN (SELECT max(file) FROM glob('ledger.db.days/gpu_hours/*.parquet') GROUP BY parse_filename(file)[:10]) GROUP BY ALL;
//! ```
//!
//! Other engines have their own name for `filename` (`"$path"`, `input_file_name()`, `_path`), or compare
//! the columns `day` and `version`. Days that are not closed yet are in no file. Where an older ledger
//! was put back from a backup, `gpuledger gc` first removes what that ledger does not know.
//!
//! # Invariants
//!
//! - A row is in the store or in the current file of its day, at every moment that anyone can see.
//! - A file that was entered is never written again. Its checksum and sums are in the manifest;
//!   checksums of its parts are in the file itself, so that whatever is read was checked.
//! - Before rows leave the store, the file's bytes were decoded and compared with them.
//! - Whatever stops in between leaves at most a file that `gc` names and removes. It removes nothing that
//!   is not named like ours, and nothing that a reader can still have been told of.
//! - An archive is one ledger's: the file `LEDGER` at its root says whose, and no other closes days or
//!   removes files there.
#![forbid(unsafe_code)]

mod archived;
mod checksum;
mod claim;
mod close;
mod copy;
mod expire;
mod files;
mod gc;
mod keeper;
mod make;
mod merge;
mod names;
mod read;
mod root;
pub mod schema;
mod stored;
mod stream;
mod table;
mod totals;
mod write;

pub use claim::Claim;
pub use close::{ClosedDay, Closing};
pub use copy::Copied;
pub use expire::Expiry;
pub use files::FileFault;
pub use gc::{Garbage, GcOptions, Reason};
pub use keeper::{Keeper, KeeperOptions, KeeperStatus};
pub use make::DayMaker;
pub use root::{Root, RootError};

use bytes::Bytes;
use files::Files;
use gpuledger_ledger::{DayFile, DayRows, GpuHour, LedgerError, NodeHour, PIECE_ROWS, Store, Table};
use read::Rows;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use stored::Stored;
use table::Kind;
use tokio::sync::mpsc;

/// A ledger of which old days lie in files: it reads as if they did not.
pub struct ArchivedLedger {
    store: Arc<dyn Store>,
    files: Files,
    totals: tokio::sync::Mutex<totals::Totals>,
}

impl ArchivedLedger {
    /// Nothing is written or read yet: a folder that is not there is created with the first file.
    pub fn open(store: Arc<dyn Store>, root: Root) -> Result<Self, LedgerError> {
        let failed = |error: RootError| LedgerError::Failed {
            operation: "open the archive",
            reason: error.to_string(),
        };
        let files = Files::open(root).map_err(failed)?;
        Ok(Self { store, files, totals: tokio::sync::Mutex::default() })
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Sends the rows of a file piece by piece, after its bytes were held against everything that the
    /// manifest knows of it. Stops where nobody takes them.
    pub async fn day_rows(&self, file: &DayFile, to: mpsc::Sender<DayRows>) -> Result<(), FileFault> {
        match file.table {
            Table::GpuHours => send(self.verified::<GpuHour>(file).await?, to).await,
            Table::NodeHours => send(self.verified::<NodeHour>(file).await?, to).await,
        }
    }

    /// Reads a whole file, as [`Self::day_rows`] does, and says what is wrong with it.
    pub async fn check_file(&self, file: &DayFile) -> Result<(), FileFault> {
        let (to, mut from) = mpsc::channel(1);
        let take = async move { while from.recv().await.is_some() {} };
        let (read, ()) = tokio::join!(self.day_rows(file, to), take);
        read
    }

    /// Reads a whole file and holds it against everything that the manifest knows of it; against its sums
    /// once all rows were taken.
    async fn verified<K: Kind>(&self, file: &DayFile) -> Result<Rows<K>, FileFault> {
        let bytes = self.files.read(&file.path).await?;
        let file = file.clone();
        tokio::task::spawn_blocking(move || verify(&file, bytes)).await.map_err(FileFault::damaged)?
    }
}

async fn send<K: Stored>(mut rows: Rows<K>, to: mpsc::Sender<DayRows>) -> Result<(), FileFault> {
    let work = move || loop {
        let piece = rows.by_ref().take(PIECE_ROWS).collect::<Result<Vec<_>, _>>()?;
        if piece.is_empty() || to.blocking_send(K::to_day_rows(piece)).is_err() {
            return Ok(());
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(FileFault::damaged)?
}

fn verify<K: Kind>(file: &DayFile, bytes: Bytes) -> Result<Rows<K>, FileFault> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length != file.bytes {
        return Err(FileFault::damaged(format!("it has {length} bytes, the ledger says {}", file.bytes)));
    }
    if sha256(&bytes) != file.sha256 {
        return Err(FileFault::damaged("its SHA-256 is not the one that the ledger knows"));
    }
    Ok(Rows::new(file.day, read::batches_of_bytes::<K>(file, bytes)?))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
