//! The tables of hour rows: the SQL that adds, reads and sums them. [`crate::columns`] knows their columns.

use crate::columns::{Columnar, LO_BITS, LO_MASK, Layout, MEMORY};
use crate::{GpuHour, LedgerError, NodeHour};
use gpuledger_units::Overflow;
use rusqlite::Row;
use rusqlite::types::Type;

/// A table whose first column is a row's key and whose others are those of a layout.
pub struct Table {
    name: &'static str,
    layout: Layout,
}

pub const GPU_HOUR: Table = Table { name: "gpu_hour", layout: GpuHour::LAYOUT };
pub const NODE_HOUR: Table = Table { name: "node_hour", layout: NodeHour::LAYOUT };
/// Sums over the GPU rows of expired files; the key is the GPU's number.
pub const GPU_EXPIRED: Table = Table { name: "gpu_expired", layout: GpuHour::LAYOUT };
/// Sums over the node rows of expired files; the key is the node's number.
pub const NODE_EXPIRED: Table = Table { name: "node_expired", layout: NodeHour::LAYOUT };

impl Table {
    /// Inserts a row or adds to the one that is there.
    pub fn upsert(&self) -> String {
        let added = self.added(|c| format!("excluded.{c}"));
        format!("{} ON CONFLICT (key) DO UPDATE SET {added}", self.insert())
    }

    /// Inserts a row that is not there.
    pub fn insert(&self) -> String {
        let names: Vec<&str> = self.layout.names().collect();
        let places: Vec<String> = (2..names.len() + 2).map(|n| format!("?{n}")).collect();
        let (names, places) = (names.join(", "), places.join(", "));
        format!("INSERT INTO {} (key, {names}) VALUES (?1, {places})", self.name)
    }

    /// Adds to a row that is there, which is cheaper than [`Table::upsert`]; changes nothing where it is not.
    pub fn add(&self) -> String {
        let place = |column: &str| {
            let at = self.layout.names().position(|name| name == column);
            at.map_or_else(|| "NULL".to_owned(), |at| format!("?{}", at + 2))
        };
        format!("UPDATE {} SET {} WHERE key = ?1", self.name, self.added(place))
    }

    /// Each column as the sum, or the larger, of what is there and what is given.
    fn added(&self, given: impl Fn(&str) -> String) -> String {
        let mut columns: Vec<String> =
            self.layout.sums.iter().map(|c| format!("{c} = {c} + {}", given(c))).collect();
        let [hi, lo] = MEMORY.map(&given);
        columns.push(format!("memory_hi = memory_hi + {hi} + ((memory_lo + {lo}) >> {LO_BITS})"));
        columns.push(format!("memory_lo = (memory_lo + {lo}) & {LO_MASK}"));
        // max() of a NULL is NULL: each side stands in for the other.
        columns.extend(self.layout.maxima.iter().map(|c| {
            let given = given(c);
            format!("{c} = max(coalesce({c}, {given}), coalesce({given}, {c}))")
        }));
        columns.join(", ")
    }

    /// Key and columns of a range of keys, in order.
    pub fn select(&self) -> String {
        let names: Vec<&str> = self.layout.names().collect();
        let names = names.join(", ");
        format!("SELECT key, {names} FROM {} WHERE key >= ?1 AND key < ?2 ORDER BY key", self.name)
    }

    /// Removes the row of a key and gives it as it was.
    pub fn take(&self) -> String {
        let names: Vec<&str> = self.layout.names().collect();
        format!("DELETE FROM {} WHERE key = ?1 RETURNING key, {}", self.name, names.join(", "))
    }

    /// The first key of a range.
    pub fn first_key(&self) -> String {
        format!("SELECT key FROM {} WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1", self.name)
    }
}

/// A row as SQLite gives it.
pub trait HourRow: Columnar {
    /// From the columns after the key.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let values: Vec<Option<i64>> =
            (1..=Self::LAYOUT.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        Self::from_columns(&values)
            .map_err(|unfit| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(unfit)))
    }
}

impl<R: Columnar> HourRow for R {}

/// A quantity as SQLite stores it.
pub fn stored(value: u64, column: &'static str) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| Overflow(column).into())
}

/// Reads an integer that is never negative.
pub fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// Reads an integer that is never negative, or nothing.
pub fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    let Some(value) = value else { return Ok(None) };
    u64::try_from(value).map(Some).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
