//! Keeps a value fresh in the background, so that a scrape never waits for it.

use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A pause is at least this many times as long as the work before it: whatever the size of the
/// ledger, refreshing takes less than a fiftieth of one core.
const PAUSE_FACTOR: u32 = 50;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Loads again and again, at once where somebody says that the value is stale. After a failure what was
/// loaded before is kept. Never ends.
pub async fn refresh<F>(
    what: &'static str,
    every: Duration,
    mut load: impl FnMut() -> F,
    failed: impl Fn(),
    stale: &Notify,
) where
    F: Future<Output = Result<(), Failure>>,
{
    let mut failing = false;
    loop {
        let begun = Instant::now();
        match load().await {
            Ok(()) => {
                if failing {
                    tracing::info!("{what} are read anew again");
                }
                failing = false;
            }
            Err(error) => {
                failed();
                // Told when it begins, not at every attempt.
                if !failing {
                    tracing::warn!(%error, "cannot read {what} anew; /metrics keeps the older ones");
                }
                failing = true;
            }
        }
        let pause = every.max(begun.elapsed().saturating_mul(PAUSE_FACTOR));
        tokio::select! {
            biased;
            () = stale.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::watch;

    #[tokio::test]
    async fn a_failure_keeps_the_value_before_and_the_work_goes_on() {
        let (sender, mut view) = watch::channel(0);
        let (calls, failures) = (AtomicU32::new(0), AtomicU32::new(0));
        let load = || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if call != 1 {
                sender.send_replace(call);
            }
            async move { if call == 1 { Err("away".into()) } else { Ok(()) } }
        };
        let count = || {
            failures.fetch_add(1, Ordering::Relaxed);
        };
        let stale = Notify::new();
        tokio::select! {
            biased;
            read = view.wait_for(|value| *value >= 2) => drop(read.unwrap()),
            () = refresh("test", Duration::ZERO, load, count, &stale) => {}
        }
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_stale_is_loaded_without_a_pause() {
        let calls = AtomicU32::new(0);
        let stale = Notify::new();
        let load = || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if call < 2 {
                stale.notify_one();
            }
            async { Ok(()) }
        };
        let work = refresh("test", Duration::from_secs(3_600), load, || {}, &stale);
        let three = async {
            while calls.load(Ordering::Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = work => {}
            () = three => {}
        }
    }
}
