//! How large the ledger is, for `/metrics`.

use crate::export::Health;
use crate::store::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the size of the ledger's files is looked at.
const EVERY: Duration = Duration::from_secs(30);

/// Tells the size of a file and its log. A database's size is its server's to tell, and the files of
/// closed days are summed up by whoever keeps them.
pub async fn watch(ledger: Location, health: Arc<Health>) {
    let Location::File(ledger) = ledger else { return };
    let log = log_of(&ledger);
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let size = |path: &Path| std::fs::metadata(path).map(|file| file.len());
        if let Ok(bytes) = size(&ledger) {
            // No log is an empty log.
            health.ledger_bytes(bytes + size(&log).unwrap_or(0));
        }
    }
}

fn log_of(ledger: &Path) -> PathBuf {
    let mut log = ledger.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}
