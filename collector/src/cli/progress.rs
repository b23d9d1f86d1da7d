//! How far a long command is, on a terminal only.

use crate::store::backup::Step;
use std::io::{IsTerminal as _, Write as _};

/// One line on standard error that is written over until it is done.
pub struct Progress {
    what: String,
    /// What was shown last, so that the terminal is not written to for nothing.
    shown: Option<u64>,
    terminal: bool,
}

impl Progress {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), shown: None, terminal: std::io::stderr().is_terminal() }
    }

    /// Shows the share that is done, when it has changed by a percent.
    pub fn show(&mut self, done: u64, whole: u64) {
        let percent = done.saturating_mul(100).checked_div(whole).unwrap_or(100);
        if self.terminal && self.shown != Some(percent) {
            self.shown = Some(percent);
            // A terminal that cannot be written to is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{} {percent:3} %", self.what);
        }
    }

    /// Shows how many records have passed where nobody knows of how many, or the share of files.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Bytes(done, whole) => self.show(done, whole),
            Step::Files(done, whole) => {
                self.show(u64::try_from(done).unwrap_or(u64::MAX), u64::try_from(whole).unwrap_or(u64::MAX));
            }
            Step::Records(records) if self.terminal && self.shown != Some(records) => {
                self.shown = Some(records);
                let _ = write!(std::io::stderr(), "\r{} {records} records", self.what);
            }
            Step::Records(_) => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
