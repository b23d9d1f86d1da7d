//! The collector's HTTP port: `/metrics`, `/healthz`, `/readyz` and a page that names them.
//!
//! What `/metrics` can be asked for is said in [`crate::export::select`].

pub mod gzip;
mod scrape;

use crate::export::Exporter;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::Semaphore;

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
        .route("/metrics", get(scrape::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Shared { exporter, ready, scrapes: Arc::new(Semaphore::new(scrape::SCRAPES_MAX)) })
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

#[cfg(test)]
mod tests;
