//! What happened in a run: a digest over every event, counts of the faults that really happened, and
//! the promises that were broken. The events themselves are kept only for who wants to read them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Violations of one run that are told; one that breaks everything would fill the screen.
const VIOLATIONS_MAX: usize = 12;

pub struct Trail {
    begun: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    digest: u64,
    events: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

/// What is left of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Over every event of the run in their order: equal for two runs of one seed.
    pub digest: u64,
    pub events: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

impl Trail {
    /// Must be called within the run's runtime: it tells time by its clock.
    pub fn new(keep_events: bool) -> Self {
        let inner = Inner {
            // The basis of FNV-1a.
            digest: 0xcbf2_9ce4_8422_2325,
            events: keep_events.then(Vec::new),
            counts: BTreeMap::new(),
            violations: Vec::new(),
        };
        Self { begun: Instant::now(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn note(&self, event: fmt::Arguments<'_>) {
        let line = format!("{:>9} {event}", self.now_ms());
        let mut inner = self.inner();
        for byte in line.bytes() {
            inner.digest = (inner.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(events) = &mut inner.events {
            events.push(line);
        }
    }

    pub fn count(&self, what: &'static str, by: u64) {
        *self.inner().counts.entry(what).or_default() += by;
    }

    /// A promise was broken.
    pub fn violated(&self, what: String) {
        self.note(format_args!("VIOLATED {what}"));
        let mut inner = self.inner();
        if inner.violations.len() < VIOLATIONS_MAX {
            inner.violations.push(what);
        }
    }

    pub fn told(&self) -> Told {
        let inner = self.inner();
        Told {
            digest: inner.digest,
            events: inner.events.clone().unwrap_or_default(),
            counts: inner.counts.clone(),
            violations: inner.violations.clone(),
        }
    }
}
