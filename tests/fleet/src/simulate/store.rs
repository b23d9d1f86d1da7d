//! The store behind the collectors: the product's own, with faults in front of it.
//!
//! A call runs on another runtime while the run's own thread waits for it, so that no virtual time
//! passes and the order of calls is a function of the seed. A collector whose process is dead, or
//! whose store was replaced, waits for ever: what it would have done next never happens.

use super::dice::Dice;
use super::oracle::{Arrivals, Bookmark, Oracle};
use super::plan::CommitFault;
use super::trail::Trail;
use async_trait::async_trait;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{
    CommitOutcome, GpuHour, GpuHourKey, GpuRecord, GpuTotal, Hour, HourRange, Ledger, LedgerError,
    NodeCommit, NodeHour, NodeKey, NodeRecord, NodeState, OwnerKey, OwnerRecord, Registered, Store,
    StoredAsset, Wanted,
};
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Milliseconds that a call takes at most.
const CALL_MS_MAX: u64 = 20;

pub struct SimStore {
    runtime: Handle,
    trail: Arc<Trail>,
    pub oracle: Arc<Mutex<Oracle>>,
    inner: Mutex<Inner>,
}

struct Inner {
    dice: Dice,
    folder: PathBuf,
    ledger: Option<Arc<dyn Store>>,
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

/// A ledger's file and its log.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    main: Vec<u8>,
    log: Vec<u8>,
}

impl SimStore {
    /// A new SQLite ledger in a folder.
    pub fn sqlite(
        seed: u64,
        folder: &Path,
        runtime: Handle,
        oracle: Arc<Mutex<Oracle>>,
        trail: Arc<Trail>,
    ) -> Result<Self, LedgerError> {
        let ledger: Arc<dyn Store> = Arc::new(SqliteLedger::open(&file_in(folder, 0))?);
        Ok(Self::on(seed, folder, ledger, runtime, oracle, trail))
    }

    /// A ledger of which the files cannot be had.
    pub fn on(
        seed: u64,
        folder: &Path,
        ledger: Arc<dyn Store>,
        runtime: Handle,
        oracle: Arc<Mutex<Oracle>>,
        trail: Arc<Trail>,
    ) -> Self {
        let inner = Inner {
            dice: Dice::new(seed, "store"),
            folder: folder.to_owned(),
            ledger: Some(ledger),
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
        self.inner().ledger.clone()
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
        let files = Files::read(&file_in(&inner.folder, inner.generation));
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
        let (before, path) = {
            let mut inner = self.inner();
            inner.generation += 1;
            (inner.ledger.take(), file_in(&inner.folder, inner.generation))
        };
        drop(before);
        let failed =
            |error: std::io::Error| LedgerError::Open { path: path.clone(), reason: error.to_string() };
        std::fs::write(&path, &files.main).map_err(failed)?;
        std::fs::write(log_of(&path), &files.log).map_err(failed)?;
        let ledger: Arc<dyn Store> = Arc::new(SqliteLedger::open(&path)?);
        self.inner().ledger = Some(Arc::clone(&ledger));
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
        let path = {
            let inner = self.inner();
            file_in(&inner.folder, inner.generation)
        };
        let read = || {
            Files::read(&path)
                .map_err(|error| LedgerError::Open { path: path.clone(), reason: error.to_string() })
        };
        let before = read()?;
        let asked = commits.to_vec();
        let done = self.wait(async move { ledger.commit(asked).await });
        let Some(Ok(outcomes)) = done else { return Ok(()) };
        let mut after = read()?;
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

fn file_in(folder: &Path, generation: u32) -> PathBuf {
    folder.join(format!("ledger-{generation}.db"))
}

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

impl Files {
    fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self { main: std::fs::read(path)?, log: std::fs::read(log_of(path)).unwrap_or_default() })
    }
}

/// The ledger as one collector's process sees it.
pub struct SimLedger {
    pub store: Arc<SimStore>,
    /// The generation that the process opened.
    pub generation: u32,
    pub alive: Arc<AtomicBool>,
    pub arrivals: Arc<Mutex<Arrivals>>,
}

impl SimLedger {
    /// The ledger; never where the process or the ledger is dead by now.
    async fn open(&self) -> Arc<dyn Store> {
        let found = {
            let inner = self.store.inner();
            let lives = self.alive.load(Ordering::Relaxed) && inner.generation == self.generation;
            inner.ledger.clone().filter(|_| lives)
        };
        match found {
            Some(ledger) => ledger,
            None => std::future::pending().await,
        }
    }

    async fn pass_time(&self) {
        let pause_ms = self.store.roll(0, CALL_MS_MAX);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }

    async fn call<T, F, R>(&self, call: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Store>) -> R + Send,
        R: Future<Output = Result<T, LedgerError>> + Send + 'static,
    {
        self.pass_time().await;
        let ledger = self.open().await;
        let done = self.store.wait(call(ledger));
        self.pass_time().await;
        drop(self.open().await);
        done.unwrap_or_else(|| Err(failed("the store's runtime is gone")))
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, commits: &[NodeCommit], outcomes: &[CommitOutcome]) {
        let mut arrivals = self.arrivals();
        for (commit, outcome) in commits.iter().zip(outcomes) {
            let to: Vec<u64> = commit.epochs.iter().map(|advance| advance.to.0).collect();
            self.store.trail.note(format_args!("commit of node {} to {to:?}: {outcome:?}", commit.node.0));
            match outcome {
                CommitOutcome::Committed => {
                    self.store.trail.count("commits", 1);
                    self.store.trail.count("takeovers", u64::from(!commit.taken.is_empty()));
                    self.store.oracle().committed(commit, &arrivals);
                }
                CommitOutcome::Moved => {
                    self.store.trail.count("commits refused as moved", 1);
                    // What was folded is forgotten: it has to come again.
                    for advance in &commit.epochs {
                        let reached = self.store.oracle().reached(advance.epoch);
                        arrivals.forget(advance.epoch, reached);
                    }
                }
            }
        }
    }
}

fn failed(reason: &str) -> LedgerError {
    LedgerError::Failed { operation: "commit rows", reason: reason.to_owned() }
}

#[async_trait]
impl Ledger for SimLedger {
    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError> {
        let name = name.clone();
        self.call(move |ledger| async move { ledger.node(&name).await }).await
    }

    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError> {
        let inventory = inventory.clone();
        self.call(move |ledger| async move { ledger.register(node, &inventory).await }).await
    }

    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
        let owners = owners.to_vec();
        self.call(move |ledger| async move { ledger.owners(&owners).await }).await
    }

    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError> {
        self.call(move |ledger| async move { ledger.state(node).await }).await
    }

    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
        let stored = self.call(move |ledger| async move { ledger.sequence(node, epoch).await }).await?;
        Ok(stored)
    }

    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError> {
        let fault = { self.store.inner().armed.pop_front() };
        match fault {
            Some(CommitFault::Fails) => {
                self.store.trail.count("commits that failed", 1);
                self.pass_time().await;
                return Err(failed("a fault of the simulation"));
            }
            Some(CommitFault::Stalls { for_ms }) => {
                self.store.trail.count("commits that stalled", 1);
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
            }
            Some(CommitFault::PowerLoss { kept_ppm, for_ms }) => {
                let ledger = self.open().await;
                self.store.commit_and_lose_power(ledger, &commits, &self.arrivals(), kept_ppm, for_ms)?;
                return std::future::pending().await;
            }
            Some(CommitFault::InDoubt) | None => {}
        }
        self.pass_time().await;
        let ledger = self.open().await;
        let asked = commits.clone();
        let done = self.store.wait(async move { ledger.commit(asked).await });
        let outcomes = done.unwrap_or_else(|| Err(failed("the store's runtime is gone")))?;
        self.note(&commits, &outcomes);
        self.pass_time().await;
        // A process that is killed here has committed and never says so.
        drop(self.open().await);
        if fault == Some(CommitFault::InDoubt) {
            self.store.trail.count("commits in doubt", 1);
            return Err(failed("a fault of the simulation, after it was done"));
        }
        Ok(outcomes)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        self.call(|ledger| async move { ledger.nodes().await }).await
    }

    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError> {
        self.call(|ledger| async move { ledger.gpus().await }).await
    }

    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError> {
        self.call(|ledger| async move { ledger.all_owners().await }).await
    }

    async fn gpu_hours(&self, wanted: &Wanted) -> Result<Vec<(GpuHourKey, GpuHour)>, LedgerError> {
        let wanted = wanted.clone();
        self.call(move |ledger| async move { ledger.gpu_hours(&wanted).await }).await
    }

    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        self.call(move |ledger| async move { ledger.node_hours(range).await }).await
    }

    async fn gpu_totals(&self) -> Result<Vec<GpuTotal>, LedgerError> {
        self.call(|ledger| async move { ledger.gpu_totals().await }).await
    }

    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.call(move |ledger| async move { ledger.put_assets(assets).await }).await
    }

    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.call(|ledger| async move { ledger.assets().await }).await
    }

    async fn check(&self) -> Result<Vec<String>, LedgerError> {
        self.call(|ledger| async move { ledger.check().await }).await
    }
}
