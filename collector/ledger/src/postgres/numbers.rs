//! Numbers: how they are given, stored and read.
//!
//! They have no gaps, because they must fit the row keys of a ledger in a file, too.

use super::fault::Fault;
use crate::LedgerError;
use crate::sqlite::key::fits;
use deadpool_postgres::Transaction;
use tokio_postgres::{Column, Row};

/// A counter of numbers, locked until the transaction ends.
pub struct Counter {
    name: &'static str,
    last: i32,
    bits: u32,
}

impl Counter {
    pub async fn lock(tx: &Transaction<'_>, name: &'static str, bits: u32) -> Result<Self, Fault> {
        let row = tx.query_one("SELECT last FROM counter WHERE name = $1 FOR UPDATE", &[&name]).await?;
        Ok(Self { name, last: row.try_get(0)?, bits })
    }

    /// The next number, which must fit its part of a row key.
    pub fn take(&mut self) -> Result<i32, Fault> {
        let next =
            self.last.checked_add(1).filter(|&next| u32::try_from(next).is_ok_and(|n| fits(n, self.bits)));
        self.last = next.ok_or(LedgerError::Exhausted { what: self.name })?;
        Ok(self.last)
    }

    pub async fn save(self, tx: &Transaction<'_>) -> Result<(), Fault> {
        tx.execute("UPDATE counter SET last = $2 WHERE name = $1", &[&self.name, &self.last]).await?;
        Ok(())
    }
}

/// A number of ours as it is stored. None is above 2^24.
pub fn stored(number: u32) -> Result<i32, Fault> {
    i32::try_from(number).map_err(|_| Fault::Other(format!("{number} is no number of this ledger")))
}

/// Reads a number of ours.
pub fn number(row: &Row, column: usize) -> Result<u32, Fault> {
    u32::try_from(row.try_get::<_, i32>(column)?).map_err(|_| out_of_range(row, column))
}

/// A number that a counter gave.
pub fn given(key: i32) -> Result<u32, Fault> {
    u32::try_from(key).map_err(|_| Fault::Other(format!("{key} is no number of this ledger")))
}

/// Reads an integer that is never negative, or nothing.
pub fn optional(row: &Row, column: usize) -> Result<Option<u64>, Fault> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| out_of_range(row, column))).transpose()
}

/// Reads an integer that is never negative.
pub fn unsigned(row: &Row, column: usize) -> Result<u64, Fault> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| out_of_range(row, column))
}

pub fn out_of_range(row: &Row, column: usize) -> Fault {
    let name = row.columns().get(column).map_or("?", Column::name);
    Fault::Damaged(format!("the column {name} holds a value out of its range"))
}
