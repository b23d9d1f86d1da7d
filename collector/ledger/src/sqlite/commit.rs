//! One transaction for all nodes that changed.

use super::rows::{GPU_HOUR, NODE_HOUR, unsigned};
use super::{fault, key};
use crate::columns::Columnar as _;
use crate::{CommitOutcome, GpuKey, LedgerError, NodeCommit, NodeKey, NodeState};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Overflow;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params_from_iter};
use std::collections::BTreeSet;

pub(super) const OPERATION: &str = "commit rows";

/// Writes every node that is where its fold thinks it is; all of them or none.
pub fn all(connection: &mut Connection, commits: &[NodeCommit]) -> Result<Vec<CommitOutcome>, LedgerError> {
    let transaction =
        Transaction::new(connection, TransactionBehavior::Immediate).map_err(fault::at(OPERATION))?;
    let statements = Statements { gpu_hour: GPU_HOUR.upsert(), node_hour: NODE_HOUR.upsert() };
    let mut outcomes = Vec::with_capacity(commits.len());
    for commit in commits {
        let outcome = if in_place(&transaction, commit)? {
            write(&transaction, &statements, commit)?;
            CommitOutcome::Committed
        } else {
            CommitOutcome::Moved
        };
        outcomes.push(outcome);
    }
    transaction.commit().map_err(fault::at(OPERATION))?;
    Ok(outcomes)
}

struct Statements {
    gpu_hour: String,
    node_hour: String,
}

/// Whether version and sequences are the ones that the fold started from, every GPU that it has rows
/// of is the node's own or taken over, and every owner is known.
fn in_place(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    Ok(version(transaction, commit.node)? == Some(commit.base_version)
        && takes_what_is_there(transaction, commit)?
        && sequences_are_its_own(transaction, commit)?
        && gpus_are_its_own(transaction, commit)?
        && owners_are_known(transaction, commit)?)
}

/// The version of a node's state; `None` where the node is not registered, which is what a ledger that
/// was restored from a backup says of one that came later.
fn version(transaction: &Transaction<'_>, node: NodeKey) -> Result<Option<u64>, LedgerError> {
    transaction
        .prepare_cached(
            "SELECT coalesce(version, 0) FROM node LEFT JOIN node_state ON node = key WHERE key = ?1",
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

fn gpus_are_its_own(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let taken: BTreeSet<GpuKey> = commit.taken.iter().flat_map(|taken| &taken.gpus).copied().collect();
    let mut spoken_of: BTreeSet<GpuKey> = commit.gpu_hours.iter().map(|(key, _)| key.gpu).collect();
    spoken_of.extend(commit.gpus_seen.iter().map(|(gpu, _, _)| gpu));
    for &gpu in spoken_of.difference(&taken) {
        if holder(transaction, gpu)? != Some(commit.node) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn owners_are_known(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let mut known = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM owner WHERE key = ?1)")
        .map_err(fault::at(OPERATION))?;
    for owner in commit.owners() {
        if !known.query_row([owner.0], |row| row.get(0)).map_err(fault::at(OPERATION))? {
            return Ok(false);
        }
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
    statements: &Statements,
    commit: &NodeCommit,
) -> Result<(), LedgerError> {
    write_rows(transaction, statements, commit)?;
    write_taken(transaction, commit)?;
    write_position(transaction, commit)?;
    write_spans(transaction, commit)
}

fn write_rows(
    transaction: &Transaction<'_>,
    statements: &Statements,
    commit: &NodeCommit,
) -> Result<(), LedgerError> {
    let failed = fault::at(OPERATION);
    let mut gpu_hour = transaction.prepare_cached(&statements.gpu_hour).map_err(&failed)?;
    for (row_key, row) in &commit.gpu_hours {
        let key = Some(key::gpu_row(*row_key)?);
        let columns = row.columns()?;
        gpu_hour.execute(params_from_iter(std::iter::once(key).chain(columns))).map_err(&failed)?;
    }
    let mut node_hour = transaction.prepare_cached(&statements.node_hour).map_err(&failed)?;
    for (hour, row) in &commit.node_hours {
        let key = Some(key::node_row(*hour, commit.node)?);
        let columns = row.columns()?;
        node_hour.execute(params_from_iter(std::iter::once(key).chain(columns))).map_err(&failed)?;
    }
    Ok(())
}

/// The fold's memory and the sequences that it reached.
fn write_position(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<(), LedgerError> {
    put_state(transaction, commit.node, &next_state(commit.base_version, &commit.state)?)?;
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
        put_state(transaction, taken.from, &next_state(taken.base_version, &taken.state)?)?;
        for key in &taken.gpus {
            gpu.execute((key.0, commit.node.0)).map_err(&failed)?;
        }
    }
    Ok(())
}

fn next_state(base_version: u64, state: &[u8]) -> Result<NodeState, LedgerError> {
    let version = base_version.checked_add(1).ok_or(Overflow("version"))?;
    Ok(NodeState { version, blob: state.to_vec() })
}

/// Replaces the fold's memory of a node.
pub fn put_state(transaction: &Transaction<'_>, node: NodeKey, state: &NodeState) -> Result<(), LedgerError> {
    let version = integer(state.version, "version")?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO node_state (node, version, state) VALUES (?1, ?2, ?3)")
        .and_then(|mut put| put.execute((node.0, version, &state.blob)))
        .map_err(fault::at(OPERATION))?;
    Ok(())
}

/// Sets how far an epoch of a node is committed.
pub fn put_epoch(
    transaction: &Transaction<'_>,
    node: NodeKey,
    epoch: Epoch,
    to: Sequence,
) -> Result<(), LedgerError> {
    let to = integer(to.0, "sequence")?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO epoch (epoch, node, sequence) VALUES (?1, ?2, ?3)")
        .and_then(|mut put| put.execute((epoch.0.as_bytes(), node.0, to)))
        .map_err(fault::at(OPERATION))?;
    Ok(())
}

/// First and last instant of the node and its GPUs, in the register.
fn write_spans(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<(), LedgerError> {
    let failed = fault::at(OPERATION);
    let sql = |table: &str| {
        format!(
            "UPDATE {table} SET first_ms = min(coalesce(first_ms, ?2), ?2), \
             last_ms = max(coalesce(last_ms, ?3), ?3) WHERE key = ?1"
        )
    };
    if let Some((first, last)) = commit.seen {
        let mut node = transaction.prepare_cached(&sql("node")).map_err(&failed)?;
        let span = (commit.node.0, integer(first, "first_ms")?, integer(last, "last_ms")?);
        node.execute(span).map_err(&failed)?;
    }
    let mut gpu = transaction.prepare_cached(&sql("gpu")).map_err(&failed)?;
    for (gpu_key, first, last) in &commit.gpus_seen {
        let span = (gpu_key.0, integer(*first, "first_ms")?, integer(*last, "last_ms")?);
        gpu.execute(span).map_err(&failed)?;
    }
    Ok(())
}

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
