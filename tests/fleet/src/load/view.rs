//! What can be seen of the running agents from outside, while they run.

use gpuledger_agent::upload::UplinkEvents;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// One agent's.
pub struct View {
    pub events: Arc<UplinkEvents>,
    made: AtomicU64,
    acknowledged: AtomicU64,
    origin: Instant,
    /// Milliseconds from `origin` to when the oldest batch that waits was made; `NOTHING` without one.
    oldest_ms: AtomicU64,
}

const NOTHING: u64 = u64::MAX;

impl View {
    /// Times are told from this instant on.
    pub fn new(origin: Instant) -> Self {
        Self {
            events: Arc::default(),
            made: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            origin,
            oldest_ms: AtomicU64::new(NOTHING),
        }
    }

    pub fn made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    pub fn acknowledged(&self, batches: u64) {
        self.acknowledged.fetch_add(batches, Ordering::Relaxed);
    }

    pub fn waits_since(&self, made: Instant) {
        self.oldest_ms.store(self.since_origin_ms(made), Ordering::Relaxed);
    }

    pub fn waits_for_nothing(&self) {
        self.oldest_ms.store(NOTHING, Ordering::Relaxed);
    }

    /// Whether a batch waits that was made before this instant.
    pub fn is_behind(&self, instant: Instant) -> bool {
        self.oldest_ms.load(Ordering::Relaxed) < self.since_origin_ms(instant)
    }

    fn since_origin_ms(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_millis()).unwrap_or(NOTHING - 1)
    }
}

/// All of them.
#[derive(Clone)]
pub struct Views(pub Arc<[Arc<View>]>);

impl Views {
    pub fn new(agents: u32) -> Self {
        let origin = Instant::now();
        Self((0..agents).map(|_| Arc::new(View::new(origin))).collect())
    }

    /// Agents that a collector has welcomed and whose link stands.
    pub fn connected(&self) -> u64 {
        self.0.iter().map(|view| u64::from(view.events.read().connected)).sum()
    }

    /// How often each of them was welcomed.
    pub fn welcomes(&self) -> Vec<u64> {
        self.0.iter().map(|view| view.events.read().connections).collect()
    }

    /// Agents that were not welcomed since then, or whose link is lost again.
    pub fn away_since(&self, welcomes: &[u64]) -> usize {
        let away = |(view, &before): (&Arc<View>, &u64)| {
            let counts = view.events.read();
            !counts.connected || counts.connections <= before
        };
        self.0.iter().zip(welcomes).filter(|&pair| away(pair)).count()
    }

    pub fn made(&self) -> u64 {
        self.0.iter().map(|view| view.made.load(Ordering::Relaxed)).sum()
    }

    pub fn acknowledged(&self) -> u64 {
        self.0.iter().map(|view| view.acknowledged.load(Ordering::Relaxed)).sum()
    }

    /// Agents that wait for the acknowledgement of what they made before this instant.
    pub fn behind(&self, instant: Instant) -> usize {
        self.0.iter().filter(|view| view.is_behind(instant)).count()
    }

    /// Batches and their bytes on the wire, repetitions included.
    pub fn on_the_wire(&self) -> Traffic {
        let counts = self.0.iter().map(|view| view.events.read());
        counts.fold(Traffic::default(), |sum, one| Traffic {
            batches: sum.batches + one.batches_sent,
            bytes: sum.bytes + one.bytes_sent,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub batches: u64,
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_waits_is_behind_every_instant_after_its_oldest_batch() {
        let views = Views::new(3);
        let origin = views.0[0].origin;
        let at = |seconds| origin + Duration::from_secs(seconds);
        assert_eq!(views.behind(at(100)), 0);
        views.0[1].waits_since(at(10));
        views.0[2].waits_since(at(20));
        assert_eq!([10, 15, 25].map(|seconds| views.behind(at(seconds))), [0, 1, 2]);
        views.0[1].waits_for_nothing();
        assert_eq!(views.behind(at(15)), 0);
    }

    #[test]
    fn who_was_not_welcomed_again_is_away() {
        let views = Views::new(2);
        assert_eq!((views.connected(), views.away_since(&views.welcomes())), (0, 2));
    }
}
