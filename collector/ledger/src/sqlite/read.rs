//! Reads, on connections that cannot write. With the write-ahead log they see the last commit and
//! never wait for the next one.

use super::rows::{GPU_HOUR, HourRow, NODE_HOUR, unsigned};
use super::site::{FileId, Site};
use super::{fault, key, open};
use crate::{GpuHour, GpuKey, Hour, HourRange, LedgerError, NodeHour, NodeKey, NodeState};
use gpuledger_proto::ids::{Epoch, Sequence};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections kept open between reads. More reads than this at one time open their own.
const IDLE_MAX: usize = 4;

/// The pool of connections that read.
pub struct Readers {
    site: Arc<Site>,
    /// Each with the file that it was opened on.
    idle: Mutex<Vec<(Connection, FileId)>>,
}

impl Readers {
    pub fn new(site: Arc<Site>, first: Option<Connection>) -> Result<Self, LedgerError> {
        let here = site.here()?;
        let idle = first.map(|connection| (connection, here)).into_iter().collect();
        Ok(Self { site, idle: Mutex::new(idle) })
    }

    /// Where the ledger is.
    pub fn path(&self) -> &Path {
        self.site.path()
    }

    fn take(&self, operation: &'static str) -> Result<(Connection, FileId), LedgerError> {
        let here = self.site.here()?;
        if !self.site.is_settled(here) {
            return Err(LedgerError::Replaced { operation });
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, file)| *file == here);
        let found = idle.pop();
        drop(idle);
        found.map_or_else(|| Ok((open::for_reading(self.site.path())?, here)), Ok)
    }

    fn put_back(&self, connection: (Connection, FileId)) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

/// How an attempt to read ended.
pub enum Read<T, F> {
    Done(Result<T, LedgerError>),
    /// Another file lies in the ledger's place, which who writes must open first; the job is given back.
    Unsettled(F),
}

/// Runs a read on a thread that may block.
pub async fn run<T, F>(readers: Arc<Readers>, operation: &'static str, job: F) -> Read<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
{
    let work = move || {
        let taken = match readers.take(operation) {
            Ok(taken) => taken,
            Err(LedgerError::Replaced { .. }) => return Read::Unsettled(job),
            Err(error) => return Read::Done(Err(error)),
        };
        let answer = job(&taken.0);
        // One that failed is closed: whatever it remembers of the file may be wrong.
        if answer.is_ok() {
            readers.put_back(taken);
        }
        Read::Done(answer)
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Read::Done(Err(LedgerError::Failed { operation, reason: error.to_string() })))
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

/// The version of every node that has committed.
pub fn versions(connection: &Connection) -> rusqlite::Result<Vec<(NodeKey, u64)>> {
    let mut statement = connection.prepare_cached("SELECT node, version FROM node_state ORDER BY node")?;
    let rows = statement.query_map([], |row| Ok((NodeKey(row.get(0)?), unsigned(row, 1)?)))?;
    rows.collect()
}

/// Sums over the rows that lie in the store, by GPU: one way through them in their order. SQL would sort
/// them all by GPU first, and take four times as long.
pub fn gpu_totals(connection: &Connection) -> Result<BTreeMap<GpuKey, GpuHour>, LedgerError> {
    let failed = fault::at("sum GPU hours");
    let mut statement = connection.prepare_cached(&GPU_HOUR.select()).map_err(&failed)?;
    let mut found = statement.query(key::range(HourRange::ALWAYS)).map_err(&failed)?;
    let mut totals: BTreeMap<GpuKey, GpuHour> = BTreeMap::new();
    while let Some(row) = found.next().map_err(&failed)? {
        let gpu = row.get(0).map(key::of_gpu_row).map_err(&failed)?.gpu;
        totals.entry(gpu).or_default().merge(&GpuHour::from_row(row).map_err(&failed)?)?;
    }
    Ok(totals)
}
