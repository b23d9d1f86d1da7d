//! The whole fleet at once: every node's history, then live.

use crate::agents::{Agent, Plan, Progress, ReplayError};
use crate::clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The collector could not be reached before anything was begun.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach a collector at {endpoint}: {reason}; is `gpuledger serve` running there?")]
pub struct Unreachable {
    endpoint: String,
    reason: String,
}

/// Checks that something listens, so that a wrong address is told at once and not retried for ever.
pub async fn reachable(endpoint: &str) -> Result<(), Unreachable> {
    let unreachable = |reason: &str| Unreachable { endpoint: endpoint.to_owned(), reason: reason.to_owned() };
    let address = endpoint.strip_prefix("http://").ok_or_else(|| unreachable("expected http://HOST:PORT"))?;
    let connected = tokio::net::TcpStream::connect(address.trim_end_matches('/')).await;
    connected.map(drop).map_err(|error| unreachable(&error.to_string()))
}

/// Replays every node and returns when the collector has committed everything.
pub async fn all(plan: &Plan, progress: &Arc<Progress>) -> Result<Vec<Agent>, ReplayError> {
    let mut nodes: JoinSet<Result<Agent, ReplayError>> = JoinSet::new();
    for node in 0..plan.fleet.nodes {
        let (plan, progress) = (plan.clone(), Arc::clone(progress));
        nodes.spawn(async move {
            let mut agent = plan.replay(node, progress).await?;
            agent.committed().await?;
            Ok(agent)
        });
    }
    let mut agents = Vec::new();
    while let Some(ended) = nodes.join_next().await {
        agents.push(ended??);
    }
    Ok(agents)
}

/// Ends every agent in order.
pub async fn stop(agents: Vec<Agent>) -> Result<(), ReplayError> {
    for agent in agents {
        agent.stop().await?;
    }
    Ok(())
}

/// The fleet going on.
pub struct Live {
    agents: JoinSet<Result<(), ReplayError>>,
}

/// Lets every agent go on with a sample every `tick`.
pub fn live(agents: Vec<Agent>, plan: &Plan, tick: Duration, cancel: &CancellationToken) -> Live {
    let mut running = JoinSet::new();
    for agent in agents {
        running.spawn(agent.live(plan.step_ms, tick, clock::now_ms, cancel.clone()));
    }
    Live { agents: running }
}

impl Live {
    /// Goes on until Ctrl-C or SIGTERM, then lets every agent end in order. Returns earlier when one
    /// fails.
    pub async fn until_interrupted(mut self, cancel: &CancellationToken) -> Result<(), ReplayError> {
        tokio::select! {
            biased;
            ended = self.ended() => return ended,
            () = interrupted() => cancel.cancel(),
        }
        self.ended().await
    }

    async fn ended(&mut self) -> Result<(), ReplayError> {
        while let Some(ended) = self.agents.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Ctrl-C or SIGTERM. Where signals cannot be watched there is nothing to wait for.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_address_is_told_with_what_to_look_at() {
        for endpoint in ["http://127.0.0.1:1", "127.0.0.1:9841", "http://"] {
            let error = reachable(endpoint).await.unwrap_err().to_string();
            assert!(error.contains(endpoint) && error.contains("gpuledger serve"), "{error}");
        }
    }
}
