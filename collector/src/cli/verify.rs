//! `verify`: one line a promise, exit code 1 when one is broken.

use super::Failure;
use gpuledger_ledger::Ledger as _;
use gpuledger_ledger::sqlite::SqliteLedger;
use std::io::{self, Write as _};
use std::path::PathBuf;

pub async fn verify(ledger: PathBuf) -> Result<(), Failure> {
    let ledger = SqliteLedger::open_existing(&ledger)?;
    let faults = ledger.check().await?;
    let mut out = io::stdout().lock();
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    out.flush()?;
    if faults.is_empty() { Ok(()) } else { Err(Failure::Found) }
}
