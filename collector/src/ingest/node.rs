//! What a node's stream and the commit task share.
//!
//! A [`Node`] exists while it has a stream or anything uncommitted. Its stream folds, the commit task
//! takes; both hold the lock only for that. The [`Mailbox`] belongs to one stream: the commit task
//! leaves acknowledgements in it and never waits for a peer.

use super::Refusal;
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
    /// Batches in the delta that is being committed.
    pub in_flight: usize,
    /// Whether the node is on the list of those that have something to commit.
    pub listed: bool,
}

impl Node {
    pub fn new(name: NodeName, key: NodeKey) -> Self {
        Self { name, key, inner: Mutex::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this stream the one that folds. The one before is told so.
    pub fn claim(&self, mailbox: &Arc<Mailbox>) {
        if let Some(before) = self.lock().stream.replace(Arc::clone(mailbox)) {
            before.refuse(Refusal::moved("another stream of this node has taken over"));
        }
    }

    /// The delta since the last call, for one commit.
    pub fn take(&self) -> Option<NodeCommit> {
        let mut inner = self.lock();
        inner.listed = false;
        let commit = inner.fold.as_mut().and_then(NodeFold::take)?;
        inner.in_flight = std::mem::take(&mut inner.waiting);
        Some(commit)
    }

    /// The delta is durable: the stream acknowledges it.
    pub fn committed(&self, epochs: &[EpochAdvance]) {
        let mut inner = self.lock();
        inner.in_flight = 0;
        if let Some(stream) = &inner.stream {
            stream.acknowledge(epochs);
        }
    }

    /// The delta cannot be committed: what was folded is dropped, and the stream ends.
    pub fn discard(&self, refusal: Refusal) {
        let mut inner = self.lock();
        inner.fold = None;
        inner.waiting = 0;
        inner.in_flight = 0;
        if let Some(stream) = &inner.stream {
            stream.refuse(refusal);
        }
    }
}

impl Inner {
    pub fn is_stream(&self, mailbox: &Arc<Mailbox>) -> bool {
        self.stream.as_ref().is_some_and(|stream| Arc::ptr_eq(stream, mailbox))
    }

    pub fn uncommitted(&self) -> usize {
        self.waiting + self.in_flight
    }

    /// Whether so much waits that nothing more may be folded.
    pub fn is_full(&self) -> bool {
        self.uncommitted() >= UNCOMMITTED_BATCHES_MAX
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
