//! Disasters, by what goes wrong: opening, the link's security, the server, other collectors, rows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod collectors;
mod faults;
mod kills;
mod many_rows;
mod opening;
mod tls;

use gpuledger_ledger::LedgerError;
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_ledger::suite::samples::Node;
use gpuledger_real_postgres::{Server, shared};

/// The server of this process and the address of an empty schema; `None` where PostgreSQL is missing.
fn place() -> Option<(&'static Server, String)> {
    let server = shared().unwrap()?;
    Some((server, server.fresh().unwrap()))
}

async fn open(url: &str) -> PostgresLedger {
    PostgresLedger::connect(url).await.unwrap()
}

async fn node(ledger: &PostgresLedger, name: &str) -> Node {
    Node::register(ledger, name).await.unwrap()
}

fn told<T>(result: Result<T, LedgerError>) -> LedgerError {
    match result {
        Ok(_) => panic!("what must fail was done"),
        Err(error) => error,
    }
}

/// The schema that an address names.
fn schema(url: &str) -> &str {
    url.rsplit_once("%3D").unwrap().1
}
