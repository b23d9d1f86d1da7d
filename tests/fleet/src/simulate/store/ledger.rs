//! The ledger as one collector's process sees it: calls take time, fail and never return.

use super::SimStore;
use crate::simulate::oracle::Arrivals;
use crate::simulate::plan::CommitFault;
use async_trait::async_trait;
use gpuledger_ledger::{
    CommitOutcome, GpuHourStream, GpuRecord, Hour, HourRange, Ledger, LedgerError, LedgerTotals, NodeCommit,
    NodeHour, NodeKey, NodeRecord, NodeState, OwnerKey, OwnerRecord, Registered, Store, StoredAsset, Wanted,
};
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Milliseconds that a call takes at most.
const CALL_MS_MAX: u64 = 20;

/// The ledger of one collector's process.
pub struct SimLedger {
    pub store: Arc<SimStore>,
    /// The collector by its number.
    pub collector: usize,
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
            inner.ledgers.get(self.collector).or(inner.ledgers.first()).cloned().filter(|_| lives)
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

    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        let wanted = wanted.clone();
        // Read whole on the other runtime: waiting for a piece would let virtual time pass.
        let read = self.call(move |ledger| async move {
            let keep = |pieces: &mut Vec<_>, piece| {
                pieces.push(piece);
                Ok(())
            };
            gpuledger_ledger::gather(&*ledger, &wanted, Vec::new, keep).await
        });
        read.await.map(GpuHourStream::of)
    }

    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        self.call(move |ledger| async move { ledger.node_hours(range).await }).await
    }

    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError> {
        self.call(|ledger| async move { ledger.versions().await }).await
    }

    async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        self.call(|ledger| async move { ledger.totals().await }).await
    }

    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.call(move |ledger| async move { ledger.put_assets(assets).await }).await
    }

    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.call(|ledger| async move { ledger.assets().await }).await
    }
}
