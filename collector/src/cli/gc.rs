//! `gc`: names files of closed days that nobody needs, and removes them.

use super::Failure;
use super::resolve::Gc;
use crate::ingest::events::wall_ms;
use crate::store::Access;
use std::io::{self, Write as _};

pub async fn gc(task: Gc) -> Result<(), Failure> {
    let Gc { ledger, options } = task;
    // A name with a slip of the pen must not become a new ledger.
    let mut opened = ledger.open(Access::Read).await?;
    if !options.dry_run {
        drop(opened);
        opened = ledger.open(Access::Write).await?;
    }
    let mut out = io::stdout().lock();
    let Some(archive) = opened.archive else {
        writeln!(out, "{} has no closed days: it has no place for them", ledger.location)?;
        return Ok(out.flush()?);
    };
    let garbage = archive.days.gc(options, wall_ms()).await?;
    let done = if options.dry_run { "would remove" } else { "removed" };
    for file in &garbage {
        writeln!(out, "{done} {} ({} bytes): {}", file.place, file.bytes, file.reason)?;
    }
    let bytes: u64 = garbage.iter().map(|file| file.bytes).sum();
    writeln!(out, "{done} {} files of {bytes} bytes in {}", garbage.len(), archive.root)?;
    Ok(out.flush()?)
}
