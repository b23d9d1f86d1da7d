//! Keeps a value fresh in the background, so that a scrape never waits for it.

use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A pause is at least this many times as long as the work before it: whatever the size of the
/// ledger, refreshing takes less than a twentieth of one core.
const PAUSE_FACTOR: u32 = 20;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Loads again and again, until every receiver is gone. A failure keeps the value before.
pub async fn refresh<T, F>(
    what: &'static str,
    every: Duration,
    sender: watch::Sender<T>,
    mut load: impl FnMut() -> F,
    failed: impl Fn(),
) where
    F: Future<Output = Result<T, Failure>>,
{
    let mut failing = false;
    loop {
        let begun = Instant::now();
        match load().await {
            Ok(value) => {
                if failing {
                    tracing::info!("{what} are read anew again");
                }
                failing = false;
                sender.send_replace(value);
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
            () = tokio::time::sleep(pause) => {}
            () = sender.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_failure_keeps_the_value_before_and_no_reader_ends_the_work() {
        let (sender, mut view) = watch::channel(0);
        let (calls, failures) = (AtomicU32::new(0), AtomicU32::new(0));
        let load = || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move { if call == 1 { Err("away".into()) } else { Ok(call) } }
        };
        let count = || {
            failures.fetch_add(1, Ordering::Relaxed);
        };
        let read = async {
            view.wait_for(|value| *value >= 2).await.unwrap();
            assert_eq!(failures.load(Ordering::Relaxed), 1);
            drop(view);
        };
        tokio::join!(refresh("test", Duration::ZERO, sender, load, count), read);
    }
}
