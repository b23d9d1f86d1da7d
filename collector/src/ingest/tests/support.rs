//! An agent at the other end of a channel, and a ledger that fails on request.

use super::super::crowd::Crowd;
use super::super::peer::PeerIdentity;
use super::super::{Clock, Ingest, IngestOptions, wall_ms};
use crate::export::Health;
use crate::fold::FoldOptions;
use crate::latest::Latest;
use async_trait::async_trait;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::*;
use gpuledger_proto::catalogue::{GPU_ENERGY, GPU_UP, GPU_UTILIZATION};
use gpuledger_proto::convert::{batch_to_wire, inventory_to_wire};
use gpuledger_proto::frame::*;
use gpuledger_proto::ids::{Epoch, GpuUuid, NodeName, Sequence};
use gpuledger_proto::reading::Reading;
use gpuledger_proto::v1::{self, agent_message::Kind as Message, collector_message::Kind as Answer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// 2026-03-29T00:00Z.
pub const START_MS: u64 = 492_984 * HOUR_MS;
/// Power of the simulated GPU: energy of one sample interval of a second.
pub const MJ_PER_SAMPLE: i64 = 700_000;
const SAMPLES: u64 = 10;

/// A ledger file, and how its commits fare.
pub struct TestLedger {
    pub inner: Arc<SqliteLedger>,
    pub failing: AtomicBool,
    pub attempts: AtomicUsize,
    /// Removed with the last that uses the ledger.
    folder: Arc<TempDir>,
}

impl TestLedger {
    pub fn new() -> Arc<Self> {
        let folder = TempDir::new().unwrap();
        let inner = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        Self::of(Arc::new(inner), Arc::new(folder))
    }

    fn of(inner: Arc<SqliteLedger>, folder: Arc<TempDir>) -> Arc<Self> {
        Arc::new(Self { inner, failing: AtomicBool::new(false), attempts: AtomicUsize::new(0), folder })
    }

    /// The same ledger, whose commits may fail by themselves.
    pub fn elsewhere(&self) -> Arc<Self> {
        Self::of(Arc::clone(&self.inner), Arc::clone(&self.folder))
    }

    /// Another ledger with what is in this one now.
    pub async fn backup(&self) -> Arc<Self> {
        let copy = Self::new();
        let (to, from) = mpsc::channel(4);
        let (exported, imported) = tokio::join!(self.inner.export(to), copy.inner.import(from));
        exported.and(imported).unwrap();
        copy
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Time observed and energy counted, over everything.
    pub async fn counted(&self) -> (u64, u64) {
        let totals = self.inner.gpu_totals().await.unwrap();
        let time = totals.iter().map(|total| total.total.observed().unwrap().0).sum();
        (time, totals.iter().map(|total| total.total.counter_mj.0).sum())
    }

    pub async fn committed(&self, node: &str, epoch: Epoch) -> u64 {
        let node = self.inner.node(&NodeName::new(node).unwrap()).await.unwrap();
        self.inner.sequence(node, epoch).await.unwrap().0
    }
}

/// What the ledger must hold after so many batches of one GPU: the first sample only begins.
pub fn truth(batches: u64) -> (u64, u64) {
    let intervals = batches * SAMPLES - 1;
    (intervals * 1_000, intervals * MJ_PER_SAMPLE.unsigned_abs())
}

pub fn start(ledger: &Arc<TestLedger>) -> Arc<Ingest> {
    start_with(ledger, &Arc::new(Health::new().unwrap()), Arc::new(wall_ms))
}

pub fn start_with(ledger: &Arc<TestLedger>, health: &Arc<Health>, clock: Clock) -> Arc<Ingest> {
    let options = IngestOptions { fold: FoldOptions::default(), commit_interval: Duration::from_millis(20) };
    let ledger = Arc::clone(ledger) as Arc<dyn Ledger>;
    Ingest::start_by(ledger, Arc::new(Latest::default()), Arc::clone(health), options, clock)
}

/// [`start`] where so many rows may wait over all nodes.
pub fn start_crowded(ledger: &Arc<TestLedger>, rows_max: usize) -> Arc<Ingest> {
    let options = IngestOptions { fold: FoldOptions::default(), commit_interval: Duration::from_millis(20) };
    let (health, latest) = (Arc::new(Health::new().unwrap()), Arc::new(Latest::default()));
    let ledger = Arc::clone(ledger) as Arc<dyn Ledger>;
    Ingest::begin(ledger, latest, health, options, Arc::new(wall_ms), None, Crowd::of(rows_max))
}

/// An agent of the same machinery that speaks the protocol by hand.
pub struct Agent {
    to: Option<mpsc::Sender<Result<v1::AgentMessage, Status>>>,
    from: ReceiverStream<Result<v1::CollectorMessage, Status>>,
    pub epoch: Epoch,
}

impl Agent {
    pub fn connect(ingest: &Ingest, epoch: Epoch) -> Self {
        Self::connect_as(ingest, None, epoch)
    }

    /// With a certificate of this node.
    pub fn connect_as(ingest: &Ingest, node: Option<&str>, epoch: Epoch) -> Self {
        let peer = node.map(|node| PeerIdentity { node: NodeName::new(node).unwrap() });
        let (to, inbound) = mpsc::channel(1);
        Self { to: Some(to), from: ingest.serve(ReceiverStream::new(inbound), peer), epoch }
    }

    /// Connected, welcomed, and with a segment open from the first batch.
    pub async fn ready(ingest: &Ingest, node: &str, epoch: Epoch) -> Self {
        let mut agent = Self::connect(ingest, epoch);
        agent.send(hello(node)).await;
        assert!(matches!(agent.answer().await, Some(Answer::Welcome(_))));
        agent.open(node, 1).await;
        agent
    }

    /// Opens a segment; gives the sequence that is committed.
    pub async fn open(&mut self, node: &str, first: u64) -> u64 {
        self.opened(segment(node, self.epoch, first)).await
    }

    pub async fn opened(&mut self, segment: Message) -> u64 {
        self.send(segment).await;
        loop {
            match self.answer().await {
                Some(Answer::Opened(opened)) => return opened.committed_sequence,
                // Of what was sent before.
                Some(Answer::Ack(_)) => {}
                other => panic!("not opened: {other:?}"),
            }
        }
    }

    pub async fn send(&self, message: Message) {
        self.put(v1::AgentMessage { kind: Some(message), wall_ms: None }).await;
    }

    /// With the time that the agent's clock tells.
    pub async fn send_at(&self, message: Message, wall_ms: u64) {
        self.put(v1::AgentMessage { kind: Some(message), wall_ms: Some(wall_ms) }).await;
    }

    /// A kind of message that nobody here knows.
    pub async fn send_nothing(&self) {
        self.put(v1::AgentMessage { kind: None, wall_ms: None }).await;
    }

    /// The transport cannot read what comes.
    pub async fn fail(&self, status: Status) {
        let _ = self.to.as_ref().expect("the agent has ended its half").send(Err(status)).await;
    }

    /// Fails silently once the collector has ended the stream: the test reads why.
    async fn put(&self, message: v1::AgentMessage) {
        let to = self.to.as_ref().expect("the agent has ended its half");
        let _ = to.send(Ok(message)).await;
    }

    /// Whether a batch is acknowledged; false when the stream is refused because the node moved.
    pub async fn acked_or_moved(&mut self, sequence: u64) -> bool {
        loop {
            match self.answer().await {
                Some(Answer::Ack(ack)) if ack.sequence >= sequence => return true,
                Some(Answer::Ack(_)) => {}
                Some(Answer::Refusal(refusal)) if refusal.reason() == v1::RefusalReason::Moved => {
                    return false;
                }
                other => panic!("instead of an acknowledgement: {other:?}"),
            }
        }
    }

    pub async fn answer(&mut self) -> Option<Answer> {
        self.from.next().await.map(|answer| answer.unwrap().kind.unwrap())
    }

    /// Reads until a batch is acknowledged.
    pub async fn acked(&mut self, sequence: u64) {
        loop {
            match self.answer().await {
                Some(Answer::Ack(ack)) if ack.epoch == self.epoch.0.as_bytes() => {
                    if ack.sequence >= sequence {
                        assert_eq!(ack.sequence, sequence);
                        return;
                    }
                }
                // Of the segment before.
                Some(Answer::Ack(_)) => {}
                other => panic!("instead of the acknowledgement of {sequence}: {other:?}"),
            }
        }
    }

    /// Reads until the stream is refused, past acknowledgements.
    pub async fn refused(&mut self) -> (v1::RefusalReason, String) {
        let refusal = self.refusal().await;
        (refusal.reason(), refusal.message)
    }

    pub async fn refusal(&mut self) -> v1::Refusal {
        loop {
            match self.answer().await {
                Some(Answer::Ack(_)) => {}
                Some(Answer::Refusal(refusal)) => {
                    assert!(self.answer().await.is_none(), "nothing follows a refusal");
                    return refusal;
                }
                other => panic!("instead of a refusal: {other:?}"),
            }
        }
    }

    pub fn nothing_arrived(&mut self) -> bool {
        self.from.as_mut().try_recv().is_err()
    }

    /// No more messages from this side.
    pub fn end_sending(&mut self) {
        self.to = None;
    }
}

pub fn hello(node: &str) -> Message {
    Message::Hello(v1::Hello { node: node.to_owned(), agent_version: "test".to_owned(), protocol: 1 })
}

pub fn segment(node: &str, epoch: Epoch, first: u64) -> Message {
    segment_of(node, &format!("GPU-{node}"), epoch, first)
}

/// The same with a GPU of the test's choice.
pub fn segment_of(node: &str, gpu: &str, epoch: Epoch, first: u64) -> Message {
    let gpu = Gpu {
        uuid: GpuUuid::new(gpu).unwrap(),
        model: "Simulated".to_owned(),
        serial: None,
        pci_bus_id: None,
        index: 0,
        memory_bytes: None,
        simulated: true,
    };
    let inventory = Inventory { host: Host::default(), gpus: vec![gpu] };
    Message::Segment(v1::Segment {
        epoch: epoch.0.as_bytes().to_vec(),
        boot_id: Vec::new(),
        inventory: Some(inventory_to_wire(&inventory)),
        first_sequence: first,
        node: node.to_owned(),
    })
}

/// Ten samples of a busy GPU, one a second, that go on from the batch before.
pub fn batch(sequence: u64) -> Message {
    batch_from(sequence, (sequence - 1) * SAMPLES)
}

/// The same with another first sample, by the same counter.
pub fn batch_from(sequence: u64, first: u64) -> Message {
    batch_of(sequence, first, |sample| MJ_PER_SAMPLE * i64::try_from(sample).unwrap())
}

pub fn user(name: &str) -> Owner {
    Owner { kind: OwnerKind::User, account: String::new(), name: name.to_owned(), job: String::new() }
}

/// The same with a counter of the test's choice.
pub fn batch_of(sequence: u64, first: u64, counter: impl Fn(u64) -> i64) -> Message {
    let anna = user("anna");
    let frames: Vec<Frame> = (first..first + SAMPLES)
        .map(|sample| {
            let gpu = DeviceFrame {
                readings: vec![
                    (GPU_UP, Reading::Value(1)),
                    (GPU_ENERGY, Reading::Value(counter(sample))),
                    (GPU_UTILIZATION, Reading::Value(1_000_000)),
                ],
                holding: Some(Reading::Value(vec![Share { owner: anna.clone(), share_ppm: 1_000_000 }])),
            };
            let stamp = Stamp { wall_ms: START_MS + sample * 1_000, boot_ms: sample * 1_000 };
            Frame { stamp, devices: vec![DeviceFrame::default(), gpu] }
        })
        .collect();
    Message::Batch(batch_to_wire(&Batch::from_frames(Sequence(sequence), &frames)))
}

#[async_trait]
impl Ledger for TestLedger {
    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.failing.load(Ordering::SeqCst) {
            return Err(LedgerError::DiskFull { operation: "commit rows" });
        }
        self.inner.commit(commits).await
    }

    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError> {
        self.inner.node(name).await
    }
    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError> {
        self.inner.register(node, inventory).await
    }
    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
        self.inner.owners(owners).await
    }
    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError> {
        self.inner.state(node).await
    }
    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
        self.inner.sequence(node, epoch).await
    }
    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        self.inner.nodes().await
    }
    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError> {
        self.inner.gpus().await
    }
    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError> {
        self.inner.all_owners().await
    }
    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        self.inner.gpu_hours(wanted).await
    }
    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        self.inner.node_hours(range).await
    }
    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError> {
        self.inner.versions().await
    }
    async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        self.inner.totals().await
    }
    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.inner.put_assets(assets).await
    }
    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.inner.assets().await
    }
}
