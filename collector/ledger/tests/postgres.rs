//! The PostgreSQL store on a real server: the suite that every store passes, and the disasters of a
//! server and of several collectors on one database.

#![cfg(all(test, feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod on_postgres;

use async_trait::async_trait;
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_ledger::suite::Bed;
use gpuledger_ledger::{LedgerError, Store};

/// Two schemas of the server that all tests of this process share.
struct SchemaBed {
    first: String,
    second: String,
}

impl SchemaBed {
    /// `None` where PostgreSQL is missing.
    fn new() -> Option<Self> {
        let server = gpuledger_real_postgres::shared().unwrap()?;
        Some(Self { first: server.fresh().unwrap(), second: server.fresh().unwrap() })
    }
}

#[async_trait]
impl Bed for SchemaBed {
    async fn open(&self) -> Result<Box<dyn Store>, LedgerError> {
        Ok(Box::new(PostgresLedger::connect(&self.first).await?))
    }

    async fn open_second(&self) -> Result<Box<dyn Store>, LedgerError> {
        Ok(Box::new(PostgresLedger::connect(&self.second).await?))
    }
}

gpuledger_ledger::ledger_suite!(match SchemaBed::new() {
    Some(bed) => bed,
    None => return,
});
