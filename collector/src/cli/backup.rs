//! `backup`: the ledger of one moment in a new file.

use super::Failure;
use super::progress::Progress;
use super::resolve::LedgerAt;
use crate::store::Access;
use crate::store::backup::{self, BackupError, Days};
use gpuledger_archive::Copied;
use gpuledger_ledger::transfer::Digest;
use std::io::{self, Write};
use std::path::PathBuf;

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        if error.is_usage() {
            Self::Usage(format!("{error}\nNothing was written."))
        } else {
            Self::Runtime(format!("{error}\nNo backup was made."))
        }
    }
}

pub async fn backup(from: LedgerAt, out: PathBuf) -> Result<(), Failure> {
    let opened = from.open(Access::Read).await?;
    let mut progress = Progress::new(format!("backing up {}", from.location));
    let made = backup::backup((&opened, &from.location), &out, &mut |step| progress.step(step)).await?;
    drop(progress);
    let mut told = io::stdout().lock();
    writeln!(told, "{}: the ledger {}", out.display(), from.location)?;
    tell_content(&mut told, &made.digest)?;
    match made.days {
        Days::None => {}
        Days::Copied { to, copied } => {
            let Copied { files, bytes, .. } = copied;
            writeln!(told, "{}: {files} files of closed days, {bytes} bytes", to.display())?;
        }
        Days::Referenced { files, root } => {
            writeln!(told, "{root}: {files} files of closed days stay there; the backup names them")?;
        }
    }
    Ok(told.flush()?)
}

/// What a ledger holds, by kind, and the one number over it.
pub fn tell_content(out: &mut dyn Write, digest: &Digest) -> io::Result<()> {
    for (name, part) in digest.parts().filter(|(_, part)| part.records > 0) {
        writeln!(out, "  {name:<24} {:>12}", part.records)?;
    }
    writeln!(out, "  SHA-256 over all         {digest}")
}
