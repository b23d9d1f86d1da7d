//! Checksums inside a file, for whoever reads only a part of it and so cannot hold the whole against
//! the SHA-256 of the manifest.
//!
//! `gpuledger.columns` in the file's metadata is a CRC-32C of every column of every piece, as eight
//! hexadecimal digits each, piece by piece. `gpuledger.footer` is one of the metadata itself, computed
//! with its own digits as zeros. Other readers pass over both.

use bytes::Bytes;
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};

const COLUMNS: &str = "gpuledger.columns";
const FOOTER: &str = "gpuledger.footer";
const DIGITS: usize = 8;
const UNSEALED: &str = "crc32c:00000000";
/// Length of the metadata and magic number.
const TAIL_BYTES: usize = 8;

/// The entries to add to the metadata when all pieces are written.
pub fn entries(bytes: &[u8], pieces: &[RowGroupMetaData]) -> Option<[KeyValue; 2]> {
    let mut sums = String::new();
    for column in pieces.iter().flat_map(RowGroupMetaData::columns) {
        let (start, length) = column.byte_range();
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        sums += &hexadecimal(bytes.get(start..end)?);
    }
    Some([KeyValue::new(COLUMNS.to_owned(), sums), KeyValue::new(FOOTER.to_owned(), UNSEALED.to_owned())])
}

/// Fills in the checksum of the metadata of a finished file.
pub fn seal(file: &mut [u8]) -> Option<()> {
    let footer = footer_of(file)?;
    let digits = digits_of(file, footer.clone())?;
    let sum = hexadecimal(file.get(footer)?);
    file.get_mut(digits)?.copy_from_slice(sum.as_bytes());
    Some(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}

/// Whether the metadata at the end of a file is as it was written.
pub fn is_sealed(end: &[u8]) -> bool {
    let found = || {
        let footer = footer_of(end)?;
        let digits = digits_of(end, footer.clone())?;
        let expected = u32::from_str_radix(str::from_utf8(end.get(digits.clone())?).ok()?, 16).ok()?;
        let sum = crc32c::crc32c(end.get(footer.start..digits.start)?);
        let sum = crc32c::crc32c_append(sum, &[b'0'; DIGITS]);
        let sum = crc32c::crc32c_append(sum, end.get(digits.end..footer.end)?);
        Some(sum == expected)
    };
    found().unwrap_or(false)
}

fn footer_of(file: &[u8]) -> Option<std::ops::Range<usize>> {
    let end = file.len().checked_sub(TAIL_BYTES)?;
    let length: [u8; 4] = file.get(end..end + 4)?.try_into().ok()?;
    Some(end.checked_sub(usize::try_from(u32::from_le_bytes(length)).ok()?)?..end)
}

fn digits_of(file: &[u8], footer: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let marker = UNSEALED.len() - DIGITS;
    let prefix = UNSEALED.as_bytes().get(..marker)?;
    let at = file.get(footer.clone())?.windows(marker).position(|window| window == prefix)?;
    let start = footer.start + at + marker;
    (start + DIGITS <= footer.end).then_some(start..start + DIGITS)
}

/// Checks the bytes of columns as they are read.
pub struct ColumnSums {
    sums: String,
    columns: usize,
}

impl ColumnSums {
    pub fn new(metadata: &ParquetMetaData) -> Self {
        let entries = metadata.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let sums = entries.iter().find(|entry| entry.key == COLUMNS);
        let sums = sums.and_then(|entry| entry.value.clone()).unwrap_or_default();
        Self { sums, columns: metadata.file_metadata().schema_descr().num_columns() }
    }

    pub fn is_right(&self, piece: usize, column: usize, bytes: &Bytes) -> bool {
        let start = (piece * self.columns + column) * DIGITS;
        let sum =
            self.sums.get(start..start + DIGITS).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        sum == Some(crc32c::crc32c(bytes))
    }
}
