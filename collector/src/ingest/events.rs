//! What happens in ingest, for operators: an event's log line and its counter go out together, so
//! that they cannot disagree. Also whether batches can be acknowledged at present.

use super::Refusal;
use crate::export::Health;
use gpuledger_ledger::LedgerError;
use gpuledger_proto::v1::RefusalReason;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Characters of what a peer says of itself that go into a log line.
const LOGGED_CHARS_MAX: usize = 64;

pub struct Events {
    health: Arc<Health>,
    /// Why the collector cannot commit at present.
    unready: Mutex<Option<String>>,
}

impl Events {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self { health, unready: Mutex::default() }
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

    pub(super) fn batches_dropped(&self, node: &str, batches: u64) {
        self.health.batches_dropped(batches);
        tracing::warn!(node, batches, "the agent dropped batches: their time is unmonitored");
    }

    pub(super) fn committed(&self, committed: usize, moved: usize, took: Duration) {
        self.health.committed(count(committed), count(moved), took);
        tracing::debug!(committed, moved, ?took, "committed");
        let before = self.unready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if before.is_some() {
            tracing::info!("the ledger takes commits again");
        }
    }

    pub(super) fn commit_failed(&self, nodes: usize, error: &LedgerError) {
        self.health.commit_failed(count(nodes));
        let reason = error.to_string();
        let mut unready = self.unready.lock().unwrap_or_else(PoisonError::into_inner);
        // Once for each reason, not once for each attempt.
        if unready.as_ref() != Some(&reason) {
            tracing::error!(%reason, "the agents keep their batches until the ledger can be written again");
        }
        *unready = Some(reason);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The collector's clock, for people and gauges; nothing is counted by it.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
