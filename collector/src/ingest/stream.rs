//! The protocol with one agent: Hello, then segments and their batches, until either side ends.
//!
//! [`greet`](super::greet) begins it, [`segment`](super::segment) and [`batch`](super::batch) take in
//! what comes. Everything that comes in is checked before it is used. The task waits for the agent, for its
//! mailbox or for the network, and holds no lock while it waits.

use super::allowance::{Account, MESSAGE_WORK, SEGMENT_WORK};
use super::greet::greet;
use super::node::{Mailbox, Node};
use super::peer::PeerIdentity;
use super::segment::Segment;
use super::skew::Skew;
use super::{Limit, Refusal, Shared};
use crate::fold::NodeFold;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::v1;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// A message that was waited for for so long did not wait for the collector itself.
const AWAITED: Duration = Duration::from_millis(1);
/// Answers are a few bytes, and an agent reads them while it sends. One that does not would keep its
/// stream, and with it a place, for as long as it likes.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The same for the last answer, which nobody has to read.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A live agent has one batch a commit interval. With so many waiting it catches up, and waiting
/// for the interval would only make its window stand still.
pub(super) const HURRY_BATCHES: usize = 4;

pub(super) type Outbox = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

/// Why a stream is over.
pub(super) enum End {
    /// The agent or the network ended it.
    Gone,
    Refused(Refusal),
}

impl End {
    /// What the transport says of a message that could not be read.
    pub fn by_transport(status: &Status) -> Self {
        Refusal::by_transport(status).map_or(Self::Gone, Self::Refused)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves one stream to its end.
pub(super) async fn run<S>(shared: Arc<Shared>, mut inbound: S, peer: Option<PeerIdentity>, out: Outbox)
where
    S: Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
{
    let mut name = String::from("?");
    let end = match greet(&shared, &mut inbound, peer.as_ref(), &out, &mut name).await {
        Ok(mut session) => {
            let end = session.converse(&mut inbound).await;
            session.close();
            end
        }
        Err(end) => end,
    };
    if let End::Refused(refusal) = end {
        shared.events.refused(&name, &refusal);
        let (epoch, sequence) = refusal
            .batch
            .map_or_else(Default::default, |(epoch, batch)| (epoch.0.as_bytes().to_vec(), batch.0));
        let (reason, message) = (refusal.reason.into(), refusal.message);
        let answer = v1::Refusal { reason, message, epoch, sequence };
        // Best effort: an agent that is gone connects again anyway.
        let _ = timeout(LAST_ANSWER_WITHIN, send(&out, Answer::Refusal(answer))).await;
    }
}

pub(super) struct Session {
    pub shared: Arc<Shared>,
    pub node: Arc<Node>,
    pub mailbox: Arc<Mailbox>,
    pub out: Outbox,
    pub segment: Option<Segment>,
    pub skew: Skew,
    pub account: Arc<Account>,
    /// The node has had more than its share of work: nothing is read from it until then.
    pub rest_until: Option<Instant>,
}

impl Session {
    /// Reads, folds and acknowledges until the stream is over.
    async fn converse<S>(&mut self, inbound: &mut S) -> End
    where
        S: Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
    {
        let (stop, ended) = (self.shared.stop.clone(), self.shared.ended.clone());
        // Asked in every round, so registered once: all streams share them.
        let (mut stopped, mut at_end) = (pin!(stop.cancelled()), pin!(ended.cancelled()));
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
            let idle_since = Instant::now();
            let rest = self.rest_until.filter(|until| *until > idle_since);
            tokio::select! {
                biased;
                () = self.mailbox.arrived.notified() => {}
                () = self.out.closed() => return End::Gone,
                () = &mut at_end, if !over => {}
                () = &mut stopped, if reading => reading = false,
                () = sleep_until(rest.unwrap_or(idle_since)), if rest.is_some() => {}
                message = inbound.next(), if reading && !full && rest.is_none() => match message {
                    Some(Ok(message)) => {
                        if idle_since.elapsed() >= AWAITED {
                            self.tell_time(message.wall_ms);
                        }
                        if let Err(end) = self.handle(message).await {
                            return end;
                        }
                    }
                    Some(Err(status)) => return End::by_transport(&status),
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

    /// What a message says of the node's clock.
    fn tell_time(&mut self, sent_ms: Option<u64>) {
        let Some(sent_ms) = sent_ms else { return };
        let skew_ms = self.skew.note((self.shared.clock)(), sent_ms);
        self.shared.events.clock_skew(&self.node.name, skew_ms);
    }

    async fn handle(&mut self, message: v1::AgentMessage) -> Result<(), End> {
        let work = match message.kind {
            Some(Message::Segment(segment)) => {
                self.open(segment).await?;
                SEGMENT_WORK
            }
            Some(Message::Batch(batch)) => self.take_in(batch).await?,
            Some(Message::Hello(_)) => {
                return Err(Refusal::invalid("a second hello on one stream").into());
            }
            // A kind of message that a newer agent knows.
            None => 0,
        };
        self.rest_until = self.account.work(work.saturating_add(MESSAGE_WORK));
        Ok(())
    }

    /// Works on the fold, as long as it is this stream's to work on.
    pub(super) fn with_fold<T>(&self, work: impl FnOnce(&mut NodeFold) -> T) -> Result<T, Refusal> {
        self.node.lock().fold_of(&self.mailbox).map(work)
    }

    /// Gives the node up, unless a newer stream has it already.
    pub(super) fn close(&self) {
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

pub(super) async fn acknowledge(out: &Outbox, epoch: Epoch, sequence: Sequence) -> Result<(), End> {
    send(out, Answer::Ack(v1::Ack { epoch: epoch.0.as_bytes().to_vec(), sequence: sequence.0 })).await
}

pub(super) async fn send(out: &Outbox, answer: Answer) -> Result<(), End> {
    // There is nearly always room, and then no time to wait for.
    let message = match out.try_send(Ok(v1::CollectorMessage { kind: Some(answer) })) {
        Ok(()) => return Ok(()),
        Err(TrySendError::Closed(_)) => return Err(End::Gone),
        Err(TrySendError::Full(message)) => message,
    };
    match timeout(ANSWER_WITHIN, out.send(message)).await {
        Ok(sent) => sent.map_err(|_| End::Gone),
        Err(_) => Err(Refusal::beyond(Limit::Answers, "answers were not taken within 30 seconds").into()),
    }
}
