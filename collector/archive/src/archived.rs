//! The archive as a ledger: open rows and files read as one.

use crate::ArchivedLedger;
use crate::files::{FileFault, Files};
use crate::read::{self, Asked};
use crate::stored;
use crate::table::{Kind, Row};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use gpuledger_ledger::{
    Columns, CommitOutcome, DayFile, GpuHourStream, GpuRecord, Hour, HourRange, Ledger, LedgerError,
    LedgerTotals, NodeCommit, NodeHour, NodeKey, NodeRecord, NodeState, OwnerKey, OwnerRecord, Registered,
    StoredAsset, Wanted,
};
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use gpuledger_units::Overflow;

/// Files read at one time: enough to hide how far away an object store is.
const READS_MAX: usize = 8;
pub const LOST: &str = "is missing: bring it back from a backup, or the folder of closed days to its ledger \
                    (LEDGER.days beside an SQLite file, or where [archive] location says)";
/// More often the names are not read again.
const ATTEMPTS_MAX: usize = 5;

/// What a read of files came to.
enum Outcome<T> {
    Read(T),
    /// A file is not there: removed, or lost.
    Missing(DayFile),
}

impl ArchivedLedger {
    /// The rows of these files, file by file, each file sorted by `order`.
    async fn rows_of<K: Kind, R: Send + 'static>(
        &self,
        files: Vec<DayFile>,
        asked: &Asked,
        to_row: fn(Row<K>) -> R,
        operation: &'static str,
    ) -> Result<Outcome<Vec<Vec<R>>>, LedgerError> {
        let reads = stream::iter(files).map(|file| async move {
            match read::rows::<K>(&self.files, &file, asked).await {
                Ok(rows) => Ok(rows.into_iter().map(to_row).collect()),
                Err(fault) => Err((file, fault)),
            }
        });
        match reads.buffered(READS_MAX).try_collect::<Vec<Vec<R>>>().await {
            Ok(rows) => Ok(Outcome::Read(rows)),
            Err((file, FileFault::Missing)) => Ok(Outcome::Missing(file)),
            Err((file, fault)) => Err(fault.of(operation, self.files.place(&file.path))),
        }
    }

    /// Attempts to read files by the names that the store gives.
    pub(crate) const fn attempts(&self, operation: &'static str) -> Attempts<'_> {
        Attempts { files: &self.files, operation, missed: Vec::new() }
    }
}

/// A file can be superseded and removed between the moment its name was read and the moment it is
/// opened, by a `gc` without grace. Then the names are read again.
pub struct Attempts<'a> {
    files: &'a Files,
    operation: &'static str,
    /// What was not there, by path.
    missed: Vec<String>,
}

impl Attempts<'_> {
    /// After a file was not there: another was superseded and is worth another try; one that is still
    /// named is lost.
    pub fn missed(&mut self, file: &DayFile) -> Result<(), LedgerError> {
        if self.missed.contains(&file.path) || self.missed.len() == ATTEMPTS_MAX {
            let lost = FileFault::Wrong(LOST.to_owned());
            return Err(lost.of(self.operation, self.files.place(&file.path)));
        }
        self.missed.push(file.path.clone());
        Ok(())
    }
}

/// Puts the rows of files and those of the store into one order, adding up those of one key.
/// Everything given is sorted in itself, so that the sort merges long runs.
fn together<R, Key: Ord>(
    files: Vec<Vec<R>>,
    open: Vec<R>,
    key: impl Fn(&R) -> Key,
    add: impl Fn(&mut R, &R) -> Result<(), Overflow>,
) -> Result<Vec<R>, Overflow> {
    let mut rows = Vec::with_capacity(files.iter().map(Vec::len).sum::<usize>() + open.len());
    for mut file in files {
        file.sort_unstable_by_key(&key);
        rows.append(&mut file);
    }
    rows.extend(open);
    rows.sort_by_key(&key);
    let mut failure = Ok(());
    rows.dedup_by(|later, kept| {
        let same = key(later) == key(kept);
        if same && failure.is_ok() {
            failure = add(kept, later);
        }
        same
    });
    failure.map(|()| rows)
}

#[async_trait]
impl Ledger for ArchivedLedger {
    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError> {
        self.store.node(name).await
    }

    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError> {
        self.store.register(node, inventory).await
    }

    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
        self.store.owners(owners).await
    }

    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError> {
        self.store.state(node).await
    }

    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
        self.store.sequence(node, epoch).await
    }

    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError> {
        self.store.commit(commits).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        self.store.nodes().await
    }

    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError> {
        self.store.gpus().await
    }

    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError> {
        self.store.all_owners().await
    }

    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        self.stream(wanted).await
    }

    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        const OPERATION: &str = "read hours of nodes";
        let asked = Asked { range, subjects: None, columns: Columns::ALL };
        let mut attempts = self.attempts(OPERATION);
        loop {
            let (open, files) = self.store.open_node_hours(range).await?;
            match self.rows_of(files, &asked, stored::to_node, OPERATION).await? {
                Outcome::Read(rows) => {
                    let key = |row: &(Hour, NodeKey, NodeHour)| (row.0, row.1);
                    return Ok(together(rows, open, key, |row, other| row.2.merge(&other.2))?);
                }
                Outcome::Missing(file) => attempts.missed(&file)?,
            }
        }
    }

    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError> {
        self.store.versions().await
    }

    async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        self.all_totals().await
    }

    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.store.put_assets(assets).await
    }

    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.store.assets().await
    }
}
