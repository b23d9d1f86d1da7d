//! The commit task: the deltas of all changed nodes in one transaction, then acknowledgements.

use super::node::{Delta, Node};
use super::{Refusal, Shared};
use gpuledger_ledger::{CommitOutcome, LedgerError, NodeCommit};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// An agent that catches up is committed for early, but not more often than this part of the
/// interval: the disk syncs once a commit.
const HURRY_DIVISOR: u32 = 50;
/// Pause after a first failure of the store; it doubles up to the largest.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Attempts for the last commit when the collector ends. What is not committed is still in the
/// agents' spools.
const LAST_ATTEMPTS: u32 = 3;

/// Told to an agent whose node was moved on by somebody else meanwhile.
const MOVED: &str = "another collector has moved this node, or another node reports one of its GPUs";

/// A node's delta on its way into the ledger.
struct Taken {
    node: Arc<Node>,
    delta: Delta,
}

/// Commits until the collector ends, and once more then.
pub(super) async fn run(shared: Arc<Shared>) -> Result<(), LedgerError> {
    let result = commit_until_stopped(&shared).await;
    shared.ended.cancel();
    result
}

async fn commit_until_stopped(shared: &Shared) -> Result<(), LedgerError> {
    let interval = shared.options.commit_interval;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.stop.is_cancelled() {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = shared.hurry.notified() => {}
            () = shared.stop.cancelled() => break,
        }
        round(shared).await?;
        tokio::select! {
            biased;
            () = tokio::time::sleep(interval / HURRY_DIVISOR) => {}
            () = shared.stop.cancelled() => {}
        }
    }
    round(shared).await
}

/// Takes what there is and does not rest until it is committed or cannot be.
async fn round(shared: &Shared) -> Result<(), LedgerError> {
    let changed = std::mem::take(&mut *shared.changed.lock().unwrap_or_else(PoisonError::into_inner));
    let mut taken: Vec<Taken> =
        changed.into_iter().filter_map(|node| node.take().map(|delta| Taken { node, delta })).collect();
    // A busy node whose GPU has moved on would else commit first each time and never let go of it.
    taken.sort_by_key(|one| one.delta.commit.taken.is_empty());
    // An agent forgets what is committed, so it has to be durable in the tap before.
    if let (Some(tap), false) = (&shared.tap, taken.is_empty()) {
        tap.sync().await;
    }
    let mut pause = RETRY_FIRST;
    let mut last_attempts = 0;
    while !taken.is_empty() {
        let Err(error) = attempt(shared, &taken).await else { return Ok(()) };
        if error.is_of_content() {
            taken = one_by_one(shared, taken).await;
            continue;
        }
        if matches!(error, LedgerError::Replaced { .. }) {
            return Ok(());
        }
        shared.events.commit_failed(taken.len(), &error);
        if shared.stop.is_cancelled() {
            last_attempts += 1;
            if last_attempts == LAST_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(RETRY_FIRST).await;
            continue;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => {}
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
    Ok(())
}

/// One transaction for all, and each node's outcome told to its stream.
async fn attempt(shared: &Shared, taken: &[Taken]) -> Result<(), LedgerError> {
    let started = Instant::now();
    let commits: Vec<NodeCommit> = taken.iter().map(|t| t.delta.commit.clone()).collect();
    let outcomes = shared.ledger.commit(commits).await.inspect_err(|error| {
        // When the ledger works again, it may be another one.
        shared.owners.forget();
        if matches!(error, LedgerError::Replaced { .. }) {
            shared.begin_anew();
        }
    })?;
    if outcomes.contains(&CommitOutcome::Moved) {
        // Another collector was quicker, or this is an older ledger, whose owners have other numbers.
        shared.owners.forget();
    }
    let mut moved = 0;
    for (Taken { node, delta }, outcome) in taken.iter().zip(outcomes) {
        match outcome {
            CommitOutcome::Committed => {
                node.committed(&delta.commit.epochs);
                shared.events.node_committed(node, delta);
            }
            CommitOutcome::Moved => {
                moved += 1;
                node.discard(Refusal::moved(MOVED));
            }
        }
        shared.forget_idle(node);
    }
    shared.events.committed(taken.len() - moved, moved, started.elapsed());
    Ok(())
}

/// One of the nodes holds what can never be stored: it must not hold up the others. Gives those
/// that are left because the store failed for another reason meanwhile.
async fn one_by_one(shared: &Shared, taken: Vec<Taken>) -> Vec<Taken> {
    let mut left = Vec::new();
    for one in taken {
        match attempt(shared, std::slice::from_ref(&one)).await {
            Ok(()) => {}
            Err(error) if error.is_of_content() => {
                one.node.refuse_content(&one.delta, &error.to_string());
                shared.forget_idle(&one.node);
            }
            // Nothing of what was taken may go into the ledger that is there now.
            Err(LedgerError::Replaced { .. }) => return Vec::new(),
            Err(error) => {
                shared.events.commit_failed(1, &error);
                left.push(one);
            }
        }
    }
    left
}
