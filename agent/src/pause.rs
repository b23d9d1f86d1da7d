//! `pause` and `resume`: how a person gets the GPU driver for himself, to reset a GPU, to cut it by MIG, or
//! to upgrade the driver, without stopping the agent.
//!
//! The two sides speak by files in the spool's folder, which only root and the agent's user can write:
//! nobody can pause an agent from afar.
//!
//! - `pause`: the request, written by the command: `until_ms=…`, milliseconds since the Unix epoch. The
//!   agent looks with every sample. A request whose time is over, or is further away than a day, is none.
//!   It outlives a restart of the agent, which a driver upgrade may bring, and ends by itself.
//! - `paused`: the answer, written by the agent: the request that it obeys, once nothing of it has the
//!   driver open any more; removed when the driver may be opened again.

use crate::clock::WallClock;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A pause that nobody ends must not last.
pub const LONGEST_MS: u64 = 24 * 3_600_000;
/// What `pause` is without `--for`.
pub const DEFAULT: &str = "30min";

/// The slowest agent samples every ten seconds, and a call into the driver may take as long again.
const PATIENCE: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where requests and answers lie.
#[derive(Debug, Clone)]
pub struct Desk {
    request: PathBuf,
    answer: PathBuf,
}

/// Why a pause could not be asked for.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    #[error("cannot write {}: {source}; it takes root or the agent's own user", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "no agent answered within {PATIENCE:?}: is it running, and is its spool_dir {}? The request was taken back",
        .0.display()
    )]
    NoAgent(PathBuf),
    #[error(
        "the agent has not opened the driver again within {PATIENCE:?}; the request is gone, and an agent that runs will"
    )]
    StillPaused,
}

impl Desk {
    pub fn of(spool_dir: &Path) -> Self {
        Self { request: spool_dir.join("pause"), answer: spool_dir.join("paused") }
    }

    /// The command's side: asks for a pause until then, and waits until the driver is free.
    pub fn pause(&self, until_ms: u64) -> Result<(), PauseError> {
        let text = text(until_ms);
        let temporary = self.request.with_extension("new");
        let written = std::fs::write(&temporary, &text)
            // The agent's user has to read what root wrote, whatever root's umask is.
            .and_then(|()| set_readable(&temporary))
            .and_then(|()| std::fs::rename(&temporary, &self.request));
        written.map_err(|source| PauseError::Write { path: self.request.clone(), source })?;
        if wait(|| std::fs::read_to_string(&self.answer).is_ok_and(|answer| answer == text)) {
            return Ok(());
        }
        // Nobody would know of a pause that begins later.
        let _ = std::fs::remove_file(&self.request);
        Err(PauseError::NoAgent(self.request.parent().unwrap_or(&self.request).to_owned()))
    }

    /// The command's side: takes the request back, and waits until the agent has seen it.
    pub fn resume(&self) -> Result<(), PauseError> {
        match std::fs::remove_file(&self.request) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PauseError::Write { path: self.request.clone(), source: error });
            }
            _ => {}
        }
        if wait(|| !self.answer.exists()) { Ok(()) } else { Err(PauseError::StillPaused) }
    }

    /// The agent's side: until when the driver is wanted by somebody else.
    pub fn wanted(&self, clock: &WallClock) -> Option<u64> {
        let until_ms = std::fs::read_to_string(&self.request).ok().as_deref().and_then(parse)?;
        let left_ms = until_ms.checked_sub(clock.now_ms())?;
        (1..=LONGEST_MS).contains(&left_ms).then_some(until_ms)
    }

    /// The agent's side: the request that was answered.
    pub fn answered(&self) -> Option<u64> {
        std::fs::read_to_string(&self.answer).ok().as_deref().and_then(parse)
    }

    /// The agent's side: says that the driver is free, or that it may be opened again.
    pub fn answer(&self, released_until_ms: Option<u64>) -> io::Result<()> {
        match released_until_ms {
            Some(until_ms) => std::fs::write(&self.answer, text(until_ms)),
            None => match std::fs::remove_file(&self.answer) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

fn set_readable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

fn text(until_ms: u64) -> String {
    format!("until_ms={until_ms}\n")
}

fn parse(text: &str) -> Option<u64> {
    text.trim_end().strip_prefix("until_ms=")?.parse().ok()
}

fn wait(mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_until_its_time_is_over_and_never_for_longer_than_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::of(folder.path());
        let at = |now_ms| desk.wanted(&WallClock::of(move || now_ms));
        assert_eq!(at(0), None);
        std::fs::write(folder.path().join("pause"), text(100_000)).unwrap();
        assert_eq!(at(99_999), Some(100_000));
        assert_eq!(at(100_000), None);
        std::fs::write(folder.path().join("pause"), text(LONGEST_MS + 2)).unwrap();
        assert_eq!(at(1), None, "a clock that stepped, or a file that somebody wrote by hand");
        std::fs::write(folder.path().join("pause"), "for ever").unwrap();
        assert_eq!(at(1), None);
    }

    #[test]
    fn a_pause_waits_for_the_answer_and_a_resume_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::of(folder.path());
        let agent = desk.clone();
        let until_ms = WallClock::system().now_ms() + 60_000;
        let body = move || {
            while agent.wanted(&WallClock::system()).is_none() {
                std::thread::sleep(LOOK_EVERY);
            }
            agent.answer(Some(until_ms)).unwrap();
            while agent.wanted(&WallClock::system()).is_some() {
                std::thread::sleep(LOOK_EVERY);
            }
            agent.answer(None).unwrap();
        };
        let agent = std::thread::spawn(body);
        desk.pause(until_ms).unwrap();
        desk.resume().unwrap();
        agent.join().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let error = Desk::of(Path::new("/nonexistent")).pause(1).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nonexistent/pause"), "{error}");
    }
}
