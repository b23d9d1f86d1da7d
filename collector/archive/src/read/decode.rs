//! Fetched parts of a file into batches of rows.

use super::batch::{Batch, Figures};
use super::piece::Piece;
use super::sparse::Sparse;
use super::{Asked, Wanted};
use crate::checksum::ColumnSums;
use crate::files::FileFault;
use crate::schema::Source;
use crate::table::{Kind, Row, Total};
use gpuledger_ledger::Sums;
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

/// The rows that are asked for, in the order of the file.
pub struct Batches<K: 'static> {
    metadata: Arc<ParquetMetaData>,
    pieces: std::vec::IntoIter<usize>,
    columns: Vec<Wanted<K>>,
    sparse: Arc<Sparse>,
    checksums: ColumnSums,
    asked: Asked,
    /// Where all rows are asked for.
    whole: Option<Whole>,
    piece: Option<Piece<K>>,
}

impl<K: Kind> Batches<K> {
    /// Where all rows are asked for, `whole` is what they add up to.
    pub fn new(
        metadata: Arc<ParquetMetaData>,
        pieces: Vec<usize>,
        columns: Vec<Wanted<K>>,
        sparse: Sparse,
        asked: Asked,
        whole: Option<Sums>,
    ) -> Self {
        Self {
            checksums: ColumnSums::new(&metadata),
            pieces: pieces.into_iter(),
            whole: whole.map(|expected| Whole::new(expected, &columns)),
            sparse: Arc::new(sparse),
            metadata,
            columns,
            asked,
            piece: None,
        }
    }

    /// The next batch, which has rows; `None` after the last.
    pub fn next(&mut self) -> Result<Option<Batch<K>>, FileFault> {
        loop {
            let Some(piece) = &mut self.piece else {
                let Some(position) = self.pieces.next() else {
                    return self.whole.take().map_or(Ok(()), Whole::check).map(|()| None);
                };
                let checksums = &self.checksums;
                let piece = Piece::open(&self.metadata, position, &self.columns, &self.sparse, checksums)?;
                self.piece = Some(piece);
                continue;
            };
            match piece.next(self.whole.is_none().then_some(&self.asked))? {
                None => self.piece = None,
                Some(batch) if batch.rows == 0 => {}
                Some(batch) => {
                    if let Some(whole) = &mut self.whole {
                        whole.count(&batch)?;
                    }
                    return Ok(Some(batch));
                }
            }
        }
    }

    /// All that is left.
    pub fn rows(mut self) -> Result<Vec<Row<K>>, FileFault> {
        let mut rows = Vec::new();
        while let Some(batch) = self.next()? {
            batch.append_to(&mut rows)?;
        }
        Ok(rows)
    }
}

/// Whoever reads a file whole finds out whether it holds what it was written with, as far as the
/// columns that were read tell. Energy and time of a report are thus never those of a damaged file.
struct Whole {
    expected: Sums,
    rows: usize,
    /// Of those of which every column is read.
    found: Vec<(Total, u64)>,
}

impl Whole {
    fn new<K: Kind>(expected: Sums, columns: &[Wanted<K>]) -> Self {
        let parts = |total| K::NUMBERS.iter().filter(move |number| number.total == Some(total));
        let read = |name| {
            columns.iter().any(|(_, source)| matches!(source, Source::Number(number) if number.name == name))
        };
        let is_known = |total: &Total| parts(*total).all(|number| read(number.name));
        let found = Total::ALL.into_iter().filter(is_known).map(|total| (total, 0)).collect();
        Self { expected, rows: 0, found }
    }

    fn count<K: Kind>(&mut self, batch: &Batch<K>) -> Result<(), FileFault> {
        self.rows += batch.rows;
        for (number, figures) in &batch.numbers {
            let sum = self.found.iter_mut().find(|(total, _)| Some(*total) == number.total);
            if let (Some((total, sum)), Figures::Always(values)) = (sum, figures) {
                let (name, _) = total.of(&self.expected);
                let more = values.sum(0..batch.rows).map_err(FileFault::damaged)?;
                let all = sum.checked_add(more);
                *sum = all.ok_or_else(|| FileFault::damaged(format!("the sum of {name} overflows")))?;
            }
        }
        Ok(())
    }

    fn check(self) -> Result<(), FileFault> {
        let rows = u64::try_from(self.rows).map_err(FileFault::damaged)?;
        let sums = self.found.into_iter().map(|(total, found)| {
            let (name, expected) = total.of(&self.expected);
            (name, found, expected)
        });
        for (name, found, expected) in std::iter::once(("rows", rows, self.expected.rows)).chain(sums) {
            if found != expected {
                return Err(FileFault::damaged(format!("{name} is {found}, the ledger says {expected}")));
            }
        }
        Ok(())
    }
}
