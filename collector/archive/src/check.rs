//! Whether the files hold what the manifest says.

use crate::ArchivedLedger;
use gpuledger_ledger::{FileStatus, GpuHour, LedgerError, NodeHour, Table};
use std::collections::BTreeSet;

/// One line for each fault: every current file is there, has the size and checksum that were
/// entered, and its rows are sorted, unique, of its day, and add up to the sums of the manifest.
pub async fn files(archive: &ArchivedLedger) -> Result<Vec<String>, LedgerError> {
    let mut faults = Vec::new();
    let mut days = BTreeSet::new();
    for file in archive.store.files().await? {
        if file.status != FileStatus::Current {
            continue;
        }
        if !days.insert((file.table, file.day)) {
            faults.push(format!("{} of {} has two current files", file.table.name(), file.day));
        }
        let read = match file.table {
            Table::GpuHours => archive.verified::<GpuHour>(&file).await.map(|_| ()),
            Table::NodeHours => archive.verified::<NodeHour>(&file).await.map(|_| ()),
        };
        if let Err(fault) = read {
            faults.push(format!("the archived file {} {fault}", archive.files.place(&file.path)));
        }
    }
    Ok(faults)
}
