//! Some thousand rows of a file, as columns.

use crate::files::FileFault;
use crate::table::{Kind, Number, Row, RowKey};
use gpuledger_ledger::Values;

/// A column of numbers.
pub enum Figures {
    /// Of what is never absent and never below zero.
    Always(Values<u64>),
    Maybe(Values<Option<i64>>),
}

/// Rows in the order of their file. Columns that were not asked for are not there.
pub struct Batch<K: 'static> {
    pub rows: usize,
    pub subject: Values<u32>,
    pub hour: Option<Values<u32>>,
    pub owner: Option<Values<u32>>,
    pub numbers: Vec<(&'static Number<K>, Figures)>,
}

impl<K: Kind> Batch<K> {
    /// Adds the rows one by one; what is not there is as by default.
    pub fn append_to(&self, rows: &mut Vec<Row<K>>) -> Result<(), FileFault> {
        let first = rows.len();
        let key = |row| RowKey {
            subject: self.subject.at(row).unwrap_or_default(),
            hour: self.hour.as_ref().and_then(|hour| hour.at(row)).unwrap_or_default(),
            owner: self.owner.as_ref().and_then(|owner| owner.at(row)).unwrap_or_default(),
        };
        rows.extend((0..self.rows).map(|row| Row { key: key(row), values: K::default() }));
        let rows = rows.get_mut(first..).unwrap_or_default();
        for (number, figures) in &self.numbers {
            for (at, row) in rows.iter_mut().enumerate() {
                let value = match figures {
                    Figures::Always(values) => values.at(at).map(i64::try_from).transpose(),
                    Figures::Maybe(values) => Ok(values.at(at).flatten()),
                };
                if let Some(value) = value.map_err(FileFault::damaged)? {
                    (number.set)(&mut row.values, value);
                }
            }
        }
        Ok(())
    }
}
