//! `migrate`: the whole ledger in another store, and the proof that both are equal.

use super::Failure;
use super::backup::tell_content;
use super::progress::Progress;
use super::resolve::Migrate;
use crate::store::Access;
use crate::store::migrate::{self, Days, MigrateError};
use std::io::{self, Write as _};

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            error if error.is_usage() => Self::Usage(format!("{error}\nNothing was changed.")),
            error => Self::Runtime(error.to_string()),
        }
    }
}

pub async fn migrate(task: Migrate) -> Result<(), Failure> {
    let Migrate { from, to, archive } = task;
    let opened = from.open(Access::Read).await?;
    let mut progress = Progress::new(format!("copying {}", from.location));
    let step = &mut |step| progress.step(step);
    let moved = migrate::migrate((&opened, &from.location), &to, archive.as_deref(), step).await;
    drop(progress);
    let moved = match moved {
        Ok(moved) => moved,
        Err(error @ MigrateError::Different(_)) => {
            writeln!(io::stderr(), "{error}")?;
            return Err(Failure::Found);
        }
        Err(error) => return Err(error.into()),
    };
    let mut told = io::stdout().lock();
    writeln!(told, "{to} holds the same as {}", from.location)?;
    tell_content(&mut told, &moved.digest)?;
    match moved.days {
        Days::None => {}
        Days::Copied { to, copied } => {
            let there = if copied.there > 0 {
                format!(", {} lay there already", copied.there)
            } else {
                String::new()
            };
            let (files, bytes) = (copied.files, copied.bytes);
            writeln!(told, "{to}: {files} files of closed days, {bytes} bytes{there}")?;
        }
        Days::Stayed { at, files } => {
            writeln!(told, "{at}: {files} files of closed days stay there and are the new ledger's now;")?;
            writeln!(told, "{} closes no more days there and removes no files", from.location)?;
        }
    }
    Ok(told.flush()?)
}
