//! An agent at the other end of a channel, and a ledger that fails on request.

use super::super::{Ingest, IngestOptions};
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
    inner: SqliteLedger,
    pub failing: AtomicBool,
    pub attempts: AtomicUsize,
    _folder: TempDir,
}

impl TestLedger {
    pub fn new() -> Arc<Self> {
        let folder = TempDir::new().unwrap();
        let inner = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        Arc::new(Self {
            inner,
            failing: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            _folder: folder,
        })
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
    let options = IngestOptions { fold: FoldOptions::default(), commit_interval: Duration::from_millis(20) };
    let health = Arc::new(Health::new().unwrap());
    Ingest::start(Arc::clone(ledger) as Arc<dyn Ledger>, Arc::new(Latest::default()), health, options)
}

/// An agent of the same machinery that speaks the protocol by hand.
pub struct Agent {
    to: Option<mpsc::Sender<Result<v1::AgentMessage, Status>>>,
    from: ReceiverStream<Result<v1::CollectorMessage, Status>>,
    pub epoch: Epoch,
}

impl Agent {
    pub fn connect(ingest: &Ingest, epoch: Epoch) -> Self {
        let (to, inbound) = mpsc::channel(1);
        Self { to: Some(to), from: ingest.serve(ReceiverStream::new(inbound)), epoch }
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
        self.send(segment(node, self.epoch, first)).await;
        match self.answer().await {
            Some(Answer::Opened(opened)) => opened.committed_sequence,
            other => panic!("not opened: {other:?}"),
        }
    }

    /// Fails silently once the collector has ended the stream: the test reads why.
    pub async fn send(&self, message: Message) {
        let to = self.to.as_ref().expect("the agent has ended its half");
        let _ = to.send(Ok(v1::AgentMessage { kind: Some(message), wall_ms: None })).await;
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
                other => panic!("instead of the acknowledgement of {sequence}: {other:?}"),
            }
        }
    }

    /// Reads until the stream is refused, past acknowledgements.
    pub async fn refused(&mut self) -> (v1::RefusalReason, String) {
        loop {
            match self.answer().await {
                Some(Answer::Ack(_)) => {}
                Some(Answer::Refusal(refusal)) => {
                    assert!(self.answer().await.is_none(), "nothing follows a refusal");
                    return (refusal.reason(), refusal.message);
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
    let gpu = Gpu {
        uuid: GpuUuid::new(&format!("GPU-{node}")).unwrap(),
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
    let first = (sequence - 1) * SAMPLES;
    batch_of(sequence, first, |sample| MJ_PER_SAMPLE * i64::try_from(sample).unwrap())
}

/// The same with a counter of the test's choice.
pub fn batch_of(sequence: u64, first: u64, counter: impl Fn(u64) -> i64) -> Message {
    let anna =
        Owner { kind: OwnerKind::User, account: String::new(), name: "anna".to_owned(), job: String::new() };
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
    async fn gpu_hours(&self, wanted: &Wanted) -> Result<Vec<(GpuHourKey, GpuHour)>, LedgerError> {
        self.inner.gpu_hours(wanted).await
    }
    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        self.inner.node_hours(range).await
    }
    async fn gpu_totals(&self) -> Result<Vec<GpuTotal>, LedgerError> {
        self.inner.gpu_totals().await
    }
    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.inner.put_assets(assets).await
    }
    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.inner.assets().await
    }
    async fn check(&self) -> Result<Vec<String>, LedgerError> {
        self.inner.check().await
    }
}
