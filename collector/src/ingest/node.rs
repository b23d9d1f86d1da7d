//! What a node's stream and the commit task share.
//!
//! A [`Node`] exists while it has a stream or anything uncommitted. Its stream folds, the commit task
//! takes; both hold the lock only for that. The [`Mailbox`] belongs to one stream: the commit task
//! leaves acknowledgements in it and never waits for a peer.

use super::Refusal;
use super::crowd::{Crowd, Part};
use super::holder::TakenOver;
use crate::fold::NodeFold;
use gpuledger_ledger::{EpochAdvance, NodeCommit, NodeKey};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Batches of one node that may wait for a commit; then its stream is not read any further. Three
/// hours of a live agent, and as many as an agent sends ahead: it is reached only when the store
/// fails or an agent catches up faster than the disk.
pub const UNCOMMITTED_BATCHES_MAX: usize = 1_024;
/// Rows of one node that may wait for a commit: a hundred GPUs over a year. About 200 MiB.
pub const UNCOMMITTED_ROWS_MAX: usize = 1_000_000;

/// Batches that are committed one by one to find the one that the ledger refuses: all that an agent
/// sends ahead.
const CAREFUL_BATCHES: usize = UNCOMMITTED_BATCHES_MAX;
/// Live streams of a node that are replaced within [`CONTEST_MS`] before it is told.
const CONTEST_STREAMS: u32 = 5;
const CONTEST_MS: u64 = 600_000;

pub struct Node {
    pub name: NodeName,
    pub key: NodeKey,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub struct Inner {
    /// The stream that folds for this node.
    pub stream: Option<Arc<Mailbox>>,
    /// `None` before the first stream has loaded it and after it was dropped.
    pub fold: Option<NodeFold>,
    /// Batches folded since the last take.
    pub waiting: usize,
    /// Batches and rows in the delta that is being committed.
    pub in_flight: usize,
    rows_in_flight: usize,
    /// Rows that wait or are in flight, as all nodes together go by them.
    part: Part,
    /// Whether the node is on the list of those that have something to commit.
    pub listed: bool,
    /// What the waiting batches passed over, told when they are committed.
    pub lost_batches: u64,
    pub ahead_samples: u64,
    /// GPUs that the next commit takes from other nodes.
    pub taken_over: Vec<TakenOver>,
    /// Batches that are still committed one by one, since the ledger refused what was in one of many.
    careful: usize,
    contest: Contest,
}

/// A node's delta for one commit.
pub struct Delta {
    pub commit: NodeCommit,
    pub batches: usize,
    pub lost_batches: u64,
    pub ahead_samples: u64,
    pub taken_over: Vec<TakenOver>,
}

/// How often live streams of the node were replaced lately.
#[derive(Default)]
struct Contest {
    since_ms: u64,
    replaced: u32,
}

impl Node {
    pub fn new(name: NodeName, key: NodeKey, crowd: &Arc<Crowd>) -> Self {
        Self { name, key, inner: Mutex::new(Inner { part: Part::of(crowd), ..Inner::default() }) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this stream the one that folds. The one before is told so. True when that happens so
    /// often that two agents seem to report under this name.
    pub fn claim(&self, mailbox: &Arc<Mailbox>, now_ms: u64) -> bool {
        let mut inner = self.lock();
        let Some(before) = inner.stream.replace(Arc::clone(mailbox)) else { return false };
        before.refuse(Refusal::moved("another stream of this node has taken over"));
        inner.contest.replaced(now_ms)
    }

    /// The delta since the last call, for one commit.
    pub fn take(&self) -> Option<Delta> {
        let mut inner = self.lock();
        inner.listed = false;
        let commit = inner.fold.as_mut().and_then(NodeFold::take)?;
        inner.in_flight = std::mem::take(&mut inner.waiting);
        inner.rows_in_flight = commit.gpu_hours.len() + commit.node_hours.len();
        Some(Delta {
            commit,
            batches: inner.in_flight,
            lost_batches: std::mem::take(&mut inner.lost_batches),
            ahead_samples: std::mem::take(&mut inner.ahead_samples),
            taken_over: std::mem::take(&mut inner.taken_over),
        })
    }

    /// The delta is durable: the stream acknowledges it.
    pub fn committed(&self, epochs: &[EpochAdvance]) {
        let mut inner = self.lock();
        inner.careful = inner.careful.saturating_sub(inner.in_flight);
        inner.in_flight = 0;
        inner.rows_in_flight = 0;
        inner.count_rows();
        if let Some(fold) = &mut inner.fold {
            fold.committed(epochs);
        }
        if let Some(stream) = &inner.stream {
            stream.acknowledge(epochs);
        }
    }

    /// The delta cannot be committed: what was folded is dropped, and the stream ends.
    pub fn discard(&self, refusal: Refusal) {
        let mut inner = self.lock();
        inner.forget_folded();
        if let Some(stream) = &inner.stream {
            stream.refuse(refusal);
        }
    }

    /// The ledger can never store what is in the delta. The batch is named where it is the only one;
    /// else the batches come again, and are committed one by one until it is found.
    pub fn refuse_content(&self, delta: &Delta, message: &str) {
        self.lock().careful = CAREFUL_BATCHES;
        let refusal = match delta.commit.epochs[..] {
            [only] if delta.batches == 1 => Refusal::of_batch(only.epoch, only.to, message),
            _ => Refusal::invalid(message),
        };
        self.discard(refusal);
    }
}

impl Contest {
    /// A live stream was replaced. True once for every so many within a while: a link that breaks is
    /// replaced now and then, by the same agent.
    fn replaced(&mut self, now_ms: u64) -> bool {
        if now_ms.abs_diff(self.since_ms) > CONTEST_MS {
            *self = Self { since_ms: now_ms, replaced: 0 };
        }
        self.replaced = self.replaced.saturating_add(1);
        self.replaced == CONTEST_STREAMS
    }
}

impl Inner {
    /// The fold, as long as it is this stream's to work on.
    pub fn fold_of(&mut self, mailbox: &Arc<Mailbox>) -> Result<&mut NodeFold, Refusal> {
        let mine = self.is_stream(mailbox);
        let moved = || Refusal::moved("another stream or collector has taken over this node");
        self.fold.as_mut().filter(|_| mine).ok_or_else(moved)
    }

    /// Goes on from what the ledger holds, where nothing waits for a commit.
    pub fn reload(&mut self, fold: NodeFold) {
        self.forget_folded();
        self.fold = Some(fold);
    }

    fn forget_folded(&mut self) {
        self.fold = None;
        self.waiting = 0;
        self.in_flight = 0;
        self.rows_in_flight = 0;
        self.part.set(0);
        self.lost_batches = 0;
        self.ahead_samples = 0;
        self.taken_over.clear();
    }

    /// Whether batches are committed one by one.
    pub fn is_careful(&self) -> bool {
        self.careful > 0
    }

    pub fn is_stream(&self, mailbox: &Arc<Mailbox>) -> bool {
        self.stream.as_ref().is_some_and(|stream| Arc::ptr_eq(stream, mailbox))
    }

    pub fn uncommitted(&self) -> usize {
        self.waiting + self.in_flight
    }

    /// Tells all nodes together how many rows wait of this one.
    pub fn count_rows(&mut self) {
        self.part.set(self.rows_in_flight + self.fold.as_ref().map_or(0, NodeFold::pending_rows));
    }

    /// Whether so much waits, here or in all, that nothing more may be folded.
    pub fn is_full(&self) -> bool {
        let batches_max = if self.is_careful() { 1 } else { UNCOMMITTED_BATCHES_MAX };
        self.uncommitted() >= batches_max
            || !self.part.may_grow()
            || self.fold.as_ref().is_some_and(|fold| fold.pending_rows() >= UNCOMMITTED_ROWS_MAX)
    }
}

/// What the commit task has to say to one stream.
#[derive(Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    pub arrived: Notify,
}

#[derive(Default)]
pub struct Mail {
    /// Acknowledgements are cumulative: a later one replaces an earlier one.
    pub acks: BTreeMap<Epoch, Sequence>,
    /// The stream ends after this.
    pub refusal: Option<Refusal>,
}

impl Mailbox {
    fn acknowledge(&self, epochs: &[EpochAdvance]) {
        let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        mail.acks.extend(epochs.iter().map(|advance| (advance.epoch, advance.to)));
        drop(mail);
        self.arrived.notify_one();
    }

    pub fn refuse(&self, refusal: Refusal) {
        let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        // The first reason is the cause, a later one its consequence.
        mail.refusal.get_or_insert(refusal);
        drop(mail);
        self.arrived.notify_one();
    }

    pub fn take(&self) -> Mail {
        std::mem::take(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
