//! A ledger, a collector, its counters and its log: what a case can look at.

use super::super::Ingest;
use super::support::{Agent, TestLedger, hello, start_with};
use crate::export::Health;
use crate::ingest::{Clock, wall_ms};
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

pub struct World {
    pub ledger: Arc<TestLedger>,
    pub ingest: Arc<Ingest>,
    pub health: Arc<Health>,
    pub log: Log,
}

impl World {
    pub fn new() -> Self {
        Self::by(Arc::new(wall_ms))
    }

    pub fn by(clock: Clock) -> Self {
        let (ledger, health, log) = (TestLedger::new(), Arc::new(Health::new().unwrap()), Log::begin());
        let ingest = start_with(&ledger, &health, clock);
        Self { ledger, ingest, health, log }
    }

    /// Another collector on a ledger, with counters of its own.
    pub fn collector(ledger: &Arc<TestLedger>) -> (Arc<Ingest>, Arc<Health>) {
        let health = Arc::new(Health::new().unwrap());
        (start_with(ledger, &health, Arc::new(wall_ms)), health)
    }

    /// An agent that is welcomed and has opened this segment.
    pub async fn agent(&self, node: &str, epoch: Epoch, segment: Message) -> Agent {
        let mut agent = self.welcomed(node, epoch).await;
        agent.opened(segment).await;
        agent
    }

    pub async fn welcomed(&self, node: &str, epoch: Epoch) -> Agent {
        let mut agent = Agent::connect(&self.ingest, epoch);
        agent.send(hello(node)).await;
        assert!(matches!(agent.answer().await, Some(Answer::Welcome(_))));
        agent
    }

    /// Waits until the counter has this value: some events follow the acknowledgement.
    pub async fn counts(&self, counter: &str, value: u64) {
        counts(&self.health, counter, value).await;
    }
}

pub async fn counts(health: &Health, counter: &str, value: u64) {
    let line = format!("gpuledger_{counter} {value}");
    // The limit only keeps a failing test from hanging.
    for _ in 0..1_000 {
        if health.text().lines().any(|told| told == line) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{line} is not in\n{}", health.text());
}

/// What the thread of a test logs.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        let lines = Lines::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).without_time().finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// Lines of this level that say all of this.
    pub fn count(&self, level: &str, says: &[&str]) -> usize {
        let text = self.text();
        let told =
            |line: &&str| line.trim_start().starts_with(level) && says.iter().all(|part| line.contains(part));
        text.lines().filter(told).count()
    }

    pub fn has(&self, level: &str, says: &[&str]) {
        assert_ne!(self.count(level, says), 0, "no line of {level} says {says:?}:\n{}", self.text());
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
