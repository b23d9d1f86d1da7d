//! A collector in this process on a ledger of its own, for the quickstart.

use anyhow::Context as _;
use gpuledger_collector::app::{self, Running};
use gpuledger_collector::config::{Config, Overrides};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// The collector's usual ports, taken where they are free.
const GRPC_PORT: u16 = 9_841;
const HTTP_PORT: u16 = 9_840;

/// Writes the collector's configuration into the folder and starts it. The longest gap fits samples
/// that are `step_ms` apart; commits are frequent, so that the replay does not wait for them.
pub async fn start(folder: &Path, step_ms: u64) -> anyhow::Result<Running> {
    let path = folder.join("collector.toml");
    let text = format!(
        "# The quickstart's collector. For a real one see collector/packaging/collector.toml.\n\
         ledger = {:?}\n\
         fleet = {:?}\n\
         grpc_listen = \"{}\"\n\
         http_listen = \"{}\"\n\
         commit_interval = \"100ms\"\n\
         # Simulated samples are {} s apart.\n\
         longest_gap = \"{}ms\"\n",
        folder.join("ledger.db"),
        folder.join("fleet.toml"),
        free(GRPC_PORT),
        free(HTTP_PORT),
        step_ms / 1_000,
        step_ms * 3 / 2,
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let config = Config::load(Some(&path), &Overrides::default())?;
    Ok(app::start(config).await?)
}

/// The loopback address with this port, or with any free one where another program has it.
fn free(port: u16) -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], port));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}
