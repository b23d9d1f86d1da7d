//! Takes batches from agents, folds them, commits, acknowledges.
//!
//! ```text
//! agent ─▶ stream task: check ─▶ owners ─▶ fold ──┐ (one node's lock)
//!            ▲                                    ▼
//!          mailbox ◀── ack ── commit task ◀── deltas of all nodes ─▶ Ledger::commit
//! ```
//!
//! - [`stream`]: the protocol with one agent, one task a stream; its parts are [`greet`], [`segment`]
//!   and [`batch`].
//! - [`identity`]: what becomes of whatever comes, as a table.
//! - [`peer`]: the node that the connection is of.
//! - [`holder`]: which of a node's GPUs another one holds.
//! - [`intake`]: no message takes long, and large ones have a bound together; [`allowance`]: how much one
//!   node may ask for; [`refusal`]: why a stream ends, and which limit was broken.
//! - [`skew`]: how far a node's clock is off.
//! - [`node`]: what a stream and the commit task share; [`crowd`]: what waits over all nodes.
//! - [`commit`]: one transaction an interval; only then acknowledgements.
//! - [`owners`]: numbers of owners, remembered.
//! - [`tap`]: where whole batches leave for remote write.
//! - [`events`]: what happened, for operators.
//!
//! Invariants: an acknowledgement follows the commit that holds the batch; a node has at most one
//! stream that folds, the newest; a batch that was folded before is skipped by its sequence; what
//! waits is bounded for each node and for all together, and a full node is not read from.

mod allowance;
mod batch;
mod commit;
mod crowd;
pub mod events;
mod greet;
pub mod holder;
pub mod identity;
pub mod intake;
mod node;
mod owners;
pub mod peer;
mod refusal;
mod segment;
mod skew;
mod stream;
pub mod tap;
#[cfg(test)]
mod tests;

use crate::export::Health;
use crate::fold::FoldOptions;
use crate::latest::Latest;
use crate::net::{Connection, Occupied};
use crowd::Crowd;
use events::{Events, wall_ms};
use gpuledger_ledger::{Ledger, LedgerError, NodeKey};
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::v1;
use gpuledger_proto::v1::telemetry_server::Telemetry;
use node::{Mailbox, Node};
use peer::PeerIdentity;
pub use refusal::{Limit, Refusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tap::Tap;
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// Streams that may be open at one time: twice the largest fleet that one collector is meant for.
pub const STREAMS_MAX: usize = 20_000;
/// Messages to one agent that wait for the network. Acknowledgements are cumulative, so more would
/// not help it.
const OUTBOX_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestOptions {
    pub fold: FoldOptions,
    /// Time between two commits. An agent that catches up is committed for earlier.
    pub commit_interval: Duration,
}

/// The collector's wall clock, in milliseconds since the Unix epoch. No sample is counted by it; it
/// says which samples cannot be true yet, and how far a node's clock is off.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The whole of ingest. Its tasks run until [`Ingest::drain`].
pub struct Ingest {
    shared: Arc<Shared>,
    streams: TaskTracker,
    committer: Mutex<Option<tokio::task::JoinHandle<Result<(), LedgerError>>>>,
}

/// What the tasks share.
struct Shared {
    ledger: Arc<dyn Ledger>,
    latest: Arc<Latest>,
    events: Events,
    options: IngestOptions,
    clock: Clock,
    owners: owners::Owners,
    crowd: Arc<Crowd>,
    accounts: allowance::Accounts,
    tap: Option<Arc<dyn Tap>>,
    nodes: Mutex<BTreeMap<NodeName, Arc<Node>>>,
    /// Nodes that have something to commit.
    changed: Mutex<Vec<Arc<Node>>>,
    /// An agent catches up: commit before the interval is over.
    hurry: Notify,
    /// Nothing more is read from agents.
    stop: CancellationToken,
    /// The last commit is over: streams deliver what acknowledgements they have and end.
    ended: CancellationToken,
}

impl Ingest {
    /// Starts the commit task. Must be called within a runtime. The tap, where there is one, is offered
    /// every batch.
    pub fn start(
        ledger: Arc<dyn Ledger>,
        latest: Arc<Latest>,
        health: Arc<Health>,
        options: IngestOptions,
        tap: Option<Arc<dyn Tap>>,
    ) -> Arc<Self> {
        Self::begin(ledger, latest, health, options, Arc::new(wall_ms), tap, Crowd::default())
    }

    /// [`Ingest::start`] by another clock and without a tap.
    pub fn start_by(
        ledger: Arc<dyn Ledger>,
        latest: Arc<Latest>,
        health: Arc<Health>,
        options: IngestOptions,
        clock: Clock,
    ) -> Arc<Self> {
        Self::begin(ledger, latest, health, options, clock, None, Crowd::default())
    }

    fn begin(
        ledger: Arc<dyn Ledger>,
        latest: Arc<Latest>,
        health: Arc<Health>,
        options: IngestOptions,
        clock: Clock,
        tap: Option<Arc<dyn Tap>>,
        crowd: Crowd,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            ledger,
            latest,
            events: Events::new(health),
            options,
            clock,
            owners: owners::Owners::default(),
            crowd: Arc::new(crowd),
            accounts: allowance::Accounts::default(),
            tap,
            nodes: Mutex::default(),
            changed: Mutex::default(),
            hurry: Notify::new(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let committer = tokio::spawn(commit::run(Arc::clone(&shared)));
        Arc::new(Self { shared, streams: TaskTracker::new(), committer: Mutex::new(Some(committer)) })
    }

    /// Why batches are not acknowledged at present; `None` while all is well.
    pub fn unready(&self) -> Option<String> {
        self.shared.events.unready()
    }

    /// Stops reading, commits what was folded, acknowledges it and ends the streams.
    pub async fn drain(&self) -> Result<(), LedgerError> {
        self.shared.stop.cancel();
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = match committer {
            Some(committer) => committer.await.unwrap_or_else(|error| {
                Err(LedgerError::Failed { operation: "commit rows", reason: error.to_string() })
            }),
            None => Ok(()),
        };
        self.streams.close();
        // Streams end by themselves once they have been told; one whose agent does not read is cut
        // off with its connection.
        if tokio::time::timeout(STREAMS_END_WITHIN, self.streams.wait()).await.is_err() {
            tracing::warn!(streams = self.streams.len(), "streams did not take their last message");
        }
        result
    }

    /// Serves one stream: messages come in by `inbound`, answers go out by what is returned. `peer` is the
    /// only node that may send them; without one, any may.
    pub fn serve<S>(
        &self,
        inbound: S,
        peer: Option<PeerIdentity>,
    ) -> ReceiverStream<Result<v1::CollectorMessage, Status>>
    where
        S: Stream<Item = Result<v1::AgentMessage, Status>> + Send + Unpin + 'static,
    {
        let (out, answers) = mpsc::channel(OUTBOX_MAX);
        self.streams.spawn(stream::run(Arc::clone(&self.shared), inbound, peer, out));
        ReceiverStream::new(answers)
    }
}

/// Told to agents whose stream was opened on a ledger that is no longer there.
const BEGIN_ANEW: &str = "the collector's ledger is another one than before";

/// How long streams may take for their last acknowledgement when the collector ends.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(5);

/// The gRPC service. A type of its own because it is cloned for every connection.
#[derive(Clone)]
pub struct TelemetryService(pub Arc<Ingest>);

#[tonic::async_trait]
impl Telemetry for TelemetryService {
    type StreamStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        if self.0.streams.len() >= STREAMS_MAX {
            return Err(Status::resource_exhausted(format!("{STREAMS_MAX} streams are open already")));
        }
        let connection = request.extensions().get::<Connection>().cloned();
        let peer =
            connection.as_ref().map_or(Ok(None), Connection::peer).map_err(Status::permission_denied)?;
        let inbound = Occupied::new(request.into_inner(), connection.as_ref());
        Ok(Response::new(self.0.serve(inbound, peer)))
    }
}

impl Shared {
    /// The node's entry, claimed for a stream.
    fn claim(&self, name: &NodeName, key: NodeKey, mailbox: &Arc<Mailbox>) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node =
            nodes.entry(name.clone()).or_insert_with(|| Arc::new(Node::new(name.clone(), key, &self.crowd)));
        if node.key != key {
            // The ledger is another one by now. What was folded for the number of before is not its.
            node.discard(Refusal::moved(BEGIN_ANEW));
            *node = Arc::new(Node::new(name.clone(), key, &self.crowd));
        }
        if node.claim(mailbox, (self.clock)()) {
            self.events.contested(name);
        }
        Arc::clone(node)
    }

    /// Another ledger lies in the place of the one before: no number of a node, GPU or owner may mean what
    /// it did. What was folded is dropped, and all agents send again what the ledger does not have.
    fn begin_anew(&self) {
        self.owners.forget();
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        self.events.began_anew(nodes.len());
        for node in nodes.into_values() {
            node.discard(Refusal::moved(BEGIN_ANEW));
        }
    }

    /// Forgets a node that has neither a stream nor anything uncommitted.
    fn forget_idle(&self, node: &Node) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = node.lock();
        let known = nodes.get(&node.name).is_some_and(|known| std::ptr::eq(&raw const **known, node));
        if known && inner.stream.is_none() && inner.uncommitted() == 0 && !inner.is_careful() {
            nodes.remove(&node.name);
        }
    }
}
