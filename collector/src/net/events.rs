//! Who was turned away: counted each time, told as often as a person can read.

use crate::export::Health;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Reasons as values of a label, in the order of a connection's life.
pub const TURNED_AWAY: [&str; 12] = [
    "connections",
    "connections_per_address",
    "handshakes_per_address",
    "accept",
    "timeout",
    "not_tls",
    "tls",
    "certificate",
    "broken",
    "no_node",
    "connections_per_node",
    "idle",
];

/// The same line at most so often: a fleet with a wrong CA knocks ten thousand times.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Different lines within that time. What is beyond them is counted and not told.
const LINES_MAX: usize = 64;

pub struct Events {
    health: Arc<Health>,
    /// By line: when it was told last, and how often it happened since.
    told: Mutex<BTreeMap<String, (Instant, u64)>>,
}

impl Events {
    pub fn new(health: Arc<Health>) -> Self {
        Self { health, told: Mutex::default() }
    }

    pub fn turned_away(&self, reason: &'static str, peer: Option<SocketAddr>, message: &str) {
        self.health.turned_away(reason);
        let Some(unsaid) = self.may_tell(message) else { return };
        let peer = peer.map_or_else(|| "?".to_owned(), |peer| peer.to_string());
        if reason == "broken" || reason == "timeout" {
            // Links break: what is worth a look is how often.
            tracing::info!(peer, reason, unsaid, "turned a connection away: {message}");
        } else {
            tracing::warn!(peer, reason, unsaid, "turned a connection away: {message}");
        }
    }

    /// How many were not told since the last such line, where one may be written.
    fn may_tell(&self, line: &str) -> Option<u64> {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(line) {
            Some((last, unsaid)) if now.duration_since(*last) < TOLD_EVERY => {
                *unsaid += 1;
                None
            }
            Some((last, unsaid)) => {
                *last = now;
                Some(std::mem::take(unsaid))
            }
            None => {
                if told.len() >= LINES_MAX {
                    told.retain(|_, (last, _)| now.duration_since(*last) < TOLD_EVERY);
                }
                (told.len() < LINES_MAX).then(|| {
                    told.insert(line.to_owned(), (now, 0));
                    0
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_row_in_the_table_of_limits() {
        let security = include_str!("../../../SECURITY.md");
        for reason in TURNED_AWAY {
            let ending = format!("| `{reason}` |");
            assert!(security.lines().any(|line| line.ends_with(&ending)), "{reason}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_is_counted_each_time_and_told_at_most_so_often() {
        let health = Arc::new(Health::new().unwrap());
        let events = Events::new(Arc::clone(&health));
        assert_eq!(events.may_tell("a"), Some(0));
        assert_eq!([events.may_tell("a"), events.may_tell("a")], [None, None]);
        assert_eq!(events.may_tell("b"), Some(0), "another line");
        tokio::time::advance(TOLD_EVERY).await;
        assert_eq!(events.may_tell("a"), Some(2));
        let lines = (0..1_000).filter(|line| events.may_tell(&line.to_string()).is_some());
        assert_eq!(lines.count(), LINES_MAX - 1, "whoever invents new lines is not told of any more");
        tokio::time::advance(TOLD_EVERY).await;
        assert_eq!(events.may_tell("c"), Some(0));
        events.turned_away("tls", None, "x");
        events.turned_away("tls", None, "x");
        let line = "gpuledger_collector_connections_refused_total{reason=\"tls\"} 2\n";
        assert!(health.text().contains(line), "{}", health.text());
    }
}
