//! Sends what the spool holds to the collector, and lets go of it once it is committed there.
//!
//! One stream at a time: Hello, Welcome; then for each spool segment, oldest first, a Segment that
//! the collector answers with Opened, and the batches behind the committed sequence that Opened
//! names. Batches are sent ahead of their acknowledgements up to a window. The link is asked to be
//! lost at any moment: nothing is remembered from one stream to the next, the spool and the
//! collector know everything.
//!
//! Invariants:
//! - a batch leaves the spool only when the collector said that it is committed: by an Ack of a
//!   batch that was sent on this stream, or by Opened;
//! - a collector that is away, restarts, refuses or misbehaves ends the stream and nothing else: the
//!   next one is tried after a pause that doubles, with jitter, from `backoff_first` to
//!   `backoff_most`, for ever;
//! - a batch that the collector refuses again and again for what is in it holds up nothing for ever:
//!   it is set aside in a file of its own, and counted;
//! - with a new certificate the stream is ended in order, what is in flight is waited for, and another
//!   one begins at once;
//! - an operator reads of trouble when it begins, when it becomes another one, and when it ends.

mod config;
mod credentials;
mod dial;
mod events;
mod feed;
mod flight;
mod refused;
mod session;
#[cfg(test)]
mod tests;

pub use config::UplinkConfig;
pub use credentials::{Credentials, wrong_node};
pub use dial::{ConnectError, Connection};
pub use events::{UplinkCounts, UplinkEvents};

use crate::record::SpoolHandle;
use config::Backoff;
use refused::Refused;
use session::Broken;
use std::pin::Pin;
use std::sync::Arc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

/// What ends the uplink for good.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(
        "the collector's address {endpoint:?} is not valid: expected https://HOST:PORT, or http://HOST:PORT for plain text"
    )]
    Endpoint { endpoint: String },
    #[error("a task that reads the spool failed: {0}")]
    Task(#[from] JoinError),
}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

/// Makes connections to the collector: over TCP, or over whatever a test puts in its place.
pub type Connect = dyn Fn(Endpoint) -> Connecting + Send + Sync;

/// Streams the spool to the collector until it is cancelled. What is not acknowledged by then stays
/// in the spool.
pub async fn run(
    config: UplinkConfig,
    spool: SpoolHandle,
    events: Arc<UplinkEvents>,
    cancel: CancellationToken,
) -> Result<(), UploadError> {
    let dialer = Arc::new(config.dialer(&config.endpoint()?)?);
    let dial = move |endpoint: Endpoint| -> Connecting {
        let dialer = Arc::clone(&dialer);
        Box::pin(async move { dialer.dial(endpoint).await })
    };
    run_over(&dial, config, spool, events, cancel).await
}

/// [`run`] over other connections than those of the agent.
pub async fn run_over(
    connect: &Connect,
    config: UplinkConfig,
    spool: SpoolHandle,
    events: Arc<UplinkEvents>,
    cancel: CancellationToken,
) -> Result<(), UploadError> {
    let link = Link { endpoint: config.endpoint()?, connect, refused: Refused::default() };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        () = keep(config.credentials.as_ref()) => Ok(()),
        ended = stream_for_ever(&config, &link, &spool, &events) => ended,
    }
}

/// Keeps the certificate up to date, where there is one: for ever.
async fn keep(credentials: Option<&Credentials>) {
    match credentials {
        Some(credentials) => credentials.keep().await,
        None => std::future::pending().await,
    }
}

/// How to reach the collector, and what it does not take.
struct Link<'a> {
    endpoint: Endpoint,
    connect: &'a Connect,
    refused: Refused,
}

async fn stream_for_ever(
    config: &UplinkConfig,
    link: &Link<'_>,
    spool: &SpoolHandle,
    events: &UplinkEvents,
) -> Result<(), UploadError> {
    let mut backoff = Backoff::new(config);
    loop {
        let acknowledged = events.read().batches_acknowledged;
        let broken = match session::run(config, link, spool, events).await {
            Broken::Task(error) => return Err(error.into()),
            Broken::Renewed => {
                events.renewed();
                continue;
            }
            broken => broken,
        };
        events.link_lost(&config.endpoint, &broken);
        link.refused.note(&broken);
        if events.read().batches_acknowledged > acknowledged {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}
