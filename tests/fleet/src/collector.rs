//! A collector in this process on a ledger of its own, for the quickstart.

use anyhow::Context as _;
use gpuledger_collector::app::{self, AppError, Running};
use gpuledger_collector::config::{Config, Overrides};
use std::path::Path;

/// The collector's usual ports.
const USUAL: [u16; 2] = [9_841, 9_840];
/// Any that are free.
const ANY: [u16; 2] = [0, 0];

/// Starts a collector in the folder: on the usual ports, or on others where a program has those. The
/// longest gap fits samples that are `step_ms` apart; commits are frequent, so that the replay does
/// not wait for them.
pub async fn start(folder: &Path, step_ms: u64) -> anyhow::Result<Running> {
    match app::start(config(folder, step_ms, USUAL)?).await {
        Err(AppError::Listen { .. }) => Ok(app::start(config(folder, step_ms, ANY)?).await?),
        started => Ok(started?),
    }
}

/// Writes the configuration and reads it as the collector would.
fn config(folder: &Path, step_ms: u64, [grpc, http]: [u16; 2]) -> anyhow::Result<Config> {
    let path = folder.join("collector.toml");
    let text = format!(
        "# The quickstart's collector. For a real one see collector/packaging/collector.toml.\n\
         ledger = {:?}\n\
         fleet = {:?}\n\
         insecure = true\n\
         grpc_listen = \"127.0.0.1:{grpc}\"\n\
         http_listen = \"127.0.0.1:{http}\"\n\
         commit_interval = \"100ms\"\n\
         # Simulated samples are {} s apart.\n\
         longest_gap = \"{}ms\"\n",
        folder.join("ledger.db"),
        folder.join("fleet.toml"),
        step_ms / 1_000,
        step_ms * 3 / 2,
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Config::load(Some(&path), &Overrides::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_collectors_live_side_by_side() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for folder in &folders {
            std::fs::write(folder.path().join("fleet.toml"), "currency = \"EUR\"\n").unwrap();
        }
        let first = start(folders[0].path(), 60_000).await.unwrap();
        let second = start(folders[1].path(), 60_000).await.unwrap();
        assert_ne!(first.grpc_addr, second.grpc_addr);
        assert_ne!(first.http_addr, second.http_addr);
        first.stop().await.unwrap();
        second.stop().await.unwrap();
    }
}
