//! Files of closed days for a ledger whose days were never open: of a synthetic fleet, for benchmarks.
//! They are made as all others are, read back before they are written, and entered by an import.

use crate::close::{encode, length};
use crate::files::{FileFault, Files};
use crate::names::Names;
use crate::stored::{self, Stored};
use crate::table::Row;
use crate::{Root, RootError, sha256};
use gpuledger_ledger::{
    Day, DayFile, DayRows, FileStatus, GpuRecord, LedgerError, NodeRecord, OwnerRecord, PendingFile, Table,
};

const OPERATION: &str = "make a closed day";

/// Makes files under a root, with the names of a register.
pub struct DayMaker {
    files: Files,
    names: Names,
}

impl DayMaker {
    pub fn new(
        root: Root,
        nodes: Vec<NodeRecord>,
        gpus: Vec<GpuRecord>,
        owners: Vec<OwnerRecord>,
    ) -> Result<Self, RootError> {
        Ok(Self { files: Files::open(root)?, names: Names::of(nodes, gpus, owners) })
    }

    /// Writes the first version of a day, of which each key is given once, and gives its entry in the manifest. When this returns the file is
    /// durable. The work is done here and now: call it where blocking does no harm.
    pub async fn make(&self, day: Day, rows: DayRows, now_ms: u64) -> Result<DayFile, LedgerError> {
        let table = match rows {
            DayRows::Gpu(_) => Table::GpuHours,
            DayRows::Node(_) => Table::NodeHours,
        };
        let file = PendingFile::new(table, day, 1);
        let made = match rows {
            DayRows::Gpu(rows) => {
                let rows = rows.into_iter().map(|(key, row)| stored::of_gpu(key, row)).collect();
                self.write(&file, rows, now_ms).await
            }
            DayRows::Node(rows) => {
                let rows = rows.into_iter().map(|(hour, node, row)| stored::of_node(hour, node, row));
                self.write(&file, rows.collect(), now_ms).await
            }
        };
        made.map_err(|fault| fault.of(OPERATION, self.files.place(&file.path)))
    }

    async fn write<K: Stored>(
        &self,
        file: &PendingFile,
        mut rows: Vec<Row<K>>,
        now_ms: u64,
    ) -> Result<DayFile, FileFault> {
        rows.sort_unstable_by_key(|row| row.key);
        let (bytes, sums) = encode(file, rows.into_iter(), &self.names)?;
        let (length, sha256) = (length(&bytes), sha256(&bytes));
        self.files.write(&file.path, bytes).await?;
        Ok(DayFile {
            table: file.table,
            day: file.day,
            version: file.version,
            path: file.path.clone(),
            status: FileStatus::Current,
            since_ms: now_ms,
            bytes: length,
            sha256,
            sums,
        })
    }
}
