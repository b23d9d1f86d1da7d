//! How far a replay is, on standard error: a bar on a terminal, a line now and then elsewhere.

use crate::agents::{Plan, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

const REDRAW: Duration = Duration::from_millis(100);
/// Lines that a whole replay prints where there is no terminal.
const LINES: u64 = 4;

/// Shows the replay's progress until the future is done, and gives its result.
pub async fn shown<R>(plan: &Plan, progress: &Arc<Progress>, work: impl Future<Output = R>) -> R {
    let batches = plan.batches().max(1);
    let mut display = Display::new(batches);
    let mut redraw = tokio::time::interval(REDRAW);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => {
                display.finish();
                return result;
            }
            _ = redraw.tick() => display.show(progress.acknowledged().min(batches)),
        }
    }
}

enum Display {
    Bar(ProgressBar),
    Lines { batches: u64, told: u64 },
}

impl Display {
    fn new(batches: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { batches, told: 0 };
        }
        let bar = ProgressBar::new(batches);
        let template = "   {bar:40} {percent:>3} %  {pos}/{len} batches committed  {elapsed}";
        // The template is a constant; a wrong one would only look plain.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self::Bar(bar)
    }

    fn show(&mut self, committed: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(committed),
            Self::Lines { batches, told } => {
                let part = committed * LINES / *batches;
                if part > *told {
                    *told = part;
                    eprintln!("   {} % committed", part * 100 / LINES);
                }
            }
        }
    }

    fn finish(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
