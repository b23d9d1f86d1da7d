//! One stream, from connecting to whatever ends it.

use super::Link;
use super::config::UplinkConfig;
use super::credentials::Credentials;
use super::dial::{ConnectError, Connection};
use super::events::UplinkEvents;
use super::feed::{self, Feed};
use super::flight::Flight;
use crate::record::SpoolHandle;
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::limits::ANSWER_BYTES_MAX;
use gpuledger_proto::v1;
use gpuledger_spool::SpoolError;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use v1::collector_message::Kind;
use v1::telemetry_client::TelemetryClient;

/// Messages between the spool and the connection: enough to keep the connection busy while the disk
/// is visited; HTTP/2's flow control stands behind it.
const OUTBOUND_MESSAGES: usize = 16;

/// Time for a collector to say why it ends a stream, once it takes nothing more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Answers that may come without anything having been sent for them, in all and for each second. A
/// collector owes one for each message; one that talks without end would keep the agent busy with it.
const ANSWERS_SPARE: u64 = 1_024;
const ANSWERS_PER_SECOND: u64 = 10;

/// Characters of what a collector says that go into a log line.
const LOGGED_CHARS_MAX: usize = 512;

/// Why a stream ended. Streams never end well: they last until something breaks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("cannot reach the collector: {0}")]
    Unreachable(ConnectError),
    #[error("cannot reach the collector: {0}")]
    Certificate(String),
    #[error("the link to the collector broke: {}", causes(.0))]
    Lost(Box<tonic::Status>),
    #[error("the collector closed the stream")]
    Closed,
    #[error("there is a new certificate to connect with")]
    Renewed,
    #[error("the collector refuses this agent: {message} ({})", reason_name(*.reason))]
    Refused { reason: i32, message: String, batch: Option<(Epoch, u64)> },
    #[error("the collector does not answer")]
    Silent,
    #[error("the collector does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error("cannot read the spool: {0}")]
    Spool(#[from] SpoolError),
    #[error("a task that reads the spool failed: {0}")]
    Task(#[from] JoinError),
}

impl From<tonic::Status> for Broken {
    fn from(status: tonic::Status) -> Self {
        Self::Lost(Box::new(status))
    }
}

/// An error with all that it was caused by: gRPC and connection errors alone say next to nothing.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn reason_name(reason: i32) -> &'static str {
    v1::RefusalReason::try_from(reason).map_or("REFUSAL_REASON_UNSPECIFIED", |reason| reason.as_str_name())
}

pub(super) async fn run(
    config: &UplinkConfig,
    link: &Link<'_>,
    spool: &SpoolHandle,
    events: &UplinkEvents,
) -> Broken {
    // Seen as it is before the files are read, so that a change in between is not missed.
    let mut renewed = config.credentials.as_ref().map(Credentials::renewed);
    // The connector has its own time-out for TCP alone; this one is for all of it.
    let connected = timeout(config.connect_timeout, (link.connect)(link.endpoint.clone())).await;
    let Connection { channel, told } = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Broken::Unreachable(error),
        Err(_) => return Broken::Silent,
    };
    let (Ok(broken) | Err(broken)) = stream(config, link, spool, events, channel, renewed.as_mut()).await;
    match (broken, told.take()) {
        // What HTTP/2 makes of a certificate that is not taken is less than what TLS has said.
        (Broken::Lost(_) | Broken::Closed, Some(message)) => Broken::Certificate(message),
        (broken, _) => broken,
    }
}

async fn stream(
    config: &UplinkConfig,
    link: &Link<'_>,
    spool: &SpoolHandle,
    events: &UplinkEvents,
    channel: Channel,
    renewed: Option<&mut watch::Receiver<u64>>,
) -> Result<Broken, Broken> {
    let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES);
    // The collector may wait for Hello before it answers at all.
    outbound.send(feed::hello(config)).await.map_err(|_| Broken::Closed)?;
    let mut client = TelemetryClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let welcomed = timeout(config.answer_timeout, async {
        let mut inbound = client.stream(ReceiverStream::new(messages)).await?.into_inner();
        let welcome = welcome(inbound.message().await?)?;
        Ok::<_, Broken>((inbound, welcome))
    });
    let (inbound, welcome) = welcomed.await.map_err(|_| Broken::Silent)??;
    events.welcomed(&config.endpoint, &readable(&welcome.collector_version));

    let flight = Flight::new();
    let (opened, to_feed) = mpsc::channel(1);
    let feed = Feed {
        spool,
        events,
        flight: &flight,
        outbound,
        opened: to_feed,
        appended: spool.appended(),
        clock: &config.clock,
        refused: &link.refused,
    };
    let mut listen = pin!(listen(inbound, config.answer_timeout, spool, events, &flight, opened));
    tokio::select! {
        biased;
        broken = &mut listen => broken,
        () = change(renewed) => {
            // The feed is gone with its half of the stream: the collector commits, acknowledges and ends.
            match timeout(config.answer_timeout, listen).await {
                Ok(Ok(Broken::Closed) | Err(Broken::Closed)) | Err(_) => Ok(Broken::Renewed),
                Ok(broken) => broken,
            }
        }
        broken = feed.run() => match broken {
            // The connection takes nothing more. What it still has to say is why.
            Broken::Closed => timeout(LAST_WORDS, listen).await.unwrap_or(Ok(Broken::Closed)),
            broken => Err(broken),
        },
    }
}

/// Resolves when there is a new certificate; never where there is none.
async fn change(renewed: Option<&mut watch::Receiver<u64>>) {
    if let Some(renewed) = renewed
        && renewed.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn welcome(message: Option<v1::CollectorMessage>) -> Result<v1::Welcome, Broken> {
    match message.ok_or(Broken::Closed)?.kind {
        Some(Kind::Welcome(welcome)) => Ok(welcome),
        Some(Kind::Refusal(refusal)) => Err(refused(refusal)),
        _ => Err(Broken::Protocol("it did not begin with a welcome")),
    }
}

fn refused(refusal: v1::Refusal) -> Broken {
    let v1::Refusal { reason, message, epoch, sequence } = refusal;
    // The epoch is empty unless one batch is meant.
    let batch = Epoch::from_slice(&epoch).ok().map(|epoch| (epoch, sequence));
    Broken::Refused { reason, message: readable(&message), batch }
}

/// A text of the collector's as it may stand in a log.
fn readable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LOGGED_CHARS_MAX).collect()
}

/// The half of a stream that listens. It returns only what broke.
async fn listen(
    mut inbound: Streaming<v1::CollectorMessage>,
    answer_timeout: Duration,
    spool: &SpoolHandle,
    events: &UplinkEvents,
    flight: &Flight,
    to_feed: mpsc::Sender<v1::Opened>,
) -> Result<Broken, Broken> {
    let (began, mut heard) = (Instant::now(), 0_u64);
    loop {
        if heard > ANSWERS_SPARE + 2 * flight.sent() + ANSWERS_PER_SECOND * began.elapsed().as_secs() {
            return Ok(Broken::Protocol("it answers more than it was asked"));
        }
        let Ok(message) = timeout(answer_timeout, inbound.message()).await else {
            if flight.is_silent_for(answer_timeout) {
                return Ok(Broken::Silent);
            }
            continue;
        };
        heard += 1;
        match message?.ok_or(Broken::Closed)?.kind {
            Some(Kind::Ack(ack)) => acknowledge(&ack, spool, events, flight).await?,
            Some(Kind::Opened(opened)) => open(opened, flight, &to_feed)?,
            Some(Kind::Refusal(refusal)) => return Ok(refused(refusal)),
            Some(Kind::Welcome(_)) => return Ok(Broken::Protocol("it welcomed twice")),
            // From a newer collector.
            None => {}
        }
    }
}

fn open(opened: v1::Opened, flight: &Flight, to_feed: &mpsc::Sender<v1::Opened>) -> Result<(), Broken> {
    // Where the other half has ended already, nobody waits for this any more.
    if !flight.opened() || matches!(to_feed.try_send(opened), Err(TrySendError::Full(_))) {
        return Err(Broken::Protocol("it opened a segment that was not announced"));
    }
    Ok(())
}

async fn acknowledge(
    ack: &v1::Ack,
    spool: &SpoolHandle,
    events: &UplinkEvents,
    flight: &Flight,
) -> Result<(), Broken> {
    let epoch =
        Epoch::from_slice(&ack.epoch).map_err(|_| Broken::Protocol("an acknowledgement has no epoch"))?;
    let landed = flight.land(epoch, ack.sequence)?;
    // Counted before the spool lets go: whoever sees it drained sees the count as well.
    events.acknowledged(landed.batches);
    let up_to = landed.up_to;
    spool
        .on_disk(move |spool| {
            up_to.into_iter().try_for_each(|(id, sequence)| spool.acknowledge(id, sequence))
        })
        .await??;
    spool.announce_acknowledged();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_says_makes_one_line_of_a_log_and_not_a_long_one() {
        let told = "no\nroom\u{7}\r\n".repeat(1_000);
        let message = refused(v1::Refusal { message: told, ..v1::Refusal::default() }).to_string();
        assert!(message.contains("noroomnoroom") && message.len() < 1_000, "{message}");
        assert!(!message.contains(char::is_control));
    }
}
