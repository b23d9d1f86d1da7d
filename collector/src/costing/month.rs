//! What the month has cost so far, for `/metrics`.

use crate::export::MonthToDate;
use crate::fleet::Fleet;
use async_trait::async_trait;
use gpuledger_ledger::Ledger;
use gpuledger_tco::statement::{GroupBy, Statement};
use jiff::Timestamp;
use std::error::Error;
use std::sync::Arc;

/// The register as it was when the collector started, and the ledger as it is.
pub struct MonthCosts {
    pub ledger: Arc<dyn Ledger>,
    pub fleet: Arc<Fleet>,
}

#[async_trait]
impl MonthToDate for MonthCosts {
    async fn statement(&self) -> Result<Option<Statement>, Box<dyn Error + Send + Sync>> {
        let statement =
            super::month_to_date(&*self.ledger, &self.fleet, GroupBy::Node, Timestamp::now()).await?;
        Ok(Some(statement))
    }
}
