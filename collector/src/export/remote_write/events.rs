//! What happens in remote write, for operators: an event's log line and its counter go out together.
//!
//! A trouble that repeats with every request is told when it begins and when it is over.

use super::super::families::{
    REMOTE_WRITE_AGE, REMOTE_WRITE_BATCHES_DROPPED, REMOTE_WRITE_DROPPED, REMOTE_WRITE_FAILED,
    REMOTE_WRITE_LAST_SUCCESS, REMOTE_WRITE_QUEUE, REMOTE_WRITE_RETRIED, REMOTE_WRITE_SAMPLES,
};
use super::super::health::{counters, opts, registered};
use super::protocol::Protocol;
use gpuledger_spool::{Damage, SpoolError};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Why samples were not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The receiver refused them.
    Refused,
    /// It refused them when they were sent again after an answer that never came: most likely it has them.
    InDoubt,
    /// It took the request and told that it did not store all.
    NotWritten,
    /// The node's clock is so far ahead that the receiver would take everything else for old.
    Ahead,
}

impl Lost {
    const ALL: [Self; 4] = [Self::Refused, Self::InDoubt, Self::NotWritten, Self::Ahead];

    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::InDoubt => "in_doubt",
            Self::NotWritten => "not_written",
            Self::Ahead => "ahead",
        }
    }
}

/// Dropped from the full queue, not written to it, or not readable in it.
const BATCHES_LOST: [&str; 3] = ["queue_full", "queue_failed", "unreadable"];

#[derive(Debug)]
pub struct Events {
    samples: IntCounter,
    dropped: IntCounterVec,
    batches_dropped: IntCounterVec,
    retried: IntCounter,
    failed: IntCounter,
    queue_bytes: IntGauge,
    age_seconds: IntGauge,
    last_success: IntGauge,
    queue_fails: AtomicBool,
    receiver_fails: AtomicBool,
    receiver_refuses: AtomicBool,
}

impl Events {
    /// Every counter at 0 in a registry.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reasons = Lost::ALL.map(Lost::name);
        Ok(Self {
            samples: registered(registry, IntCounter::with_opts(opts(&REMOTE_WRITE_SAMPLES))?)?,
            dropped: counters(registry, &REMOTE_WRITE_DROPPED, "reason", &reasons)?,
            batches_dropped: counters(registry, &REMOTE_WRITE_BATCHES_DROPPED, "reason", &BATCHES_LOST)?,
            retried: registered(registry, IntCounter::with_opts(opts(&REMOTE_WRITE_RETRIED))?)?,
            failed: registered(registry, IntCounter::with_opts(opts(&REMOTE_WRITE_FAILED))?)?,
            queue_bytes: registered(registry, IntGauge::with_opts(opts(&REMOTE_WRITE_QUEUE))?)?,
            age_seconds: registered(registry, IntGauge::with_opts(opts(&REMOTE_WRITE_AGE))?)?,
            last_success: registered(registry, IntGauge::with_opts(opts(&REMOTE_WRITE_LAST_SUCCESS))?)?,
            queue_fails: AtomicBool::new(false),
            receiver_fails: AtomicBool::new(false),
            receiver_refuses: AtomicBool::new(false),
        })
    }

    /// So many bytes of a segment cannot be read: the batches in them are counted as missing when what
    /// follows them is read.
    pub fn queue_damaged(damage: &Damage) {
        let (segment, lost_bytes) = (damage.segment.display(), damage.lost_bytes);
        tracing::warn!(%segment, lost_bytes, copy = ?damage.copy, "a segment of the remote write queue is damaged");
    }

    /// So many batches could not be written to the queue.
    pub fn queue_failed(&self, batches: usize, error: &SpoolError) {
        self.batches_dropped.with_label_values(&["queue_failed"]).inc_by(count(batches));
        if !self.queue_fails.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "batches are left out of remote write: its queue cannot be written");
        }
    }

    /// A batch came while the disk of the queue did not keep up.
    pub fn queue_behind(&self) {
        self.batches_dropped.with_label_values(&["queue_failed"]).inc();
        if !self.queue_fails.swap(true, Ordering::Relaxed) {
            tracing::error!("batches are left out of remote write: the disk of its queue does not keep up");
        }
    }

    pub fn queue_works(&self) {
        if self.queue_fails.swap(false, Ordering::Relaxed) {
            tracing::info!("the queue of remote write can be written again");
        }
    }

    /// The queue cannot be read, or how far it was sent cannot be noted.
    pub fn queue_unread(&self, error: &dyn std::fmt::Display) {
        if !self.receiver_fails.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "remote write stands still");
        }
    }

    /// Batches fell out of the full queue before they could be sent.
    pub fn queue_overflowed(&self, batches: u64) {
        self.batches_dropped.with_label_values(&["queue_full"]).inc_by(batches);
        tracing::warn!(batches, "the oldest batches were dropped from the full queue of remote write");
    }

    pub fn unreadable(&self, what: &str) {
        self.batches_dropped.with_label_values(&["unreadable"]).inc();
        tracing::warn!(what, "a batch in the queue of remote write cannot be read");
    }

    pub fn delivered(&self, samples: u64, at_ms: u64) {
        self.samples.inc_by(samples);
        self.last_success.set(i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX));
        if self.receiver_fails.swap(false, Ordering::Relaxed) {
            tracing::info!("the remote write receiver takes samples again");
        }
    }

    /// Every sample of a request was taken: the next refusal is told again.
    pub fn all_taken(&self) {
        if self.receiver_refuses.swap(false, Ordering::Relaxed) {
            tracing::info!("the remote write receiver takes every sample again");
        }
    }

    pub fn lost(&self, why: Lost, samples: u64, said: &str) {
        if samples == 0 {
            return;
        }
        self.dropped.with_label_values(&[why.name()]).inc_by(samples);
        if why != Lost::Ahead && !self.receiver_refuses.swap(true, Ordering::Relaxed) {
            let reason = why.name();
            tracing::warn!(
                reason,
                samples,
                said,
                "samples were dropped: the remote write receiver does not take them"
            );
        }
    }

    /// A request could not be delivered and is sent again.
    pub fn retried(&self, why: &str, after: Duration) {
        self.failed.inc();
        self.retried.inc();
        if self.receiver_fails.swap(true, Ordering::Relaxed) {
            tracing::debug!(why, ?after, "remote write tries again");
        } else {
            tracing::warn!(why, "the remote write receiver cannot be reached: samples wait in the queue");
        }
    }

    /// A request was answered so that it must not be sent again.
    pub fn failed(&self) {
        self.failed.inc();
    }

    #[cfg(test)]
    pub fn failures(&self) -> u64 {
        self.failed.get()
    }

    pub fn speaks(protocol: Protocol, why: &str) {
        let protocol = protocol.name();
        tracing::info!(protocol, why, "remote write goes on by another version of the protocol");
    }

    /// What waits at present, and since when.
    pub fn waiting(&self, bytes: u64, age_ms: u64) {
        self.queue_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.age_seconds.set(i64::try_from(age_ms / 1_000).unwrap_or(i64::MAX));
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
