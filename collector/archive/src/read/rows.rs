//! The rows of a file one by one.

use super::Batches;
use crate::files::FileFault;
use crate::table::{Kind, Row, RowKey};
use gpuledger_ledger::Day;

/// Rows with their whole keys, which are held against the order that a file has and the day that it is of.
/// To be used where blocking does no harm.
pub struct Rows<K: 'static> {
    day: Day,
    batches: Batches<K>,
    batch: std::vec::IntoIter<Row<K>>,
    before: Option<RowKey>,
}

impl<K: Kind> Rows<K> {
    pub fn new(day: Day, batches: Batches<K>) -> Self {
        Self { day, batches, batch: Vec::new().into_iter(), before: None }
    }

    fn checked(&mut self, row: Row<K>) -> Result<Row<K>, FileFault> {
        let hours = self.day.hours();
        if !(hours.from.0..hours.to.0).contains(&row.key.hour) {
            return Err(FileFault::damaged(format!("hour {} is not of its day", row.key.hour)));
        }
        if self.before.replace(row.key).is_some_and(|before| before >= row.key) {
            return Err(FileFault::damaged("its rows are not in the order of unique keys"));
        }
        Ok(row)
    }
}

impl<K: Kind> Iterator for Rows<K> {
    type Item = Result<Row<K>, FileFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.batch.next() {
                return Some(self.checked(row));
            }
            let mut rows = Vec::new();
            match self.batches.next().transpose()?.and_then(|batch| batch.append_to(&mut rows)) {
                Ok(()) => self.batch = rows.into_iter(),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }
}
