//! Rows into the bytes of a file.
//!
//! A report reads keys, time and energy of every row, and hardly anything else. Those columns are
//! packed and not compressed: numbers as differences in as many bits as they need, keys as runs. They
//! take 1 to 1.5 ns a value to read, at 2 to 4 bytes; compressed by zstd they take 6 to 17 ns, and energy,
//! which is noise in its low bits, is no smaller. What is read rarely is compressed.

use crate::checksum;
use crate::names::Names;
use crate::schema::{self, Column, Source};
use crate::table::{Kind, Number, Row, RowKey};
use bytes::Bytes;
use gpuledger_ledger::{Columns, Hour, PendingFile, Sums};
use gpuledger_units::Overflow;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

/// Rows in one piece of a file. A piece is what a reader takes or leaves by the GPUs in it: about
/// 2,700 GPUs that had one owner all day. The pieces of the largest day are then thirty.
pub const PIECE_ROWS: usize = 65_536;
/// Level 3 is zstd's own choice; higher ones save little on integers and cost twice the time.
const ZSTD_LEVEL: i32 = 3;
/// Numbers that reports read.
const HOT: Columns = Columns::TIME.and(Columns::ENERGY).and(Columns::GAPS);

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

/// A file that is being made. Rows come sorted and their keys are unique.
///
/// A day of 80,000 GPUs is about two million rows: the file's bytes, some 50 MB, and one piece of rows are
/// in memory.
pub struct Encoder<K: 'static> {
    file: PendingFile,
    columns: Vec<Column<K>>,
    writer: SerializedFileWriter<Vec<u8>>,
    waiting: Vec<Row<K>>,
    sums: Sums,
}

impl<K: Kind> Encoder<K> {
    pub fn new(file: &PendingFile) -> Result<Self, WriteError> {
        let columns = schema::columns::<K>();
        let properties = properties(file, &columns)?;
        let writer = SerializedFileWriter::new(Vec::new(), schema::message_type::<K>()?, properties)?;
        Ok(Self { file: file.clone(), columns, writer, waiting: Vec::new(), sums: Sums::default() })
    }

    pub fn add(&mut self, row: Row<K>, names: &Names) -> Result<(), WriteError> {
        row.values.count(&mut self.sums)?;
        self.waiting.push(row);
        if self.waiting.len() == PIECE_ROWS { self.write_piece(names) } else { Ok(()) }
    }

    fn write_piece(&mut self, names: &Names) -> Result<(), WriteError> {
        let mut group = self.writer.next_row_group()?;
        for column in &self.columns {
            let Some(out) = group.next_column()? else { break };
            write_column(out, &column.source, &self.file, &self.waiting, names)?;
        }
        group.close()?;
        self.waiting.clear();
        Ok(())
    }

    /// The file, and what its rows add up to.
    pub fn finish(mut self, names: &Names) -> Result<(Bytes, Sums), WriteError> {
        if !self.waiting.is_empty() {
            self.write_piece(names)?;
        }
        self.writer.flush().map_err(ParquetError::from)?;
        let sums = checksum::entries(self.writer.inner(), self.writer.flushed_row_groups());
        for entry in sums.ok_or_else(unfinished)? {
            self.writer.append_key_value_metadata(entry);
        }
        let mut bytes = self.writer.into_inner()?;
        checksum::seal(&mut bytes).ok_or_else(unfinished)?;
        Ok((Bytes::from(bytes), self.sums))
    }
}

fn unfinished() -> ParquetError {
    ParquetError::General("the file's own metadata does not describe it".to_owned())
}

fn properties<K: Kind>(
    file: &PendingFile,
    columns: &[Column<K>],
) -> Result<WriterPropertiesPtr, ParquetError> {
    let position = |name: &str| columns.iter().position(|column| column.name == name);
    let order = [K::SUBJECT, "hour", "owner_key"].into_iter().filter_map(position);
    let sorting = order.map(|position| SortingColumn {
        column_idx: i32::try_from(position).unwrap_or(i32::MAX),
        descending: false,
        nulls_first: false,
    });
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("gpuledger {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(PIECE_ROWS))
        .set_sorting_columns(Some(sorting.collect()))
        .set_key_value_metadata(Some(schema::metadata(file.table, file.day, file.version)));
    for column in columns {
        let path = || ColumnPath::from(column.name);
        if matches!(column.source, Source::Subject | Source::Number(_)) {
            properties = properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        let is_hot = match &column.source {
            Source::Hour | Source::Subject | Source::Owner => true,
            Source::Number(number) => HOT.has(number.of),
            Source::Day | Source::Version | Source::Start | Source::Name(_) => false,
        };
        if is_hot {
            properties = properties.set_column_compression(path(), Compression::UNCOMPRESSED);
        }
    }
    Ok(Arc::new(properties.build()))
}

fn write_column<K: Kind>(
    out: SerializedColumnWriter<'_>,
    source: &Source<K>,
    file: &PendingFile,
    rows: &[Row<K>],
    names: &Names,
) -> Result<(), WriteError> {
    match source {
        Source::Day => write_int32(out, rows, |_| file.day.0),
        Source::Version => write_int32(out, rows, |_| file.version),
        Source::Hour => write_int32(out, rows, |row| row.key.hour),
        Source::Subject => write_int32(out, rows, |row| row.key.subject),
        Source::Owner => write_int32(out, rows, |row| row.key.owner),
        Source::Start => {
            let start = |row: &Row<K>| signed("start", i128::from(Hour(row.key.hour).start_ms()));
            let values = rows.iter().map(start).collect::<Result<Vec<i64>, _>>()?;
            write_int64(out, &values, None)
        }
        Source::Name(name) => write_names(out, rows, |key| name(names, key)),
        Source::Number(number) => write_number(out, number, rows),
    }
}

fn signed(name: &'static str, value: i128) -> Result<i64, Overflow> {
    i64::try_from(value).map_err(|_| Overflow(name))
}

fn write_int32<K: Kind>(
    mut out: SerializedColumnWriter<'_>,
    rows: &[Row<K>],
    value: impl Fn(&Row<K>) -> u32,
) -> Result<(), WriteError> {
    let values = rows.iter().map(|row| i32::try_from(value(row)).map_err(|_| Overflow("key")));
    out.typed::<Int32Type>().write_batch(&values.collect::<Result<Vec<i32>, _>>()?, None, None)?;
    Ok(out.close()?)
}

fn write_int64(
    mut out: SerializedColumnWriter<'_>,
    values: &[i64],
    present: Option<&[i16]>,
) -> Result<(), WriteError> {
    out.typed::<Int64Type>().write_batch(values, present, None)?;
    Ok(out.close()?)
}

/// Names follow from GPU and owner, which are mostly those of the row before.
fn write_names<'a, K: Kind>(
    mut out: SerializedColumnWriter<'_>,
    rows: &[Row<K>],
    name: impl Fn(RowKey) -> &'a str,
) -> Result<(), WriteError> {
    let mut values: Vec<ByteArray> = Vec::with_capacity(rows.len());
    let whose = |row: &Row<K>| (row.key.subject, row.key.owner);
    for same in rows.chunk_by(|before, row| whose(before) == whose(row)) {
        let Some(first) = same.first() else { continue };
        let value = ByteArray::from(name(first.key));
        values.extend(std::iter::repeat_n(value, same.len()));
    }
    out.typed::<ByteArrayType>().write_batch(&values, None, None)?;
    Ok(out.close()?)
}

fn write_number<K: Kind>(
    out: SerializedColumnWriter<'_>,
    number: &Number<K>,
    rows: &[Row<K>],
) -> Result<(), WriteError> {
    let mut values = Vec::with_capacity(rows.len());
    let mut present = Vec::with_capacity(rows.len());
    for row in rows {
        let value = (number.get)(&row.values);
        present.push(i16::from(value.is_some()));
        if let Some(value) = value {
            values.push(signed(number.name, value)?);
        }
    }
    write_int64(out, &values, number.optional.then_some(present.as_slice()))
}
