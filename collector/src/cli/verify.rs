//! `verify`: one line a promise, exit code 1 when one is broken.

use super::Failure;
use crate::verify::{PromiseCheck, verify as check};
use gpuledger_ledger::LedgerError;
use gpuledger_ledger::sqlite::SqliteLedger;
use std::io::{self, Write as _};
use std::path::PathBuf;

pub async fn verify(path: PathBuf) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let checks = match examine(&path).await {
        Ok(checks) => checks,
        // Damage is what this command looks for, not a reason to give up.
        Err(LedgerError::Corrupt { reason, .. }) => {
            writeln!(out, "BROKEN the store is sound: {} is damaged: {reason}", path.display())?;
            out.flush()?;
            return Err(Failure::Found);
        }
        Err(error) => return Err(error.into()),
    };
    for check in &checks {
        writeln!(out, "{check}")?;
    }
    out.flush()?;
    if checks.iter().all(PromiseCheck::holds) { Ok(()) } else { Err(Failure::Found) }
}

async fn examine(path: &std::path::Path) -> Result<Vec<PromiseCheck>, LedgerError> {
    let ledger = SqliteLedger::open_existing(path)?;
    check(&ledger).await
}
