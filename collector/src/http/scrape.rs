//! `/metrics`: one scrape, rendered on a thread that may block and streamed as it is rendered.
//!
//! Limits: so many scrapes at a time, each with a few pages on their way; a reader that leaves them
//! standing is dropped, and so is one that reads for minutes.

use super::Shared;
use super::gzip::Gzip;
use crate::export::Selection;
use crate::export::text::{self, CONTENT_TYPE, Pages};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Scrapes at the same time: two Prometheus servers, a person and one to spare. More wait a moment: the
/// shards of one server come one after the other. Each takes below 500 bytes a GPU.
pub const SCRAPES_MAX: usize = 4;
/// How long another one waits for one of them to end: half of what Prometheus waits for by default.
const SLOT_PATIENCE: Duration = Duration::from_secs(5);
/// Pages that wait for the connection.
const PAGES_WAITING: usize = 4;
/// How long a reader may leave a full queue standing: Prometheus gives up after 10 s by default.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a scrape may take in all: 300 MB over 20 Mbit/s.
const SCRAPE_MAX: Duration = Duration::from_secs(120);

pub async fn metrics(
    State(shared): State<Shared>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let selection = match Selection::of(parameters, &shared.exporter.sites) {
        Ok(selection) => selection,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let slot = match slot(shared.scrapes, SLOT_PATIENCE).await {
        Ok(slot) => slot,
        Err(refusal) => return refusal.into_response(),
    };
    let gzip = takes_gzip(&headers);
    let (sender, chunks) = mpsc::channel(PAGES_WAITING);
    let reader = Reader { sender, runtime: Handle::current(), begun: Instant::now() };
    tokio::task::spawn_blocking(move || {
        let mut failed = reader.clone();
        let rendered = if gzip {
            let mut pages = Gzip::new(reader);
            shared.exporter.render(&mut pages, &selection).and_then(|()| pages.finish().map(drop))
        } else {
            let mut pages = reader;
            shared.exporter.render(&mut pages, &selection)
        };
        if let Err(error) = rendered {
            tracing::debug!(%error, "a scrape ended early");
            // The body ends with an error, so that nobody takes it for whole.
            drop(failed.send(Err(error)));
        }
        drop(slot);
    });
    let body = Body::from_stream(ReceiverStream::new(chunks));
    let vary = (header::VARY, "accept-encoding");
    if gzip {
        ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CONTENT_ENCODING, "gzip"), vary], body)
            .into_response()
    } else {
        ([(header::CONTENT_TYPE, CONTENT_TYPE), vary], body).into_response()
    }
}

/// Waits for one of the scrapes under way to end, where there are as many as may be.
async fn slot(
    scrapes: Arc<Semaphore>,
    patience: Duration,
) -> Result<OwnedSemaphorePermit, (StatusCode, String)> {
    if let Ok(Ok(slot)) = tokio::time::timeout(patience, scrapes.acquire_owned()).await {
        return Ok(slot);
    }
    let message =
        format!("{SCRAPES_MAX} scrapes are under way already: scrape less often or from fewer servers\n");
    Err((StatusCode::SERVICE_UNAVAILABLE, message))
}

/// Whether the reader takes gzip, as RFC 9110 has it: named, or meant by `*`, and not with a weight of 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut taken = None;
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=").trim_end_matches(['0', '.']);
        let refused = coding.contains("q=") && weight.is_empty();
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return !refused,
            "*" => taken = Some(!refused),
            _ => {}
        }
    }
    taken.unwrap_or(false)
}

/// Hands pages to the connection, and gives up on a reader that is gone or too slow.
#[derive(Clone)]
pub struct Reader {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    begun: Instant,
}

impl Reader {
    fn send(&mut self, chunk: io::Result<Bytes>) -> io::Result<()> {
        let patience = READER_PATIENCE.min(SCRAPE_MAX.saturating_sub(self.begun.elapsed()));
        let sent = self.runtime.block_on(self.sender.send_timeout(chunk, patience));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone or too slow"))
    }
}

impl Pages for Reader {
    fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        let page = std::mem::replace(page, text::page());
        self.send(Ok(page.into()))
    }
}

#[cfg(test)]
#[path = "scrape_tests.rs"]
mod tests;
