//! The store behind the collectors: the product's own, with faults in front of it.
//!
//! A call runs on another runtime while the run's own thread waits for it, so that no virtual time
//! passes and the order of calls is a function of the seed. A collector whose process is dead, or
//! whose store was replaced, waits for ever: what it would have done next never happens.

mod files;
mod ledger;

pub use files::open_in;
pub use ledger::SimLedger;

use super::dice::Dice;
use super::oracle::{Arrivals, Bookmark, Oracle};
use super::plan::CommitFault;
use super::trail::Trail;
use files::Files;
use gpuledger_ledger::{CommitOutcome, LedgerError, NodeCommit, Store};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

pub struct SimStore {
    runtime: Handle,
    trail: Arc<Trail>,
    pub oracle: Arc<Mutex<Oracle>>,
    inner: Mutex<Inner>,
}

struct Inner {
    dice: Dice,
    folder: PathBuf,
    /// The one ledger, as each collector has opened it, or once for all. None while it is replaced.
    ledgers: Vec<Arc<dyn Store>>,
    /// Rises when the ledger is replaced: who worked on the one before is dead.
    generation: u32,
    armed: VecDeque<CommitFault>,
    /// The power of the store's machine is gone, for so long.
    power_lost_ms: Option<u64>,
    backup: Option<Backup>,
}

struct Backup {
    files: Files,
    bookmark: Bookmark,
}

impl SimStore {
    /// An empty ledger. Faults that copy or tear it need it to be one that [`open_in`] opened.
    pub fn on(
        seed: u64,
        folder: &Path,
        ledgers: &[Arc<dyn Store>],
        runtime: Handle,
        oracle: Arc<Mutex<Oracle>>,
        trail: Arc<Trail>,
    ) -> Self {
        let inner = Inner {
            dice: Dice::new(seed, "store"),
            folder: folder.to_owned(),
            ledgers: ledgers.to_vec(),
            generation: 0,
            armed: VecDeque::new(),
            power_lost_ms: None,
            backup: None,
        };
        Self { runtime, trail, oracle, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn generation(&self) -> u32 {
        self.inner().generation
    }

    /// The ledger, for checks.
    pub fn ledger(&self) -> Option<Arc<dyn Store>> {
        self.inner().ledgers.first().cloned()
    }

    /// One of the next commits has this fault.
    pub fn arm(&self, fault: CommitFault) {
        self.inner().armed.push_back(fault);
    }

    pub fn disarm(&self) {
        self.inner().armed.clear();
    }

    /// Whether the power of the store's machine has gone since the last call, and for how long.
    pub fn power_lost(&self) -> Option<u64> {
        self.inner().power_lost_ms.take()
    }

    /// Waits for a call on the other runtime.
    pub fn wait<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Who asked waits below.
            let _ = answer.send(call.await);
        });
        answered.recv().ok()
    }

    pub fn backup(&self) {
        let mut inner = self.inner();
        let files = Files::read(&inner.folder, inner.generation);
        if let Ok(files) = files {
            inner.backup = Some(Backup { files, bookmark: self.oracle().bookmark() });
        }
    }

    /// Puts the copy in place of the ledger. False where there is none.
    pub fn restore(&self) -> Result<bool, LedgerError> {
        let Some(backup) = self.inner().backup.take() else { return Ok(false) };
        self.oracle().restore(backup.bookmark);
        self.replace(&backup.files)?;
        Ok(true)
    }

    /// Closes the ledger and opens another one with these contents.
    fn replace(&self, files: &Files) -> Result<Arc<dyn Store>, LedgerError> {
        let (before, folder, generation) = {
            let mut inner = self.inner();
            inner.generation += 1;
            (std::mem::take(&mut inner.ledgers), inner.folder.clone(), inner.generation)
        };
        drop(before);
        files.write(&folder, generation)?;
        let ledger = open_in(&folder, generation)?;
        self.inner().ledgers = vec![Arc::clone(&ledger)];
        Ok(ledger)
    }

    /// Commits, and lets the power go in the middle of it. The log on the medium ends somewhere in
    /// what this commit has written; all before it was synced.
    fn commit_and_lose_power(
        &self,
        ledger: Arc<dyn Store>,
        commits: &[NodeCommit],
        arrivals: &Arrivals,
        kept_ppm: u64,
        for_ms: u64,
    ) -> Result<(), LedgerError> {
        let (folder, generation) = {
            let inner = self.inner();
            (inner.folder.clone(), inner.generation)
        };
        let before = Files::read(&folder, generation)?;
        let asked = commits.to_vec();
        let done = self.wait(async move { ledger.commit(asked).await });
        let Some(Ok(outcomes)) = done else { return Ok(()) };
        let mut after = Files::read(&folder, generation)?;
        if after.main == before.main && after.log.starts_with(&before.log) {
            let written = (after.log.len() - before.log.len()) as u64;
            let kept = usize::try_from(written * kept_ppm / 1_000_000).unwrap_or(0);
            after.log.truncate(before.log.len() + kept);
        }
        let ledger = self.replace(&after)?;
        self.inner().power_lost_ms = Some(for_ms);
        self.trail.count("power losses of the store", 1);
        let stands =
            outcomes.iter().zip(commits).filter(|(outcome, _)| **outcome == CommitOutcome::Committed);
        for (_, commit) in stands {
            self.settle(&ledger, commit, arrivals);
        }
        Ok(())
    }

    /// Finds out whether a commit survived: as a whole or not at all.
    fn settle(&self, ledger: &Arc<dyn Store>, commit: &NodeCommit, arrivals: &Arrivals) {
        let (mut kept, mut lost) = (0, 0);
        for advance in commit.epochs.clone() {
            let (ledger, node) = (Arc::clone(ledger), commit.node);
            match self.wait(async move { ledger.sequence(node, advance.epoch).await }) {
                Some(Ok(stored)) if stored == advance.to => kept += 1,
                Some(Ok(stored)) if stored == advance.from => lost += 1,
                other => self.trail.violated(format!("after a power loss a sequence is {other:?}")),
            }
        }
        match (kept, lost) {
            (1.., 0) => {
                self.trail.count("commits that survived a power loss", 1);
                self.oracle().committed(commit, arrivals);
            }
            (0, _) => self.trail.count("commits lost to a power loss", 1),
            _ => self.trail.violated("half a commit survived a power loss".to_owned()),
        }
    }

    fn roll(&self, low: u64, high: u64) -> u64 {
        self.inner().dice.between(low, high)
    }
}
