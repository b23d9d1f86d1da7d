//! One transaction for all nodes that changed.

use super::rows::unsigned;
use super::statements::{Statements, Upsert};
use super::{fault, key};
use crate::{CommitOutcome, GpuKey, LedgerError, NodeCommit, NodeKey, OwnerKey};
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Overflow;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::collections::BTreeSet;

pub(super) const OPERATION: &str = "commit rows";

/// Writes every node that is where its fold thinks it is; all of them or none.
pub fn all(connection: &mut Connection, commits: &[NodeCommit]) -> Result<Vec<CommitOutcome>, LedgerError> {
    let transaction =
        Transaction::new(connection, TransactionBehavior::Immediate).map_err(fault::at(OPERATION))?;
    let mut outcomes = Vec::with_capacity(commits.len());
    {
        let mut statements = Statements::prepare(&transaction)?;
        let mut owners = BTreeSet::new();
        for commit in commits {
            let outcome = if in_place(&transaction, &mut statements, commit, &mut owners)? {
                write(&transaction, &mut statements, commit)?;
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

/// Whether version and sequences are the ones that the fold started from, every GPU that it has rows
/// of is the node's own or taken over, and every owner is known.
fn in_place(
    transaction: &Transaction<'_>,
    statements: &mut Statements<'_>,
    commit: &NodeCommit,
    owners: &mut BTreeSet<OwnerKey>,
) -> Result<bool, LedgerError> {
    Ok(version(statements, commit.node)? == Some(commit.base_version)
        && takes_what_is_there(transaction, statements, commit)?
        && sequences_are_its_own(statements, commit)?
        && gpus_are_its_own(statements, commit)?
        && owners_are_known(transaction, commit, owners)?)
}

/// The version of a node's state; `None` where the node is not registered, which is what a ledger that
/// was restored from a backup says of one that came later.
fn version(statements: &mut Statements<'_>, node: NodeKey) -> Result<Option<u64>, LedgerError> {
    let found = statements.version.query_row([node.0], |row| unsigned(row, 0)).optional();
    found.map_err(fault::at(OPERATION))
}

/// Whether every GPU that is taken over is held by the node that it is taken from, whose memory is
/// the one that was read.
fn takes_what_is_there(
    transaction: &Transaction<'_>,
    statements: &mut Statements<'_>,
    commit: &NodeCommit,
) -> Result<bool, LedgerError> {
    let mut from = BTreeSet::new();
    for taken in &commit.taken {
        // Taking twice from one node, or from oneself, would overwrite one of two memories.
        let distinct = taken.from != commit.node && from.insert(taken.from);
        if !distinct || version(statements, taken.from)? != Some(taken.base_version) {
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

fn sequences_are_its_own(statements: &mut Statements<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    for advance in &commit.epochs {
        let (node, at) = statements
            .sequence
            .query_row([advance.epoch.0.as_bytes()], |row| Ok((NodeKey(row.get(0)?), unsigned(row, 1)?)))
            .optional()
            .map_err(fault::at(OPERATION))?
            .unwrap_or((commit.node, 0));
        if node != commit.node || at != advance.from.0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The GPUs of a node were nearly always registered one after the other, and are looked up at once.
fn gpus_are_its_own(statements: &mut Statements<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let of_rows = commit.gpu_hours.iter().map(|(key, _)| key.gpu.0);
    let mut gpus: Vec<u32> = of_rows.chain(commit.gpus_seen.iter().map(|(gpu, ..)| gpu.0)).collect();
    gpus.sort_unstable();
    gpus.dedup();
    gpus.retain(|gpu| !commit.taken.iter().any(|taken| taken.gpus.contains(&GpuKey(*gpu))));
    for run in gpus.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let of_node: u32 = statements
            .held
            .query_row((first, last, commit.node.0), |row| row.get(0))
            .map_err(fault::at(OPERATION))?;
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
    write_position(statements, commit)?;
    write_seen(statements, commit)
}

/// The fold's memory and the sequences that it reached.
fn write_position(statements: &mut Statements<'_>, commit: &NodeCommit) -> Result<(), LedgerError> {
    let version = next_version(commit.base_version)?;
    statements.states.put(&[&commit.node.0, &integer(version, "version")?, &commit.state])?;
    for advance in &commit.epochs {
        if advance.to < advance.from {
            let Sequence(from) = advance.from;
            let reason = format!("sequence {} is before {from}, which is committed", advance.to);
            return Err(LedgerError::Failed { operation: OPERATION, reason });
        }
        let sequence = integer(advance.to.0, "sequence")?;
        statements.epochs.put(&[advance.epoch.0.as_bytes(), &commit.node.0, &sequence])?;
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
    Upsert::of_states(transaction)?.put(&[&node.0, &integer(version, "version")?, &state])
}

/// Sets how far an epoch of a node is committed.
pub fn put_epoch(
    transaction: &Transaction<'_>,
    node: NodeKey,
    epoch: Epoch,
    to: Sequence,
) -> Result<(), LedgerError> {
    Upsert::of_epochs(transaction)?.put(&[epoch.0.as_bytes(), &node.0, &integer(to.0, "sequence")?])
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

pub(super) fn integer(value: u64, what: &'static str) -> Result<i64, LedgerError> {
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
