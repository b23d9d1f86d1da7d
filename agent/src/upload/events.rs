//! What the uplink did, in numbers and in the log. Each event is counted and logged in one place,
//! so that the two cannot disagree.

use super::dial::ConnectError;
use super::session::Broken;
use gpuledger_spool::Aside;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters of the uplink, shared with whoever shows the agent's health.
#[derive(Debug, Default)]
pub struct UplinkEvents {
    connected: AtomicBool,
    connections: AtomicU64,
    links_lost: AtomicU64,
    refusals: AtomicU64,
    batches_sent: AtomicU64,
    bytes_sent: AtomicU64,
    batches_acknowledged: AtomicU64,
    batches_unsendable: AtomicU64,
    batches_disowned: AtomicU64,
    batches_set_aside: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UplinkCounts {
    /// Whether a collector has welcomed this agent and the link still stands.
    pub connected: bool,
    /// Streams that a collector welcomed.
    pub connections: u64,
    /// Streams and tries to connect that ended for whatever reason.
    pub links_lost: u64,
    /// Those of them that a collector ended with a reason.
    pub refusals: u64,
    /// Batches put on the wire, repetitions included.
    pub batches_sent: u64,
    pub bytes_sent: u64,
    /// Batches that were sent and then acknowledged.
    pub batches_acknowledged: u64,
    /// Batches in the spool that could not be sent as they are and were passed over.
    pub batches_unsendable: u64,
    /// Batches that the collector had under the same epoch and sequence before they were sent by
    /// this process.
    pub batches_disowned: u64,
    /// Batches that the collector refused for what is in them, and that were set aside.
    pub batches_set_aside: u64,
}

/// Kinds of trouble between which an operator sees a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Unreachable,
    Certificate,
    Lost,
    Refused(i32),
    Misbehaving,
    Spool,
}

impl UplinkEvents {
    pub fn read(&self) -> UplinkCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UplinkCounts {
            connected: self.connected.load(Ordering::Relaxed),
            connections: read(&self.connections),
            links_lost: read(&self.links_lost),
            refusals: read(&self.refusals),
            batches_sent: read(&self.batches_sent),
            bytes_sent: read(&self.bytes_sent),
            batches_acknowledged: read(&self.batches_acknowledged),
            batches_unsendable: read(&self.batches_unsendable),
            batches_disowned: read(&self.batches_disowned),
            batches_set_aside: read(&self.batches_set_aside),
        }
    }

    pub(super) fn welcomed(&self, endpoint: &str, collector_version: &str) {
        add(&self.connections, 1);
        self.connected.store(true, Ordering::Relaxed);
        // After any other trouble, being welcomed does not yet show that it is over.
        if matches!(self.trouble(), None | Some(Trouble::Unreachable | Trouble::Certificate | Trouble::Lost))
        {
            self.set_trouble(None);
            tracing::info!(endpoint, collector_version, "connected to the collector");
        }
    }

    /// A stream was ended for the sake of a new certificate.
    pub(super) fn renewed(&self) {
        self.connected.store(false, Ordering::Relaxed);
        tracing::info!("there is a new certificate: connecting to the collector anew with it");
    }

    pub(super) fn sent(&self, bytes: usize) {
        add(&self.batches_sent, 1);
        add(&self.bytes_sent, bytes as u64);
    }

    pub(super) fn acknowledged(&self, batches: usize) {
        add(&self.batches_acknowledged, batches as u64);
        if batches > 0 && self.set_trouble(None).is_some() {
            tracing::info!("the collector takes batches again");
        }
    }

    /// The collector had this batch before it was written: somebody else uses the same epoch, as
    /// after a virtual machine was copied while it ran. Logged once.
    pub(super) fn disowned(&self, sequence: u64, committed: u64) {
        if self.batches_disowned.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                sequence,
                committed,
                "the collector already has later batches of this run: passed over what it says it has"
            );
        }
    }

    pub(super) fn unsendable(&self, sequence: u64, error: &prost::DecodeError) {
        add(&self.batches_unsendable, 1);
        tracing::error!(sequence, %error, "passed over a spooled batch that is not a batch");
    }

    pub(super) fn set_aside(&self, sequence: u64, done: &Aside) {
        let file = match done {
            Aside::Copied(file) => file,
            Aside::Known(file) => {
                let file = file.display();
                tracing::info!(sequence, %file, "passed over a batch that was set aside before");
                return;
            }
            Aside::NoRoom => {
                add(&self.batches_set_aside, 1);
                tracing::error!(
                    sequence,
                    "dropped a batch that the collector refuses again and again: the spool is full, there is no room \
                     to set it aside"
                );
                return;
            }
        };
        add(&self.batches_set_aside, 1);
        tracing::error!(
            sequence, file = %file.display(),
            "set a batch aside that the collector refuses again and again; its time is unmonitored until the file \
             is renamed to end in .segment and the agent started anew"
        );
    }

    pub(super) fn unreadable(&self, batches: u64) {
        add(&self.batches_unsendable, batches);
        tracing::error!(batches, "passed over a spool segment with a header that this version cannot read");
    }

    pub(super) fn link_lost(&self, endpoint: &str, broken: &Broken) {
        add(&self.links_lost, 1);
        self.connected.store(false, Ordering::Relaxed);
        let now = match broken {
            Broken::Certificate(_)
            | Broken::Unreachable(ConnectError::Files(_) | ConnectError::Certificate(_)) => {
                Trouble::Certificate
            }
            Broken::Unreachable(_) => Trouble::Unreachable,
            Broken::Lost(_) | Broken::Closed | Broken::Renewed | Broken::Task(_) => Trouble::Lost,
            Broken::Refused { reason, .. } => {
                add(&self.refusals, 1);
                Trouble::Refused(*reason)
            }
            Broken::Silent | Broken::Protocol(_) => Trouble::Misbehaving,
            Broken::Spool(_) => Trouble::Spool,
        };
        if self.set_trouble(Some(now)) != Some(now) {
            tracing::warn!(endpoint, error = %broken, "no link to the collector; samples stay in the spool, and it is tried again for ever");
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the trouble before.
    fn set_trouble(&self, now: Option<Trouble>) -> Option<Trouble> {
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
