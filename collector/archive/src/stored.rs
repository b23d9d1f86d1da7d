//! Rows of files and rows of the store, each in the form of the other.

use crate::table::{Kind, Row, RowKey};
use async_trait::async_trait;
use gpuledger_ledger::{
    Day, DayFile, DayRows, GpuHour, GpuHourKey, GpuKey, Hour, LedgerError, NodeHour, NodeKey, OwnerKey,
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

/// Rows that lie in the store, sorted by their keys. To be taken where blocking does no harm.
pub type OpenRows<K> = Box<dyn Iterator<Item = Result<Row<K>, LedgerError>> + Send>;

/// A kind of rows, with its place in the store.
#[async_trait]
pub trait Stored: Kind {
    /// The rows of a day that lie in the store, where there are any, and the day's current file, at one
    /// moment.
    async fn open(
        store: &dyn Store,
        day: Day,
    ) -> Result<Option<(OpenRows<Self>, Option<DayFile>)>, LedgerError>;

    fn to_day_rows(rows: Vec<Row<Self>>) -> DayRows;
}

#[async_trait]
impl Stored for GpuHour {
    async fn open(
        store: &dyn Store,
        day: Day,
    ) -> Result<Option<(OpenRows<Self>, Option<DayFile>)>, LedgerError> {
        let (mut stream, files) = store.open_gpu_hours(&Wanted::all(day.hours())).await?;
        let Some(first) = stream.next().await? else { return Ok(None) };
        let others = std::iter::from_fn(move || stream.next_blocking().transpose());
        let rows = std::iter::once(Ok(first)).chain(others).flat_map(|piece| {
            let (rows, error) = match piece {
                Ok(piece) => (piece.iter().map(|(key, row)| Ok(of_gpu(key, row))).collect(), None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            rows.into_iter().chain(error)
        });
        Ok(Some((Box::new(rows), files.into_iter().next())))
    }

    fn to_day_rows(rows: Vec<Row<Self>>) -> DayRows {
        DayRows::Gpu(rows.into_iter().map(to_gpu).collect())
    }
}

#[async_trait]
impl Stored for NodeHour {
    async fn open(
        store: &dyn Store,
        day: Day,
    ) -> Result<Option<(OpenRows<Self>, Option<DayFile>)>, LedgerError> {
        let (mut rows, files) = store.open_node_hours(day.hours()).await?;
        rows.sort_unstable_by_key(|(hour, node, _)| (*node, *hour));
        let is_empty = rows.is_empty();
        let rows = rows.into_iter().map(|(hour, node, row)| Ok(of_node(hour, node, row)));
        Ok((!is_empty).then(|| (Box::new(rows) as OpenRows<Self>, files.into_iter().next())))
    }

    fn to_day_rows(rows: Vec<Row<Self>>) -> DayRows {
        DayRows::Node(rows.into_iter().map(to_node).collect())
    }
}
