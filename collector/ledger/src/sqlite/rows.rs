//! The tables of hour rows: the SQL that adds, reads and sums them. [`crate::columns`] knows their columns.

use crate::columns::{Columnar, LO_BITS, LO_MASK, Layout};
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
        let names: Vec<&str> = self.layout.names().collect();
        let places: Vec<String> = (2..names.len() + 2).map(|n| format!("?{n}")).collect();
        let mut updates: Vec<String> =
            self.layout.sums.iter().map(|c| format!("{c} = {c} + excluded.{c}")).collect();
        updates.push(format!(
            "memory_hi = memory_hi + excluded.memory_hi + ((memory_lo + excluded.memory_lo) >> {LO_BITS})"
        ));
        updates.push(format!("memory_lo = (memory_lo + excluded.memory_lo) & {LO_MASK}"));
        // max() of a NULL is NULL: each side stands in for the other.
        let maxima = self.layout.maxima.iter();
        updates.extend(
            maxima.map(|c| format!("{c} = max(coalesce({c}, excluded.{c}), coalesce(excluded.{c}, {c}))")),
        );
        format!(
            "INSERT INTO {} (key, {}) VALUES (?1, {}) ON CONFLICT (key) DO UPDATE SET {}",
            self.name,
            names.join(", "),
            places.join(", "),
            updates.join(", ")
        )
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
