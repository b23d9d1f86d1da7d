//! `verify`: one line a promise, exit code 1 when one is broken.

use super::Failure;
use super::progress::Progress;
use super::resolve::LedgerAt;
use crate::store::{Access, StoreError};
use crate::verify::{ClosedDays, PromiseCheck, Subject, verify as check};
use gpuledger_ledger::LedgerError;
use std::io::{self, Write as _};

pub async fn verify(at: LedgerAt) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let checks = match examine(&at).await {
        Ok(checks) => checks,
        // Damage is what this command looks for, not a reason to give up.
        Err(StoreError::Ledger(LedgerError::Corrupt { reason, .. })) => {
            writeln!(out, "BROKEN the store is sound: {} is damaged: {reason}", at.location)?;
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

async fn examine(at: &LedgerAt) -> Result<Vec<PromiseCheck>, StoreError> {
    let opened = at.open(Access::Read).await?;
    let mut progress = Progress::new("reading closed days");
    let archive = opened.archive.as_ref().map(|archive| archive as &dyn ClosedDays);
    let subject = Subject { store: opened.store.as_ref(), archive };
    Ok(check(subject, &mut |done, whole| progress.show(count(done), count(whole))).await?)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
