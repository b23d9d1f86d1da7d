//! Rows as columns: the one place that knows the order of columns of the hour tables.

use crate::{GpuHour, LedgerError, NodeHour};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, Overflow, PpmMillis};
use rusqlite::Row;

/// An hour table: its columns in the order in which [`HourRow`] gives and takes them.
pub struct Table {
    name: &'static str,
    /// Columns that add.
    sums: &'static [&'static str],
    /// Columns of which the larger stays.
    maxima: &'static [&'static str],
}

pub const GPU_HOUR: Table = Table {
    name: "gpu_hour",
    sums: &[
        "active_ms",
        "held_ms",
        "free_ms",
        "down_ms",
        "counter_mj",
        "gap_mj",
        "estimated_mj",
        "active_mj",
        "busy_ppm_ms",
        "busy_known_ms",
        "throttled_ms",
        "samples",
    ],
    maxima: &["power_max_mw", "temperature_max_mc"],
};

pub const NODE_HOUR: Table = Table {
    name: "node_hour",
    sums: &[
        "observed_ms",
        "counter_mj",
        "gap_mj",
        "estimated_mj",
        "metered_ms",
        "cpu_ppm_ms",
        "cpu_known_ms",
        "samples",
    ],
    maxima: &["power_max_mw"],
};

/// Sums over the GPU rows of expired files; the key is the GPU's number.
pub const GPU_EXPIRED: Table = Table { name: "gpu_expired", ..GPU_HOUR };

/// Sums over the node rows of expired files; the key is the node's number.
pub const NODE_EXPIRED: Table = Table { name: "node_expired", ..NODE_HOUR };

/// Bits of the lower half of a memory integral.
const LO_BITS: u32 = 40;
const LO_MASK: i64 = (1 << LO_BITS) - 1;

impl Table {
    fn columns(&self) -> impl Iterator<Item = &'static str> {
        let memory = ["memory_hi", "memory_lo"];
        self.sums.iter().copied().chain(memory).chain(self.maxima.iter().copied())
    }

    /// Inserts a row or adds to the one that is there.
    pub fn upsert(&self) -> String {
        let names: Vec<&str> = self.columns().collect();
        let places: Vec<String> = (2..names.len() + 2).map(|n| format!("?{n}")).collect();
        let mut updates: Vec<String> =
            self.sums.iter().map(|c| format!("{c} = {c} + excluded.{c}")).collect();
        updates.push(format!(
            "memory_hi = memory_hi + excluded.memory_hi + ((memory_lo + excluded.memory_lo) >> {LO_BITS})"
        ));
        updates.push(format!("memory_lo = (memory_lo + excluded.memory_lo) & {LO_MASK}"));
        // max() of a NULL is NULL: each side stands in for the other.
        let maxima = self.maxima.iter();
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
        let names: Vec<&str> = self.columns().collect();
        let names = names.join(", ");
        format!("SELECT key, {names} FROM {} WHERE key >= ?1 AND key < ?2 ORDER BY key", self.name)
    }

    /// Removes the row of a key and gives it as it was.
    pub fn take(&self) -> String {
        let names: Vec<&str> = self.columns().collect();
        format!("DELETE FROM {} WHERE key = ?1 RETURNING key, {}", self.name, names.join(", "))
    }

    /// The first key of a range.
    pub fn first_key(&self) -> String {
        format!("SELECT key FROM {} WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1", self.name)
    }

    /// A group's number and the sum of its rows' columns, by number.
    pub fn totals(&self, group: &str) -> String {
        let sums = self.sums.iter().copied().chain(["memory_hi", "memory_lo"]);
        let mut columns: Vec<String> = sums.map(|c| format!("sum({c})")).collect();
        columns.extend(self.maxima.iter().map(|c| format!("max({c})")));
        format!("SELECT {group}, {} FROM {} GROUP BY 1 ORDER BY 1", columns.join(", "), self.name)
    }
}

/// A row of an hour table.
pub trait HourRow: Sized {
    /// The columns in the table's order, as SQLite stores them.
    fn columns(&self) -> Result<Vec<Option<i64>>, LedgerError>;
    /// From the columns after the key.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self>;
}

impl HourRow for GpuHour {
    fn columns(&self) -> Result<Vec<Option<i64>>, LedgerError> {
        let (memory_hi, memory_lo) = halves(self.memory_byte_ms)?;
        Ok(vec![
            stored(self.active_ms.0, "active_ms")?,
            stored(self.held_ms.0, "held_ms")?,
            stored(self.free_ms.0, "free_ms")?,
            stored(self.down_ms.0, "down_ms")?,
            stored(self.counter_mj.0, "counter_mj")?,
            stored(self.gap_mj.0, "gap_mj")?,
            stored(self.estimated_mj.0, "estimated_mj")?,
            stored(self.active_mj.0, "active_mj")?,
            stored(self.busy_ppm_ms.0, "busy_ppm_ms")?,
            stored(self.busy_known_ms.0, "busy_known_ms")?,
            stored(self.throttled_ms.0, "throttled_ms")?,
            stored(self.samples, "samples")?,
            Some(memory_hi),
            Some(memory_lo),
            self.power_max_mw.map_or(Ok(None), |power| stored(power.0, "power_max_mw"))?,
            self.temperature_max_mc.map(|temperature| temperature.0),
        ])
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            active_ms: Millis(unsigned(row, 1)?),
            held_ms: Millis(unsigned(row, 2)?),
            free_ms: Millis(unsigned(row, 3)?),
            down_ms: Millis(unsigned(row, 4)?),
            counter_mj: Millijoules(unsigned(row, 5)?),
            gap_mj: Millijoules(unsigned(row, 6)?),
            estimated_mj: Millijoules(unsigned(row, 7)?),
            active_mj: Millijoules(unsigned(row, 8)?),
            busy_ppm_ms: PpmMillis(unsigned(row, 9)?),
            busy_known_ms: Millis(unsigned(row, 10)?),
            throttled_ms: Millis(unsigned(row, 11)?),
            samples: unsigned(row, 12)?,
            memory_byte_ms: whole(row, 13)?,
            power_max_mw: optional(row, 15)?.map(Milliwatts),
            temperature_max_mc: row.get::<_, Option<i64>>(16)?.map(Millicelsius),
        })
    }
}

impl HourRow for NodeHour {
    fn columns(&self) -> Result<Vec<Option<i64>>, LedgerError> {
        let (memory_hi, memory_lo) = halves(self.memory_byte_ms)?;
        Ok(vec![
            stored(self.observed_ms.0, "observed_ms")?,
            stored(self.counter_mj.0, "counter_mj")?,
            stored(self.gap_mj.0, "gap_mj")?,
            stored(self.estimated_mj.0, "estimated_mj")?,
            stored(self.metered_ms.0, "metered_ms")?,
            stored(self.cpu_ppm_ms.0, "cpu_ppm_ms")?,
            stored(self.cpu_known_ms.0, "cpu_known_ms")?,
            stored(self.samples, "samples")?,
            Some(memory_hi),
            Some(memory_lo),
            self.power_max_mw.map_or(Ok(None), |power| stored(power.0, "power_max_mw"))?,
        ])
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            observed_ms: Millis(unsigned(row, 1)?),
            counter_mj: Millijoules(unsigned(row, 2)?),
            gap_mj: Millijoules(unsigned(row, 3)?),
            estimated_mj: Millijoules(unsigned(row, 4)?),
            metered_ms: Millis(unsigned(row, 5)?),
            cpu_ppm_ms: PpmMillis(unsigned(row, 6)?),
            cpu_known_ms: Millis(unsigned(row, 7)?),
            samples: unsigned(row, 8)?,
            memory_byte_ms: whole(row, 9)?,
            power_max_mw: optional(row, 11)?.map(Milliwatts),
        })
    }
}

/// A quantity as SQLite stores it.
pub fn stored(value: u64, column: &'static str) -> Result<Option<i64>, LedgerError> {
    i64::try_from(value).map(Some).map_err(|_| Overflow(column).into())
}

fn halves(memory: ByteMillis) -> Result<(i64, i64), LedgerError> {
    let hi = i64::try_from(memory.0 >> LO_BITS).map_err(|_| Overflow("memory_byte_ms"))?;
    // 40 bits always fit.
    let lo = i64::try_from(memory.0 & ((1 << LO_BITS) - 1)).map_err(|_| Overflow("memory_byte_ms"))?;
    Ok((hi, lo))
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

/// Puts the halves of a memory integral together. In a sum over rows the lower half may be above
/// 40 bits: it is added, not joined.
fn whole(row: &Row<'_>, column: usize) -> rusqlite::Result<ByteMillis> {
    let hi = u128::from(unsigned(row, column)?);
    let lo = u128::from(unsigned(row, column + 1)?);
    Ok(ByteMillis((hi << LO_BITS) + lo))
}
