//! Connections of all agents: one each, as in a real fleet. Where file descriptors do not allow it and
//! no certificate says who is at the other end, some agents share one.

use anyhow::{Context as _, bail};
use gpuledger_agent::record::SpoolHandle;
use gpuledger_agent::upload::{self, Connecting, UplinkConfig, UploadError};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::view::View;

/// Descriptors that the generator and the collector need beside those of the connections.
const OTHER_DESCRIPTORS: u64 = 200;
/// Streams that a collector takes on one connection; one is left for a stream that replaces another.
const AGENTS_PER_CONNECTION_MAX: u64 = 3;

/// How the agents of a run are spread over connections.
pub struct Links {
    agents_per_connection: usize,
    /// Of connections that are shared; empty where none is.
    shared: Vec<OnceLock<Channel>>,
}

impl Links {
    /// Raises the limit of open files as far as it may be raised; the collector inherits it.
    pub fn plan(nodes: u32, insecure: bool) -> anyhow::Result<Self> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
        Self::within(nodes, limit.current.unwrap_or(u64::MAX), insecure)
    }

    fn within(nodes: u32, descriptors: u64, insecure: bool) -> anyhow::Result<Self> {
        let needed = u64::from(nodes);
        let most = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
        let agents = needed.div_ceil(most);
        if agents > 1 && !insecure {
            bail!(
                "{nodes} agents with a certificate each need as many connections, and {descriptors} files may be \
                 open: raise the limit (`ulimit -Hn`) to {}, or let agents share connections with --insecure",
                needed + OTHER_DESCRIPTORS
            );
        }
        if agents > AGENTS_PER_CONNECTION_MAX {
            bail!(
                "{nodes} agents need {} connections, {AGENTS_PER_CONNECTION_MAX} agents on each, and {descriptors} \
                 files may be open: raise the limit (`ulimit -Hn`)",
                needed.div_ceil(AGENTS_PER_CONNECTION_MAX)
            );
        }
        let shared = if agents > 1 { needed.div_ceil(agents) } else { 0 };
        let shared = (0..shared).map(|_| OnceLock::new()).collect();
        Ok(Self { agents_per_connection: usize::try_from(agents)?, shared })
    }

    /// How many connections the agents have.
    pub fn connections(&self, nodes: u32) -> usize {
        if self.shared.is_empty() { nodes as usize } else { self.shared.len() }
    }

    /// Uploads one agent's spool until it is cancelled.
    pub async fn upload(
        self: Arc<Self>,
        node: u32,
        (config, spool): (UplinkConfig, SpoolHandle),
        view: Arc<View>,
        cancel: CancellationToken,
    ) -> Result<(), UploadError> {
        let events = Arc::clone(&view.events);
        if self.shared.is_empty() {
            return upload::run(config, spool, events, cancel).await;
        }
        let at = node as usize / self.agents_per_connection;
        let links = Arc::clone(&self);
        // It connects at its first use, and again after it was lost.
        let connect = move |endpoint: Endpoint| -> Connecting {
            let channel = links.shared[at].get_or_init(|| endpoint.connect_lazy()).clone();
            Box::pin(async move { Ok(channel.into()) })
        };
        upload::run_over(&connect, config, spool, events, cancel).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_share_connections_only_where_descriptors_run_out_and_nobody_asks_who_they_are() {
        let connections = |nodes, descriptors, insecure| {
            Links::within(nodes, descriptors, insecure).map(|links| links.connections(nodes))
        };
        assert_eq!(connections(10_000, 20_000, false).unwrap(), 10_000);
        assert_eq!(connections(10_000, 4_096, true).unwrap(), 3_334);
        assert_eq!(connections(5_000, 4_096, true).unwrap(), 2_500);
        let refused = connections(10_000, 4_096, false).unwrap_err().to_string();
        assert!(refused.contains("ulimit -Hn") && refused.contains("10200"), "{refused}");
        assert!(connections(10_000, 1_024, true).is_err());
    }
}
