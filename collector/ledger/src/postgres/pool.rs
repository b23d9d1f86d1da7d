//! Connections: a bounded pool, how each is set up, and transactions with a limit on their time.
//!
//! A connection that is lost leaves the pool, and the next use makes a new one: the ledger goes on by
//! itself when the server is back. What was asked meanwhile fails and may be asked again.

use super::address::Address;
use super::fault::{Fault, told};
use crate::LedgerError;
use deadpool_postgres::{
    Client, Connect, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
    Timeouts, Transaction,
};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Config, Error, IsolationLevel};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connections of one collector. It commits with one at a time; the others are for agents that
/// connect, for reports and for what closes days. A server allows 100 by default, for all.
const CONNECTIONS_MAX: usize = 8;
/// For a place in the pool, and for a new connection together with its login.
const WAIT: Duration = Duration::from_secs(20);
/// How often an operation is tried that other transactions came between.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_millis(5);

/// Every connection begins with this.
///
/// - What is told as committed is on the server's disk, whatever the server's default is; a default
///   that waits for more stays.
/// - A statement, a lock and a transaction that nobody ends have limits: a collector that vanished
///   in mid-transaction keeps no other from its rows.
/// - Statements on arrays are planned for the arrays at hand. A plan for arrays of any length, made while
///   the tables are small, walks all of a table for each element once a fleet has come: it is used until
///   the tables are analysed, and takes half a minute for what takes a tenth of a second.
/// - Integer division, text order and time zone do not matter: nothing here depends on a default.
const SETUP: &str = "\
SELECT set_config('synchronous_commit', 'on', false) \
  WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
SET statement_timeout = '30s';
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '60s';
SET plan_cache_mode = 'force_custom_plan';
SET client_min_messages = 'warning'";

/// How long an operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// One statement or a few, as long as [`SETUP`] allows.
    Short,
    /// A walk through everything.
    Long,
}

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sees one moment; writes nothing.
    Read,
    /// Sees what others have committed by each statement, so that after a lock was waited for it sees
    /// what its holder did.
    Write,
}

impl Span {
    /// When the connection is taken for lost: well above what [`SETUP`] allows a statement.
    pub const fn limit(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(60),
            Self::Long => Duration::from_secs(5 * 3600),
        }
    }
}

/// Makes a pool; connects to nobody yet.
pub fn build(address: &Address) -> Result<Pool, LedgerError> {
    let tls = address.tls.config().map_err(|reason| address.failed(reason))?;
    let connect = Connector { tls: MakeRustlsConnect::new(tls) };
    let manager = Manager::from_connect(
        address.config.clone(),
        connect,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let setup = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move { client.batch_execute(SETUP).await.map_err(HookError::Backend) })
    });
    // One that has ended is left out before the pool asks it, which would warn of each.
    let living =
        Hook::sync_fn(
            |client: &mut deadpool_postgres::ClientWrapper, _| {
                if client.is_closed() { Err(HookError::message("it has ended")) } else { Ok(()) }
            },
        );
    Pool::builder(manager)
        .max_size(CONNECTIONS_MAX)
        .timeouts(Timeouts { wait: Some(WAIT), create: Some(WAIT), recycle: Some(WAIT) })
        .runtime(Runtime::Tokio1)
        .post_create(setup)
        .pre_recycle(living)
        .build()
        .map_err(|error| address.failed(error))
}

/// Makes connections. The pool's own way of making them logs each that ends, with a server that is
/// restarted once for each; here whoever uses it tells.
struct Connector {
    tls: MakeRustlsConnect,
}

type Connected = Result<(tokio_postgres::Client, JoinHandle<()>), Error>;

impl Connect for Connector {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let (tls, config) = (self.tls.clone(), config.clone());
        Box::pin(async move {
            let (client, connection) = config.connect(tls).await?;
            let running = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(reason = told(&error), "a connection to PostgreSQL ended");
                }
            });
            Ok((client, running))
        })
    }
}

/// A connection from the pool.
pub async fn client(pool: &Pool) -> Result<Client, Fault> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => Fault::Postgres(error),
        PoolError::Timeout(_) => Fault::Other(format!(
            "no connection to PostgreSQL within {} s: all {CONNECTIONS_MAX} are in use or the server does not answer",
            WAIT.as_secs()
        )),
        other => Fault::Other(format!("no connection to PostgreSQL: {other}")),
    })
}

/// Begins a transaction.
pub async fn begin(client: &mut Client, mode: Mode, span: Span) -> Result<Transaction<'_>, Fault> {
    let builder = client.build_transaction();
    let builder = match mode {
        Mode::Read => builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true),
        Mode::Write => builder.isolation_level(IsolationLevel::ReadCommitted),
    };
    let transaction = builder
        .start()
        .await
        .map_err(|error| if is_end(&error) { Fault::Stale(error) } else { Fault::Postgres(error) })?;
    if span == Span::Long {
        transaction
            .batch_execute(
                "SET LOCAL statement_timeout = '4h'; SET LOCAL idle_in_transaction_session_timeout = 0",
            )
            .await?;
    }
    Ok(transaction)
}

/// Makes a transaction durable.
pub async fn commit(transaction: Transaction<'_>) -> Result<(), Fault> {
    transaction
        .commit()
        .await
        .map_err(|error| if is_end(&error) { Fault::InDoubt(error) } else { Fault::Postgres(error) })
}

/// Whether an error says that the connection has ended: it was cut, or the server closed it with a
/// last word, which may have been said before anything was asked.
fn is_end(error: &Error) -> bool {
    error.code().is_none_or(|code| {
        let code = code.code();
        code.starts_with("57P") || code.starts_with("08") || code == "25P03"
    })
}

/// A connection in use. One whose use does not come to an end, because it takes too long or its user
/// goes away, is closed: the pool never holds one that hangs.
pub struct Used(Option<Client>);

impl Used {
    pub const fn new(client: Client) -> Self {
        Self(Some(client))
    }

    /// The connection, until it was released.
    pub fn client(&mut self) -> Result<&mut Client, Fault> {
        self.0.as_mut().ok_or_else(|| Fault::Other("the connection was given back".to_owned()))
    }

    /// Back to the pool: its use has ended.
    pub fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Client::take(client));
        }
    }
}

/// What an operation that took too long ends with.
pub fn too_long(span: Span) -> Fault {
    Fault::Other(format!(
        "PostgreSQL has not answered for {} s; what became of it will show when it is asked again",
        span.limit().as_secs()
    ))
}

/// Whether to try again after a fault, having paused; `attempt` counts from 1.
pub async fn again(attempt: &mut u32, fault: &Fault) -> bool {
    if !fault.is_passing() || *attempt >= ATTEMPTS_MAX {
        return false;
    }
    tokio::time::sleep(PAUSE * *attempt).await;
    *attempt += 1;
    true
}

/// Runs a body in a transaction, again where another one came between: `in_transaction!(pool, mode,
/// span, tx => body)`. The body gives `Result<T, Fault>`; a fault rolls back.
macro_rules! in_transaction {
    ($pool:expr, $mode:ident, $span:ident, $tx:ident => $body:expr) => {{
        use $crate::postgres::pool;
        let (mode, span) = (pool::Mode::$mode, pool::Span::$span);
        let mut attempt = 1;
        loop {
            let answer = async {
                let mut used = pool::Used::new(pool::client($pool).await?);
                let work = async {
                    let transaction = pool::begin(used.client()?, mode, span).await?;
                    let $tx = &transaction;
                    let answer = $body.await?;
                    pool::commit(transaction).await?;
                    Ok(answer)
                };
                let answer = tokio::time::timeout(span.limit(), work).await;
                let answer = answer.map_err(|_| pool::too_long(span))?;
                used.release();
                answer
            }
            .await;
            match answer {
                Ok(answer) => break Ok(answer),
                Err(fault) if pool::again(&mut attempt, &fault).await => {}
                Err(fault) => break Err(fault),
            }
        }
    }};
}
pub(super) use in_transaction;
