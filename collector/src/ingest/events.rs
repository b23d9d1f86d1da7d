//! What happens in ingest, for operators: an event's log line and its counter go out together, so
//! that they cannot disagree. Also whether batches can be acknowledged at present.

use super::Refusal;
use super::holder::TakenOver;
use super::node::{Delta, Node};
use crate::export::Health;
use gpuledger_ledger::LedgerError;
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::v1::RefusalReason;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Characters of what a peer says of itself that go into a log line.
const LOGGED_CHARS_MAX: usize = 64;

/// A node that keeps its clock by the network is within a fraction of a second. One that is off by
/// more than this is told, until it is below half of it.
const SKEW_BEGINS_MS: u64 = 10_000;
const SKEW_ENDS_MS: u64 = 5_000;

pub struct Events {
    health: Arc<Health>,
    /// Why the collector cannot commit at present.
    unready: Mutex<Option<String>>,
    /// What is wrong with the clocks of nodes: told when it begins and when it ends. At most one entry
    /// of each kind for a node.
    troubled: Mutex<BTreeSet<(NodeName, Trouble)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Ahead,
    Skewed,
}

impl Events {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self { health, unready: Mutex::default(), troubled: Mutex::default() }
    }

    /// Why batches are not acknowledged at present; `None` while all is well.
    pub fn unready(&self) -> Option<String> {
        self.unready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn stream_opened(&self, node: &str, agent_version: &str) {
        self.health.stream_opened();
        let agent_version: String = agent_version.chars().take(LOGGED_CHARS_MAX).collect();
        tracing::info!(node, ?agent_version, "stream opened");
    }

    pub(super) fn stream_closed(&self, node: &str) {
        self.health.stream_closed();
        tracing::info!(node, "stream closed");
    }

    pub(super) fn refused(&self, node: &str, refusal: &Refusal) {
        let message = &refusal.message;
        if let Some(limit) = refusal.limit {
            self.health.limit_broken(limit);
        }
        if refusal.batch.is_some() {
            self.health.batch_refused();
        }
        match refusal.reason {
            RefusalReason::Moved => {
                self.health.refused("moved");
                tracing::info!(node, message, "stream refused: another one has taken over");
            }
            RefusalReason::Invalid => {
                self.health.refused("invalid");
                tracing::warn!(node, message, "stream refused: what it sent is not valid");
            }
            RefusalReason::Unavailable | RefusalReason::Unspecified => {
                self.health.refused("unavailable");
                tracing::info!(node, message, "stream refused: not available");
            }
        }
    }

    pub(super) fn batch_folded(&self, points: usize) {
        self.health.batch_folded(count(points));
    }

    pub(super) fn batch_repeated(&self) {
        self.health.batch_repeated();
    }

    /// A node's delta is durable: what its batches passed over and took over counts from now on.
    pub(super) fn node_committed(&self, node: &Node, delta: &Delta) {
        let name = node.name.as_str();
        if delta.lost_batches > 0 {
            let batches = delta.lost_batches;
            self.health.batches_dropped(batches);
            tracing::warn!(
                node = name,
                batches,
                "batches are missing: the agent dropped them, or the ledger was restored from a backup that is \
                 older than they are; their time is unmonitored"
            );
        }
        if delta.ahead_samples > 0 {
            self.health.samples_ahead(name, delta.ahead_samples);
        }
        for TakenOver { from, uuids } in &delta.taken_over {
            self.health.gpus_moved(count(uuids.len()));
            tracing::warn!(
                node = name,
                from = from.as_str(),
                gpus = uuids.join(" "),
                "took GPUs over from another node; where this is told again and again, both report them"
            );
        }
    }

    /// Another ledger was found in the place of the one before. It can be committed to.
    pub(super) fn began_anew(&self, nodes: usize) {
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::warn!(nodes, "the ledger is another one than before: every node goes on from what it holds");
    }

    /// Streams of a node replace each other.
    pub(super) fn contested(&self, node: &NodeName) {
        self.health.node_contested();
        tracing::warn!(
            node = node.as_str(),
            "streams of this node replace each other: its link breaks, or two agents report under its name"
        );
    }

    /// Whether a node's samples are too far ahead of the collector's clock.
    pub(super) fn clock_ahead(&self, node: &NodeName, is_ahead: bool) {
        if !self.turned(node, Trouble::Ahead, is_ahead) {
            return;
        }
        let node = node.as_str();
        if is_ahead {
            tracing::warn!(node, "samples are passed over: the node's clock is more than a day ahead");
        } else {
            tracing::info!(node, "the node's clock is no longer a day ahead: its samples count again");
        }
    }

    /// How far a node's clock is off at present.
    pub(super) fn clock_skew(&self, node: &NodeName, skew_ms: i64) {
        let off_ms = skew_ms.unsigned_abs();
        // Between the two nothing changes.
        if (SKEW_ENDS_MS..=SKEW_BEGINS_MS).contains(&off_ms)
            || !self.turned(node, Trouble::Skewed, off_ms > SKEW_BEGINS_MS)
        {
            return;
        }
        let node = node.as_str();
        if off_ms > SKEW_BEGINS_MS {
            tracing::warn!(node, skew_ms, "the node's clock is off: its hours are not those of other nodes");
        } else {
            tracing::info!(node, skew_ms, "the node's clock is right again");
        }
    }

    /// Notes whether a trouble is there; true where that is another answer than before.
    fn turned(&self, node: &NodeName, trouble: Trouble, is_there: bool) -> bool {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        // As it nearly always is.
        if troubled.is_empty() && !is_there {
            return false;
        }
        if is_there {
            troubled.insert((node.clone(), trouble))
        } else {
            troubled.remove(&(node.clone(), trouble))
        }
    }

    pub(super) fn committed(&self, committed: usize, moved: usize, took: Duration) {
        self.health.committed(count(committed), count(moved), took);
        tracing::debug!(committed, moved, ?took, "committed");
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Logged by the ledger's watcher in `app`, together with every other call that fails.
    pub(super) fn commit_failed(&self, nodes: usize, error: &LedgerError) {
        self.health.commit_failed(count(nodes));
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The system's clock.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
