//! What is being gathered for the next record, kept against a killed process.
//!
//! Entries are written at once but never synced: they survive the process, not the power. Each
//! carries the caller's tag, for instance the sequence of the record that it will become part of,
//! so that a crash between "record appended" and "journal cleared" can be told at the next start.
//! The file has the format of a segment (see the crate's documentation), with tags in the place of
//! sequences. A torn end is cut off when it is opened.

use crate::JOURNAL_BYTES_MAX;
use crate::error::SpoolError;
use crate::format;
use crate::fs::{File, Filesystem};
use crate::recover::{read_array, read_record};
use std::path::{Path, PathBuf};

/// One entry as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub tag: u64,
    pub bytes: Vec<u8>,
}

/// An append-only file that is emptied again and again.
pub struct Journal {
    file: Box<dyn File>,
    path: PathBuf,
    end: u64,
    torn: bool,
}

/// Bytes of the journal's head: it has no blob.
const START: u64 = format::HEAD_BYTES as u64;

impl Journal {
    /// Opens or creates the journal and returns what it holds.
    pub(crate) fn open(fs: &dyn Filesystem, folder: &Path) -> Result<(Self, Vec<Entry>), SpoolError> {
        let path = folder.join("journal");
        let io = |operation, e| SpoolError::io(operation, &path, e);
        let head = format::encode_head(format::JOURNAL_MAGIC, 0, &[]);
        if let Ok(mut file) = fs.open(&path) {
            let bytes = file.bytes().map_err(|e| io("read", e))?;
            let found = read_array::<{ format::HEAD_BYTES }>(file.as_ref(), 0, bytes);
            if found.map_err(|e| io("read", e))?.is_some_and(|found| found[..] == head) {
                let mut entries = Vec::new();
                let mut end = START;
                while let Some((tag, bytes)) =
                    read_record(file.as_ref(), end, bytes).map_err(|e| io("read", e))?
                {
                    end += (format::RECORD_HEAD_BYTES + bytes.len()) as u64;
                    entries.push(Entry { tag, bytes });
                }
                file.truncate(end).map_err(|e| io("truncate", e))?;
                return Ok((Self { file, path, end, torn: false }, entries));
            }
        }
        // Missing, or not readable as a journal: nothing in it can be used.
        let mut file = fs.create(&path).map_err(|e| io("create", e))?;
        file.write_at(0, &head).map_err(|e| io("write", e))?;
        Ok((Self { file, path, end: START, torn: false }, Vec::new()))
    }

    /// Writes entries behind the others: all of them, or after an error none.
    pub fn append(&mut self, entries: &[(u64, &[u8])]) -> Result<(), SpoolError> {
        let mut buffer = Vec::new();
        for (tag, bytes) in entries {
            format::encode_record(&mut buffer, *tag, bytes);
        }
        let end = self.end + buffer.len() as u64;
        if end > JOURNAL_BYTES_MAX {
            return Err(SpoolError::TooLarge { what: "the journal", bytes: end, limit: JOURNAL_BYTES_MAX });
        }
        if self.torn {
            self.cut(self.end)?;
        }
        if let Err(e) = self.file.write_at(self.end, &buffer) {
            self.torn = true;
            // Where it cannot be cut off now, it is before the next write.
            let _ = self.cut(self.end);
            return Err(SpoolError::io("write", &self.path, e));
        }
        self.end = end;
        Ok(())
    }

    /// Forgets every entry.
    pub fn clear(&mut self) -> Result<(), SpoolError> {
        if self.end > START || self.torn { self.cut(START) } else { Ok(()) }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.end == START
    }

    fn cut(&mut self, end: u64) -> Result<(), SpoolError> {
        self.file.truncate(end).map_err(|e| SpoolError::io("truncate", &self.path, e))?;
        self.end = end;
        self.torn = false;
        Ok(())
    }
}
