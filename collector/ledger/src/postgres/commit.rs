//! One transaction for all nodes that changed.
//!
//! The states of all nodes that take part are locked in the order of their numbers, so that two
//! collectors wait for each other instead of blocking each other. Whoever holds a node's state is the
//! only one that may move its version, its sequences and the GPUs that it holds; what is read after
//! the lock is therefore what counts. Which commits fit is decided here, one after the other in the
//! order given, and then all is written with a statement or a few a table, however many nodes there are.

use super::fault::Fault;
use super::numbers::{number, stored, unsigned};
use super::rows::{self, GPU_HOUR, Keyed, NODE_HOUR};
use crate::sqlite::key;
use crate::{CommitOutcome, GpuHour, GpuKey, LedgerError, NodeCommit, NodeHour, NodeKey, OwnerKey};
use deadpool_postgres::Transaction;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_units::Overflow;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// States in one statement: a message has at most a gigabyte, which those of a large fleet may exceed.
const STATE_BYTES_PER_STATEMENT: usize = 16 << 20;

/// Writes every node that is where its fold thinks it is; all of them or none.
pub async fn all(tx: &Transaction<'_>, commits: &[NodeCommit]) -> Result<Vec<CommitOutcome>, Fault> {
    let mut there = There::lock(tx, commits).await?;
    let mut writes = Writes::default();
    let mut outcomes = Vec::with_capacity(commits.len());
    for commit in commits {
        outcomes.push(if there.fits(commit) {
            there.apply(commit)?;
            writes.take(commit)?;
            CommitOutcome::Committed
        } else {
            CommitOutcome::Moved
        });
    }
    GPU_HOUR.add(tx, &writes.gpu_hours).await?;
    NODE_HOUR.add(tx, &writes.node_hours).await?;
    write_states(tx, &there, &writes.states).await?;
    write_epochs(tx, &there, &writes.epochs).await?;
    write_holders(tx, &there, &writes.taken).await?;
    write_spans(tx, "gpu", &writes.gpus_seen).await?;
    write_spans(tx, "node", &writes.nodes_seen).await?;
    Ok(outcomes)
}

/// What the store holds of all that the commits speak of, and what becomes of it.
struct There {
    versions: BTreeMap<NodeKey, u64>,
    epochs: BTreeMap<Epoch, (NodeKey, Sequence)>,
    holders: BTreeMap<GpuKey, NodeKey>,
    owners: BTreeSet<OwnerKey>,
}

impl There {
    async fn lock(tx: &Transaction<'_>, commits: &[NodeCommit]) -> Result<Self, Fault> {
        let taken_from = commits.iter().flat_map(|commit| commit.taken.iter().map(|taken| taken.from));
        let nodes: BTreeSet<NodeKey> = commits.iter().map(|commit| commit.node).chain(taken_from).collect();
        let nodes: Vec<i32> = nodes.iter().map(|node| stored(node.0)).collect::<Result<_, _>>()?;
        let sql = "SELECT node, version FROM node_state WHERE node = ANY($1) ORDER BY node FOR UPDATE";
        let mut versions = BTreeMap::new();
        for row in tx.query(&tx.prepare_cached(sql).await?, &[&nodes]).await? {
            versions.insert(NodeKey(number(&row, 0)?), unsigned(&row, 1)?);
        }
        // Each statement from here on sees what was committed before the locks were ours.
        let epochs: BTreeSet<Uuid> =
            commits.iter().flat_map(|commit| commit.epochs.iter().map(|advance| advance.epoch.0)).collect();
        let gpus: BTreeSet<GpuKey> = commits.iter().flat_map(spoken_of).collect();
        let owners = commits.iter().flat_map(NodeCommit::owners).collect();
        Ok(Self {
            versions,
            epochs: find_epochs(tx, epochs).await?,
            holders: find_holders(tx, gpus).await?,
            owners: find_owners(tx, owners).await?,
        })
    }

    /// Whether version, sequences, GPUs and owners are the ones that the fold started from.
    fn fits(&self, commit: &NodeCommit) -> bool {
        self.versions.get(&commit.node) == Some(&commit.base_version)
            && self.takes_what_is_there(commit)
            && commit.epochs.iter().all(|advance| {
                self.epochs.get(&advance.epoch).unwrap_or(&(commit.node, Sequence::NONE))
                    == &(commit.node, advance.from)
            })
            && self.gpus_are_its_own(commit)
            && commit.owners().is_subset(&self.owners)
    }

    fn takes_what_is_there(&self, commit: &NodeCommit) -> bool {
        let mut from = BTreeSet::new();
        commit.taken.iter().all(|taken| {
            // Taking twice from one node, or from oneself, would overwrite one of two memories.
            taken.from != commit.node
                && from.insert(taken.from)
                && self.versions.get(&taken.from) == Some(&taken.base_version)
                && taken.gpus.iter().all(|gpu| self.holders.get(gpu) == Some(&taken.from))
        })
    }

    fn gpus_are_its_own(&self, commit: &NodeCommit) -> bool {
        let taken: BTreeSet<GpuKey> = commit.taken.iter().flat_map(|taken| &taken.gpus).copied().collect();
        spoken_of(commit).all(|gpu| taken.contains(&gpu) || self.holders.get(&gpu) == Some(&commit.node))
    }

    /// What is there after a commit.
    fn apply(&mut self, commit: &NodeCommit) -> Result<(), Fault> {
        for taken in &commit.taken {
            self.advance(taken.from)?;
            for gpu in &taken.gpus {
                self.holders.insert(*gpu, commit.node);
            }
        }
        self.advance(commit.node)?;
        for advance in &commit.epochs {
            if advance.to < advance.from {
                return Err(Fault::Other(format!(
                    "sequence {} is before {}, which is committed",
                    advance.to, advance.from
                )));
            }
            self.epochs.insert(advance.epoch, (commit.node, advance.to));
        }
        Ok(())
    }

    fn advance(&mut self, node: NodeKey) -> Result<(), Overflow> {
        if let Some(version) = self.versions.get_mut(&node) {
            *version = version.checked_add(1).ok_or(Overflow("version"))?;
        }
        Ok(())
    }
}

/// Every GPU that a commit has rows of or takes over.
fn spoken_of(commit: &NodeCommit) -> impl Iterator<Item = GpuKey> {
    let rows = commit.gpu_hours.iter().map(|(key, _)| key.gpu);
    let seen = commit.gpus_seen.iter().map(|(gpu, _, _)| *gpu);
    rows.chain(seen).chain(commit.taken.iter().flat_map(|taken| taken.gpus.iter().copied()))
}

async fn find_epochs(
    tx: &Transaction<'_>,
    epochs: BTreeSet<Uuid>,
) -> Result<BTreeMap<Epoch, (NodeKey, Sequence)>, Fault> {
    let epochs: Vec<Uuid> = epochs.into_iter().collect();
    let sql = "SELECT epoch, node, sequence FROM epoch WHERE epoch = ANY($1)";
    let mut found = BTreeMap::new();
    for row in tx.query(&tx.prepare_cached(sql).await?, &[&epochs]).await? {
        let at = Sequence(unsigned(&row, 2)?);
        found.insert(Epoch(row.try_get(0)?), (NodeKey(number(&row, 1)?), at));
    }
    Ok(found)
}

async fn find_holders(
    tx: &Transaction<'_>,
    gpus: BTreeSet<GpuKey>,
) -> Result<BTreeMap<GpuKey, NodeKey>, Fault> {
    let gpus: Vec<i32> = gpus.into_iter().map(|gpu| stored(gpu.0)).collect::<Result<_, _>>()?;
    let sql = "SELECT key, node FROM gpu WHERE key = ANY($1)";
    let mut found = BTreeMap::new();
    for row in tx.query(&tx.prepare_cached(sql).await?, &[&gpus]).await? {
        found.insert(GpuKey(number(&row, 0)?), NodeKey(number(&row, 1)?));
    }
    Ok(found)
}

async fn find_owners(tx: &Transaction<'_>, owners: BTreeSet<OwnerKey>) -> Result<BTreeSet<OwnerKey>, Fault> {
    if owners.is_empty() {
        return Ok(BTreeSet::new());
    }
    let owners: Vec<i32> = owners.into_iter().map(|owner| stored(owner.0)).collect::<Result<_, _>>()?;
    let statement = tx.prepare_cached("SELECT key FROM owner WHERE key = ANY($1)").await?;
    tx.query(&statement, &[&owners]).await?.iter().map(|row| Ok(OwnerKey(number(row, 0)?))).collect()
}

/// First and last instant by number.
type Spans = BTreeMap<i32, (u64, u64)>;

/// What the commits that fit write.
#[derive(Default)]
struct Writes<'a> {
    gpu_hours: Keyed<GpuHour, 3>,
    node_hours: Keyed<NodeHour, 2>,
    /// The last memory of each node.
    states: BTreeMap<NodeKey, &'a [u8]>,
    epochs: BTreeSet<Epoch>,
    taken: BTreeSet<GpuKey>,
    gpus_seen: Spans,
    nodes_seen: Spans,
}

impl<'a> Writes<'a> {
    fn take(&mut self, commit: &'a NodeCommit) -> Result<(), Fault> {
        for (row_key, row) in &commit.gpu_hours {
            // Whatever is here must fit a ledger in a file, too.
            key::gpu_row(*row_key)?;
            let key = [stored(row_key.gpu.0)?, stored(row_key.hour.0)?, stored(row_key.owner.0)?];
            rows::put(&mut self.gpu_hours, key, row)?;
        }
        for (hour, row) in &commit.node_hours {
            key::node_row(*hour, commit.node)?;
            rows::put(&mut self.node_hours, [stored(commit.node.0)?, stored(hour.0)?], row)?;
        }
        for taken in &commit.taken {
            self.states.insert(taken.from, &taken.state);
            self.taken.extend(&taken.gpus);
        }
        self.states.insert(commit.node, &commit.state);
        self.epochs.extend(commit.epochs.iter().map(|advance| advance.epoch));
        for &(gpu, first, last) in &commit.gpus_seen {
            widen(&mut self.gpus_seen, stored(gpu.0)?, first, last);
        }
        if let Some((first, last)) = commit.seen {
            widen(&mut self.nodes_seen, stored(commit.node.0)?, first, last);
        }
        Ok(())
    }
}

fn widen(spans: &mut Spans, key: i32, first: u64, last: u64) {
    let span = spans.entry(key).or_insert((first, last));
    *span = (span.0.min(first), span.1.max(last));
}

async fn write_states(
    tx: &Transaction<'_>,
    there: &There,
    states: &BTreeMap<NodeKey, &[u8]>,
) -> Result<(), Fault> {
    let sql = "UPDATE node_state AS t SET version = v.version, state = v.state \
               FROM unnest($1::int4[], $2::int8[], $3::bytea[]) AS v(node, version, state) WHERE t.node = v.node";
    let (mut nodes, mut versions, mut blobs, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (node, &blob) in states {
        if bytes + blob.len() > STATE_BYTES_PER_STATEMENT {
            execute(tx, sql, &nodes, &[&versions, &blobs]).await?;
            (nodes, versions, blobs, bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        }
        nodes.push(stored(node.0)?);
        versions.push(integer(there.versions.get(node).copied().unwrap_or(0), "version")?);
        blobs.push(blob);
        bytes += blob.len();
    }
    execute(tx, sql, &nodes, &[&versions, &blobs]).await.map(drop)
}

/// Another collector may have committed the same new epoch for another node since we looked: then
/// fewer rows are written than there are epochs, and the whole is tried again.
async fn write_epochs(tx: &Transaction<'_>, there: &There, epochs: &BTreeSet<Epoch>) -> Result<(), Fault> {
    let mut nodes = Vec::with_capacity(epochs.len());
    let mut sequences = Vec::with_capacity(epochs.len());
    for epoch in epochs {
        let (node, at) = there.epochs.get(epoch).copied().unwrap_or((NodeKey(0), Sequence::NONE));
        nodes.push(stored(node.0)?);
        sequences.push(integer(at.0, "sequence")?);
    }
    let keys: Vec<Uuid> = epochs.iter().map(|epoch| epoch.0).collect();
    let sql = "INSERT INTO epoch AS t (epoch, node, sequence) \
               SELECT * FROM unnest($1::uuid[], $2::int4[], $3::int8[]) \
               ON CONFLICT (epoch) DO UPDATE SET sequence = excluded.sequence WHERE t.node = excluded.node";
    let written = execute(tx, sql, &keys, &[&nodes, &sequences]).await?;
    if written == u64::try_from(keys.len()).unwrap_or(u64::MAX) { Ok(()) } else { Err(Fault::Crossed) }
}

/// GPUs that changed hands.
async fn write_holders(tx: &Transaction<'_>, there: &There, taken: &BTreeSet<GpuKey>) -> Result<(), Fault> {
    let mut keys = Vec::with_capacity(taken.len());
    let mut nodes = Vec::with_capacity(taken.len());
    for gpu in taken {
        keys.push(stored(gpu.0)?);
        nodes.push(stored(there.holders.get(gpu).map_or(0, |node| node.0))?);
    }
    let sql = "UPDATE gpu AS t SET node = v.node FROM unnest($1::int4[], $2::int4[]) AS v(key, node) \
               WHERE t.key = v.key";
    execute(tx, sql, &keys, &[&nodes]).await.map(drop)
}

/// First and last instant of what was seen.
async fn write_spans(tx: &Transaction<'_>, what: &str, spans: &Spans) -> Result<(), Fault> {
    let keys: Vec<i32> = spans.keys().copied().collect();
    let mut firsts = Vec::with_capacity(spans.len());
    let mut lasts = Vec::with_capacity(spans.len());
    for &(first, last) in spans.values() {
        firsts.push(integer(first, "first_ms")?);
        lasts.push(integer(last, "last_ms")?);
    }
    let sql = format!(
        "INSERT INTO {what}_seen AS t ({what}, first_ms, last_ms) \
         SELECT * FROM unnest($1::int4[], $2::int8[], $3::int8[]) ON CONFLICT ({what}) DO UPDATE \
         SET first_ms = least(t.first_ms, excluded.first_ms), last_ms = greatest(t.last_ms, excluded.last_ms)"
    );
    execute(tx, &sql, &keys, &[&firsts, &lasts]).await.map(drop)
}

/// Runs a statement on arrays; nothing where they are empty.
async fn execute<K>(
    tx: &Transaction<'_>,
    sql: &str,
    keys: &Vec<K>,
    others: &[&(dyn ToSql + Sync)],
) -> Result<u64, Fault>
where
    Vec<K>: ToSql + Sync,
{
    if keys.is_empty() {
        return Ok(0);
    }
    let statement = tx.prepare_cached(sql).await?;
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![keys];
    parameters.extend_from_slice(others);
    Ok(tx.execute(&statement, &parameters).await?)
}

fn integer(value: u64, what: &'static str) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| Overflow(what).into())
}
