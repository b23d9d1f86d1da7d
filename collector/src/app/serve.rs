//! The two servers: gRPC for agents, HTTP for Prometheus and people.

use super::AppError;
use crate::ingest::TelemetryService;
use crate::ingest::intake::Bounded;
use crate::net::{Door, IDLE_WITHIN};
use axum::Router;
use gpuledger_proto::limits::MESSAGE_BYTES_MAX;
use gpuledger_proto::v1::telemetry_server::TelemetryServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// A peer that is gone without a word is noticed after both together.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(10);
const _: () = assert!(IDLE_WITHIN.as_secs() < KEEP_ALIVE_EVERY.as_secs() + KEEP_ALIVE_WITHIN.as_secs());
/// An agent needs one stream a connection; the rest is room for a new one while an old one ends.
const STREAMS_PER_CONNECTION_MAX: u32 = 4;
/// What an agent may send before the collector reads it: twenty batches, so that a catch-up over a link
/// with a round trip of 100 ms has 200 batches a second. While a store stalls, this much of every stream
/// waits in memory.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for a connection. HTTP/2 ends one of which too many small frames are unread, and takes this for
/// its measure: it must be far above what a stream of small batches leaves unread while a store stalls.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Headers of a request: gRPC's own are a few hundred bytes.
const HEADER_BYTES_MAX: u32 = 8 * 1024;
/// How long connections may take to close when the collector ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

type Task = JoinHandle<Result<(), String>>;

pub struct Servers {
    stop: CancellationToken,
    grpc: Task,
    http: Task,
}

impl Servers {
    pub fn start(
        (grpc, door): (TcpListener, Arc<Door>),
        telemetry: TelemetryService,
        http: TcpListener,
        router: Router,
    ) -> Self {
        let stop = CancellationToken::new();
        let incoming = door.open(grpc, stop.clone());
        let service = TelemetryServer::new(telemetry).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let service = Bounded::new(service);
        let grpc_stop = stop.clone().cancelled_owned();
        let grpc = tokio::spawn(async move {
            Server::builder()
                .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
                .http2_keepalive_timeout(Some(KEEP_ALIVE_WITHIN))
                .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .http2_max_header_list_size(HEADER_BYTES_MAX)
                .serve_with_incoming_shutdown(service, incoming, grpc_stop)
                .await
                .map_err(|error| error.to_string())
        });
        let http_stop = stop.clone().cancelled_owned();
        let http = tokio::spawn(async move {
            let server = axum::serve(http, router).with_graceful_shutdown(http_stop);
            server.await.map_err(|error| error.to_string())
        });
        Self { stop, grpc, http }
    }

    /// Waits until a server ends by itself, which it must not.
    pub async fn failed(&mut self) -> AppError {
        let (operation, ended) = tokio::select! {
            biased;
            ended = &mut self.grpc => ("serve agents", ended),
            ended = &mut self.http => ("serve HTTP", ended),
        };
        AppError::Runtime { operation, reason: reason(ended) }
    }

    /// Closes both ports and their connections, gently at first.
    pub async fn stop(self) {
        self.stop.cancel();
        for mut task in [self.grpc, self.http] {
            if !task.is_finished() && tokio::time::timeout(CLOSE_WITHIN, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

fn reason(ended: Result<Result<(), String>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(reason)) => reason,
        Err(error) => error.to_string(),
    }
}
