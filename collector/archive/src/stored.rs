//! Rows of files and rows of the store, each in the form of the other.

use crate::table::{Kind, Row, RowKey};
use async_trait::async_trait;
use gpuledger_ledger::{
    DayFile, DayRows, GpuHour, GpuHourKey, GpuKey, Hour, HourRange, LedgerError, NodeHour, NodeKey, OwnerKey,
    Store, Wanted,
};

pub fn of_gpu(key: GpuHourKey, values: GpuHour) -> Row<GpuHour> {
    let key = RowKey { subject: key.gpu.0, hour: key.hour.0, owner: key.owner.0 };
    Row { key, values }
}

pub fn to_gpu(row: Row<GpuHour>) -> (GpuHourKey, GpuHour) {
    let RowKey { subject, hour, owner } = row.key;
    (GpuHourKey { hour: Hour(hour), gpu: GpuKey(subject), owner: OwnerKey(owner) }, row.values)
}

pub fn of_node(hour: Hour, node: NodeKey, values: NodeHour) -> Row<NodeHour> {
    Row { key: RowKey { subject: node.0, hour: hour.0, owner: 0 }, values }
}

pub fn to_node(row: Row<NodeHour>) -> (Hour, NodeKey, NodeHour) {
    (Hour(row.key.hour), NodeKey(row.key.subject), row.values)
}

/// A kind of rows, with its place in the store.
#[async_trait]
pub trait Stored: Kind {
    /// The rows that lie in the store, and the files of the range, at one moment.
    async fn open(store: &dyn Store, range: HourRange)
    -> Result<(Vec<Row<Self>>, Vec<DayFile>), LedgerError>;

    fn to_day_rows(rows: Vec<Row<Self>>) -> DayRows;
}

#[async_trait]
impl Stored for GpuHour {
    async fn open(
        store: &dyn Store,
        range: HourRange,
    ) -> Result<(Vec<Row<Self>>, Vec<DayFile>), LedgerError> {
        let (rows, files) = store.open_gpu_rows(&Wanted::all(range)).await?;
        Ok((rows.into_iter().map(|(key, row)| of_gpu(key, row)).collect(), files))
    }

    fn to_day_rows(rows: Vec<Row<Self>>) -> DayRows {
        DayRows::Gpu(rows.into_iter().map(to_gpu).collect())
    }
}

#[async_trait]
impl Stored for NodeHour {
    async fn open(
        store: &dyn Store,
        range: HourRange,
    ) -> Result<(Vec<Row<Self>>, Vec<DayFile>), LedgerError> {
        let (rows, files) = store.open_node_hours(range).await?;
        Ok((rows.into_iter().map(|(hour, node, row)| of_node(hour, node, row)).collect(), files))
    }

    fn to_day_rows(rows: Vec<Row<Self>>) -> DayRows {
        DayRows::Node(rows.into_iter().map(to_node).collect())
    }
}
