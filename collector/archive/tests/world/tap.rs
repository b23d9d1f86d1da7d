//! A store with a trap before and after its transactions.

use async_trait::async_trait;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::*;
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc};

type Result<T> = std::result::Result<T, LedgerError>;

/// What happens at the next publish.
pub enum Trap {
    /// These are committed just before it.
    Commits(Vec<NodeCommit>),
    /// The process dies before it: whoever waits for it waits for ever.
    DieBefore,
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is not done, as where the store's disk is full.
    Refuse,
    /// Somebody clears up just before it, as if the writer were dead.
    Forget,
}

pub struct Tap {
    store: SqliteLedger,
    trap: Mutex<Option<Trap>>,
    died: Notify,
    /// What the process that died was about to publish.
    held: Mutex<Option<Publish>>,
    /// Publish it after all, just before entries are forgotten.
    is_only_slow: AtomicBool,
    /// Done between the answer to a read of GPU hours or totals and its arrival.
    meanwhile: Mutex<Option<Meanwhile>>,
}

type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Tap {
    pub fn new(store: SqliteLedger) -> Self {
        Self {
            store,
            trap: Mutex::default(),
            died: Notify::new(),
            held: Mutex::default(),
            is_only_slow: AtomicBool::new(false),
            meanwhile: Mutex::default(),
        }
    }

    pub fn set(&self, trap: Trap) {
        *self.trap.lock().unwrap() = Some(trap);
    }

    /// Who died was only slow: it publishes when somebody clears up after it.
    pub fn publish_when_cleared_up(&self) {
        self.is_only_slow.store(true, Ordering::SeqCst);
    }

    /// Does this once a read of GPU hours or totals has its answer, before whoever asked has it.
    pub fn meanwhile(&self, job: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::pin(job));
    }

    async fn do_meanwhile(&self) {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
    }

    /// Waits for [`Trap::DieBefore`] to spring.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Takes the trap away; whether it was still set.
    pub fn disarm(&self) -> bool {
        self.trap.lock().unwrap().take().is_some()
    }
}

#[async_trait]
impl Ledger for Tap {
    async fn node(&self, name: &NodeName) -> Result<NodeKey> {
        self.store.node(name).await
    }
    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>> {
        self.store.register(node, inventory).await
    }
    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>> {
        self.store.owners(owners).await
    }
    async fn state(&self, node: NodeKey) -> Result<NodeState> {
        self.store.state(node).await
    }
    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence> {
        self.store.sequence(node, epoch).await
    }
    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>> {
        self.store.commit(commits).await
    }
    async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        self.store.nodes().await
    }
    async fn gpus(&self) -> Result<Vec<GpuRecord>> {
        self.store.gpus().await
    }
    async fn all_owners(&self) -> Result<Vec<OwnerRecord>> {
        self.store.all_owners().await
    }
    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream> {
        self.store.gpu_hours(wanted).await
    }
    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>> {
        self.store.node_hours(range).await
    }
    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>> {
        self.store.versions().await
    }
    async fn totals(&self) -> Result<LedgerTotals> {
        self.store.totals().await
    }
    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<()> {
        self.store.put_assets(assets).await
    }
    async fn assets(&self) -> Result<Vec<StoredAsset>> {
        self.store.assets().await
    }
}

#[async_trait]
impl Store for Tap {
    async fn check(&self) -> Result<Vec<String>> {
        self.store.check().await
    }
    async fn open_gpu_hours(&self, wanted: &Wanted) -> Result<(GpuHourStream, Vec<DayFile>)> {
        let answer = self.store.open_gpu_hours(wanted).await;
        self.do_meanwhile().await;
        answer
    }
    async fn open_node_hours(
        &self,
        range: HourRange,
    ) -> Result<(Vec<(Hour, NodeKey, NodeHour)>, Vec<DayFile>)> {
        self.store.open_node_hours(range).await
    }
    async fn open_totals(&self) -> Result<(LedgerTotals, Vec<DayFile>)> {
        let answer = self.store.open_totals().await;
        self.do_meanwhile().await;
        answer
    }
    async fn expired(&self) -> Result<(Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>)> {
        self.store.expired().await
    }
    async fn open_days(&self, table: Table, before: Day) -> Result<Vec<Day>> {
        self.store.open_days(table, before).await
    }
    async fn files(&self) -> Result<Vec<DayFile>> {
        self.store.files().await
    }
    async fn begin_file(&self, table: Table, day: Day, now_ms: u64) -> Result<PendingFile> {
        self.store.begin_file(table, day, now_ms).await
    }
    async fn publish(&self, publish: Publish) -> Result<CommitOutcome> {
        let trap = self.trap.lock().unwrap().take();
        match trap {
            None => return self.store.publish(publish).await,
            Some(Trap::DieBefore) => {
                *self.held.lock().unwrap() = Some(publish);
                self.died.notify_one();
                return std::future::pending().await;
            }
            Some(Trap::Commits(commits)) => {
                let outcomes = self.store.commit(commits).await?;
                assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Committed));
            }
            Some(Trap::LoseAnswer) => {
                self.store.publish(publish).await?;
                let reason = "connection lost".to_owned();
                return Err(LedgerError::Failed { operation: "publish a closed day", reason });
            }
            Some(Trap::Refuse) => {
                return Err(LedgerError::DiskFull { operation: "publish a closed day" });
            }
            Some(Trap::Forget) => self.store.forget_files(std::slice::from_ref(&publish.file.path)).await?,
        }
        self.store.publish(publish).await
    }
    async fn expire(
        &self,
        file: &DayFile,
        gpus: Vec<GpuTotal>,
        nodes: Vec<(NodeKey, NodeHour)>,
        now_ms: u64,
    ) -> Result<CommitOutcome> {
        self.store.expire(file, gpus, nodes, now_ms).await
    }
    async fn forget_files(&self, paths: &[String]) -> Result<()> {
        if self.is_only_slow.swap(false, Ordering::SeqCst) {
            let held = self.held.lock().unwrap().take();
            let outcome = self.store.publish(held.expect("somebody died")).await?;
            assert_eq!(outcome, CommitOutcome::Committed);
        }
        self.store.forget_files(paths).await
    }
    async fn archive_location(&self) -> Result<Option<String>> {
        self.store.archive_location().await
    }
    async fn set_archive_location(&self, location: &str) -> Result<()> {
        self.store.set_archive_location(location).await
    }
    async fn size_bytes(&self) -> Result<u64> {
        self.store.size_bytes().await
    }
    async fn identity(&self) -> Result<Option<String>> {
        self.store.identity().await
    }
    async fn set_identity(&self, identity: Option<&str>) -> Result<()> {
        self.store.set_identity(identity).await
    }
    async fn export(&self, to: mpsc::Sender<Vec<Record>>) -> Result<()> {
        self.store.export(to).await
    }
    async fn import(&self, from: mpsc::Receiver<Vec<Record>>) -> Result<()> {
        self.store.import(from).await
    }
}
