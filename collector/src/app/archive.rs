//! Closing of days while the collector serves.

use crate::config::ArchiveConfig;
use crate::ingest::events::wall_ms;
use crate::store::Archive;
use gpuledger_archive::{Keeper, KeeperOptions};
use std::future;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts closing days, where that is wanted and there is a place for them.
pub fn keep(
    config: &ArchiveConfig,
    archive: Option<&Archive>,
    background: &mut JoinSet<()>,
) -> Option<Arc<Keeper>> {
    if !config.enabled {
        tracing::info!("days stay in the ledger for ever: archive.enabled is false");
        return None;
    }
    let Some(archive) = archive else {
        tracing::warn!(
            "days stay in the ledger for ever: a database has no folder of its own for them; \
             set location under [archive]"
        );
        return None;
    };
    let options =
        KeeperOptions { close_after: config.close_after, every: config.every, keep_days: config.keep_days };
    tracing::info!(archive = %archive.root, close_after = ?config.close_after, "days that are over are closed");
    let keeper = Arc::new(Keeper::new(Arc::clone(&archive.days), options));
    let task = Arc::clone(&keeper);
    // Ended with the collector: whatever it is at, nothing is lost.
    background.spawn(async move { task.run(wall_ms, future::pending()).await });
    Some(keeper)
}
