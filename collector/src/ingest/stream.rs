//! The protocol with one agent: Hello, then segments and their batches, until either side ends.
//!
//! Everything that comes in is checked before it is used. The task waits for the agent, for its
//! mailbox or for the network, and holds no lock while it waits.

use super::node::{Mailbox, Node};
use super::{Refusal, Shared};
use crate::fold::{FoldError, NodeFold};
use gpuledger_proto::convert::{batch_from_wire, inventory_from_wire};
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use gpuledger_proto::v1;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use uuid::Uuid;

/// An agent says who it is at once; who stays silent holds a place for nothing.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A live agent has one batch a commit interval. With so many waiting it catches up, and waiting
/// for the interval would only make its window stand still.
const HURRY_BATCHES: usize = 4;

type Outbox = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

/// Why a stream is over.
enum End {
    /// The agent or the network ended it.
    Gone,
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves one stream to its end.
pub(super) async fn run<S>(shared: Arc<Shared>, mut inbound: S, out: Outbox)
where
    S: Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
{
    let mut name = String::from("?");
    let end = match greet(&shared, &mut inbound, &out).await {
        Ok(mut session) => {
            session.node.name.as_str().clone_into(&mut name);
            let end = session.converse(&mut inbound).await;
            session.close();
            end
        }
        Err(end) => end,
    };
    if let End::Refused(refusal) = end {
        shared.events.refused(&name, &refusal);
        let answer = v1::Refusal { reason: refusal.reason.into(), message: refusal.message, ..v1::Refusal::default() };
        // Best effort: an agent that is gone connects again anyway.
        let _ = send(&out, Answer::Refusal(answer)).await;
    }
}

/// Hello and Welcome; the node is claimed and its fold loaded.
async fn greet<S>(shared: &Arc<Shared>, inbound: &mut S, out: &Outbox) -> Result<Session, End>
where
    S: Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
{
    let first = tokio::select! {
        first = tokio::time::timeout(HELLO_WITHIN, inbound.next()) => first,
        () = shared.stop.cancelled() => return Err(Refusal::unavailable("the collector is shutting down").into()),
    };
    let hello = match first {
        Err(_) => return Err(Refusal::invalid("no hello came within 10 seconds").into()),
        Ok(None | Some(Err(_))) => return Err(End::Gone),
        Ok(Some(Ok(v1::AgentMessage { kind: Some(Message::Hello(hello)), .. }))) => hello,
        Ok(Some(Ok(_))) => return Err(Refusal::invalid("the first message is not a hello").into()),
    };
    if hello.protocol == 0 {
        return Err(Refusal::invalid("hello.protocol: required field is missing").into());
    }
    let name =
        NodeName::new(&hello.node).map_err(|error| Refusal::invalid(format!("hello.node: {error}")))?;
    let key = shared.ledger.node(&name).await.map_err(|error| Refusal::by_ledger(&error))?;
    let mailbox = Arc::new(Mailbox::default());
    let node = shared.claim(&name, key, &mailbox);
    shared.events.stream_opened(name.as_str(), &hello.agent_version);
    let session = Session { shared: Arc::clone(shared), node, mailbox, out: out.clone(), segment: None };
    match session.welcome().await {
        Ok(()) => Ok(session),
        Err(end) => {
            session.close();
            Err(end)
        }
    }
}

struct Session {
    shared: Arc<Shared>,
    node: Arc<Node>,
    mailbox: Arc<Mailbox>,
    out: Outbox,
    segment: Option<Segment>,
}

/// What the batches refer to at present.
struct Segment {
    epoch: Epoch,
    inventory: Arc<Inventory>,
    /// Last sequence of the epoch that is committed, as far as this stream knows.
    committed: Sequence,
    /// Last sequence that the agent has sent on this stream, or was told to be committed when it
    /// opened the segment. A commit of what came on the stream before may be ahead of it.
    heard: Sequence,
}

impl Segment {
    /// Notes that a batch came; gives what to acknowledge where it is committed already.
    fn hear(&mut self, sequence: Sequence) -> Option<Sequence> {
        self.heard = self.heard.max(sequence);
        (sequence <= self.committed).then(|| self.acknowledged())
    }

    /// What the agent may be told: nothing that it has not sent on this stream, which it would take
    /// for a mistake.
    fn acknowledged(&self) -> Sequence {
        self.committed.min(self.heard)
    }
}

impl Session {
    async fn welcome(&self) -> Result<(), End> {
        self.load().await?;
        let collector_version = env!("CARGO_PKG_VERSION").to_owned();
        send(&self.out, Answer::Welcome(v1::Welcome { collector_version, wall_ms: (self.shared.clock)() })).await
    }

    /// Goes on from the ledger. A fold that still has something uncommitted, from the stream before,
    /// is kept: it is ahead of the ledger.
    async fn load(&self) -> Result<(), Refusal> {
        {
            let inner = self.node.lock();
            if inner.fold.is_some() && inner.uncommitted() > 0 {
                return Ok(());
            }
        }
        // Nothing can be folded meanwhile: this stream is the only one that may.
        let state = self.shared.ledger.state(self.node.key).await;
        let state = state.map_err(|error| Refusal::by_ledger(&error))?;
        let fold = NodeFold::load(self.node.key, &state, self.shared.options.fold)
            .map_err(|error| Refusal::unavailable(error.to_string()))?;
        let mut inner = self.node.lock();
        if inner.is_stream(&self.mailbox) {
            inner.fold = Some(fold);
        }
        Ok(())
    }

    /// Reads, folds and acknowledges until the stream is over.
    async fn converse<S>(&mut self, inbound: &mut S) -> End
    where
        S: Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
    {
        let (stop, ended) = (self.shared.stop.clone(), self.shared.ended.clone());
        // False once the agent has sent all it wanted to send, or the collector ends: then only
        // acknowledgements are left to deliver.
        let mut reading = true;
        loop {
            // Asked before the mailbox is emptied: what is settled now has its answer in there.
            let (settled, full) = {
                let inner = self.node.lock();
                (inner.uncommitted() == 0, inner.is_full())
            };
            let over = ended.is_cancelled();
            if let Err(end) = self.deliver().await {
                return end;
            }
            if over {
                return Refusal::unavailable("the collector is shutting down").into();
            }
            if !reading && settled && !stop.is_cancelled() {
                return End::Gone;
            }
            tokio::select! {
                biased;
                () = self.mailbox.arrived.notified() => {}
                () = self.out.closed() => return End::Gone,
                () = ended.cancelled() => {}
                () = stop.cancelled(), if reading => reading = false,
                message = inbound.next(), if reading && !full => match message {
                    Some(Ok(message)) => {
                        if let Err(end) = self.handle(message).await {
                            return end;
                        }
                    }
                    Some(Err(_)) => return End::Gone,
                    None => {
                        reading = false;
                        self.shared.hurry.notify_one();
                    }
                },
            }
        }
    }

    /// Passes on what the commit task left.
    async fn deliver(&mut self) -> Result<(), End> {
        let mail = self.mailbox.take();
        for (epoch, sequence) in mail.acks {
            let mut sequence = sequence;
            if let Some(segment) = &mut self.segment
                && segment.epoch == epoch
            {
                segment.committed = sequence;
                sequence = segment.acknowledged();
            }
            acknowledge(&self.out, epoch, sequence).await?;
        }
        mail.refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    async fn handle(&mut self, message: v1::AgentMessage) -> Result<(), End> {
        match message.kind {
            Some(Message::Segment(segment)) => self.open(segment).await,
            Some(Message::Batch(batch)) => self.take_in(batch).await,
            Some(Message::Hello(_)) => Err(Refusal::invalid("a second hello on one stream").into()),
            // A kind of message that a newer agent knows.
            None => Ok(()),
        }
    }

    async fn open(&mut self, wire: v1::Segment) -> Result<(), End> {
        let epoch =
            Epoch::from_slice(&wire.epoch).map_err(|e| Refusal::invalid(format!("segment.epoch: {e}")))?;
        let boot = match wire.boot_id.as_slice() {
            [] => None,
            bytes => Some(Uuid::from_slice(bytes).map_err(|_| {
                Refusal::invalid(format!("segment.boot_id: expected 16 bytes or none, not {}", bytes.len()))
            })?),
        };
        if wire.first_sequence == 0 {
            return Err(Refusal::invalid("segment.first_sequence: required field is missing").into());
        }
        let inventory =
            wire.inventory.ok_or_else(|| Refusal::invalid("segment.inventory: required field is missing"))?;
        let inventory = inventory_from_wire(inventory).map_err(|e| Refusal::invalid(e.to_string()))?;
        let ledger = &self.shared.ledger;
        let gpus = ledger.register(self.node.key, &inventory).await.map_err(|e| Refusal::by_ledger(&e))?;
        let gpus = gpus.into_iter().map(|gpu| gpu.key).collect();
        let stored = ledger.sequence(self.node.key, epoch).await.map_err(|e| Refusal::by_ledger(&e))?;
        let first = Sequence(wire.first_sequence);
        let dropped = self.with_fold(|fold| fold.begin_segment(epoch, boot, gpus, stored, first))?;
        if dropped > 0 {
            self.shared.events.batches_dropped(self.node.name.as_str(), dropped);
        }
        let before = self.segment.as_ref().filter(|before| before.epoch == epoch);
        let heard = before.map_or(stored, |before| before.heard.max(stored));
        self.segment = Some(Segment { epoch, inventory: Arc::new(inventory), committed: stored, heard });
        let opened = v1::Opened { epoch: epoch.0.as_bytes().to_vec(), committed_sequence: stored.0 };
        send(&self.out, Answer::Opened(opened)).await
    }

    async fn take_in(&mut self, wire: v1::Batch) -> Result<(), End> {
        let Some(segment) = &self.segment else {
            return Err(Refusal::invalid("a batch came before its segment").into());
        };
        let (epoch, inventory) = (segment.epoch, Arc::clone(&segment.inventory));
        let got = Sequence(wire.sequence);
        let folded = self.with_fold(|fold| fold.folded(epoch))?.unwrap_or(Sequence::NONE);
        if got > folded.next() {
            let message = format!("batch {got} of epoch {epoch} does not follow batch {folded}");
            return Err(Refusal::invalid(message).into());
        }
        let settled = self.segment.as_mut().and_then(|segment| segment.hear(got));
        if got <= folded && got > Sequence::NONE {
            self.shared.events.batch_repeated();
            return match settled {
                Some(up_to) => acknowledge(&self.out, epoch, up_to).await,
                None => Ok(()),
            };
        }
        let batch = batch_from_wire(wire, inventory.gpus.len() + 1)
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let owners = self.shared.owners.resolve(&*self.shared.ledger, &batch.holdings).await?;
        self.with_fold(|fold| fold.fold(&batch, &owners))?.map_err(|error| self.unfoldable(&error))?;
        self.list_as_changed();
        self.shared.events.batch_folded(batch.points());
        self.shared.latest.update(&self.node.name, &inventory, &batch, (self.shared.clock)());
        Ok(())
    }

    /// Works on the fold, as long as it is this stream's to work on.
    fn with_fold<T>(&self, work: impl FnOnce(&mut NodeFold) -> T) -> Result<T, Refusal> {
        let mut inner = self.node.lock();
        let inner = &mut *inner;
        let mine = inner.is_stream(&self.mailbox);
        match &mut inner.fold {
            Some(fold) if mine => Ok(work(fold)),
            _ => Err(Refusal::moved("another stream or collector has taken over this node")),
        }
    }

    /// The fold is in no defined state after an error: what waits is dropped with it, and comes
    /// again from the agent.
    fn unfoldable(&self, error: &FoldError) -> Refusal {
        let refusal = Refusal::invalid(error.to_string());
        self.node.discard(refusal.clone());
        refusal
    }

    fn list_as_changed(&self) {
        let mut inner = self.node.lock();
        inner.waiting += 1;
        let (waiting, listed) = (inner.waiting, std::mem::replace(&mut inner.listed, true));
        drop(inner);
        if !listed {
            let mut changed = self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner);
            changed.push(Arc::clone(&self.node));
        }
        if waiting >= HURRY_BATCHES {
            self.shared.hurry.notify_one();
        }
    }

    /// Gives the node up, unless a newer stream has it already.
    fn close(&self) {
        {
            let mut inner = self.node.lock();
            if inner.is_stream(&self.mailbox) {
                inner.stream = None;
            }
        }
        self.shared.forget_idle(&self.node);
        self.shared.events.stream_closed(self.node.name.as_str());
    }
}

async fn acknowledge(out: &Outbox, epoch: Epoch, sequence: Sequence) -> Result<(), End> {
    send(out, Answer::Ack(v1::Ack { epoch: epoch.0.as_bytes().to_vec(), sequence: sequence.0 })).await
}

async fn send(out: &Outbox, answer: Answer) -> Result<(), End> {
    out.send(Ok(v1::CollectorMessage { kind: Some(answer) })).await.map_err(|_| End::Gone)
}
