//! What a commit prepares once for all its nodes: looking a statement up by its text would take as long as
//! running it.

use super::commit::{OPERATION, integer};
use super::fault;
use super::rows::{GPU_HOUR, NODE_HOUR, Table};
use crate::LedgerError;
use crate::columns::Columnar;
use rusqlite::{CachedStatement, ToSql, Transaction};
use std::ops::RangeInclusive;

/// What is asked and written of each node.
pub(super) struct Statements<'t> {
    /// The version of a node's state, 0 where it has none yet; no row where the node is not registered.
    pub version: CachedStatement<'t>,
    /// Node and sequence of an epoch.
    pub sequence: CachedStatement<'t>,
    /// How many of a range of GPUs a node holds.
    pub held: CachedStatement<'t>,
    pub gpu_hours: Adding<'t>,
    pub node_hours: Adding<'t>,
    pub states: Upsert<'t>,
    pub epochs: Upsert<'t>,
    pub nodes_seen: Seen<'t>,
    pub gpus_seen: Seen<'t>,
}

impl<'t> Statements<'t> {
    pub fn prepare(transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        Ok(Self {
            version: prepare(
                transaction,
                "SELECT version FROM node_state WHERE node = ?1 \
                 UNION ALL SELECT 0 FROM node WHERE key = ?1 LIMIT 1",
            )?,
            sequence: prepare(transaction, "SELECT node, sequence FROM epoch WHERE epoch = ?1")?,
            held: prepare(transaction, "SELECT count(*) FROM gpu WHERE key BETWEEN ?1 AND ?2 AND node = ?3")?,
            gpu_hours: Adding::to(&GPU_HOUR, transaction)?,
            node_hours: Adding::to(&NODE_HOUR, transaction)?,
            states: Upsert::of_states(transaction)?,
            epochs: Upsert::of_epochs(transaction)?,
            nodes_seen: Seen::of("node", transaction)?,
            gpus_seen: Seen::of("gpu", transaction)?,
        })
    }
}

fn prepare<'t>(transaction: &'t Transaction<'_>, sql: &str) -> Result<CachedStatement<'t>, LedgerError> {
    transaction.prepare_cached(sql).map_err(fault::at(OPERATION))
}

/// Adds rows to those of a table.
pub(super) struct Adding<'t> {
    add: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    columns: Vec<Option<i64>>,
}

impl<'t> Adding<'t> {
    fn to(table: &Table, transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        let (add, insert) = (prepare(transaction, &table.add())?, prepare(transaction, &table.insert())?);
        Ok(Self { add, insert, columns: Vec::new() })
    }

    /// Nearly every row is there already: each hour begins once.
    pub fn put(&mut self, key: i64, row: &impl Columnar) -> Result<(), LedgerError> {
        self.columns.clear();
        self.columns.push(Some(key));
        row.put_columns(&mut self.columns)?;
        if Self::run(&mut self.add, &self.columns)? == 0 {
            Self::run(&mut self.insert, &self.columns)?;
        }
        Ok(())
    }

    fn run(statement: &mut CachedStatement<'_>, columns: &[Option<i64>]) -> Result<usize, LedgerError> {
        let bound = columns.iter().zip(1..).try_for_each(|(value, n)| statement.raw_bind_parameter(n, value));
        bound.and_then(|()| statement.raw_execute()).map_err(fault::at(OPERATION))
    }
}

/// Changes a row that is there nearly always, which looks up no other table; else adds it.
pub(super) struct Upsert<'t> {
    update: CachedStatement<'t>,
    insert: CachedStatement<'t>,
}

impl<'t> Upsert<'t> {
    /// Node, version, state.
    pub fn of_states(transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        Ok(Self {
            update: prepare(transaction, "UPDATE node_state SET version = ?2, state = ?3 WHERE node = ?1")?,
            insert: prepare(
                transaction,
                "INSERT INTO node_state (node, version, state) VALUES (?1, ?2, ?3)",
            )?,
        })
    }

    /// Epoch, node, sequence.
    pub fn of_epochs(transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        Ok(Self {
            update: prepare(transaction, "UPDATE epoch SET node = ?2, sequence = ?3 WHERE epoch = ?1")?,
            insert: prepare(transaction, "INSERT INTO epoch (epoch, node, sequence) VALUES (?1, ?2, ?3)")?,
        })
    }

    pub fn put(&mut self, values: &[&dyn ToSql]) -> Result<(), LedgerError> {
        match self.update.execute(values) {
            Ok(0) => self.insert.execute(values).map(drop),
            done => done.map(drop),
        }
        .map_err(fault::at(OPERATION))
    }
}

/// Widens the time in which nodes or GPUs were seen. Neighbours that were seen for the same time are told at
/// once: the columns have no constraint, so that SQLite needs no journal for several rows.
pub(super) struct Seen<'t> {
    widen: CachedStatement<'t>,
    begin: CachedStatement<'t>,
}

impl<'t> Seen<'t> {
    fn of(what: &str, transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        let wider = "first_ms = min(first_ms, ?3), last_ms = max(last_ms, ?4)";
        let known = format!("UPDATE {what}_seen SET {wider} WHERE {what} BETWEEN ?1 AND ?2");
        let first = format!(
            "INSERT INTO {what}_seen ({what}, first_ms, last_ms) VALUES (?1, ?3, ?4) \
             ON CONFLICT ({what}) DO UPDATE SET {wider}"
        );
        Ok(Self { widen: prepare(transaction, &known)?, begin: prepare(transaction, &first)? })
    }

    pub fn tell(
        &mut self,
        keys: RangeInclusive<u32>,
        first_ms: u64,
        last_ms: u64,
    ) -> Result<(), LedgerError> {
        let failed = fault::at(OPERATION);
        let (from, to) = keys.into_inner();
        let (first_ms, last_ms) = (integer(first_ms, "first_ms")?, integer(last_ms, "last_ms")?);
        let widened = self.widen.execute((from, to, first_ms, last_ms)).map_err(&failed)?;
        if widened <= (to - from) as usize {
            // Some are seen for the first time.
            for key in from..=to {
                self.begin.execute((key, to, first_ms, last_ms)).map_err(&failed)?;
            }
        }
        Ok(())
    }
}
