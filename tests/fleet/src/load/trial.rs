//! What is done to the collector or its store in the middle of a run, and how long its traces last.

use super::collector::Collector;
use super::ledger::RunLedger;
use super::view::Views;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the collector and the agents are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Acknowledgements of the last commit before a stall may be on their way for so long.
const ON_THE_WAY: Duration = Duration::from_secs(2);

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
    /// Acknowledgements while nobody could write, but for those that were on their way.
    pub acks_during: u64,
    /// Batches that waited for the store at its end.
    pub batches_waiting: u64,
    pub collector_rss_before_bytes: u64,
    pub collector_rss_most_bytes: u64,
    /// From the end of the stall until everything was acknowledged that was made before it.
    pub absorbed_within_ms: u64,
}

/// Watches over the collector from the beginning on, and puts it to the trial. Never returns but with
/// an error: a collector that ends by itself is one.
pub async fn oversee(
    trial: Trial,
    collector: &mut Collector,
    ledger: &RunLedger,
    views: &Views,
    begin: Instant,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    match trial {
        Trial::None => {}
        Trial::Restart { after } => {
            watch_until(begin + after, collector).await?;
            outcome.restart = Some(restart(collector, views).await?);
        }
        Trial::Stall { after, time } => {
            watch_until(begin + after, collector).await?;
            outcome.stall = Some(stall(time, collector, ledger, views).await?);
        }
    }
    loop {
        look(collector).await?;
    }
}

async fn watch_until(at: Instant, collector: &mut Collector) -> anyhow::Result<()> {
    while Instant::now() < at {
        look(collector).await?;
    }
    Ok(())
}

async fn look(collector: &mut Collector) -> anyhow::Result<()> {
    collector.must_run()?;
    sleep(LOOK).await;
    Ok(())
}

async fn restart(collector: &mut Collector, views: &Views) -> anyhow::Result<RestartOutcome> {
    let welcomes = views.welcomes();
    let killed = Instant::now();
    collector.kill_and_start().await?;
    let down = killed.elapsed();
    let spent = collector.cpu()?;
    while views.away_since(&welcomes) > 0 {
        look(collector).await?;
    }
    let reconnected = Instant::now();
    absorbed(reconnected, collector, views).await?;
    Ok(RestartOutcome {
        down_ms: millis(down),
        reconnected_within_ms: millis(reconnected - killed),
        absorbed_within_ms: millis(killed.elapsed()),
        collector_cpu_seconds: collector.cpu()?.saturating_sub(spent).as_secs_f64(),
    })
}

async fn stall(
    time: Duration,
    collector: &mut Collector,
    ledger: &RunLedger,
    views: &Views,
) -> anyhow::Result<StallOutcome> {
    let before = collector.resident()?.now;
    let began = Instant::now();
    let (mut most, mut quiet_from) = (before, None);
    {
        let mut stalled = std::pin::pin!(ledger.stall(time));
        loop {
            tokio::select! {
                biased;
                over = &mut stalled => break over?,
                () = sleep(LOOK) => {}
            }
            collector.must_run()?;
            most = most.max(collector.resident()?.now);
            if began.elapsed() > ON_THE_WAY {
                quiet_from.get_or_insert_with(|| views.acknowledged());
            }
        }
    }
    let (ended, acknowledged) = (Instant::now(), views.acknowledged());
    let batches_waiting = views.made() - acknowledged;
    absorbed(ended, collector, views).await?;
    Ok(StallOutcome {
        seconds: time.as_secs(),
        acks_during: acknowledged - quiet_from.unwrap_or(acknowledged),
        batches_waiting,
        collector_rss_before_bytes: before,
        collector_rss_most_bytes: most,
        absorbed_within_ms: millis(ended.elapsed()),
    })
}

/// Returns when everything is acknowledged that was made before this instant.
async fn absorbed(before: Instant, collector: &mut Collector, views: &Views) -> anyhow::Result<()> {
    while views.behind(before) > 0 {
        look(collector).await?;
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
