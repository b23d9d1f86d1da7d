//! One transaction for all nodes that changed.

use super::rows::{GPU_HOUR, HourRow, NODE_HOUR};
use super::{fault, key};
use crate::{CommitOutcome, LedgerError, NodeCommit};
use gpuledger_proto::ids::Sequence;
use gpuledger_units::Overflow;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter};

const OPERATION: &str = "commit rows";

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

/// Whether version and sequences are the ones that the fold started from.
fn in_place(transaction: &Transaction<'_>, commit: &NodeCommit) -> Result<bool, LedgerError> {
    let failed = fault::at(OPERATION);
    let mut version =
        transaction.prepare_cached("SELECT version FROM node_state WHERE node = ?1").map_err(&failed)?;
    let found: Option<i64> =
        version.query_row([commit.node.0], |row| row.get(0)).optional().map_err(&failed)?;
    if found.unwrap_or(0) != integer(commit.base_version, "version")? {
        return Ok(false);
    }
    let mut sequence = transaction
        .prepare_cached("SELECT sequence FROM epoch WHERE node = ?1 AND epoch = ?2")
        .map_err(&failed)?;
    for advance in &commit.epochs {
        let found: Option<i64> = sequence
            .query_row(params![commit.node.0, advance.epoch.0.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(&failed)?;
        if found.unwrap_or(0) != integer(advance.from.0, "sequence")? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write(
    transaction: &Transaction<'_>,
    statements: &Statements,
    commit: &NodeCommit,
) -> Result<(), LedgerError> {
    write_rows(transaction, statements, commit)?;
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
    let failed = fault::at(OPERATION);
    let next = commit.base_version.checked_add(1).ok_or(Overflow("version"))?;
    let mut state = transaction
        .prepare_cached("INSERT OR REPLACE INTO node_state (node, version, state) VALUES (?1, ?2, ?3)")
        .map_err(&failed)?;
    state.execute(params![commit.node.0, integer(next, "version")?, commit.state]).map_err(&failed)?;
    let mut epoch = transaction
        .prepare_cached("INSERT OR REPLACE INTO epoch (node, epoch, sequence) VALUES (?1, ?2, ?3)")
        .map_err(&failed)?;
    for advance in &commit.epochs {
        if advance.to < advance.from {
            let Sequence(from) = advance.from;
            let reason = format!("sequence {} is before {from}, which is committed", advance.to);
            return Err(LedgerError::Failed { operation: OPERATION, reason });
        }
        let to = integer(advance.to.0, "sequence")?;
        epoch.execute(params![commit.node.0, advance.epoch.0.as_bytes(), to]).map_err(&failed)?;
    }
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
    use crate::GpuKey;
    use crate::sqlite::{open, register};
    use crate::suite::samples::{Node, name};

    #[test]
    fn a_full_disk_is_told_as_such_and_the_commit_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open::for_writing(&folder.path().join("ledger.db")).unwrap();
        let key = register::node(&mut connection, &name("a").unwrap()).unwrap();
        let node = Node { key, gpus: vec![GpuKey(1)] };
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
