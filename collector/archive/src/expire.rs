//! Retention: days that are older than what is to be kept leave the reports. Their sums stay.

use crate::ArchivedLedger;
use crate::table::{Kind, Row};
use gpuledger_ledger::{
    CommitOutcome, Day, DayFile, FileStatus, GpuHour, GpuKey, GpuTotal, LedgerError, NodeHour, NodeKey, Table,
};
use gpuledger_units::Overflow;
use std::collections::BTreeMap;

/// What has expired.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Expiry {
    pub expired: Vec<DayFile>,
    /// Days that got a newer file meanwhile: the next time takes them.
    pub moved: Vec<(Table, Day)>,
}

impl ArchivedLedger {
    /// Lets every current file of a day before this one expire. Rows of such a day that lie in the
    /// store stay there until the day is closed again.
    pub async fn expire(&self, before: Day, now_ms: u64) -> Result<Expiry, LedgerError> {
        const OPERATION: &str = "let a day expire";
        let mut expiry = Expiry::default();
        let files = self.store.files().await?;
        for file in files.into_iter().filter(|file| file.status == FileStatus::Current && file.day < before) {
            let (mut gpus, mut nodes) = (Vec::new(), Vec::new());
            let fault = |fault: crate::FileFault| fault.of(OPERATION, self.files.place(&file.path));
            match file.table {
                Table::GpuHours => gpus = gpu_totals(self.verified(&file).await.map_err(fault)?)?,
                Table::NodeHours => nodes = node_totals(self.verified(&file).await.map_err(fault)?)?,
            }
            match self.store.expire(&file, gpus, nodes, now_ms).await? {
                CommitOutcome::Committed => expiry.expired.push(file),
                CommitOutcome::Moved => expiry.moved.push((file.table, file.day)),
            }
        }
        Ok(expiry)
    }
}

/// Sums by GPU or node, in the order of their keys.
pub fn by_subject<K: Kind>(rows: Vec<Row<K>>) -> Result<BTreeMap<u32, K>, Overflow> {
    let mut sums: BTreeMap<u32, K> = BTreeMap::new();
    for row in rows {
        sums.entry(row.key.subject).or_default().add(&row.values)?;
    }
    Ok(sums)
}

fn gpu_totals(rows: Vec<Row<GpuHour>>) -> Result<Vec<GpuTotal>, Overflow> {
    let sums = by_subject(rows)?;
    Ok(sums.into_iter().map(|(gpu, total)| GpuTotal { gpu: GpuKey(gpu), total }).collect())
}

fn node_totals(rows: Vec<Row<NodeHour>>) -> Result<Vec<(NodeKey, NodeHour)>, Overflow> {
    let sums = by_subject(rows)?;
    Ok(sums.into_iter().map(|(node, total)| (NodeKey(node), total)).collect())
}
