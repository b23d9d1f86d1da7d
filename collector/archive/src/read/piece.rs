//! One piece of a file, of which the wanted columns are decoded side by side.

use super::batch::{Batch, Figures};
use super::sparse::Sparse;
use super::{Asked, Wanted, constant};
use crate::checksum::ColumnSums;
use crate::files::FileFault;
use crate::schema::Source;
use crate::table::{Kind, Number};
use gpuledger_ledger::{PIECE_ROWS, Values};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, Int32Type, Int64Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader as _, RowGroupReader};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use std::ops::Range;
use std::sync::Arc;

/// Where the values of a column come from.
enum Reader {
    Same(Option<i64>),
    Key(ColumnReaderImpl<Int32Type>),
    Number(ColumnReaderImpl<Int64Type>),
}

pub struct Piece<K: 'static> {
    rows_left: usize,
    columns: Vec<(Source<K>, Reader)>,
}

impl<K: Kind> Piece<K> {
    /// Holds the columns against their checksums, then begins to decode them.
    pub fn open(
        metadata: &ParquetMetaData,
        position: usize,
        wanted: &[Wanted<K>],
        sparse: &Arc<Sparse>,
        sums: &ColumnSums,
    ) -> Result<Self, FileFault> {
        let piece = metadata.row_group(position);
        let reader = SerializedRowGroupReader::new(
            Arc::clone(sparse),
            piece,
            RowGroupPageIndex::new(0, None),
            Arc::new(ReaderProperties::builder().build()),
        )
        .map_err(FileFault::damaged)?;
        let mut columns = Vec::with_capacity(wanted.len());
        for &(column, source) in wanted {
            if let Some(value) = constant(piece.column(column)) {
                columns.push((source, Reader::Same(value)));
                continue;
            }
            let (start, length) = piece.column(column).byte_range();
            let length = usize::try_from(length).map_err(FileFault::damaged)?;
            let bytes = sparse.get_bytes(start, length).map_err(FileFault::damaged)?;
            if !sums.is_right(position, column, &bytes) {
                return Err(FileFault::damaged("a column does not match its checksum"));
            }
            let reader = match (&source, reader.get_column_reader(column).map_err(FileFault::damaged)?) {
                (Source::Number(_), ColumnReader::Int64ColumnReader(reader)) => Reader::Number(reader),
                (Source::Number(_), _) => return Err(FileFault::damaged("a number is not of 64 bits")),
                (_, ColumnReader::Int32ColumnReader(reader)) => Reader::Key(reader),
                _ => return Err(FileFault::damaged("a key is not of 32 bits")),
            };
            columns.push((source, reader));
        }
        Ok(Self { rows_left: usize::try_from(piece.num_rows()).map_err(FileFault::damaged)?, columns })
    }

    /// The wanted rows of the next batch, which may be none; `None` after the last. Without `select`
    /// every row is wanted.
    pub fn next(&mut self, select: Option<&Asked>) -> Result<Option<Batch<K>>, FileFault> {
        let rows = self.rows_left.min(PIECE_ROWS);
        if rows == 0 {
            return Ok(None);
        }
        self.rows_left -= rows;
        let (mut subject, mut hour, mut owner) = (None, None, None);
        for (source, reader) in &mut self.columns {
            let key = match source {
                Source::Subject => &mut subject,
                Source::Hour => &mut hour,
                Source::Owner => &mut owner,
                _ => continue,
            };
            *key = Some(keys(reader, rows)?);
        }
        let mut subject = subject.ok_or_else(|| FileFault::damaged("a key is absent"))?;
        let runs = match select {
            None => std::iter::once(0..rows).collect(),
            Some(asked) => runs(rows, &subject, hour.as_ref(), asked),
        };
        let mut numbers = Vec::with_capacity(self.columns.len());
        for (source, reader) in &mut self.columns {
            if let Source::Number(number) = source {
                numbers.push((*number, figures(reader, number, &runs, rows)?));
            }
        }
        let mut wanted = rows;
        if select.is_some() {
            wanted = runs.iter().map(Range::len).sum();
            keep(&mut subject, &runs);
            [&mut hour, &mut owner].into_iter().flatten().for_each(|key| keep(key, &runs));
        }
        Ok(Some(Batch { rows: wanted, subject, hour, owner, numbers }))
    }
}

/// Stretches of rows that are asked for.
fn runs(rows: usize, subject: &Values<u32>, hour: Option<&Values<u32>>, asked: &Asked) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in 0..rows {
        let in_time = hour.and_then(|hour| hour.at(row)).is_none_or(|hour| asked.has_hour(hour));
        if in_time && subject.at(row).is_some_and(|subject| asked.has_subject(subject)) {
            match runs.last_mut() {
                Some(run) if run.end == row => run.end = row + 1,
                _ => runs.push(row..row + 1),
            }
        }
    }
    runs
}

fn keep(key: &mut Values<u32>, runs: &[Range<usize>]) {
    if let Values::Each(values) = key {
        *values = runs.iter().flat_map(|run| values.get(run.clone()).unwrap_or_default()).copied().collect();
    }
}

fn keys(reader: &mut Reader, rows: usize) -> Result<Values<u32>, FileFault> {
    let below_zero = || FileFault::damaged("a key is below zero");
    match reader {
        Reader::Same(value) => {
            let value = value.ok_or_else(|| FileFault::damaged("a key is absent"))?;
            u32::try_from(value).map(Values::Same).map_err(|_| below_zero())
        }
        Reader::Key(column) => {
            let mut values = Vec::with_capacity(rows);
            read(column, rows, None, &mut values)?;
            if values.iter().fold(0, |bits, value| bits | value) < 0 {
                return Err(below_zero());
            }
            Ok(Values::Each(values.into_iter().map(i32::cast_unsigned).collect()))
        }
        Reader::Number(_) => Err(FileFault::damaged("a key is not of 32 bits")),
    }
}

/// The values of a column in the wanted rows.
fn figures<K>(
    reader: &mut Reader,
    number: &Number<K>,
    runs: &[Range<usize>],
    rows: usize,
) -> Result<Figures, FileFault> {
    let below_zero = || FileFault::damaged(format!("{} is below zero", number.name));
    let column = match reader {
        Reader::Same(value) if number.optional => return Ok(Figures::Maybe(Values::Same(*value))),
        Reader::Same(value) => {
            let value = value.ok_or_else(|| FileFault::damaged(format!("{} is absent", number.name)))?;
            let value = u64::try_from(value).map_err(|_| below_zero())?;
            return Ok(Figures::Always(Values::Same(value)));
        }
        Reader::Number(column) => column,
        Reader::Key(_) => return Err(FileFault::damaged("a number is not of 64 bits")),
    };
    let (mut present, mut values) = (number.optional.then(Vec::new), Vec::with_capacity(rows));
    let mut at = 0;
    for run in runs {
        skip(column, run.start - at)?;
        read(column, run.len(), present.as_mut(), &mut values)?;
        at = run.end;
    }
    skip(column, rows - at)?;
    match present {
        Some(present) => {
            let mut values = values.into_iter();
            let values = present.into_iter().map(|is_there| if is_there > 0 { values.next() } else { None });
            Ok(Figures::Maybe(Values::Each(values.collect())))
        }
        None if values.iter().fold(0, |bits, value| bits | value) < 0 => Err(below_zero()),
        None => Ok(Figures::Always(Values::Each(values.into_iter().map(i64::cast_unsigned).collect()))),
    }
}

fn short() -> FileFault {
    FileFault::damaged("a column is shorter than its piece")
}

fn skip<T: DataType>(column: &mut ColumnReaderImpl<T>, rows: usize) -> Result<(), FileFault> {
    let skipped = if rows == 0 { 0 } else { column.skip_records(rows).map_err(FileFault::damaged)? };
    if skipped == rows { Ok(()) } else { Err(short()) }
}

/// Reads exactly this many records.
fn read<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    rows: usize,
    mut present: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
) -> Result<(), FileFault> {
    let (mut left, before) = (rows, values.len());
    while left > 0 {
        let (records, _, _) =
            column.read_records(left, present.as_deref_mut(), None, values).map_err(FileFault::damaged)?;
        if records == 0 {
            return Err(short());
        }
        left = left.saturating_sub(records);
    }
    // Where nothing can be absent, each record has its value.
    if present.is_none() && values.len() - before != rows { Err(short()) } else { Ok(()) }
}
