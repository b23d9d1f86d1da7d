//! The store for fleets that outgrow one machine: a PostgreSQL database, shared by any number of
//! collectors.
//!
//! Format: tables in the connection's current schema (see `postgres/schema`), the schema version in
//! `gpuledger_meta`. Quantities are `bigint`, memory × time in two halves. There are no sequences and
//! no foreign keys; the few numbers that are given come from counter rows.
//!
//! Invariants:
//! - one transaction commits for all nodes; it locks their states in the order of their numbers, and
//!   whoever holds a node's state is the only one that moves its version, its sequences and its GPUs;
//! - whatever is told as done is on the server's disk: `synchronous_commit` is at least `on`, whatever
//!   the server's default is;
//! - an update of rows only adds, and a sum that does not fit in 63 bits fails the whole transaction.
//!
//! # When the server goes away
//!
//! What was asked fails with [`LedgerError::Failed`], and the next call connects anew. Where the
//! connection is lost while a commit is answered, the commit is in doubt: the error does not say
//! whether it was carried out. The caller asks again with the same commit; if it was carried out, the
//! version has moved and the answer is [`CommitOutcome::Moved`], as for any writer that lost a race.
//! So nothing is lost and nothing counts twice.
//!
//! # Poolers, Citus, CockroachDB
//!
//! Statements are prepared and settings belong to the session: a pooler such as PgBouncer must pool
//! by session. For Citus distribute `gpu_hour` and `gpu_expired` by `gpu`, `node_hour`,
//! `node_expired` and `node_state` by `node`, `epoch` by `epoch`, and make the small tables (`node`,
//! `gpu`, `owner`, `counter`, `asset`, `day_file`, `day_version`, `gpuledger_meta`) reference tables. CockroachDB
//! splits tables by their primary keys, which begin with the GPU or the node for the same reason: a
//! commit of a node touches few ranges, and no range takes all commits. Tested is PostgreSQL itself,
//! version 15; nothing here needs more than version 12.

mod address;
mod bulk;
mod check;
mod commit;
mod days;
mod fault;
mod identity;
mod numbers;
mod open;
mod pool;
mod read;
mod register;
mod rows;
mod stream;
mod tls;
mod transfer;

use crate::{
    CommitOutcome, Day, DayFile, GpuHourStream, GpuRecord, GpuTotal, Hour, HourRange, Ledger, LedgerError,
    LedgerTotals, NodeCommit, NodeHour, NodeKey, NodeRecord, NodeState, OwnerKey, OwnerRecord, PendingFile,
    Publish, Record, Registered, Store, StoredAsset, Table, Wanted,
};
use address::Address;
use async_trait::async_trait;
use deadpool_postgres::Pool;
use fault::Fault;
use gpuledger_proto::frame::{Inventory, Owner};
use gpuledger_proto::ids::{Epoch, NodeName, Sequence};
use pool::in_transaction;
use tokio::sync::mpsc;

/// A ledger in a PostgreSQL database. Cheap to share behind an `Arc`.
pub struct PostgresLedger {
    pool: Pool,
    /// Where it is, for messages: never with a password.
    label: String,
    /// Whether writing is refused here.
    read_only: bool,
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The pool's own form shows how to log in.
        f.debug_struct("PostgresLedger").field("label", &self.label).finish_non_exhaustive()
    }
}

impl PostgresLedger {
    /// Connects to `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS`, or the same in libpq's
    /// `name=value` form, for writing. Creates the tables in an empty schema and brings older ones up
    /// to this build's. A password that is not given is taken from `PGPASSWORD`.
    ///
    /// `sslmode` is `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`;
    /// `sslrootcert` names a file with the certificates of the authorities in place of the system's.
    pub async fn connect(url: &str) -> Result<Self, LedgerError> {
        let (address, pool) = reach(url)?;
        open::for_writing(&pool, &address).await?;
        Ok(Self { pool, label: address.label, read_only: false })
    }

    /// Connects to a ledger that exists, for reading only: nothing is created, migrated or written.
    pub async fn connect_read_only(url: &str) -> Result<Self, LedgerError> {
        let (address, pool) = reach(url)?;
        open::existing(&pool, &address).await?;
        Ok(Self { pool, label: address.label, read_only: true })
    }

    fn writable(&self, operation: &'static str) -> Result<&Pool, LedgerError> {
        if self.read_only { Err(LedgerError::ReadOnly { operation }) } else { Ok(&self.pool) }
    }
}

fn reach(url: &str) -> Result<(Address, Pool), LedgerError> {
    let address = Address::parse(url, std::env::var("PGPASSWORD").ok().as_deref())?;
    let pool = pool::build(&address)?;
    Ok((address, pool))
}

/// `read!(ledger, operation, span, tx => body)`: a read from one moment.
macro_rules! read {
    ($ledger:expr, $operation:expr, $span:ident, $tx:ident => $body:expr) => {
        in_transaction!(&$ledger.pool, Read, $span, $tx => $body).map_err(|fault: Fault| fault.during($operation))
    };
}

/// `write!(ledger, operation, span, tx => body)`: a transaction that writes, or nothing.
macro_rules! write {
    ($ledger:expr, $operation:expr, $span:ident, $tx:ident => $body:expr) => {{
        let pool = $ledger.writable($operation)?;
        in_transaction!(pool, Write, $span, $tx => $body).map_err(|fault: Fault| fault.during($operation))
    }};
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn node(&self, name: &NodeName) -> Result<NodeKey, LedgerError> {
        const OPERATION: &str = "register a node";
        register::node(self.writable(OPERATION)?, name).await.map_err(|fault| fault.during(OPERATION))
    }

    async fn register(&self, node: NodeKey, inventory: &Inventory) -> Result<Vec<Registered>, LedgerError> {
        const OPERATION: &str = "register GPUs";
        let pool = self.writable(OPERATION)?;
        register::inventory(pool, node, inventory).await.map_err(|fault| fault.during(OPERATION))
    }

    async fn owners(&self, owners: &[Owner]) -> Result<Vec<OwnerKey>, LedgerError> {
        const OPERATION: &str = "register owners";
        register::owners(self.writable(OPERATION)?, owners).await.map_err(|fault| fault.during(OPERATION))
    }

    async fn state(&self, node: NodeKey) -> Result<NodeState, LedgerError> {
        read!(self, "read a node's state", Short, tx => read::state(tx, node))
    }

    async fn sequence(&self, node: NodeKey, epoch: Epoch) -> Result<Sequence, LedgerError> {
        read!(self, "read a node's sequence", Short, tx => read::sequence(tx, node, epoch))
    }

    async fn commit(&self, commits: Vec<NodeCommit>) -> Result<Vec<CommitOutcome>, LedgerError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        write!(self, "commit rows", Short, tx => commit::all(tx, &commits))
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, LedgerError> {
        read!(self, "list nodes", Short, tx => register::all_nodes(tx))
    }

    async fn gpus(&self) -> Result<Vec<GpuRecord>, LedgerError> {
        read!(self, "list GPUs", Short, tx => register::all_gpus(tx))
    }

    async fn all_owners(&self) -> Result<Vec<OwnerRecord>, LedgerError> {
        read!(self, "list owners", Short, tx => register::all_owners(tx))
    }

    async fn gpu_hours(&self, wanted: &Wanted) -> Result<GpuHourStream, LedgerError> {
        alone("read GPU hours", self.open_gpu_hours(wanted).await?)
    }

    async fn node_hours(&self, range: HourRange) -> Result<Vec<(Hour, NodeKey, NodeHour)>, LedgerError> {
        alone("read node hours", self.open_node_hours(range).await?)
    }

    async fn versions(&self) -> Result<Vec<(NodeKey, u64)>, LedgerError> {
        read!(self, "read the nodes' versions", Short, tx => read::versions(tx))
    }

    async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        alone("sum GPU hours", self.open_totals().await?)
    }

    async fn put_assets(&self, assets: Vec<StoredAsset>) -> Result<(), LedgerError> {
        write!(self, "store assets", Short, tx => register::put_assets(tx, &assets))
    }

    async fn assets(&self) -> Result<Vec<StoredAsset>, LedgerError> {
        read!(self, "list assets", Short, tx => register::all_assets(tx))
    }
}

#[async_trait]
impl Store for PostgresLedger {
    async fn check(&self) -> Result<Vec<String>, LedgerError> {
        read!(self, "check the ledger", Long, tx => check::faults(tx))
    }

    async fn size_bytes(&self) -> Result<u64, LedgerError> {
        read!(self, "ask for the size of the database", Short, tx => read::size_bytes(tx))
    }

    async fn open_gpu_hours(&self, wanted: &Wanted) -> Result<(GpuHourStream, Vec<DayFile>), LedgerError> {
        self.stream(wanted).await
    }

    async fn open_node_hours(
        &self,
        range: HourRange,
    ) -> Result<(Vec<(Hour, NodeKey, NodeHour)>, Vec<DayFile>), LedgerError> {
        read!(self, "read node hours", Long, tx => days::open_node_hours(tx, range))
    }

    async fn open_totals(&self) -> Result<(LedgerTotals, Vec<DayFile>), LedgerError> {
        read!(self, "sum GPU hours", Long, tx => days::open_totals(tx))
    }

    async fn expired(&self) -> Result<(Vec<GpuTotal>, Vec<(NodeKey, NodeHour)>), LedgerError> {
        read!(self, "read what has expired", Short, tx => days::expired(tx))
    }

    async fn open_days(&self, table: Table, before: Day) -> Result<Vec<Day>, LedgerError> {
        let range = HourRange { from: Hour(0), to: before.first_hour() };
        read!(self, "list days", Short, tx => days::open_days(tx, table, range))
    }

    async fn files(&self) -> Result<Vec<DayFile>, LedgerError> {
        read!(self, "list files of closed days", Short, tx => days::files(tx))
    }

    async fn begin_file(&self, table: Table, day: Day, now_ms: u64) -> Result<PendingFile, LedgerError> {
        write!(self, "enter a file of a closed day", Short, tx => days::begin(tx, table, day, now_ms))
    }

    async fn publish(&self, publish: Publish) -> Result<CommitOutcome, LedgerError> {
        const OPERATION: &str = "publish a closed day";
        let pool = self.writable(OPERATION)?;
        settled(OPERATION, in_transaction!(pool, Write, Long, tx => days::publish(tx, &publish)))
    }

    async fn expire(
        &self,
        file: &DayFile,
        gpus: Vec<GpuTotal>,
        nodes: Vec<(NodeKey, NodeHour)>,
        now_ms: u64,
    ) -> Result<CommitOutcome, LedgerError> {
        const OPERATION: &str = "let a closed day expire";
        let pool = self.writable(OPERATION)?;
        settled(
            OPERATION,
            in_transaction!(pool, Write, Short, tx => days::expire(tx, file, &gpus, &nodes, now_ms)),
        )
    }

    async fn forget_files(&self, paths: &[String]) -> Result<(), LedgerError> {
        write!(self, "forget files of closed days", Short, tx => days::forget(tx, paths))
    }

    async fn archive_location(&self) -> Result<Option<String>, LedgerError> {
        read!(self, "read where the archive is", Short, tx => days::location(tx))
    }

    async fn set_archive_location(&self, location: &str) -> Result<(), LedgerError> {
        write!(self, "store where the archive is", Short, tx => days::set_location(tx, location))
    }

    async fn identity(&self) -> Result<Option<String>, LedgerError> {
        read!(self, "read the ledger's identity", Short, tx => identity::get(tx))
    }

    async fn set_identity(&self, identity: Option<&str>) -> Result<(), LedgerError> {
        write!(self, "name the ledger", Short, tx => identity::set(tx, identity))
    }

    async fn export(&self, to: mpsc::Sender<Vec<Record>>) -> Result<(), LedgerError> {
        read!(self, "export the ledger", Long, tx => transfer::export(tx, &to))
    }

    async fn import(&self, mut from: mpsc::Receiver<Vec<Record>>) -> Result<(), LedgerError> {
        write!(self, "import a ledger", Long, tx => transfer::import(tx, &mut from, &self.label))
    }
}

/// Rows of a store that stands for itself: none of what was asked for may lie elsewhere.
fn alone<T>(operation: &'static str, (rows, files): (T, Vec<DayFile>)) -> Result<T, LedgerError> {
    if files.is_empty() { Ok(rows) } else { Err(LedgerError::Archived { operation }) }
}

/// The outcome of a transaction that may find that it was overtaken.
fn settled(operation: &'static str, answer: Result<(), Fault>) -> Result<CommitOutcome, LedgerError> {
    match answer {
        Ok(()) => Ok(CommitOutcome::Committed),
        Err(Fault::Moved) => Ok(CommitOutcome::Moved),
        Err(fault) => Err(fault.during(operation)),
    }
}
