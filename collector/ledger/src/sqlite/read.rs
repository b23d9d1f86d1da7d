//! Reads, on connections that cannot write. With the write-ahead log they see the last commit and
//! never wait for the next one.

use super::rows::{GPU_HOUR, HourRow, NODE_HOUR, unsigned};
use super::{fault, key, open};
use crate::{
    GpuHour, GpuHourKey, GpuKey, GpuTotal, Hour, HourRange, LedgerError, NodeHour, NodeKey, NodeState, Wanted,
};
use gpuledger_proto::ids::{Epoch, Sequence};
use rusqlite::{Connection, OptionalExtension};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections kept open between reads. More reads than this at one time open their own.
const IDLE_MAX: usize = 4;

/// The pool of connections that read.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub fn new(path: &Path, first: Option<Connection>) -> Self {
        Self { path: path.to_owned(), idle: Mutex::new(first.into_iter().collect()) }
    }

    /// Where the ledger is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn take(&self) -> Result<Connection, LedgerError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open::for_reading(&self.path), Ok)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

/// Runs a read on a thread that may block.
pub async fn run<T, F>(readers: Arc<Readers>, operation: &'static str, job: F) -> Result<T, LedgerError>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
{
    let work = move || {
        let connection = readers.take()?;
        let answer = job(&connection)?;
        // One that failed is closed: whatever it remembers of the file may be wrong.
        readers.put_back(connection);
        Ok(answer)
    };
    let failed = |error: tokio::task::JoinError| LedgerError::Failed { operation, reason: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

pub fn state(connection: &Connection, node: NodeKey) -> rusqlite::Result<NodeState> {
    let mut statement = connection.prepare_cached("SELECT version, state FROM node_state WHERE node = ?1")?;
    let found = statement
        .query_row([node.0], |row| Ok(NodeState { version: unsigned(row, 0)?, blob: row.get(1)? }))
        .optional()?;
    // Version 0 is defined as "nothing committed yet".
    Ok(found.unwrap_or_default())
}

/// The last sequence of an epoch, which must be the node's own.
pub fn sequence(connection: &Connection, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
    let failed = fault::at("read a node's sequence");
    let mut statement = connection
        .prepare_cached(
            "SELECT node, sequence, name FROM epoch JOIN node ON node.key = node WHERE epoch = ?1",
        )
        .map_err(&failed)?;
    let found = statement
        .query_row([epoch.0.as_bytes()], |row| Ok((NodeKey(row.get(0)?), unsigned(row, 1)?, row.get(2)?)))
        .optional()
        .map_err(&failed)?;
    match found {
        None => Ok(Sequence::NONE),
        Some((owner, sequence, _)) if owner == node => Ok(Sequence(sequence)),
        Some((_, _, owner)) => Err(LedgerError::ForeignEpoch { epoch, owner }),
    }
}

pub fn gpu_hours(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<(GpuHourKey, GpuHour)>> {
    let mut statement = connection.prepare_cached(&GPU_HOUR.select())?;
    let mut found = statement.query(key::range(wanted.range))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let key = key::of_gpu_row(row.get(0)?);
        if wanted.has(key.gpu) {
            rows.push((key, GpuHour::from_row(row)?));
        }
    }
    Ok(rows)
}

pub fn node_hours(
    connection: &Connection,
    range: HourRange,
) -> rusqlite::Result<Vec<(Hour, NodeKey, NodeHour)>> {
    let mut statement = connection.prepare_cached(&NODE_HOUR.select())?;
    let rows = statement.query_map(key::range(range), |row| {
        let (hour, node) = key::of_node_row(row.get(0)?);
        Ok((hour, node, NodeHour::from_row(row)?))
    })?;
    rows.collect()
}

/// Sums over the rows that lie in the store, by GPU.
pub fn gpu_totals(connection: &Connection) -> rusqlite::Result<Vec<GpuTotal>> {
    let gpu = format!("(key >> {}) & {}", key::OWNER_BITS, (1 << key::GPU_BITS) - 1);
    let mut statement = connection.prepare_cached(&GPU_HOUR.totals(&gpu))?;
    let rows = statement
        .query_map([], |row| Ok(GpuTotal { gpu: GpuKey(row.get(0)?), total: GpuHour::from_row(row)? }))?;
    rows.collect()
}
