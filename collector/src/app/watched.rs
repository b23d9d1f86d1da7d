//! The ledger as ingest sees it, with an eye on whether it works.
//!
//! Whatever of ingest's calls fails for the store's sake begins trouble: `/readyz` says so and one line
//! in the log. The end is told as well, once. Ingest tries its commits again by itself; what else
//! failed has refused an agent, and is tried again here: an agent that was sent away by whoever asks
//! `/readyz` would not come back to show that all is well.
//!
//! What passes through it is also counted, for `/metrics`: see [`Tally`].

use crate::export::Tally;
use crate::export::tally::Added;
use async_trait::async_trait;
use gpuledger_ledger::{
    CommitOutcome, GpuHourStream, GpuRecord, Hour, HourRange, Ledger, LedgerError, LedgerTotals, NodeCommit,
    NodeHour, NodeKey, NodeRecord, NodeState, OwnerKey, OwnerRecord, Registered, StoredAsset, Wanted,
};
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long after a failure it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A ledger whose failures are noted.
pub struct Watched {
    inner: Arc<dyn Ledger>,
    standing: Arc<Standing>,
    tally: Arc<Tally>,
}

/// Whether the ledger works.
#[derive(Default)]
pub struct Standing {
    trouble: Mutex<Option<Trouble>>,
    begun: Notify,
}

struct Trouble {
    reason: String,
    since: Instant,
    call: Call,
}

/// A call that failed; all but the commit may be made any number of times.
#[derive(Clone)]
enum Call {
    Node(NodeName),
    Register(NodeKey, Inventory),
    Owners(Vec<Owner>),
    State(NodeKey),
    Sequence(NodeKey, Epoch),
    Commit,
}

impl Standing {
    /// Why nothing can be acknowledged at present; `None` while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.lock().as_ref().map(|trouble| trouble.reason.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worked(&self, call: &Call) {
        let mut trouble = self.lock();
        // A read that works says nothing of writes that failed. A commit has needed everything.
        let shows = |trouble: &Trouble| {
            matches!(call, Call::Commit) || discriminant(call) == discriminant(&trouble.call)
        };
        if let Some(over) = trouble.take_if(|trouble| shows(trouble)) {
            let seconds = over.since.elapsed().as_secs();
            tracing::info!(seconds, "the ledger works again");
        }
    }

    fn failed(&self, call: Call, error: &LedgerError) {
        // What was given can never be stored, or belongs to somebody else: the store is well.
        // A file that was put in the ledger's place works: ingest goes on from what it holds, and says so.
        if error.is_of_content() || matches!(error, LedgerError::Replaced { .. }) {
            return self.worked(&call);
        }
        let reason = error.to_string();
        let mut trouble = self.lock();
        if let Some(known) = &mut *trouble {
            tracing::debug!(%reason, "the ledger still does not work");
            known.reason = reason;
            // A commit is the strongest witness: only another one will do.
            if !matches!(known.call, Call::Commit) {
                known.call = call;
            }
        } else {
            tracing::error!(
                %reason,
                "nothing is acknowledged while the ledger does not work: agents keep their batches"
            );
            *trouble = Some(Trouble { reason, since: Instant::now(), call });
            self.begun.notify_one();
        }
    }

    fn failing_call(&self) -> Option<Call> {
        self.lock().as_ref().map(|trouble| trouble.call.clone())
    }
}

impl Watched {
    pub fn new(inner: Arc<dyn Ledger>, standing: Arc<Standing>, tally: Arc<Tally>) -> Self {
        Self { inner, standing, tally }
    }

    fn note<T>(&self, call: Call, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        match &result {
            Ok(_) => self.standing.worked(&call),
            Err(error) => {
                if matches!(error, LedgerError::Replaced { .. }) {
                    self.tally.forget();
                }
                self.standing.failed(call, error);
            }
        }
        result
    }

    /// Tries again what failed, until it works. Never ends.
    pub async fn mend(&self) {
        loop {
            let Some(call) = self.standing.failing_call() else {
                self.standing.begun.notified().await;
                continue;
            };
            tokio::time::sleep(AGAIN_AFTER).await;
            // The outcome is noted by the call itself.
            match call {
                Call::Node(name) => drop(self.node(&name).await),
                Call::Register(node, inventory) => drop(self.register(node, &inventory).await),
                Call::Owners(owners) => drop(self.owners(&owners).await),
                Call::State(node) => drop(self.state(node).await),
                Call::Sequence(node, epoch) => drop(self.sequence(node, epoch).await),
                Call::Commit => {}
            }
        }
    }
}

#[async_trait]
impl Ledger for Watched {
    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError> {
        let key = self.note(Call::Node(name.clone()), self.inner.node(name).await)?;
        self.tally.node(name, key);
        Ok(key)
    }

    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError> {
        let done = self.inner.register(node, inventory).await;
        let registered = self.note(Call::Register(node, inventory.clone()), done)?;
        self.tally.gpus(inventory, &registered);
        Ok(registered)
    }

    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
        self.note(Call::Owners(owners.to_vec()), self.inner.owners(owners).await)
    }

    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError> {
        self.note(Call::State(node), self.inner.state(node).await)
    }

    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
        self.note(Call::Sequence(node, epoch), self.inner.sequence(node, epoch).await)
    }

    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError> {
        let added = commits.iter().map(Added::of).collect();
        let outcomes = self.note(Call::Commit, self.inner.commit(commits).await)?;
        self.tally.committed(added, &outcomes);
        Ok(outcomes)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        self.inner.nodes().await
    }

    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError> {
        self.inner.gpus().await
    }

    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError> {
        self.inner.all_owners().await
    }

    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        self.inner.gpu_hours(wanted).await
    }

    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        self.inner.node_hours(range).await
    }

    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError> {
        self.inner.versions().await
    }

    async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        self.inner.totals().await
    }

    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        self.inner.put_assets(assets).await
    }

    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        self.inner.assets().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(operation: &'static str) -> LedgerError {
        LedgerError::DiskFull { operation }
    }

    fn name() -> Call {
        Call::Node(NodeName::new("n").unwrap())
    }

    #[test]
    fn trouble_lasts_until_what_failed_works() {
        let standing = Standing::default();
        standing.failed(name(), &full("register a node"));
        assert!(standing.trouble().unwrap().contains("cannot register a node: the ledger's disk is full"));
        standing.worked(&Call::State(NodeKey(1)));
        assert!(standing.trouble().is_some(), "that a read works does not show that a write would");
        standing.worked(&name());
        assert_eq!(standing.trouble(), None);
    }

    #[test]
    fn a_failed_commit_is_only_outweighed_by_a_commit() {
        let standing = Standing::default();
        standing.failed(name(), &full("register a node"));
        standing.failed(Call::Commit, &full("commit rows"));
        // The commit is what is waited for, whichever came first.
        standing.failed(name(), &full("register a node"));
        standing.worked(&Call::Commit);
        assert_eq!(standing.trouble(), None);
        standing.failed(Call::Commit, &full("commit rows"));
        standing.failed(name(), &full("register a node"));
        standing.worked(&name());
        assert!(standing.trouble().is_some());
    }

    #[test]
    fn a_ledger_that_another_took_the_place_of_is_no_trouble() {
        let standing = Standing::default();
        standing.failed(name(), &LedgerError::Replaced { operation: "commit rows" });
        assert_eq!(standing.trouble(), None);
    }

    #[test]
    fn what_an_agent_did_wrong_is_no_trouble_of_the_ledger() {
        let standing = Standing::default();
        standing.failed(Call::Commit, &LedgerError::HourOutOfRange { hour: 1 });
        assert_eq!(standing.trouble(), None);
    }

    #[tokio::test]
    async fn what_has_sent_an_agent_away_is_tried_again_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let inner = Arc::new(gpuledger_ledger::sqlite::SqliteLedger::open(&path).unwrap());
        let standing = Arc::new(Standing::default());
        let watched = Watched::new(inner, Arc::clone(&standing), Arc::default());
        standing.failed(name(), &full("register a node"));
        tokio::select! {
            biased;
            () = watched.mend() => {}
            () = async { while standing.trouble().is_some() { tokio::time::sleep(AGAIN_AFTER).await } } => {}
        }
        assert_eq!(watched.nodes().await.unwrap().len(), 1, "the call itself was made again");
    }
}
