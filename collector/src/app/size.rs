//! How large the ledger and the files of its closed days are, for `/metrics`.

use crate::export::Health;
use gpuledger_ledger::{FileStatus, Store};
use std::sync::Arc;
use std::time::Duration;

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(30);

/// Tells the size of the store and of the files that it knows. What cannot be asked for at present keeps
/// the size of before: that the ledger does not work is told elsewhere.
pub async fn watch(store: Arc<dyn Store>, health: Arc<Health>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        match store.size_bytes().await {
            Ok(bytes) => health.ledger_bytes(bytes),
            Err(error) => tracing::debug!(%error, "the size of the ledger is not known"),
        }
        match store.files().await {
            // What has expired is gone; the others lie there until they are removed.
            Ok(files) => health.archive_bytes(
                files.iter().filter(|file| file.status != FileStatus::Expired).map(|file| file.bytes).sum(),
            ),
            Err(error) => tracing::debug!(%error, "the size of closed days is not known"),
        }
    }
}
