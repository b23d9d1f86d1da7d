//! Files into rows: only the pieces, columns and rows that are asked for.
//!
//! The end of a file says where each column of each piece lies and between which numbers its values
//! are. So two reads fetch what is needed, however far away the file is: the end, and then the
//! wanted columns of the pieces that can hold a wanted GPU. A column that is the same in all rows of a
//! piece is not fetched at all: its two bounds say what it holds. What was fetched is decoded a batch of
//! rows at a time, so that a day of any fleet takes no more memory than its bytes.

mod batch;
mod columns;
mod decode;
mod piece;
mod rows;
mod sparse;

pub use batch::{Batch, Figures};
pub use columns::gpu_hours;
pub use decode::Batches;
pub use rows::Rows;

use crate::checksum;
use crate::files::{FileFault, Files};
use crate::schema::{self, Source};
use crate::table::{Kind, Row};
use bytes::Bytes;
use gpuledger_ledger::{Columns, Day, DayFile, HourRange};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::statistics::Statistics;
use sparse::Sparse;
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

    fn has_all_hours_of(&self, day: Day) -> bool {
        let day = day.hours();
        self.range.from <= day.from && day.to <= self.range.to
    }

    fn has_all_of(&self, day: Day) -> bool {
        self.subjects.is_none() && self.has_all_hours_of(day)
    }

    fn has_hour(&self, hour: u32) -> bool {
        (self.range.from.0..self.range.to.0).contains(&hour)
    }

    fn has_subject(&self, subject: u32) -> bool {
        self.subjects.as_ref().is_none_or(|subjects| subjects.contains(&subject))
    }

    /// The same with the columns that it takes to find the wanted rows of a day.
    fn with_what_selects(&self, day: Day) -> Self {
        let hours = if self.has_all_hours_of(day) { Columns::NONE } else { Columns::HOUR };
        Self { columns: self.columns.and(hours), ..self.clone() }
    }
}

/// What was fetched of a file.
pub struct Fetched {
    pub file: DayFile,
    metadata: Arc<ParquetMetaData>,
    pieces: Vec<usize>,
    sparse: Sparse,
}

impl Fetched {
    /// The rows. What is asked for is what was asked for when this was fetched, or less.
    pub fn batches<K: Kind>(self, asked: &Asked) -> Result<Batches<K>, FileFault> {
        let asked = asked.with_what_selects(self.file.day);
        let columns = wanted_columns::<K>(&self.metadata, asked.columns)?;
        let whole = asked.has_all_of(self.file.day).then_some(self.file.sums);
        Ok(Batches::new(self.metadata, self.pieces, columns, self.sparse, asked, whole))
    }
}

/// Fetches what it takes to read what is asked for.
pub async fn fetch<K: Kind>(files: &Files, file: DayFile, asked: &Asked) -> Result<Fetched, FileFault> {
    let metadata = metadata(files, &file).await?;
    schema::check_metadata(&metadata, K::TABLE, file.day, file.version).map_err(FileFault::Wrong)?;
    let asked = asked.with_what_selects(file.day);
    let pieces = wanted_pieces::<K>(&metadata, &asked);
    let columns = wanted_columns::<K>(&metadata, asked.columns)?;
    let ranges = ranges_of(&metadata, &pieces, &columns, file.bytes)?;
    let parts = files.ranges(&file.path, ranges.clone()).await?;
    let sparse =
        Sparse { parts: ranges.into_iter().map(|range| range.start).zip(parts).collect(), bytes: file.bytes };
    Ok(Fetched { file, metadata: Arc::new(metadata), pieces, sparse })
}

/// Reads rows of a file in its order, all at once.
pub async fn rows<K: Kind>(files: &Files, file: &DayFile, asked: &Asked) -> Result<Vec<Row<K>>, FileFault> {
    let asked = Asked { columns: asked.columns.and(Columns::KEYS), ..asked.clone() };
    let batches = fetch::<K>(files, file.clone(), &asked).await?.batches::<K>(&asked)?;
    tokio::task::spawn_blocking(move || batches.rows()).await.map_err(FileFault::damaged)?
}

/// All rows of a file whose bytes are here; held against the sums of the manifest when all were taken.
pub fn batches_of_bytes<K: Kind>(file: &DayFile, bytes: Bytes) -> Result<Batches<K>, FileFault> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).map_err(FileFault::damaged)?;
    if !checksum::is_sealed(&bytes) {
        return Err(unsealed());
    }
    schema::check_metadata(&metadata, K::TABLE, file.day, file.version).map_err(FileFault::Wrong)?;
    let pieces: Vec<usize> = (0..metadata.num_row_groups()).collect();
    let sparse = Sparse { parts: vec![(0, bytes)], bytes: file.bytes };
    Fetched { file: file.clone(), metadata: Arc::new(metadata), pieces, sparse }.batches(&Asked::ALL)
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

fn wanted_columns<K: Kind>(metadata: &ParquetMetaData, asked: Columns) -> Result<Vec<Wanted<K>>, FileFault> {
    let there = metadata.file_metadata().schema_descr();
    let wanted = schema::columns::<K>().into_iter().filter(|column| column.is_read(asked));
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

/// The one value that a column of a piece has in every row, as its bounds tell; the metadata is under a
/// checksum of its own. `Some(None)` where it is absent in every row.
#[allow(clippy::option_option, reason = "not one value for all, no value in all, this value in all")]
fn constant(column: &ColumnChunkMetaData) -> Option<Option<i64>> {
    let rows = u64::try_from(column.num_values()).ok()?;
    let statistics = column.statistics()?;
    // Where nothing can be absent nothing is.
    let is_optional = column.column_descr().max_def_level() > 0;
    match if is_optional { statistics.null_count_opt()? } else { 0 } {
        0 => {}
        absent if absent == rows => return Some(None),
        _ => return None,
    }
    let (min, max) = match statistics {
        Statistics::Int32(found) => (i64::from(*found.min_opt()?), i64::from(*found.max_opt()?)),
        Statistics::Int64(found) => (*found.min_opt()?, *found.max_opt()?),
        _ => return None,
    };
    (min == max).then_some(Some(min))
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
            let column = metadata.row_group(piece).column(*column);
            if constant(column).is_some() {
                continue;
            }
            let (start, length) = column.byte_range();
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

#[cfg(test)]
mod tests;
