//! A collector: the product's ingest behind its own gRPC service, on links of the simulation.
//!
//! A dead process changes nothing any more: its calls to the store never return, and its links are
//! broken. Its tasks are left to the runtime.

use super::link::Network;
use super::oracle::Arrivals;
use super::store::{SimLedger, SimStore};
use super::trail::Trail;
use gpuledger_collector::export::Health;
use gpuledger_collector::fold::FoldOptions;
use gpuledger_collector::ingest::{Ingest, IngestOptions};
use gpuledger_collector::latest::Latest;
use gpuledger_ledger::Ledger;
use gpuledger_proto::convert::batch_from_wire;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::limits::MESSAGE_BYTES_MAX;
use gpuledger_proto::v1;
use gpuledger_proto::v1::telemetry_server::{Telemetry, TelemetryServer};
use gpuledger_units::Millis;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What systemd gives a service to end.
const DRAIN_WITHIN: Duration = Duration::from_secs(90);
/// Connections that wait to be taken.
const BACKLOG: usize = 16;

/// What a collector is started with.
#[derive(Clone)]
pub struct Terms {
    pub commit_interval: Duration,
    pub longest_gap_ms: u64,
    /// The collector's wall clock.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

pub struct Collector {
    number: usize,
    alive: Arc<AtomicBool>,
    ingest: Arc<Ingest>,
    server: JoinHandle<()>,
}

impl Collector {
    pub fn start(
        number: usize,
        store: &Arc<SimStore>,
        network: &Network,
        terms: &Terms,
        trail: &Arc<Trail>,
    ) -> Result<Self, prometheus::Error> {
        let alive = Arc::new(AtomicBool::new(true));
        let arrivals: Arc<Mutex<Arrivals>> = Arc::default();
        let ledger: Arc<dyn Ledger> = Arc::new(SimLedger {
            store: Arc::clone(store),
            collector: number,
            generation: store.generation(),
            alive: Arc::clone(&alive),
            arrivals: Arc::clone(&arrivals),
        });
        let options = IngestOptions {
            fold: FoldOptions { longest_gap: Millis(terms.longest_gap_ms) },
            commit_interval: terms.commit_interval,
        };
        let (health, latest) = (Arc::new(Health::new()?), Arc::new(Latest::default()));
        let ingest = Ingest::start_by(ledger, latest, health, options, Arc::clone(&terms.clock));
        let tap =
            Tap { store: Arc::clone(store), arrivals, streams: Arc::default(), trail: Arc::clone(trail) };
        let service = TelemetryServer::new(Tapped { ingest: Arc::clone(&ingest), tap })
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (door, connections) = mpsc::channel(BACKLOG);
        let server = tokio::spawn(async move {
            let connections = ReceiverStream::new(connections);
            // It ends with the door, and a connection that fails is the agent's to notice.
            let _ = Server::builder()
                .http2_keepalive_interval(Some(Duration::from_secs(20)))
                .http2_keepalive_timeout(Some(Duration::from_secs(10)))
                .serve_with_incoming(service, connections)
                .await;
        });
        network.set_door(number, Some(door));
        trail.note(format_args!("collector {number} starts"));
        Ok(Self { number, alive, ingest, server })
    }

    /// The process is gone from one moment to the next.
    pub fn kill(self, network: &Network) {
        self.alive.store(false, Ordering::Relaxed);
        self.server.abort();
        network.set_door(self.number, None);
    }

    /// Ends in order: commits what was folded and acknowledges it.
    pub async fn drain(self, network: &Network) {
        // What is not committed is still in the spools. A store that is gone by now never answers.
        let _ = tokio::time::timeout(DRAIN_WITHIN, self.ingest.drain()).await;
        self.kill(network);
    }
}

/// Looks at what comes and goes, and changes nothing.
#[derive(Clone)]
struct Tap {
    store: Arc<SimStore>,
    arrivals: Arc<Mutex<Arrivals>>,
    /// Streams so far.
    streams: Arc<AtomicU64>,
    trail: Arc<Trail>,
}

/// What a stream's batches refer to.
type Segment = Option<(Epoch, usize)>;

impl Tap {
    fn came(&self, stream: u64, message: &v1::AgentMessage, segment: &mut Segment) {
        use v1::agent_message::Kind;
        match &message.kind {
            Some(Kind::Segment(wire)) => {
                let gpus = wire.inventory.as_ref().map_or(0, |inventory| inventory.gpus.len());
                *segment = Epoch::from_slice(&wire.epoch).ok().map(|epoch| (epoch, gpus + 1));
            }
            Some(Kind::Batch(wire)) => {
                let Some((epoch, devices)) = *segment else { return };
                self.batch_came(stream, epoch, wire, devices);
            }
            Some(Kind::Hello(_)) | None => {}
        }
    }

    fn batch_came(&self, stream: u64, epoch: Epoch, wire: &v1::Batch, devices: usize) {
        self.trail.count("batches received", 1);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(batch) = batch_from_wire(wire.clone(), devices) else { return };
        let stamps: Vec<u64> = batch.stamps.iter().map(|stamp| stamp.boot_ms).collect();
        let before = arrivals.came(stream, epoch, Sequence(wire.sequence), stamps.clone());
        self.trail.count("batches received again", u64::from(before.is_some()));
        let differs = before.is_some_and(|before| before != stamps);
        self.trail.count("batches with two contents", u64::from(differs));
    }

    fn goes(&self, message: &v1::CollectorMessage) {
        use v1::collector_message::Kind;
        let (epoch, told, what) = match &message.kind {
            Some(Kind::Ack(ack)) => (&ack.epoch, ack.sequence, "acknowledged"),
            Some(Kind::Opened(opened)) => (&opened.epoch, opened.committed_sequence, "told as committed"),
            Some(Kind::Refusal(refusal)) => {
                self.trail.count("refusals", 1);
                self.trail.note(format_args!("refused: {}", refusal.message));
                return;
            }
            Some(Kind::Welcome(_)) | None => return,
        };
        let Ok(epoch) = Epoch::from_slice(epoch) else { return };
        let reached = self.store.oracle().reached(epoch);
        self.trail.count("acknowledgements", 1);
        if Sequence(told) > reached {
            self.trail.violated(format!("batch {told} of {epoch} is {what}, and the ledger is at {reached}"));
        }
    }
}

struct Tapped {
    ingest: Arc<Ingest>,
    tap: Tap,
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::CollectorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Telemetry for Tapped {
    type StreamStream = Answers;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (tap, mut segment) = (self.tap.clone(), None);
        let stream = tap.streams.fetch_add(1, Ordering::Relaxed);
        let inbound = request.into_inner().map(move |message| {
            if let Ok(message) = &message {
                tap.came(stream, message, &mut segment);
            }
            message
        });
        let tap = self.tap.clone();
        let answers = self.ingest.serve(inbound, None).map(move |message| {
            if let Ok(message) = &message {
                tap.goes(message);
            }
            message
        });
        let mut response = Response::new(Box::pin(answers) as Answers);
        // The server would put the time of day here, which no two runs have in common.
        let date = tonic::metadata::MetadataValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT");
        response.metadata_mut().insert("date", date);
        Ok(response)
    }
}
