//! `verify`: one line a promise, exit code 1 when one is broken.

use super::Failure;
use crate::verify::{PromiseCheck, verify as check};
use gpuledger_ledger::sqlite::SqliteLedger;
use std::io::{self, Write as _};
use std::path::PathBuf;

pub async fn verify(ledger: PathBuf) -> Result<(), Failure> {
    let ledger = SqliteLedger::open_existing(&ledger)?;
    let promises = check(&ledger).await?;
    let mut out = io::stdout().lock();
    for promise in &promises {
        writeln!(out, "{promise}")?;
    }
    out.flush()?;
    if promises.iter().all(PromiseCheck::holds) { Ok(()) } else { Err(Failure::Found) }
}
