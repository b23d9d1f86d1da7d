//! Where files lie: a folder, or an object store.
//!
//! A file appears whole under its name or not at all, and is never written again under the same
//! name. A folder gets it as `NAME.tmp` first, which is synced and renamed; then the folder is synced.

mod local;
mod object;

use crate::root::{Root, RootError};
use bytes::Bytes;
use gpuledger_ledger::{LedgerError, Table};
use object_store::ObjectStore;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What is wrong with one file; [`Self::of`] adds which and what for.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("is missing")]
    Missing,
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("cannot be written: {0}")]
    Unwritable(String),
    #[error("cannot be removed: {0}")]
    Unremovable(String),
    /// What it holds is not what it should hold; the whole sentence.
    #[error("{0}")]
    Wrong(String),
}

impl FileFault {
    pub fn damaged(error: impl std::fmt::Display) -> Self {
        Self::Wrong(format!("is damaged: {error}"))
    }

    /// The error of an operation on this file.
    pub fn of(self, operation: &'static str, file: String) -> LedgerError {
        LedgerError::Archive { operation, file, fault: self.to_string() }
    }
}

/// A file that lies in the archive, named like ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Below the root.
    pub path: String,
    pub bytes: u64,
}

/// The place of the files.
#[derive(Clone)]
pub enum Files {
    Folder(PathBuf),
    Objects { store: Arc<dyn ObjectStore>, prefix: object_store::path::Path, url: String },
}

impl Files {
    pub fn open(root: Root) -> Result<Self, RootError> {
        match root {
            Root::Folder(folder) => Ok(Self::Folder(folder)),
            Root::Objects { url } => object::open(url),
            Root::Given { store, url } => {
                Ok(Self::Objects { store, prefix: object_store::path::Path::default(), url })
            }
        }
    }

    /// The file's place in words, for messages.
    pub fn place(&self, path: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(path).display().to_string(),
            Self::Objects { url, .. } => format!("{}/{path}", url.trim_end_matches('/')),
        }
    }

    /// Writes a new file; when this returns, it is durable.
    pub async fn write(&self, path: &str, bytes: Bytes) -> Result<(), FileFault> {
        match self {
            Self::Folder(folder) => local::write(folder.clone(), path.to_owned(), bytes).await,
            Self::Objects { store, prefix, .. } => object::write(&**store, prefix, path, bytes).await,
        }
    }

    pub async fn read(&self, path: &str) -> Result<Bytes, FileFault> {
        match self {
            Self::Folder(folder) => local::read(folder.join(path)).await,
            Self::Objects { store, prefix, .. } => object::read(&**store, prefix, path).await,
        }
    }

    /// Parts of a file, in the order asked.
    pub async fn ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, FileFault> {
        match self {
            Self::Folder(folder) => local::ranges(folder.join(path), ranges).await,
            Self::Objects { store, prefix, .. } => object::ranges(&**store, prefix, path, &ranges).await,
        }
    }

    /// Whether a file is surely not there.
    pub async fn is_missing(&self, path: &str) -> bool {
        let first = 0..1;
        matches!(self.ranges(path, Vec::from([first])).await, Err(FileFault::Missing))
    }

    /// Every file of a table that is named like ours, the unfinished ones too, by name.
    pub async fn list(&self, table: Table) -> Result<Vec<Found>, FileFault> {
        let mut found = match self {
            Self::Folder(folder) => local::list(folder.clone(), table.name()).await,
            Self::Objects { store, prefix, .. } => object::list(&**store, prefix, table.name()).await,
        }?;
        found.retain(|found| {
            let name = found.path.strip_prefix(table.name()).and_then(|name| name.strip_prefix('/'));
            name.is_some_and(is_ours)
        });
        found.sort();
        Ok(found)
    }

    /// Removes a file; that it is gone already is no error.
    pub async fn remove(&self, path: &str) -> Result<(), FileFault> {
        match self {
            Self::Folder(folder) => local::remove(folder.join(path)).await,
            Self::Objects { store, prefix, .. } => object::remove(&**store, prefix, path).await,
        }
    }
}

/// What a file is called until it is whole.
pub const UNFINISHED: &str = ".tmp";

/// Whether a name is one that a store gives to a file, `2026-11-01.v0002-3fa94c.parquet`, or that of
/// an unfinished one. Nothing else in the folder is ours to remove.
pub fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(UNFINISHED).unwrap_or(name);
    let Some((date, rest)) = name.split_once(".v") else { return false };
    let Some((version, rest)) = rest.split_once('-') else { return false };
    let Some(random) = rest.strip_suffix(".parquet") else { return false };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let digits = |text: &str, at_least: usize| {
        text.len() >= at_least && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits(year, 4)
        && (digits(month, 2) && month.len() == 2)
        && (digits(day, 2) && day.len() == 2)
        && digits(version, 4)
        && (random.len() == 6 && random.bytes().all(is_hex))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_names_that_a_store_gives_are_ours() {
        for name in [
            "2026-11-01.v0002-3fa94c.parquet",
            "2026-11-01.v12345-000000.parquet",
            "2026-11-01.v0002-3fa94c.parquet.tmp",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "",
            "notes.txt",
            "2026-11-01.parquet",
            "2026-11-01.v2-3fa94c.parquet",
            "2026-11-01.v0002-3FA94C.parquet",
            "2026-11-01.v0002-3fa94c.parquet.bak",
            "2026-11-01.v0002-3fa94c1.parquet",
            "2026-11-1.v0002-3fa94c.parquet",
            "copy of 2026-11-01.v0002-3fa94c.parquet",
            "2026-11-01-12.v0002-3fa94c.parquet",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
