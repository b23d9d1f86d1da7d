//! Hour rows as columns: the one place that knows their names, their order and how a quantity is
//! stored in 63 bits.
//!
//! Memory × time is 128-bit in the model. It is stored as `hi · 2^40 + lo` with `lo < 2^40`, because
//! four tebibytes over an hour do not fit in 63 bits.

use crate::{GpuHour, LedgerError, NodeHour};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, Overflow, PpmMillis};

/// The columns of a kind of row, in the order in which [`Columnar`] gives and takes them: what adds,
/// then the halves of memory, then that of which the larger stays.
pub struct Layout {
    pub sums: &'static [&'static str],
    pub maxima: &'static [&'static str],
}

/// The halves of memory × time: `hi`, then `lo`.
pub const MEMORY: [&str; 2] = ["memory_hi", "memory_lo"];
/// Bits of the lower half.
pub const LO_BITS: u32 = 40;
pub const LO_MASK: i64 = (1 << LO_BITS) - 1;

impl Layout {
    /// Names of all columns.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.sums.iter().copied().chain(MEMORY).chain(self.maxima.iter().copied())
    }

    /// How many columns there are.
    pub const fn len(&self) -> usize {
        self.sums.len() + MEMORY.len() + self.maxima.len()
    }
}

/// A stored value that no row of ours has: a negative quantity, or nothing where something must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the column {column} holds {found:?}")]
pub struct Unfit {
    pub column: &'static str,
    pub found: Option<i64>,
}

/// A row that is stored in columns.
pub trait Columnar: Copy + Default {
    const LAYOUT: Layout;

    /// The columns as they are stored; an error where a value needs more than 63 bits.
    fn columns(&self) -> Result<Vec<Option<i64>>, LedgerError> {
        let mut columns = Vec::with_capacity(Self::LAYOUT.len());
        self.put_columns(&mut columns)?;
        Ok(columns)
    }

    /// [`Columnar::columns`] behind what is there.
    fn put_columns(&self, into: &mut Vec<Option<i64>>) -> Result<(), LedgerError>;

    /// From as many values as the layout has columns.
    fn from_columns(values: &[Option<i64>]) -> Result<Self, Unfit>;

    /// Adds another row of the same key.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "SQLite adds by itself"))]
    fn merge(&mut self, other: &Self) -> Result<(), Overflow>;
}

impl Columnar for GpuHour {
    const LAYOUT: Layout = Layout {
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

    fn put_columns(&self, into: &mut Vec<Option<i64>>) -> Result<(), LedgerError> {
        let (memory_hi, memory_lo) = halves(self.memory_byte_ms)?;
        into.extend([
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
        ]);
        Ok(())
    }

    fn from_columns(values: &[Option<i64>]) -> Result<Self, Unfit> {
        let mut cells = Cells::of(&Self::LAYOUT, values);
        Ok(Self {
            active_ms: Millis(cells.unsigned()?),
            held_ms: Millis(cells.unsigned()?),
            free_ms: Millis(cells.unsigned()?),
            down_ms: Millis(cells.unsigned()?),
            counter_mj: Millijoules(cells.unsigned()?),
            gap_mj: Millijoules(cells.unsigned()?),
            estimated_mj: Millijoules(cells.unsigned()?),
            active_mj: Millijoules(cells.unsigned()?),
            busy_ppm_ms: PpmMillis(cells.unsigned()?),
            busy_known_ms: Millis(cells.unsigned()?),
            throttled_ms: Millis(cells.unsigned()?),
            samples: cells.unsigned()?,
            memory_byte_ms: cells.memory()?,
            power_max_mw: cells.optional()?.map(Milliwatts),
            temperature_max_mc: cells.next().map(Millicelsius),
        })
    }

    fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        Self::merge(self, other)
    }
}

impl Columnar for NodeHour {
    const LAYOUT: Layout = Layout {
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

    fn put_columns(&self, into: &mut Vec<Option<i64>>) -> Result<(), LedgerError> {
        let (memory_hi, memory_lo) = halves(self.memory_byte_ms)?;
        into.extend([
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
        ]);
        Ok(())
    }

    fn from_columns(values: &[Option<i64>]) -> Result<Self, Unfit> {
        let mut cells = Cells::of(&Self::LAYOUT, values);
        Ok(Self {
            observed_ms: Millis(cells.unsigned()?),
            counter_mj: Millijoules(cells.unsigned()?),
            gap_mj: Millijoules(cells.unsigned()?),
            estimated_mj: Millijoules(cells.unsigned()?),
            metered_ms: Millis(cells.unsigned()?),
            cpu_ppm_ms: PpmMillis(cells.unsigned()?),
            cpu_known_ms: Millis(cells.unsigned()?),
            samples: cells.unsigned()?,
            memory_byte_ms: cells.memory()?,
            power_max_mw: cells.optional()?.map(Milliwatts),
        })
    }

    fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        Self::merge(self, other)
    }
}

/// Takes the values of a row one by one, and knows the name of each.
struct Cells<'a> {
    layout: &'a Layout,
    values: &'a [Option<i64>],
    at: usize,
}

impl<'a> Cells<'a> {
    const fn of(layout: &'a Layout, values: &'a [Option<i64>]) -> Self {
        Self { layout, values, at: 0 }
    }

    fn next(&mut self) -> Option<i64> {
        let value = self.values.get(self.at).copied().flatten();
        self.at += 1;
        value
    }

    /// What is wrong with the value that was taken last.
    fn unfit(&self, found: Option<i64>) -> Unfit {
        let name = self.at.checked_sub(1).and_then(|at| self.layout.names().nth(at));
        Unfit { column: name.unwrap_or("after the last"), found }
    }

    fn optional(&mut self) -> Result<Option<u64>, Unfit> {
        let found = self.next();
        found.map(|value| u64::try_from(value).map_err(|_| self.unfit(found))).transpose()
    }

    fn unsigned(&mut self) -> Result<u64, Unfit> {
        let found = self.next();
        found.and_then(|value| u64::try_from(value).ok()).ok_or_else(|| self.unfit(found))
    }

    /// Puts the halves of a memory integral together. In a sum over rows the lower half may be above
    /// 40 bits: it is added, not joined.
    fn memory(&mut self) -> Result<ByteMillis, Unfit> {
        let hi = u128::from(self.unsigned()?);
        let lo = u128::from(self.unsigned()?);
        Ok(ByteMillis((hi << LO_BITS) + lo))
    }
}

fn stored(value: u64, column: &'static str) -> Result<Option<i64>, LedgerError> {
    i64::try_from(value).map(Some).map_err(|_| Overflow(column).into())
}

fn halves(memory: ByteMillis) -> Result<(i64, i64), LedgerError> {
    let overflow = |_| Overflow("memory_byte_ms");
    let hi = i64::try_from(memory.0 >> LO_BITS).map_err(overflow)?;
    // 40 bits always fit.
    let lo = i64::try_from(memory.0 & ((1 << LO_BITS) - 1)).map_err(overflow)?;
    Ok((hi, lo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::samples;

    fn come_back<R: Columnar + PartialEq + std::fmt::Debug>(row: R) {
        let columns = row.columns().unwrap();
        assert_eq!(columns.len(), R::LAYOUT.len());
        assert_eq!(R::from_columns(&columns).unwrap(), row);
    }

    #[test]
    fn rows_come_back_from_their_columns() {
        come_back(samples::row());
        come_back(samples::node_row());
        come_back(GpuHour { memory_byte_ms: ByteMillis((1 << 103) - 1), ..GpuHour::default() });
        come_back(NodeHour { memory_byte_ms: ByteMillis((1 << 103) - 1), ..NodeHour::default() });
    }

    #[test]
    fn a_value_that_no_row_of_ours_has_is_named() {
        let mut columns = samples::row().columns().unwrap();
        columns[4] = Some(-1);
        let unfit = GpuHour::from_columns(&columns).unwrap_err();
        assert_eq!(unfit, Unfit { column: "counter_mj", found: Some(-1) });
        columns[4] = None;
        assert_eq!(GpuHour::from_columns(&columns).unwrap_err().column, "counter_mj");
        assert_eq!(GpuHour::from_columns(&columns[..4]).unwrap_err().column, "counter_mj");
    }

    #[test]
    fn more_than_63_bits_are_refused() {
        let row = NodeHour { samples: 1 << 63, ..NodeHour::default() };
        assert!(matches!(row.columns(), Err(LedgerError::Overflow(Overflow("samples")))));
        let row = GpuHour { memory_byte_ms: ByteMillis(1 << 103), ..GpuHour::default() };
        assert!(matches!(row.columns(), Err(LedgerError::Overflow(Overflow("memory_byte_ms")))));
    }
}
