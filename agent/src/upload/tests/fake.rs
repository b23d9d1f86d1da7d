//! A collector in memory that keeps to the protocol, or breaks it in one chosen manner.

use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1;
use gpuledger_proto::v1::telemetry_server::{Telemetry, TelemetryServer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use v1::agent_message::Kind as Said;
use v1::collector_message::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Good,
    /// Breaks the link after so many batches were acknowledged on a stream.
    DropsAfter(u64),
    /// Commits so many batches on a stream and breaks the link instead of acknowledging the last.
    CommitsAndDies(u64),
    /// Welcomes and then refuses the first segment.
    Refuses,
    NeverAcks,
    NeverOpens,
    /// Acknowledges more than it was sent.
    AcksAhead,
    /// Acknowledges without end what nobody has sent.
    TalksWithoutEnd,
    /// Refuses with a reason of so many bytes, in many lines.
    RefusesAtLength(usize),
    /// Refuses this sequence for what is in it.
    Detests(u64),
}

#[derive(Default)]
struct Store {
    committed: BTreeMap<Epoch, Vec<u64>>,
    log: Vec<(Epoch, u64)>,
    repeated: u64,
    /// Answers that nobody asked for.
    unasked: u64,
}

#[derive(Clone)]
struct Service {
    manner: Arc<Mutex<Manner>>,
    store: Arc<Mutex<Store>>,
}

pub struct Collector {
    address: SocketAddr,
    service: Service,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), manner).await
    }

    pub async fn start_at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service { manner: Arc::new(Mutex::new(manner)), store: Arc::default() };
        let stop = CancellationToken::new();
        let serve = tonic::transport::Server::builder()
            .add_service(TelemetryServer::new(service.clone()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        let server = tokio::spawn(async move { serve.await.unwrap() });
        Self { address, service, stop, server }
    }

    /// Stops serving; the port is free afterwards.
    pub async fn stop(self) -> SocketAddr {
        self.stop.cancel();
        self.server.await.unwrap();
        self.address
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_manner(&self, manner: Manner) {
        *self.service.manner.lock().unwrap() = manner;
    }

    /// Sequences of an epoch in the order in which they were committed.
    pub fn committed(&self, epoch: Epoch) -> Vec<u64> {
        self.service.store.lock().unwrap().committed.get(&epoch).cloned().unwrap_or_default()
    }

    pub fn commit(&self, epoch: Epoch, sequences: RangeInclusive<u64>) {
        self.service.store.lock().unwrap().committed.entry(epoch).or_default().extend(sequences);
    }

    /// Forgets what is behind a sequence.
    pub fn forget(&self, epoch: Epoch, behind: u64) {
        self.service.store.lock().unwrap().committed.entry(epoch).or_default().retain(|&s| s <= behind);
    }

    /// Everything that was committed, in order.
    pub fn log(&self) -> Vec<(Epoch, u64)> {
        self.service.store.lock().unwrap().log.clone()
    }

    /// Answers that nobody asked for.
    pub fn unasked(&self) -> u64 {
        self.service.store.lock().unwrap().unasked
    }

    /// Batches that came although they were committed.
    pub fn repeated(&self) -> u64 {
        self.service.store.lock().unwrap().repeated
    }
}

type Answers = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

#[tonic::async_trait]
impl Telemetry for Service {
    type StreamStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, receiver) = mpsc::channel(64);
        let (service, said) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            // The stream ends when this ends: `answers` goes with it.
            service.converse(said, answers).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Service {
    /// Returns at the end of the stream, or to break it.
    async fn converse(&self, mut said: Streaming<v1::AgentMessage>, answers: Answers) -> Option<()> {
        let mut epoch = None;
        let mut batches = 0;
        let mut next = 0;
        loop {
            let manner = || *self.manner.lock().unwrap();
            match said.message().await.ok()??.kind? {
                Said::Hello(hello) => {
                    assert_eq!((hello.node.as_str(), hello.protocol), ("n1", 1));
                    let welcome = v1::Welcome { collector_version: "fake".to_owned(), wall_ms: 0 };
                    say(&answers, Kind::Welcome(welcome)).await?;
                }
                Said::Segment(segment) if manner() == Manner::Refuses => {
                    let reason = v1::RefusalReason::Unavailable.into();
                    let message = format!("no room for {}", segment.first_sequence);
                    return say(
                        &answers,
                        Kind::Refusal(v1::Refusal { reason, message, ..v1::Refusal::default() }),
                    )
                    .await;
                }
                Said::Segment(_) if manner() == Manner::TalksWithoutEnd => loop {
                    let ack = v1::Ack { epoch: vec![0; 16], sequence: 1 };
                    say(&answers, Kind::Ack(ack)).await?;
                    self.store.lock().unwrap().unasked += 1;
                },
                Said::Segment(_) if matches!(manner(), Manner::RefusesAtLength(_)) => {
                    let Manner::RefusesAtLength(bytes) = manner() else { return None };
                    let reason = v1::RefusalReason::Unavailable.into();
                    let message = "no\n".repeat(bytes / 3);
                    let refusal = v1::Refusal { reason, message, ..v1::Refusal::default() };
                    return say(&answers, Kind::Refusal(refusal)).await;
                }
                Said::Segment(segment) => {
                    let opened = Epoch::from_slice(&segment.epoch).unwrap();
                    epoch = Some(opened);
                    let committed_sequence = self.last(opened);
                    next = segment.first_sequence.max(committed_sequence + 1);
                    if manner() != Manner::NeverOpens {
                        let opened = v1::Opened { epoch: segment.epoch, committed_sequence };
                        say(&answers, Kind::Opened(opened)).await?;
                    }
                }
                Said::Batch(batch) if batch.sequence > next => {
                    let reason = v1::RefusalReason::Invalid.into();
                    let message = format!("batch {} where {next} was expected", batch.sequence);
                    return say(
                        &answers,
                        Kind::Refusal(v1::Refusal { reason, message, ..v1::Refusal::default() }),
                    )
                    .await;
                }
                Said::Batch(batch) if manner() == Manner::Detests(batch.sequence) => {
                    let refusal = v1::Refusal {
                        reason: v1::RefusalReason::Invalid.into(),
                        message: "columns, byte 7: no".to_owned(),
                        epoch: epoch.expect("a segment before its batches").0.as_bytes().to_vec(),
                        sequence: batch.sequence,
                    };
                    return say(&answers, Kind::Refusal(refusal)).await;
                }
                Said::Batch(batch) => {
                    next = next.max(batch.sequence + 1);
                    let epoch = epoch.expect("a segment before its batches");
                    batches += 1;
                    self.take(manner(), epoch, batch.sequence, batches, &answers).await?;
                }
            }
        }
    }

    async fn take(
        &self,
        manner: Manner,
        epoch: Epoch,
        sequence: u64,
        count: u64,
        answers: &Answers,
    ) -> Option<()> {
        let acknowledged = match manner {
            Manner::NeverAcks => return Some(()),
            Manner::AcksAhead => sequence + 1_000,
            _ => {
                self.keep(epoch, sequence);
                sequence
            }
        };
        if manner == Manner::CommitsAndDies(count) {
            return None;
        }
        let ack = v1::Ack { epoch: epoch.0.as_bytes().to_vec(), sequence: acknowledged };
        say(answers, Kind::Ack(ack)).await?;
        (manner != Manner::DropsAfter(count)).then_some(())
    }

    fn keep(&self, epoch: Epoch, sequence: u64) {
        let mut store = self.store.lock().unwrap();
        let sequences = store.committed.entry(epoch).or_default();
        if sequences.last().is_some_and(|&last| sequence <= last) {
            store.repeated += 1;
            return;
        }
        sequences.push(sequence);
        store.log.push((epoch, sequence));
    }

    fn last(&self, epoch: Epoch) -> u64 {
        self.store.lock().unwrap().committed.get(&epoch).and_then(|s| s.last().copied()).unwrap_or(0)
    }
}

async fn say(answers: &Answers, kind: Kind) -> Option<()> {
    answers.send(Ok(v1::CollectorMessage { kind: Some(kind) })).await.ok()
}
