//! The collector's certificate files while it serves: looked at, taken up, told.
//!
//! They are looked at every ten seconds, and at once when somebody asks for it (SIGHUP). Good new ones are
//! what the next handshake is made with; connections that stand go on with theirs. Bad ones are told, and
//! the old stay in force. Certificates that expire within two weeks are told once a day, the nodes' as
//! well: they are seen here.

use super::places::Places;
use crate::export::Health;
use crate::ingest::events::wall_ms;
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{FileError, Files, Kept, LOOK_EVERY, Read, Server, day};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often certificates are looked at whose time runs out.
const REMIND_EVERY: Duration = Duration::from_secs(3_600);
/// Two weeks: time to find out who issues certificates here.
const REMIND_BEFORE_S: u64 = 14 * DAY_S;
const DAY_S: u64 = 86_400;

/// The files in force.
pub struct Certificates {
    files: Files,
    kept: Mutex<Kept<Server>>,
    /// What the next handshake is made with.
    config: Mutex<Arc<ServerConfig>>,
    look: Notify,
    health: Arc<Health>,
}

impl Certificates {
    /// Reads the files. Without good ones nothing can be served.
    pub fn open(files: Files, health: Arc<Health>) -> Result<Arc<Self>, FileError> {
        let mut kept = Kept::new(files.clone(), Files::server);
        let read = kept.read(warnings);
        let server = match &read {
            Read::Taken { now, .. } => now.clone(),
            // Told by whoever does not start for its sake.
            Read::Refused { error, .. } => return Err(error.clone()),
        };
        tell(&read);
        let config = Mutex::new(Arc::clone(&server.config));
        let certificates = Self { files, kept: Mutex::new(kept), config, look: Notify::new(), health };
        certificates.show(&server);
        Ok(Arc::new(certificates))
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What the next handshake is made with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a look at the files now.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// Looks at the files for ever.
    pub async fn keep(self: Arc<Self>) {
        loop {
            let asked = tokio::time::timeout(LOOK_EVERY, self.look.notified()).await.is_ok();
            let Some(read) = self.kept().look(asked, warnings) else { continue };
            tell(&read);
            if let Read::Taken { now, .. } = read {
                self.take_up(&now);
            }
        }
    }

    fn take_up(&self, server: &Server) {
        self.show(server);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&server.config);
        let until = day(server.facts.own.not_after_s);
        tracing::info!(certificate = %self.files.certificate.display(), until, "took up the certificate files");
    }

    fn show(&self, server: &Server) {
        self.health.certificate_expiry("collector", server.facts.own.not_after_s);
        self.health.certificate_expiry("ca", server.facts.ca_not_after_s);
    }

    /// Tells once a day whose certificate runs out, for ever.
    pub async fn remind(self: Arc<Self>, places: Arc<Places>) {
        let mut reminders = Reminders::default();
        let mut ticks = tokio::time::interval(REMIND_EVERY);
        loop {
            ticks.tick().await;
            let now_s = wall_ms() / 1_000;
            for (node, not_after_s) in reminders.due(places.nodes(), now_s) {
                let (node, until) = (node.as_str(), day(not_after_s));
                tracing::warn!(
                    node,
                    until,
                    "the node's certificate expires within two weeks: issue it anew (gpuledger ca issue {node} --force)"
                );
            }
            let own_s = self.kept().current().map_or(u64::MAX, |server| server.facts.own.not_after_s);
            if reminders.own_is_due(own_s, now_s) {
                let until = day(own_s);
                tracing::warn!(
                    certificate = %self.files.certificate.display(), until,
                    "the collector's certificate expires within two weeks, and no agent connects after that: issue \
                     it anew (gpuledger ca issue --collector NAME --force)"
                );
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Server>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warnings(server: &Server) -> Vec<String> {
    server.facts.warnings.clone()
}

fn tell(read: &Read<Server>) {
    let (Read::Taken { news, .. } | Read::Refused { news, .. }) = read;
    for news in news {
        tracing::warn!("{news}");
    }
}

/// On which day whose certificate was told.
#[derive(Debug, Default)]
struct Reminders {
    nodes: BTreeMap<NodeName, u64>,
    own: Option<u64>,
}

impl Reminders {
    /// Nodes that run out of time and were not told today. Nodes that are gone are forgotten.
    fn due(&mut self, nodes: Vec<(NodeName, u64)>, now_s: u64) -> Vec<(NodeName, u64)> {
        let today = now_s / DAY_S;
        let before = std::mem::take(&mut self.nodes);
        let mut due = Vec::new();
        for (node, not_after_s) in nodes {
            if not_after_s > now_s.saturating_add(REMIND_BEFORE_S) {
                continue;
            }
            if before.get(&node) != Some(&today) {
                due.push((node.clone(), not_after_s));
            }
            self.nodes.insert(node, today);
        }
        due
    }

    fn own_is_due(&mut self, not_after_s: u64, now_s: u64) -> bool {
        let today = now_s / DAY_S;
        not_after_s <= now_s.saturating_add(REMIND_BEFORE_S) && self.own.replace(today) != Some(today)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_runs_out_is_told_once_a_day() {
        let node = |name: &str, days: u64| (NodeName::new(name).unwrap(), days * DAY_S);
        let nodes = vec![node("soon", 110), node("late", 200), node("over", 99)];
        let mut reminders = Reminders::default();
        let due = reminders.due(nodes.clone(), 100 * DAY_S);
        assert_eq!(due, [node("soon", 110), node("over", 99)]);
        assert_eq!(reminders.due(nodes.clone(), 100 * DAY_S + 3_600), []);
        assert_eq!(reminders.due(nodes.clone(), 101 * DAY_S).len(), 2, "the next day");
        assert_eq!(reminders.due(vec![], 101 * DAY_S + 1), []);
        assert_eq!(reminders.nodes.len(), 0, "nodes that are gone are forgotten");
        assert!(
            reminders.own_is_due(110 * DAY_S, 100 * DAY_S) && !reminders.own_is_due(110 * DAY_S, 100 * DAY_S)
        );
        assert!(!Reminders::default().own_is_due(200 * DAY_S, 100 * DAY_S));
    }
}
