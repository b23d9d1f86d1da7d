//! Reads of rows and states. Each runs in a transaction that sees one moment.

use super::fault::Fault;
use super::numbers::{number, stored, unsigned};
use super::rows::{GPU_HOUR, NODE_HOUR, Table};
use crate::columns::Columnar;
use crate::sqlite::key;
use crate::{
    GpuHour, GpuHourKey, GpuKey, GpuTotal, Hour, HourRange, LedgerError, NodeHour, NodeKey, NodeState,
    OwnerKey,
};
use deadpool_postgres::Transaction;
use gpuledger_proto::ids::{Epoch, Sequence};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Rows that are held twice at a time.
const ROWS_PER_PIECE: i32 = 10_000;

pub type NodeRows = Vec<(Hour, NodeKey, NodeHour)>;

pub async fn state(tx: &Transaction<'_>, node: NodeKey) -> Result<NodeState, Fault> {
    let statement = tx.prepare_cached("SELECT version, state FROM node_state WHERE node = $1").await?;
    match tx.query_opt(&statement, &[&stored(node.0)?]).await? {
        Some(row) => Ok(NodeState { version: unsigned(&row, 0)?, blob: row.try_get(1)? }),
        None => Ok(NodeState::default()),
    }
}

/// The last sequence of an epoch, which must be the node's own.
pub async fn sequence(tx: &Transaction<'_>, node: NodeKey, epoch: Epoch) -> Result<Sequence, Fault> {
    let statement = tx
        .prepare_cached(
            "SELECT e.node, e.sequence, coalesce(n.name, '') FROM epoch e LEFT JOIN node n ON n.key = e.node \
             WHERE e.epoch = $1",
        )
        .await?;
    let Some(row) = tx.query_opt(&statement, &[&epoch.0]).await? else { return Ok(Sequence::NONE) };
    if number(&row, 0)? == node.0 {
        return Ok(Sequence(unsigned(&row, 1)?));
    }
    Err(LedgerError::ForeignEpoch { epoch, owner: row.try_get(2)? }.into())
}

/// Rows in the order (hour, node).
pub async fn node_hours(tx: &Transaction<'_>, range: HourRange) -> Result<NodeRows, Fault> {
    let (from, to) = bounds(range)?;
    let sql = NODE_HOUR.sql_select("WHERE hour >= $1 AND hour < $2");
    let mut rows = take_apart(tx, &sql, &[&from, &to], node_hour).await?;
    rows.sort_unstable_by_key(|(hour, node, _)| (*hour, *node));
    Ok(rows)
}

/// What a query gives, taken apart piece by piece: as the server sends them, rows take several times
/// the memory, and a day of a large fleet has millions.
pub async fn take_apart<T>(
    tx: &Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    row: impl Fn(&Row) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let portal = tx.bind(&tx.prepare_cached(sql).await?, parameters).await?;
    let mut all = Vec::new();
    loop {
        let piece = tx.query_portal(&portal, ROWS_PER_PIECE).await?;
        if piece.is_empty() {
            return Ok(all);
        }
        for found in &piece {
            all.push(row(found)?);
        }
    }
}

/// What the database takes on the server's disk.
pub async fn size_bytes(tx: &Transaction<'_>) -> Result<u64, Fault> {
    unsigned(&tx.query_one("SELECT pg_database_size(current_database())", &[]).await?, 0)
}

/// The version of every node that has committed.
pub async fn versions(tx: &Transaction<'_>) -> Result<Vec<(NodeKey, u64)>, Fault> {
    let statement = tx.prepare_cached("SELECT node, version FROM node_state ORDER BY node").await?;
    let found = tx.query(&statement, &[]).await?;
    found.iter().map(|row| Ok((NodeKey(number(row, 0)?), unsigned(row, 1)?))).collect()
}

/// Sums over the rows that lie in the store, by GPU.
pub async fn gpu_totals(tx: &Transaction<'_>) -> Result<Vec<GpuTotal>, Fault> {
    let found = tx.query(&GPU_HOUR.sql_totals("gpu"), &[]).await?;
    found.iter().map(gpu_total).collect()
}

pub fn gpu_hour(row: &Row) -> Result<(GpuHourKey, GpuHour), Fault> {
    let ([gpu, hour, owner], values) = read::<GpuHour, 3>(row)?;
    Ok((GpuHourKey { hour: Hour(hour), gpu: GpuKey(gpu), owner: OwnerKey(owner) }, values))
}

pub fn node_hour(row: &Row) -> Result<(Hour, NodeKey, NodeHour), Fault> {
    let ([node, hour], values) = read::<NodeHour, 2>(row)?;
    Ok((Hour(hour), NodeKey(node), values))
}

pub fn gpu_total(row: &Row) -> Result<GpuTotal, Fault> {
    let ([gpu], total) = read::<GpuHour, 1>(row)?;
    Ok(GpuTotal { gpu: GpuKey(gpu), total })
}

pub fn node_total(row: &Row) -> Result<(NodeKey, NodeHour), Fault> {
    let ([node], total) = read::<NodeHour, 1>(row)?;
    Ok((NodeKey(node), total))
}

fn read<R: Columnar, const K: usize>(row: &Row) -> Result<([u32; K], R), Fault> {
    let (key, values) = Table::<R, K>::read(row)?;
    let mut numbers = [0; K];
    for (number, part) in numbers.iter_mut().zip(key) {
        *number = u32::try_from(part).map_err(|_| Fault::Damaged(format!("a row has the key {key:?}")))?;
    }
    Ok((numbers, values))
}

/// A range of hours without those that no row can have.
pub fn bounds(range: HourRange) -> Result<(i32, i32), Fault> {
    let bound = |hour: Hour| stored(hour.0.clamp(key::FIRST_HOUR, key::HOUR_END));
    Ok((bound(range.from)?, bound(range.to)?))
}
