//! The archive looks after itself: days are closed, expire and are cleared up, round after round.

use crate::{ArchivedLedger, ClosedDay, GcOptions, Reason};
use gpuledger_ledger::{Day, Hour, LedgerError};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const DAY_MS: u64 = 86_400_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperOptions {
    /// For how long a day that is over stays in the store, where what comes late is merged cheaply.
    pub close_after: Duration,
    /// From one round to the next.
    pub every: Duration,
    /// Days older than this expire; `None` keeps all.
    pub keep_days: Option<u32>,
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self {
            close_after: Duration::from_secs(2 * 86_400),
            every: Duration::from_secs(3_600),
            keep_days: None,
        }
    }
}

/// What `/readyz` and the metrics tell of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeeperStatus {
    /// What kept the last round from doing all; `None` when all is well.
    pub trouble: Option<String>,
    pub rounds: u64,
    pub rounds_failed: u64,
    /// Files written for days that were closed, by table and day.
    pub files_written: u64,
    pub rows_written: u64,
    pub bytes_written: u64,
    pub files_removed: u64,
    pub files_expired: u64,
    /// Files that the ledger does not know, which only `gpuledger gc` removes.
    pub files_unknown: u64,
    /// When the last round without trouble was over, in milliseconds since the Unix epoch.
    pub last_success_ms: Option<u64>,
}

/// The task that closes days.
pub struct Keeper {
    archive: Arc<ArchivedLedger>,
    options: KeeperOptions,
    status: Mutex<KeeperStatus>,
}

impl Keeper {
    pub fn new(archive: Arc<ArchivedLedger>, options: KeeperOptions) -> Self {
        Self { archive, options, status: Mutex::default() }
    }

    pub fn status(&self) -> KeeperStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Round after round until `stop` is done. A round in progress is dropped: what it did is whole,
    /// and what it began the next one clears up.
    pub async fn run(&self, now_ms: impl Fn() -> u64 + Send, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.round(now_ms()) => {}
            }
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = tokio::time::sleep(self.options.every) => {}
            }
        }
    }

    /// One round: close, let expire, clear up. Trouble is logged when it begins and when it ends.
    pub async fn round(&self, now_ms: u64) {
        let mut done = KeeperStatus::default();
        let outcome = self.work(now_ms, &mut done).await;
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = outcome.err().map(|error| error.to_string());
        match (&status.trouble, &trouble) {
            (None, Some(trouble)) => {
                tracing::error!(%trouble, "closed days cannot be moved into the archive");
            }
            (Some(_), None) => tracing::info!("closed days are moved into the archive again"),
            _ => {}
        }
        status.rounds += 1;
        status.rounds_failed += u64::from(trouble.is_some());
        status.files_written += done.files_written;
        status.rows_written += done.rows_written;
        status.bytes_written += done.bytes_written;
        status.files_removed += done.files_removed;
        status.files_expired += done.files_expired;
        if done.files_unknown > status.files_unknown {
            let files = done.files_unknown;
            tracing::info!(files, "the archive holds files that the ledger does not know: see gpuledger gc");
        }
        status.files_unknown = done.files_unknown;
        if trouble.is_none() {
            status.last_success_ms = Some(now_ms);
        }
        status.trouble = trouble;
    }

    /// What a failure of closing does not touch is done all the same; the first failure is told.
    async fn work(&self, now_ms: u64, done: &mut KeeperStatus) -> Result<(), LedgerError> {
        let close_after_ms = u64::try_from(self.options.close_after.as_millis()).unwrap_or(u64::MAX);
        // A day is over at its end, so the day that holds this instant is the first to stay open.
        let before = Day::of(Hour::of(now_ms.saturating_sub(close_after_ms)));
        let closing = self.archive.close_days(before, now_ms).await;
        for day in &closing.closed {
            let ClosedDay { table, day, version, rows, bytes } = *day;
            tracing::info!(table = table.name(), %day, version, rows, bytes, "closed a day");
            done.files_written += 1;
            done.rows_written += rows;
            done.bytes_written += bytes;
        }
        let mut failure = closing.failures.into_iter().next().map_or(Ok(()), Err);
        if let Some(keep_days) = self.options.keep_days {
            let kept_from = now_ms.saturating_sub(u64::from(keep_days).saturating_mul(DAY_MS));
            let expiry = self.archive.expire(Day::of(Hour::of(kept_from)), now_ms).await;
            done.files_expired += u64::try_from(expiry.expired.len()).unwrap_or(u64::MAX);
            failure = failure.and(expiry.failures.into_iter().next().map_or(Ok(()), Err));
        }
        match self.clear_up(now_ms).await {
            Ok((removed, unknown)) => (done.files_removed, done.files_unknown) = (removed, unknown),
            Err(error) => failure = failure.and(Err(error)),
        }
        failure
    }

    /// Removes what the ledger knows to be superfluous; how much that was, and how many files the
    /// ledger does not know.
    async fn clear_up(&self, now_ms: u64) -> Result<(u64, u64), LedgerError> {
        let removed = self.archive.gc(GcOptions::default(), now_ms).await?;
        let look = GcOptions { unknown: true, dry_run: true, ..GcOptions::default() };
        let left = self.archive.gc(look, now_ms).await?;
        let unknown = left.iter().filter(|file| file.reason == Reason::Unknown).count();
        Ok((removed.len().try_into().unwrap_or(u64::MAX), unknown.try_into().unwrap_or(u64::MAX)))
    }
}
