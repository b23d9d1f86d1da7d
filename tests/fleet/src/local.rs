//! This machine's own GPUs beside the simulated ones: the real agent, in this process.

use anyhow::Context as _;
use gpuledger_agent::config::keys::Key;
use gpuledger_agent::config::{Config, Given, NVML_LIBRARY_ENV, Origin};
use gpuledger_agent::{app, probe};
use std::path::Path;
use std::thread::JoinHandle;

/// What became of the wish to attach this machine's GPUs.
pub enum Local {
    /// An agent runs until the process is interrupted.
    Attached { gpus: usize, agent: JoinHandle<Result<(), app::RunError>> },
    /// There is nothing to attach, for this reason.
    Nothing { reason: String },
}

/// Starts an agent for this machine if it has GPUs that answer.
pub async fn attach(folder: &Path, endpoint: &str) -> anyhow::Result<Local> {
    let config = config(folder, endpoint)?;
    let asked = config.clone();
    let report = tokio::task::spawn_blocking(move || probe::run(&asked)).await?.context("cannot probe")?;
    let report: serde_json::Value = serde_json::from_str(&report.json())?;
    let gpus = report["gpus"].as_array().map_or(0, Vec::len);
    if gpus == 0 {
        let reason = report["fault"]["reason"].as_str().unwrap_or("the driver shows none").to_owned();
        return Ok(Local::Nothing { reason });
    }
    let agent = std::thread::Builder::new().name("agent".to_owned()).spawn(move || app::run(&config))?;
    Ok(Local::Attached { gpus, agent })
}

/// The agent's defaults, with a spool in this folder.
fn config(folder: &Path, endpoint: &str) -> anyhow::Result<Config> {
    let path = folder.join("agent.toml");
    let text = format!(
        "# This machine's agent in the quickstart. For a real one see agent/packaging/agent.toml.\n\
         insecure = true\n\
         collector = \"{endpoint}\"\n\
         spool_dir = {:?}\n\
         batch_span = \"5s\"\n",
        folder.join("spools/this-machine"),
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let mut given = Given::from_file(&path, true)?;
    if let Some(library) = std::env::var(NVML_LIBRARY_ENV).ok().filter(|library| !library.is_empty()) {
        given.set(Key::NvmlLibrary, library, Origin::Environment(NVML_LIBRARY_ENV));
    }
    Ok(Config::validate(&given)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_configuration_is_one_that_the_agent_takes() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "http://127.0.0.1:9841").unwrap();
        assert_eq!(config.collector.uri(), "http://127.0.0.1:9841");
        assert_eq!(config.batch_span_ms, 5_000);
    }
}
