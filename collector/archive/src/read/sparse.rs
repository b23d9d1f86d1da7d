//! The fetched parts of a file, at their places.

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

pub struct Sparse {
    /// Start and content, by start.
    pub parts: Vec<(u64, Bytes)>,
    pub bytes: u64,
}

impl Sparse {
    /// From here to the end of the part that it lies in.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let before = self.parts.partition_point(|(at, _)| *at <= start);
        let part = before.checked_sub(1).and_then(|position| self.parts.get(position));
        let found = part.and_then(|(at, part)| {
            let skipped = usize::try_from(start - at).ok()?;
            (skipped <= part.len()).then(|| part.slice(skipped..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} was not fetched")))
    }
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Sparse {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let part = self.from(start)?;
        if part.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} were not fetched")));
        }
        Ok(part.slice(..length))
    }
}
