//! The collector's HTTP port: `/metrics`, `/healthz`, `/readyz` and a page that names them.
//!
//! A scrape is rendered on a blocking thread and streamed, so that memory does not grow with the
//! fleet. A reader that takes too long is dropped, and scrapes at the same time are limited.

use crate::export::Exporter;
use crate::export::text::CONTENT_TYPE;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Scrapes at the same time: two Prometheus servers, a person and one to spare.
const SCRAPES_MAX: usize = 4;
/// What is handed to the connection at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that wait for the connection.
const CHUNKS_WAITING: usize = 4;
/// How long a reader may leave a full queue standing: Prometheus gives up after 10 s by default.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// Says why the collector cannot do its work at present, if so; otherwise what else is not as it
/// should be, if anything.
pub type ReadyCheck = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    exporter: Arc<Exporter>,
    ready: ReadyCheck,
    scrapes: Arc<Semaphore>,
}

/// Everything that the port answers.
pub fn router(exporter: Arc<Exporter>, ready: ReadyCheck) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Shared { exporter, ready, scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)) })
}

async fn page() -> Html<&'static str> {
    Html(include_str!("http/page.html"))
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match (shared.ready)() {
        Ok(None) => "ready\n".into_response(),
        Ok(Some(trouble)) => format!("ready, but {trouble}\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let Ok(permit) = shared.scrapes.try_acquire_owned() else {
        let message =
            format!("{SCRAPES_MAX} scrapes are under way already: scrape less often or from fewer servers\n");
        return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    };
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let sent = Chunks { sender, runtime };
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, sent);
        let rendered = shared.exporter.render(&mut out).and_then(|()| out.flush());
        if let Err(error) = rendered {
            tracing::debug!(%error, "a scrape ended early");
            // What is still in the buffer has nowhere to go; the body ends with an error.
            let (sent, _) = out.into_parts();
            drop(sent.send(Err(error)));
        }
        drop(permit);
    });
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from_stream(ReceiverStream::new(chunks))).into_response()
}

/// Hands what is written to the connection, chunk by chunk.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Chunks {
    fn send(&self, chunk: io::Result<Bytes>) -> io::Result<()> {
        let sent = self.runtime.block_on(self.sender.send_timeout(chunk, READER_PATIENCE));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone or too slow"))
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Ok(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
