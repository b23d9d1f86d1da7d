//! What is done to the collector or its store in the middle of a run, and how long its traces last.

use super::collector::Collector;
use super::ledger::RunLedger;
use super::view::Views;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often the collector and the agents are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trial {
    #[default]
    None,
    /// Kill the collector so long after the beginning, and start it again.
    Restart { after: Duration },
    /// Let nobody write to the store for a while, beginning after a third of the run.
    Stall { after: Duration, time: Duration },
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<StallOutcome>,
}

#[derive(Debug, Clone, Serialize)]
pub struct RestartOutcome {
    /// From the kill until the new process listens.
    pub down_ms: u64,
    /// From the kill until every agent was welcomed again.
    pub reconnected_within_ms: u64,
    /// From the kill until everything was acknowledged that was made before the last agent came back.
    pub absorbed_within_ms: u64,
    /// Processor time of the new process until then.
    pub collector_cpu_seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct StallOutcome {
    pub seconds: u64,
    /// Acknowledgements, while nobody could write, of what was made in that time.
    pub acks_during: u64,
    /// Batches that waited for the store at its end.
    pub batches_waiting: u64,
    pub collector_rss_before_bytes: u64,
    pub collector_rss_most_bytes: u64,
    /// From the end of the stall until everything was acknowledged that was made before it.
    pub absorbed_within_ms: u64,
}

/// Who watches over the collector from the beginning on, and puts it to the trial.
pub struct Overseer<'a> {
    pub collector: &'a mut Collector,
    pub ledger: &'a RunLedger,
    pub views: &'a Views,
    /// Nothing is acknowledged any more: no use in waiting for it.
    pub given_up: CancellationToken,
}

impl Overseer<'_> {
    /// Goes on until the run is finished and the trial is over. A collector that ends by itself is an
    /// error.
    pub async fn watch(
        mut self,
        trial: Trial,
        begin: Instant,
        finished: CancellationToken,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        match trial {
            Trial::None => {}
            Trial::Restart { after } => {
                self.look_until(|_| Instant::now() >= begin + after).await?;
                outcome.restart = Some(self.restart().await?);
            }
            Trial::Stall { after, time } => {
                self.look_until(|_| Instant::now() >= begin + after).await?;
                outcome.stall = Some(self.stall(time).await?);
            }
        }
        self.look_until(|_| finished.is_cancelled()).await?;
        Ok(outcome)
    }

    async fn restart(&mut self) -> anyhow::Result<RestartOutcome> {
        let welcomes = self.views.welcomes();
        let killed = Instant::now();
        self.collector.kill_and_start().await?;
        let down = killed.elapsed();
        let spent = self.collector.cpu()?;
        self.look_until(|views| views.away_since(&welcomes) == 0).await?;
        let reconnected = Instant::now();
        self.look_until(|views| views.behind(reconnected) == 0).await?;
        let spent = self.collector.cpu()?.saturating_sub(spent);
        Ok(RestartOutcome {
            down_ms: millis(down),
            reconnected_within_ms: millis(reconnected.duration_since(killed)),
            absorbed_within_ms: millis(killed.elapsed()),
            collector_cpu_seconds: spent.as_secs_f64(),
        })
    }

    async fn stall(&mut self, time: Duration) -> anyhow::Result<StallOutcome> {
        let before = self.collector.resident()?.now;
        let mut most = before;
        let mut stalled = std::pin::pin!(self.ledger.stall(time, self.views.hold()));
        loop {
            tokio::select! {
                biased;
                over = &mut stalled => break over?,
                () = sleep(LOOK) => {}
            }
            self.collector.must_run()?;
            most = most.max(self.collector.resident()?.now);
        }
        let ended = Instant::now();
        let batches_waiting = self.views.made().saturating_sub(self.views.acknowledged());
        self.look_until(|views| views.behind(ended) == 0).await?;
        Ok(StallOutcome {
            seconds: time.as_secs(),
            acks_during: self.views.untimely(),
            batches_waiting,
            collector_rss_before_bytes: before,
            collector_rss_most_bytes: most,
            absorbed_within_ms: millis(ended.elapsed()),
        })
    }

    /// Looks at the collector again and again until something is so, or will never be.
    async fn look_until(&mut self, is_so: impl Fn(&Views) -> bool) -> anyhow::Result<()> {
        loop {
            self.collector.must_run()?;
            if is_so(self.views) || self.given_up.is_cancelled() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
