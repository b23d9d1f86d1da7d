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
    /// Of them, those that cannot have been committed.
    untimely: AtomicU64,
    origin: Instant,
    hold: Arc<Hold>,
    /// Milliseconds from `origin` to when the oldest batch that waits was made; `NOTHING` without one.
    oldest_ms: AtomicU64,
}

const NOTHING: u64 = u64::MAX;

/// Whether somebody keeps the collector from writing to the store, and since when.
pub struct Hold {
    origin: Instant,
    /// Milliseconds from `origin`; `NOTHING` while the store is free.
    since_ms: AtomicU64,
}

impl Hold {
    fn new(origin: Instant) -> Self {
        Self { origin, since_ms: AtomicU64::new(NOTHING) }
    }

    /// From now on nobody writes.
    pub fn begin(&self) {
        self.since_ms.store(since_ms(self.origin, Instant::now()), Ordering::Relaxed);
    }

    /// From now on somebody may.
    pub fn end(&self) {
        self.since_ms.store(NOTHING, Ordering::Relaxed);
    }
}

impl View {
    fn new(hold: Arc<Hold>) -> Self {
        Self {
            events: Arc::default(),
            made: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            untimely: AtomicU64::new(0),
            origin: hold.origin,
            hold,
            oldest_ms: AtomicU64::new(NOTHING),
        }
    }

    pub fn made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// A batch was acknowledged that was made then.
    pub fn acknowledged(&self, made: Instant) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if since_ms(self.origin, made) > self.hold.since_ms.load(Ordering::Relaxed) {
            self.untimely.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn waits_since(&self, made: Instant) {
        self.oldest_ms.store(since_ms(self.origin, made), Ordering::Relaxed);
    }

    pub fn waits_for_nothing(&self) {
        self.oldest_ms.store(NOTHING, Ordering::Relaxed);
    }

    /// Whether a batch waits that was made before this instant.
    pub fn is_behind(&self, instant: Instant) -> bool {
        self.oldest_ms.load(Ordering::Relaxed) < since_ms(self.origin, instant)
    }
}

fn since_ms(origin: Instant, instant: Instant) -> u64 {
    u64::try_from(instant.saturating_duration_since(origin).as_millis()).unwrap_or(NOTHING - 1)
}

/// All of them.
pub struct Views {
    views: Vec<Arc<View>>,
    hold: Arc<Hold>,
}

impl Views {
    pub fn new(agents: u32) -> Self {
        let hold = Arc::new(Hold::new(Instant::now()));
        let views = (0..agents).map(|_| Arc::new(View::new(Arc::clone(&hold)))).collect();
        Self { views, hold }
    }

    /// One agent's.
    pub fn of(&self, agent: u32) -> Arc<View> {
        Arc::clone(&self.views[agent as usize])
    }

    /// For whoever keeps others from writing.
    pub fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.hold)
    }

    /// Acknowledgements of batches that were made while nobody could write, in that time.
    pub fn untimely(&self) -> u64 {
        self.views.iter().map(|view| view.untimely.load(Ordering::Relaxed)).sum()
    }

    /// Agents that a collector has welcomed and whose link stands.
    pub fn connected(&self) -> u64 {
        self.views.iter().map(|view| u64::from(view.events.read().connected)).sum()
    }

    /// How often each of them was welcomed.
    pub fn welcomes(&self) -> Vec<u64> {
        self.views.iter().map(|view| view.events.read().connections).collect()
    }

    /// Agents that were not welcomed since then, or whose link is lost again.
    pub fn away_since(&self, welcomes: &[u64]) -> usize {
        let away = |(view, &before): (&Arc<View>, &u64)| {
            let counts = view.events.read();
            !counts.connected || counts.connections <= before
        };
        self.views.iter().zip(welcomes).filter(|&pair| away(pair)).count()
    }

    pub fn made(&self) -> u64 {
        self.views.iter().map(|view| view.made.load(Ordering::Relaxed)).sum()
    }

    pub fn acknowledged(&self) -> u64 {
        self.views.iter().map(|view| view.acknowledged.load(Ordering::Relaxed)).sum()
    }

    /// Agents that wait for the acknowledgement of what they made before this instant.
    pub fn behind(&self, instant: Instant) -> usize {
        self.views.iter().filter(|view| view.is_behind(instant)).count()
    }

    /// Batches and their bytes on the wire, repetitions included.
    pub fn on_the_wire(&self) -> Traffic {
        let counts = self.views.iter().map(|view| view.events.read());
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
        let origin = views.hold.origin;
        let at = |seconds| origin + Duration::from_secs(seconds);
        assert_eq!(views.behind(at(100)), 0);
        views.views[1].waits_since(at(10));
        views.views[2].waits_since(at(20));
        assert_eq!([10, 15, 25].map(|seconds| views.behind(at(seconds))), [0, 1, 2]);
        views.views[1].waits_for_nothing();
        assert_eq!(views.behind(at(15)), 0);
    }

    #[test]
    fn only_what_was_made_while_nobody_could_write_is_acknowledged_too_early() {
        let views = Views::new(1);
        let (view, before) = (views.of(0), Instant::now());
        view.acknowledged(before + Duration::from_secs(1));
        views.hold().begin();
        view.acknowledged(before);
        assert_eq!(views.untimely(), 0, "it was on its way");
        view.acknowledged(before + Duration::from_secs(2));
        assert_eq!(views.untimely(), 1);
        views.hold().end();
        view.acknowledged(before + Duration::from_secs(3));
        assert_eq!((views.untimely(), views.acknowledged()), (1, 4));
    }

    #[test]
    fn who_was_not_welcomed_again_is_away() {
        let views = Views::new(2);
        assert_eq!((views.connected(), views.away_since(&views.welcomes())), (0, 2));
    }
}
