//! One transaction for all nodes that changed.

use super::rows::{GPU_HOUR, NODE_HOUR, Table, unsigned};
use super::{fault, key};
use crate::columns::Columnar;
use crate::{CommitOutcome, GpuKey, LedgerError, NodeCommit, NodeKey, OwnerKey};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Overflow;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

pub(super) const OPERATION: &str = "commit rows";

/// Writes every node that is where its fold thinks it is; all of them or none.
pub fn all(connection: &mut Connection, commits: &[NodeCommit]) -> Result<Vec<CommitOutcome>, LedgerError> {
    let transaction =
        Transaction::new(connection, TransactionBehavior::Immediate).map_err(fault::at(OPERATION))?;
    let mut outcomes = Vec::with_capacity(commits.len());
    {
        let mut rows = Statements::prepare(&transaction)?;
        let mut owners = BTreeSet::new();
        for commit in commits {
            let outcome = if in_place(&transaction, commit, &mut owners)? {
                write(&transaction, &mut rows, commit)?;
                CommitOutcome::Committed
            } else {
                CommitOutcome::Moved
            };
            outcomes.push(outcome);
        }
    }
    transaction.commit().map_err(fault::at(OPERATION))?;
    Ok(outcomes)
}

/// What is prepared once for all nodes of a commit.
struct Statements<'t> {
    gpu_hours: Adding<'t>,
    node_hours: Adding<'t>,
    nodes_seen: Seen<'t>,
    gpus_seen: Seen<'t>,
}

impl<'t> Statements<'t> {
    fn prepare(transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        Ok(Self {
            gpu_hours: Adding::to(&GPU_HOUR, transaction)?,
            node_hours: Adding::to(&NODE_HOUR, transaction)?,
            nodes_seen: Seen::of("node", transaction)?,
            gpus_seen: Seen::of("gpu", transaction)?,
        })
    }
}

/// Widens the time in which nodes or GPUs were seen. Neighbours that were seen for the same time are told at
/// once: the columns have no constraint, so that SQLite needs no journal for several rows.
struct Seen<'t> {
    widen: CachedStatement<'t>,
    begin: CachedStatement<'t>,
}

impl<'t> Seen<'t> {
    fn of(what: &str, transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        let wider = "first_ms = min(first_ms, ?3), last_ms = max(last_ms, ?4)";
        let prepare = |sql: String| transaction.prepare_cached(&sql).map_err(fault::at(OPERATION));
        Ok(Self {
            widen: prepare(format!("UPDATE {what}_seen SET {wider} WHERE {what} BETWEEN ?1 AND ?2"))?,
            begin: prepare(format!(
                "INSERT INTO {what}_seen ({what}, first_ms, last_ms) VALUES (?1, ?3, ?4) \
                 ON CONFLICT ({what}) DO UPDATE SET {wider}"
            ))?,
        })
    }

    fn tell(&mut self, keys: RangeInclusive<u32>, first_ms: u64, last_ms: u64) -> Result<(), LedgerError> {
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

/// Adds rows to those of a table.
struct Adding<'t> {
    add: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    columns: Vec<Option<i64>>,
}

impl<'t> Adding<'t> {
    fn to(table: &Table, transaction: &'t Transaction<'_>) -> Result<Self, LedgerError> {
        let prepare = |sql: String| transaction.prepare_cached(&sql).map_err(fault::at(OPERATION));
        Ok(Self { add: prepare(table.add())?, insert: prepare(table.insert())?, columns: Vec::new() })
    }

    /// Nearly every row is there already: each hour begins once.
    fn put(&mut self, key: i64, row: &impl Columnar) -> Result<(), LedgerError> {
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

/// Whether version and sequences are the ones that the fold started from, every GPU that it has rows
/// of is the node's own or taken over, and every owner is known.
fn in_place(
    transaction: &Transaction<'_>,
    commit: &NodeCommit,
    owners: &mut BTreeSet<OwnerKey>,
) -> Result<bool, LedgerError> {
    Ok(version(transaction, commit.node)? == Some(commit.base_version)
        && takes_what_is_there(transaction, commit)?
        && sequences_are_its_own(transaction, commit)?
        && gpus_are_its_own(transaction, commit)?
        && owners_are_known(transaction, commit, owners)?)
}

/// The version of a node's state; `None` where the node is not registered, which is what a ledger that
/// was restored from a backup says of one that came later.
fn version(transaction: &Transaction<'_>, node: NodeKey) -> Result<Option<u64>, LedgerError> {
    transaction
        .prepare_cached(
            "SELECT version FROM node_state WHERE node = ?1 UNION ALL SELECT 0 FROM node WHERE key = ?1 LIMIT 1",
        )
        .and_then(|mut version| version.query_row([node.0], |row| unsigned(row, 0)).optional())
        .map_err(fault::at(OPERATION))
}

/// Whether every GPU that is taken over is held by the node that it is taken from, whose memory is
/// the one that was read.
fn takes_what_is_there(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let mut from = BTreeSet::new();
    for taken in &commit.taken {
        // Taking twice from one node, or from oneself, would overwrite one of two memories.
        let distinct = taken.from != commit.node && from.insert(taken.from);
        if !distinct || version(transaction, taken.from)? != Some(taken.base_version) {
            return Ok(false);
        }
        for &gpu in &taken.gpus {
            if holder(transaction, gpu)? != Some(taken.from) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn sequences_are_its_own(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let failed = fault::at(OPERATION);
    let mut sequence =
        transaction.prepare_cached("SELECT node, sequence FROM epoch WHERE epoch = ?1").map_err(&failed)?;
    for advance in &commit.epochs {
        let (node, at) = sequence
            .query_row([advance.epoch.0.as_bytes()], |row| Ok((NodeKey(row.get(0)?), unsigned(row, 1)?)))
            .optional()
            .map_err(&failed)?
            .unwrap_or((commit.node, 0));
        if node != commit.node || at != advance.from.0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The GPUs of a node were nearly always registered one after the other, and are looked up at once.
fn gpus_are_its_own(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let of_rows = commit.gpu_hours.iter().map(|(key, _)| key.gpu.0);
    let mut gpus: Vec<u32> = of_rows.chain(commit.gpus_seen.iter().map(|(gpu, ..)| gpu.0)).collect();
    gpus.sort_unstable();
    gpus.dedup();
    gpus.retain(|gpu| !commit.taken.iter().any(|taken| taken.gpus.contains(&GpuKey(*gpu))));
    let mut held = transaction
        .prepare_cached("SELECT count(*) FROM gpu WHERE key BETWEEN ?1 AND ?2 AND node = ?3")
        .map_err(fault::at(OPERATION))?;
    for run in gpus.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let of_node: u32 =
            held.query_row((first, last, commit.node.0), |row| row.get(0)).map_err(fault::at(OPERATION))?;
        if of_node != last - first + 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `known` are owners that were found before in this transaction.
fn owners_are_known(
    transaction: &Transaction<'_>,
    commit: &NodeCommit,
    known: &mut BTreeSet<OwnerKey>,
) -> Result<bool, LedgerError> {
    for owner in commit.owners() {
        if known.contains(&owner) {
            continue;
        }
        let found = transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM owner WHERE key = ?1)")
            .and_then(|mut found| found.query_row([owner.0], |row| row.get(0)));
        if !found.map_err(fault::at(OPERATION))? {
            return Ok(false);
        }
        known.insert(owner);
    }
    Ok(true)
}

/// The node that holds a GPU; `None` where the GPU is not registered.
fn holder(transaction: &Transaction<'_>, gpu: GpuKey) -> Result<Option<NodeKey>, LedgerError> {
    transaction
        .prepare_cached("SELECT node FROM gpu WHERE key = ?1")
        .and_then(|mut holder| holder.query_row([gpu.0], |row| row.get(0).map(NodeKey)).optional())
        .map_err(fault::at(OPERATION))
}

fn write(
    transaction: &Transaction<'_>,
    statements: &mut Statements<'_>,
    commit: &NodeCommit,
) -> Result<(), LedgerError> {
    for (row_key, row) in &commit.gpu_hours {
        statements.gpu_hours.put(key::gpu_row(*row_key)?, row)?;
    }
    for (hour, row) in &commit.node_hours {
        statements.node_hours.put(key::node_row(*hour, commit.node)?, row)?;
    }
    write_taken(transaction, commit)?;
    write_position(transaction, commit)?;
    write_seen(statements, commit)
}

/// The fold's memory and the sequences that it reached.
fn write_position(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<(), LedgerError> {
    put_state(transaction, commit.node, next_version(commit.base_version)?, &commit.state)?;
    for advance in &commit.epochs {
        if advance.to < advance.from {
            let Sequence(from) = advance.from;
            let reason = format!("sequence {} is before {from}, which is committed", advance.to);
            return Err(LedgerError::Failed { operation: OPERATION, reason });
        }
        put_epoch(transaction, commit.node, advance.epoch, advance.to)?;
    }
    Ok(())
}

/// GPUs change hands: the memory of their chains leaves the other node, and they are this node's.
fn write_taken(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<(), LedgerError> {
    let failed = fault::at(OPERATION);
    let mut gpu = transaction.prepare_cached("UPDATE gpu SET node = ?2 WHERE key = ?1").map_err(&failed)?;
    for taken in &commit.taken {
        put_state(transaction, taken.from, next_version(taken.base_version)?, &taken.state)?;
        for key in &taken.gpus {
            gpu.execute((key.0, commit.node.0)).map_err(&failed)?;
        }
    }
    Ok(())
}

fn next_version(base_version: u64) -> Result<u64, LedgerError> {
    Ok(base_version.checked_add(1).ok_or(Overflow("version"))?)
}

/// Replaces the fold's memory of a node.
pub fn put_state(
    transaction: &Transaction<'_>,
    node: NodeKey,
    version: u64,
    state: &[u8],
) -> Result<(), LedgerError> {
    let version = integer(version, "version")?;
    put_row(
        transaction,
        "UPDATE node_state SET version = ?2, state = ?3 WHERE node = ?1",
        "INSERT INTO node_state (node, version, state) VALUES (?1, ?2, ?3)",
        &[&node.0, &version, &state],
    )
}

/// Sets how far an epoch of a node is committed.
pub fn put_epoch(
    transaction: &Transaction<'_>,
    node: NodeKey,
    epoch: Epoch,
    to: Sequence,
) -> Result<(), LedgerError> {
    let to = integer(to.0, "sequence")?;
    put_row(
        transaction,
        "UPDATE epoch SET node = ?2, sequence = ?3 WHERE epoch = ?1",
        "INSERT INTO epoch (epoch, node, sequence) VALUES (?1, ?2, ?3)",
        &[epoch.0.as_bytes(), &node.0, &to],
    )
}

/// Changes the row that is there nearly always, which looks up no other table; else adds it.
fn put_row(
    transaction: &Transaction<'_>,
    update: &str,
    insert: &str,
    values: &[&dyn ToSql],
) -> Result<(), LedgerError> {
    let run = |sql: &str| transaction.prepare_cached(sql).and_then(|mut put| put.execute(values));
    match run(update) {
        Ok(0) => run(insert).map(drop),
        done => done.map(drop),
    }
    .map_err(fault::at(OPERATION))
}

/// First and last instant of the node and its GPUs.
fn write_seen(statements: &mut Statements<'_>, commit: &NodeCommit) -> Result<(), LedgerError> {
    if let Some((first_ms, last_ms)) = commit.seen {
        statements.nodes_seen.tell(commit.node.0..=commit.node.0, first_ms, last_ms)?;
    }
    let alike = |a: &GpuSeen, b: &GpuSeen| a.0.0 + 1 == b.0.0 && (a.1, a.2) == (b.1, b.2);
    for run in commit.gpus_seen.chunk_by(alike) {
        let (GpuKey(from), first_ms, last_ms) = run[0];
        let GpuKey(to) = run[run.len() - 1].0;
        statements.gpus_seen.tell(from..=to, first_ms, last_ms)?;
    }
    Ok(())
}

/// A GPU, and the first and last instant of what is told of it.
type GpuSeen = (GpuKey, u64, u64);

fn integer(value: u64, what: &'static str) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| Overflow(what).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{open, register};
    use crate::suite::samples::{Node, inventory, name};

    #[test]
    fn a_full_disk_is_told_as_such_and_the_commit_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open::for_writing(&folder.path().join("ledger.db")).unwrap();
        let key = register::node(&mut connection, &name("a").unwrap()).unwrap();
        let gpus = register::inventory(&mut connection, key, &inventory(&["GPU-a"]).unwrap()).unwrap();
        let node = Node { key, gpus: vec![gpus[0].key] };
        // A file that may not grow stands for a disk without room.
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();
        let mut large = node.commit(0, 0);
        large.state = vec![7; 1 << 20];
        let refused = all(&mut connection, &[large]);
        assert!(matches!(refused, Err(LedgerError::DiskFull { .. })), "{refused:?}");
        let outcomes = all(&mut connection, &[node.commit(0, 0)]).unwrap();
        assert_eq!(outcomes, [CommitOutcome::Committed]);
    }
}
