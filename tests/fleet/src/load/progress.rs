//! How far a run is, on standard error: a bar on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;

pub struct Progress(ProgressBar);

impl Progress {
    /// `what` is done so many times in all.
    pub fn new(what: &'static str, all: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(all).with_message(what);
        let template = "   {bar:40} {percent:>3} %  {pos}/{len} {msg}  {elapsed}";
        // The template is a constant; a wrong one would only look plain.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }

    pub fn show(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
