//! What the month has cost so far, for `/metrics`.

use crate::export::MonthToDate;
use crate::fleet::Fleet;
use async_trait::async_trait;
use gpuledger_ledger::{Hour, Ledger};
use gpuledger_tco::statement::{GroupBy, Statement};
use jiff::Timestamp;
use std::error::Error;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Rows of GPUs that a statement is made of here: a month of 11,000 GPUs, 0.6 GB. The month of a larger
/// fleet is for `gpuledger report tco`, which takes no memory away from agents.
const ROWS_MAX: u64 = 8_000_000;

type Failure = Box<dyn Error + Send + Sync>;

/// The register as it was when the collector started, and the ledger as it is.
pub struct MonthCosts {
    pub ledger: Arc<dyn Ledger>,
    pub fleet: Arc<Fleet>,
}

#[async_trait]
impl MonthToDate for MonthCosts {
    async fn statement(&self) -> Result<Option<Statement>, Failure> {
        let (ledger, fleet, runtime) = (Arc::clone(&self.ledger), Arc::clone(&self.fleet), Handle::current());
        // A statement takes a core for seconds: no agent is to wait for it.
        let made = tokio::task::spawn_blocking(move || {
            runtime.block_on(bounded(&*ledger, &fleet, Timestamp::now(), ROWS_MAX))
        });
        made.await?.map(Some)
    }
}

/// The statement, where it is made of no more rows than that.
async fn bounded(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    now: Timestamp,
    rows_max: u64,
) -> Result<Statement, Failure> {
    let from = Hour(super::month_of(fleet, now)?.from().0);
    let gpus = ledger.gpus().await?;
    let seen = gpus.iter().filter(|gpu| gpu.last_ms.is_some_and(|last_ms| last_ms >= from.start_ms()));
    let gpus = u64::try_from(seen.count())?;
    // One owner an hour. There are seldom more.
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let hours = u64::from(Hour::of(now_ms).0.saturating_sub(from.0)) + 1;
    if gpus.saturating_mul(hours) > rows_max {
        let reason = format!(
            "{gpus} GPUs in {hours} hours have more than the {rows_max} rows that are held for it; \
             `gpuledger report tco` has room for more"
        );
        return Err(reason.into());
    }
    Ok(super::month_to_date(ledger, fleet, GroupBy::Node, now).await?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{REGISTER, fleet, small_ledger};
    use super::*;

    #[tokio::test]
    async fn a_month_that_is_too_large_for_the_collector_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = small_ledger(folder.path()).await;
        let fleet = fleet(folder.path(), REGISTER);
        // The 98th hour of the month has begun.
        let now = "2026-10-05T01:30:00Z".parse().unwrap();
        let seen = ledger.gpus().await.unwrap().len() as u64;
        let hours = 98;
        assert!(bounded(&ledger, &fleet, now, seen * hours).await.is_ok());
        let error = bounded(&ledger, &fleet, now, seen * hours - 1).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{seen} GPUs in {hours} hours have more than")), "{error}");
    }
}
