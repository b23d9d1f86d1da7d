//! Fetched parts of a file into rows.

use super::{Asked, Wanted};
use crate::checksum::ColumnSums;
use crate::files::FileFault;
use crate::schema::Source;
use crate::table::{Kind, Row, RowKey, sums_of};
use bytes::{Buf, Bytes};
use gpuledger_ledger::{Columns, Sums};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length, RowGroupReader};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use std::ops::Range;
use std::sync::Arc;

/// The fetched parts of a file, at their places.
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

/// The rows that are asked for. Where that is all of them, `whole` is what they add up to.
pub fn decode<K: Kind>(
    metadata: &ParquetMetaData,
    pieces: &[usize],
    columns: &[Wanted<K>],
    sparse: Sparse,
    asked: &Asked,
    whole: Option<&Sums>,
) -> Result<Vec<Row<K>>, FileFault> {
    let sparse = Arc::new(sparse);
    let sums_of_columns = ColumnSums::new(metadata);
    let mut rows = Vec::new();
    for &piece in pieces {
        for (column, _) in columns {
            let (start, length) = metadata.row_group(piece).column(*column).byte_range();
            let length = usize::try_from(length).map_err(FileFault::damaged)?;
            let bytes = sparse.get_bytes(start, length).map_err(FileFault::damaged)?;
            if !sums_of_columns.is_right(piece, *column, &bytes) {
                return Err(FileFault::damaged("a column does not match its checksum"));
            }
        }
        decode_piece(metadata.row_group(piece), &sparse, columns, asked, &mut rows)?;
    }
    if let Some(sums) = whole {
        check_sums(&rows, asked.columns, sums)?;
    }
    Ok(rows)
}

/// Whoever reads a file whole finds out whether it holds what it was written with, as far as the
/// columns that were read tell. Energy and time of a report are thus never those of a damaged file.
fn check_sums<K: Kind>(rows: &[Row<K>], columns: Columns, expected: &Sums) -> Result<(), FileFault> {
    let found = sums_of(rows).map_err(FileFault::damaged)?;
    let (time, energy) = (columns.has(Columns::TIME), columns.has(Columns::ENERGY));
    let pairs = [
        (true, "rows", found.rows, expected.rows),
        (time, "observed_ms", found.observed_ms, expected.observed_ms),
        (energy, "counter_mj", found.counter_mj, expected.counter_mj),
        (energy, "gap_mj", found.gap_mj, expected.gap_mj),
        (energy, "estimated_mj", found.estimated_mj, expected.estimated_mj),
        (columns.has(Columns::SAMPLES), "samples", found.samples, expected.samples),
    ];
    for (known, name, found, expected) in pairs {
        if known && found != expected {
            return Err(FileFault::damaged(format!("{name} is {found}, the ledger says {expected}")));
        }
    }
    Ok(())
}

fn decode_piece<K: Kind>(
    piece: &RowGroupMetaData,
    sparse: &Arc<Sparse>,
    columns: &[Wanted<K>],
    asked: &Asked,
    rows: &mut Vec<Row<K>>,
) -> Result<(), FileFault> {
    let count = usize::try_from(piece.num_rows()).map_err(FileFault::damaged)?;
    let reader = SerializedRowGroupReader::new(
        Arc::clone(sparse),
        piece,
        RowGroupPageIndex::new(0, None),
        Arc::new(ReaderProperties::builder().build()),
    )
    .map_err(FileFault::damaged)?;
    let column = |position: usize| reader.get_column_reader(position).map_err(FileFault::damaged);
    let mut keys = vec![RowKey { subject: 0, hour: 0, owner: 0 }; count];
    for (position, source) in columns {
        let set: fn(&mut RowKey, u32) = match source {
            Source::Subject => |key, value| key.subject = value,
            Source::Hour => |key, value| key.hour = value,
            Source::Owner => |key, value| key.owner = value,
            _ => continue,
        };
        for (key, value) in keys.iter_mut().zip(keys_of(column(*position)?, count)?) {
            set(key, u32::try_from(value).map_err(FileFault::damaged)?);
        }
    }
    let runs = runs(&keys, asked);
    let first = rows.len();
    let wanted = runs.iter().flat_map(|run| keys.get(run.clone()).unwrap_or_default());
    rows.extend(wanted.map(|&key| Row { key, values: K::default() }));
    let rows = rows.get_mut(first..).unwrap_or_default();
    if rows.is_empty() {
        return Ok(());
    }
    for (position, source) in columns {
        if let Source::Number(number) = source {
            let mut values = Numbers::read(column(*position)?, &runs, number.optional)?;
            for row in rows.iter_mut() {
                let Some(value) = values.next()? else { continue };
                if value < 0 && !number.signed {
                    return Err(FileFault::damaged(format!("{} is below zero", number.name)));
                }
                (number.set)(&mut row.values, value);
            }
        }
    }
    Ok(())
}

/// Stretches of rows that are asked for.
fn runs(keys: &[RowKey], asked: &Asked) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        if asked.has(*key) {
            match runs.last_mut() {
                Some(run) if run.end == position => run.end = position + 1,
                _ => runs.push(position..position + 1),
            }
        }
    }
    runs
}

fn keys_of(column: ColumnReader, count: usize) -> Result<Vec<i32>, FileFault> {
    let ColumnReader::Int32ColumnReader(mut column) = column else {
        return Err(FileFault::damaged("a key is not of 32 bits"));
    };
    let mut values = Vec::with_capacity(count);
    read::<Int32Type>(&mut column, count, None, &mut values)?;
    if values.len() == count { Ok(values) } else { Err(FileFault::damaged("a key is absent")) }
}

/// Reads exactly this many records.
fn read<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    count: usize,
    mut present: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
) -> Result<(), FileFault> {
    let mut left = count;
    while left > 0 {
        let (records, _, _) =
            column.read_records(left, present.as_deref_mut(), None, values).map_err(FileFault::damaged)?;
        if records == 0 {
            return Err(FileFault::damaged("a column is shorter than its piece"));
        }
        left = left.saturating_sub(records);
    }
    Ok(())
}

/// The values of a column in the wanted rows.
struct Numbers {
    present: Option<std::vec::IntoIter<i16>>,
    values: std::vec::IntoIter<i64>,
}

impl Numbers {
    fn read(column: ColumnReader, runs: &[Range<usize>], optional: bool) -> Result<Self, FileFault> {
        let ColumnReader::Int64ColumnReader(mut column) = column else {
            return Err(FileFault::damaged("a number is not of 64 bits"));
        };
        let (mut present, mut values, mut at) = (optional.then(Vec::new), Vec::new(), 0);
        for run in runs {
            let gap = run.start - at;
            if gap > 0 && column.skip_records(gap).map_err(FileFault::damaged)? != gap {
                return Err(FileFault::damaged("a column is shorter than its piece"));
            }
            read::<Int64Type>(&mut column, run.len(), present.as_mut(), &mut values)?;
            at = run.end;
        }
        Ok(Self { present: present.map(Vec::into_iter), values: values.into_iter() })
    }

    /// The next row's value; `None` where it has none.
    fn next(&mut self) -> Result<Option<i64>, FileFault> {
        let short = || FileFault::damaged("a column is shorter than its piece");
        if let Some(present) = &mut self.present
            && present.next().ok_or_else(short)? == 0
        {
            return Ok(None);
        }
        self.values.next().map(Some).ok_or_else(short)
    }
}
