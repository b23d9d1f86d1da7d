//! What can go wrong, with the operation and the path.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the disk is full: cannot {operation} {}", path.display())]
    DiskFull { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("the file system is read-only: cannot {operation} {}", path.display())]
    ReadOnly { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by another process; stop it or choose another spool folder", path.display())]
    Locked { path: PathBuf },
    #[error(
        "{} has format version {version}, and this version reads only {}; upgrade, or move the file away",
        path.display(),
        crate::format::VERSION
    )]
    NewerFormat { path: PathBuf, version: u32 },
    #[error("{what} of {bytes} bytes does not fit: the limit is {limit} bytes")]
    TooLarge { what: &'static str, bytes: u64, limit: u64 },
    #[error("the spool cap of {bytes} bytes is too small: the least is {} bytes", crate::CAP_BYTES_MIN)]
    CapTooSmall { bytes: u64 },
    #[error("a segment cannot begin with sequence {sequence}: expected 1 to {}", crate::SEQUENCE_FIRST_MAX)]
    Sequence { sequence: u64 },
    #[error("no segment has been begun")]
    NoSegment,
}

impl SpoolError {
    /// Sorts an error of the operating system by what an operator does about it.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { operation, path, source }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { operation, path, source },
            _ => Self::Io { operation, path, source },
        }
    }
}
