//! Files that nobody needs any more.
//!
//! The files are listed before the manifest is read, and every file is entered before its first byte
//! is written: so a file that is in the list and not in the manifest belongs to nobody. A pending entry
//! goes before its file, so that a writer that lives finds out before it publishes; a superseded one
//! goes after it, so that a file that could not be removed is tried again.

use crate::ArchivedLedger;
use crate::files::{Found, UNFINISHED};
use gpuledger_ledger::{DayFile, FileStatus, LedgerError, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const OPERATION: &str = "clear up the archive";

/// Why a file is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The ledger does not know it: its writer died, or it is from before a backup was restored.
    Unknown,
    /// Its writer began it and never entered it.
    Abandoned,
    /// A newer file holds its rows.
    Superseded,
    /// Older than what is to be kept.
    Expired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not known to the ledger",
            Self::Abandoned => "begun and never finished",
            Self::Superseded => "superseded by a newer file",
            Self::Expired => "older than what is kept",
        })
    }
}

/// A file that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Where it lies, in words.
    pub place: String,
    /// Below the root.
    pub path: String,
    /// 0 where only the entry is left.
    pub bytes: u64,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcOptions {
    /// For how long a superseded or expired file stays for those who still read it, and a begun one
    /// for the writer to finish.
    pub grace_ms: u64,
    /// Also files that the ledger does not know. Who restored an older ledger, or gave two ledgers
    /// one place, may want them: so only a person asks for this.
    pub unknown: bool,
    /// Names them and removes nothing.
    pub dry_run: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { grace_ms: 3_600_000, unknown: false, dry_run: false }
    }
}

impl ArchivedLedger {
    /// Removes what nobody needs and names it, by path.
    pub async fn gc(&self, options: GcOptions, now_ms: u64) -> Result<Vec<Garbage>, LedgerError> {
        self.not_anothers(OPERATION).await?;
        let mut found = Vec::new();
        for table in Table::ALL {
            let listed = self.files.list(table).await;
            found.extend(listed.map_err(|fault| fault.of(OPERATION, self.files.place(table.name())))?);
        }
        let entries = self.store.files().await?;
        let mut garbage = self.garbage(&found, &entries, options, now_ms);
        if options.dry_run || garbage.is_empty() {
            return Ok(garbage);
        }
        self.claim(OPERATION).await?;
        let paths_of = |garbage: &[Garbage], reason: Reason| -> Vec<String> {
            let found = garbage.iter().filter(|garbage| garbage.reason == reason);
            found.map(|garbage| garbage.path.clone()).collect()
        };
        self.store.forget_files(&paths_of(&garbage, Reason::Abandoned)).await?;
        // A writer that was only slow may have entered its file in between.
        let entries = self.store.files().await?;
        let current = entries.into_iter().filter(|file| file.status == FileStatus::Current);
        let current: BTreeSet<String> = current.map(|file| file.path).collect();
        garbage.retain(|garbage| !current.contains(&garbage.path));
        let (mut removed, mut failure) = (Vec::new(), Ok(()));
        for garbage in garbage {
            match self.files.remove(&garbage.path).await {
                Ok(()) => removed.push(garbage),
                Err(fault) => failure = failure.and(Err(fault.of(OPERATION, garbage.place))),
            }
        }
        self.store.forget_files(&paths_of(&removed, Reason::Superseded)).await?;
        failure.map(|()| removed)
    }

    fn garbage(&self, found: &[Found], entries: &[DayFile], options: GcOptions, now_ms: u64) -> Vec<Garbage> {
        let by_path: BTreeMap<&str, &DayFile> =
            entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let name = |path: &str, bytes, reason| Garbage {
            place: self.files.place(path),
            path: path.to_owned(),
            bytes,
            reason,
        };
        let files = found.iter().filter_map(|file| {
            let whole = file.path.strip_suffix(UNFINISHED);
            let entry = by_path.get(whole.unwrap_or(&file.path)).copied();
            let reason = match entry {
                // Left beside the whole file, or by a writer whose entry is gone.
                Some(entry) if whole.is_some() && entry.status != FileStatus::Pending => Reason::Unknown,
                Some(entry) => reason_of(entry, options, now_ms)?,
                None => Reason::Unknown,
            };
            (reason != Reason::Unknown || options.unknown).then(|| name(&file.path, file.bytes, reason))
        });
        let mut garbage: Vec<Garbage> = files.collect();
        let there: BTreeSet<&str> = found.iter().map(|file| file.path.as_str()).collect();
        // Entries of which the file is gone, or never came.
        let bare = entries.iter().filter(|entry| !there.contains(entry.path.as_str()));
        garbage.extend(bare.filter_map(|entry| {
            let reason = reason_of(entry, options, now_ms)?;
            (reason != Reason::Expired).then(|| name(&entry.path, 0, reason))
        }));
        garbage.sort_by(|a, b| a.path.cmp(&b.path));
        garbage
    }
}

/// Why an entry's file is not needed; `None` where it is.
fn reason_of(entry: &DayFile, options: GcOptions, now_ms: u64) -> Option<Reason> {
    let reason = match entry.status {
        FileStatus::Current => return None,
        FileStatus::Pending => Reason::Abandoned,
        FileStatus::Superseded => Reason::Superseded,
        FileStatus::Expired => Reason::Expired,
    };
    (now_ms.saturating_sub(entry.since_ms) >= options.grace_ms).then_some(reason)
}
