//! Retention: days that are older than what is to be kept leave the reports. Their sums stay.

use crate::ArchivedLedger;
use crate::files::FileFault;
use crate::table::Kind;
use gpuledger_ledger::{
    CommitOutcome, Day, DayFile, FileStatus, GpuHour, GpuKey, GpuTotal, LedgerError, NodeHour, NodeKey, Table,
};
use std::collections::BTreeMap;

/// What has expired.
#[derive(Debug, Default)]
pub struct Expiry {
    pub expired: Vec<DayFile>,
    /// Days that got a newer file meanwhile: the next time takes them.
    pub moved: Vec<(Table, Day)>,
    /// A file that is lost or damaged stays and does not keep others from expiring. Any other failure
    /// ends the attempt.
    pub failures: Vec<LedgerError>,
}

const OPERATION: &str = "let a day expire";

impl ArchivedLedger {
    /// Lets every current file of a day before this one expire. Rows of such a day that lie in the
    /// store stay there until the day is closed again.
    pub async fn expire(&self, before: Day, now_ms: u64) -> Expiry {
        let mut expiry = Expiry::default();
        if let Err(error) = self.expire_files(before, now_ms, &mut expiry).await {
            expiry.failures.push(error);
        }
        expiry
    }

    async fn expire_files(&self, before: Day, now_ms: u64, expiry: &mut Expiry) -> Result<(), LedgerError> {
        let files = self.store.files().await?;
        for file in files.into_iter().filter(|file| file.status == FileStatus::Current && file.day < before) {
            let (gpus, nodes) = match self.day_totals(&file).await {
                Ok(totals) => totals,
                Err(fault) => {
                    expiry.failures.push(fault.of(OPERATION, self.files.place(&file.path)));
                    continue;
                }
            };
            match self.store.expire(&file, gpus, nodes, now_ms).await? {
                CommitOutcome::Committed => expiry.expired.push(file),
                CommitOutcome::Moved => expiry.moved.push((file.table, file.day)),
            }
        }
        Ok(())
    }

    /// The rows of a file added up by GPU or node, by its number.
    pub(crate) async fn by_subject<K: Kind>(&self, file: &DayFile) -> Result<BTreeMap<u32, K>, FileFault> {
        let rows = self.verified::<K>(file).await?;
        let work = move || {
            let mut sums: BTreeMap<u32, K> = BTreeMap::new();
            for row in rows {
                let row = row?;
                let sum = sums.entry(row.key.subject).or_default();
                sum.add(&row.values).map_err(FileFault::damaged)?;
            }
            Ok(sums)
        };
        tokio::task::spawn_blocking(work).await.map_err(FileFault::damaged)?
    }

    /// What of a file stays.
    async fn day_totals(&self, file: &DayFile) -> Result<Sums, FileFault> {
        let sums = match file.table {
            Table::GpuHours => (gpu_totals(self.by_subject(file).await?), Vec::new()),
            Table::NodeHours => (Vec::new(), node_totals(self.by_subject(file).await?)),
        };
        Ok(sums)
    }
}

type Sums = (Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>);

fn gpu_totals(sums: BTreeMap<u32, GpuHour>) -> Vec<GpuTotal> {
    sums.into_iter().map(|(gpu, total)| GpuTotal { gpu: GpuKey(gpu), total }).collect()
}

fn node_totals(sums: BTreeMap<u32, NodeHour>) -> Vec<(NodeKey, NodeHour)> {
    sums.into_iter().map(|(node, total)| (NodeKey(node), total)).collect()
}
