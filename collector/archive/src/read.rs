//! Files into rows: only the pieces, columns and rows that are asked for.
//!
//! The end of a file says where each column of each piece lies and between which numbers its keys
//! are. So two reads fetch what is needed, however far away the file is: the end, and then the
//! wanted columns of the pieces that can hold a wanted GPU.

use crate::checksum::{self, ColumnSums};
use crate::files::{FileFault, Files};
use crate::schema::{self, Source};
use crate::table::{Kind, Row, RowKey};
use bytes::{Buf, Bytes};
use gpuledger_ledger::{Columns, DayFile, HourRange, Sums};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length, RowGroupReader};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::file::statistics::Statistics;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// How much of a file's end is fetched at first: its metadata, for up to about thirty pieces.
const END_BYTES: u64 = 128 * 1024;

/// Which rows of a file, and how much of each.
#[derive(Clone)]
pub struct Asked {
    pub range: HourRange,
    /// `None` for all.
    pub subjects: Option<Arc<BTreeSet<u32>>>,
    pub columns: Columns,
}

impl Asked {
    pub const ALL: Self = Self { range: HourRange::ALWAYS, subjects: None, columns: Columns::ALL };

    fn has(&self, key: RowKey) -> bool {
        (self.range.from.0..self.range.to.0).contains(&key.hour)
            && self.subjects.as_ref().is_none_or(|subjects| subjects.contains(&key.subject))
    }
}

/// Reads rows of a file in its order.
pub async fn rows<K: Kind>(files: &Files, file: &DayFile, asked: &Asked) -> Result<Vec<Row<K>>, FileFault> {
    let metadata = metadata(files, file).await?;
    schema::check_metadata(&metadata, K::TABLE, file.day, file.version).map_err(FileFault::Wrong)?;
    let pieces = wanted_pieces::<K>(&metadata, asked);
    let columns = Arc::new(wanted_columns::<K>(&metadata, asked)?);
    let ranges = ranges_of(&metadata, &pieces, &columns, file.bytes)?;
    let parts = files.ranges(&file.path, ranges.clone()).await?;
    let sparse =
        Sparse { parts: ranges.into_iter().map(|range| range.start).zip(parts).collect(), bytes: file.bytes };
    let (asked, sums) = (asked.clone(), file.sums);
    let work = move || decode(&metadata, &pieces, &columns, sparse, &asked, &sums);
    tokio::task::spawn_blocking(work).await.map_err(FileFault::damaged)?
}

/// Reads all rows of a file whose bytes are here, and holds them against the sums of the manifest.
pub fn rows_of_bytes<K: Kind>(file: &DayFile, bytes: Bytes) -> Result<Vec<Row<K>>, FileFault> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).map_err(FileFault::damaged)?;
    if !checksum::is_sealed(&bytes) {
        return Err(unsealed());
    }
    schema::check_metadata(&metadata, K::TABLE, file.day, file.version).map_err(FileFault::Wrong)?;
    let pieces: Vec<usize> = (0..metadata.num_row_groups()).collect();
    let columns = wanted_columns::<K>(&metadata, &Asked::ALL)?;
    let sparse = Sparse { parts: vec![(0, bytes)], bytes: file.bytes };
    decode(&metadata, &pieces, &columns, sparse, &Asked::ALL, &file.sums)
}

async fn metadata(files: &Files, file: &DayFile) -> Result<ParquetMetaData, FileFault> {
    let mut from = file.bytes.saturating_sub(END_BYTES);
    loop {
        let end = part(files, &file.path, from..file.bytes).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&end, file.bytes) {
            Ok(()) if !checksum::is_sealed(&end) => return Err(unsealed()),
            Ok(()) => return reader.finish().map_err(FileFault::damaged),
            // It says how much of the end it needs. More than the file has is damage.
            Err(ParquetError::NeedMoreData(needed)) => {
                let needed = u64::try_from(needed).unwrap_or(u64::MAX);
                let more = file.bytes.checked_sub(needed).filter(|&more| more < from);
                from = more.ok_or_else(|| FileFault::damaged("its end points beyond its beginning"))?;
            }
            Err(error) => return Err(FileFault::damaged(error)),
        }
    }
}

fn unsealed() -> FileFault {
    FileFault::damaged("its metadata does not match its checksum")
}

async fn part(files: &Files, path: &str, range: Range<u64>) -> Result<Bytes, FileFault> {
    let mut parts = files.ranges(path, Vec::from([range])).await?;
    parts.pop().ok_or_else(|| FileFault::Unreadable("nothing came".to_owned()))
}

/// A column to read: its position in the file, and what it is.
type Wanted<K> = (usize, Source<K>);

fn wanted_columns<K: Kind>(metadata: &ParquetMetaData, asked: &Asked) -> Result<Vec<Wanted<K>>, FileFault> {
    let there = metadata.file_metadata().schema_descr();
    let wanted = schema::columns::<K>().into_iter().filter(|column| column.is_read(asked.columns));
    let found = wanted.map(|column| {
        let position = there.columns().iter().position(|found| found.name() == column.name);
        let position =
            position.ok_or_else(|| FileFault::damaged(format!("it has no column {}", column.name)))?;
        Ok((position, column.source))
    });
    found.collect()
}

/// Pieces that can hold a wanted key, by the smallest and largest that they hold.
fn wanted_pieces<K: Kind>(metadata: &ParquetMetaData, asked: &Asked) -> Vec<usize> {
    let schema = metadata.file_metadata().schema_descr();
    let position = |name: &str| schema.columns().iter().position(|column| column.name() == name);
    let (subject, hour) = (position(K::SUBJECT), position("hour"));
    let can_hold = |piece: &RowGroupMetaData| {
        let hours = bounds(piece, hour)
            .is_none_or(|(first, last)| first < asked.range.to.0 && last >= asked.range.from.0);
        let subjects = asked.subjects.as_ref().is_none_or(|subjects| {
            bounds(piece, subject)
                .is_none_or(|(first, last)| first <= last && subjects.range(first..=last).next().is_some())
        });
        hours && subjects
    };
    let pieces = metadata.row_groups().iter().enumerate();
    pieces.filter(|(_, piece)| can_hold(piece)).map(|(position, _)| position).collect()
}

fn bounds(piece: &RowGroupMetaData, column: Option<usize>) -> Option<(u32, u32)> {
    match piece.column(column?).statistics()? {
        Statistics::Int32(found) => {
            Some((u32::try_from(*found.min_opt()?).ok()?, u32::try_from(*found.max_opt()?).ok()?))
        }
        _ => None,
    }
}

/// Where the columns lie. Neighbours are fetched as one.
fn ranges_of<K: Kind>(
    metadata: &ParquetMetaData,
    pieces: &[usize],
    columns: &[Wanted<K>],
    bytes: u64,
) -> Result<Vec<Range<u64>>, FileFault> {
    let mut ranges = Vec::new();
    for &piece in pieces {
        for (column, _) in columns {
            let (start, length) = metadata.row_group(piece).column(*column).byte_range();
            let end = start.checked_add(length).filter(|&end| end <= bytes);
            let end = end.ok_or_else(|| FileFault::damaged("a column lies beyond its end"))?;
            ranges.push(start..end);
        }
    }
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|later, kept| {
        let touches = later.start <= kept.end;
        if touches {
            kept.end = kept.end.max(later.end);
        }
        touches
    });
    Ok(ranges)
}

/// The fetched parts of a file, at their places.
struct Sparse {
    /// Start and content, by start.
    parts: Vec<(u64, Bytes)>,
    bytes: u64,
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

fn decode<K: Kind>(
    metadata: &ParquetMetaData,
    pieces: &[usize],
    columns: &[Wanted<K>],
    sparse: Sparse,
    asked: &Asked,
    sums: &Sums,
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
    let whole = asked.subjects.is_none() && rows.len() == usize::try_from(sums.rows).unwrap_or(usize::MAX);
    let all_hours = asked.range == HourRange::ALWAYS;
    if whole || all_hours {
        check_sums(&rows, asked.columns, sums)?;
    }
    Ok(rows)
}

/// Whoever reads a file whole finds out whether it holds what it was written with, as far as the
/// columns that were read tell. Energy and time of a report are thus never those of a damaged file.
fn check_sums<K: Kind>(rows: &[Row<K>], columns: Columns, expected: &Sums) -> Result<(), FileFault> {
    let found = crate::table::sums_of(rows).map_err(FileFault::damaged)?;
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

#[cfg(test)]
mod tests;
