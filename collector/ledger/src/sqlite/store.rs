//! What archive, backup and migration ask of the SQLite store.

use super::{SqliteLedger, check, days, fault, identity, site, transfer};
use crate::{
    CommitOutcome, Day, DayFile, GpuHourStream, GpuTotal, Hour, HourRange, LedgerError, LedgerTotals,
    NodeHour, NodeKey, PendingFile, Publish, Record, Store, Table, Wanted,
};
use async_trait::async_trait;
use std::path::Path;
use tokio::sync::mpsc;

#[async_trait]
impl Store for SqliteLedger {
    async fn check(&self) -> Result<Vec<String>, LedgerError> {
        self.read("check the ledger", check::faults).await
    }

    async fn size_bytes(&self) -> Result<u64, LedgerError> {
        let size = |path: &Path| std::fs::metadata(path).map(|file| file.len());
        let path = self.readers.path();
        let ledger = size(path).map_err(|error| {
            let reason = format!("{}: {error}", path.display());
            LedgerError::Disk { operation: "look at the ledger's size", reason }
        })?;
        // No log is an empty log.
        Ok(ledger + size(&site::beside(path, "-wal")).unwrap_or(0))
    }

    async fn open_gpu_hours(&self, wanted: &Wanted) -> Result<(GpuHourStream, Vec<DayFile>), LedgerError> {
        self.stream(wanted).await
    }

    async fn open_node_hours(
        &self,
        range: HourRange,
    ) -> Result<(Vec<(Hour, NodeKey, NodeHour)>, Vec<DayFile>), LedgerError> {
        self.read("read node hours", move |c| days::open_node_hours(c, range)).await
    }

    async fn open_totals(&self) -> Result<(LedgerTotals, Vec<DayFile>), LedgerError> {
        self.ask("sum GPU hours", days::open_totals).await
    }

    async fn expired(&self) -> Result<(Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>), LedgerError> {
        self.read("sum what has expired", days::expired).await
    }

    async fn open_days(&self, table: Table, before: Day) -> Result<Vec<Day>, LedgerError> {
        self.read("list open days", move |c| {
            let range = HourRange { from: Hour(0), to: before.first_hour() };
            days::open_days(c, table, range)
        })
        .await
    }

    async fn files(&self) -> Result<Vec<DayFile>, LedgerError> {
        self.read("list files of closed days", days::files).await
    }

    async fn begin_file(&self, table: Table, day: Day, now_ms: u64) -> Result<PendingFile, LedgerError> {
        self.write("enter a file of a closed day", move |c| days::begin(c, table, day, now_ms)).await
    }

    async fn publish(&self, publish: Publish) -> Result<CommitOutcome, LedgerError> {
        self.write("publish a closed day", move |c| days::publish(c, &publish)).await
    }

    async fn expire(
        &self,
        file: &DayFile,
        gpus: Vec<GpuTotal>,
        nodes: Vec<(NodeKey, NodeHour)>,
        now_ms: u64,
    ) -> Result<CommitOutcome, LedgerError> {
        let file = file.clone();
        self.write("let a closed day expire", move |c| days::expire(c, &file, &gpus, &nodes, now_ms)).await
    }

    async fn forget_files(&self, paths: &[String]) -> Result<(), LedgerError> {
        let paths = paths.to_vec();
        self.write("forget files of closed days", move |c| days::forget(c, &paths)).await
    }

    async fn archive_location(&self) -> Result<Option<String>, LedgerError> {
        self.read("read where the archive is", days::location).await
    }

    async fn set_archive_location(&self, location: &str) -> Result<(), LedgerError> {
        let location = location.to_owned();
        let failed = fault::at("keep where the archive is");
        self.write("keep where the archive is", move |c| days::set_location(c, &location).map_err(failed))
            .await
    }

    async fn identity(&self) -> Result<Option<String>, LedgerError> {
        self.read("read the ledger's identity", identity::get).await
    }

    async fn set_identity(&self, identity: Option<&str>) -> Result<(), LedgerError> {
        let identity = identity.map(str::to_owned);
        self.write("name the ledger", move |c| identity::set(c, identity.as_deref())).await
    }

    async fn export(&self, to: mpsc::Sender<Vec<Record>>) -> Result<(), LedgerError> {
        self.ask("export the ledger", move |c| transfer::export(c, to)).await
    }

    async fn import(&self, from: mpsc::Receiver<Vec<Record>>) -> Result<(), LedgerError> {
        let ledger = self.readers.path().display().to_string();
        self.write("import a ledger", move |c| transfer::import(c, from, ledger)).await
    }
}
