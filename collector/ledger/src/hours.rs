//! Rows of GPUs in columns: the pieces of which a stream of them consists.
//!
//! A report adds up a hundred million rows of which it needs five columns. So a piece holds columns
//! and not rows, only those that were asked for, and a column that is the same in every row holds one
//! value. What is not there is `None`, never zero.

use crate::{Day, GpuHour, GpuHourKey, GpuKey, Hour, OwnerKey};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, Overflow, PpmMillis};
use std::ops::Range;

/// Rows in a piece, at most. A column of this many values is 64 KiB: it stays in the processor's
/// cache, and the allocator has it at hand again for the next piece.
pub const PIECE_ROWS: usize = 8_192;
/// As many values of a piece as there can be, each below this, have a sum below 2^64.
const SMALL: u64 = 1 << 48;

/// A column of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values<T> {
    /// The same in every row.
    Same(T),
    /// One for each row.
    Each(Vec<T>),
}

impl<T: Copy> Values<T> {
    /// The value of a row of the piece.
    pub fn at(&self, row: usize) -> Option<T> {
        match self {
            Self::Same(value) => Some(*value),
            Self::Each(values) => values.get(row).copied(),
        }
    }
}

impl<T: Copy + PartialEq> Values<T> {
    /// The end of the run of rows from `start` on that have the same value; `end` at most.
    pub fn run(&self, start: usize, end: usize) -> usize {
        match self {
            Self::Same(_) => end,
            Self::Each(values) => {
                let Some((first, rest)) = values.get(start..end).and_then(<[T]>::split_first) else {
                    return end;
                };
                start + 1 + rest.iter().take_while(|value| *value == first).count()
            }
        }
    }
}

impl Values<u64> {
    /// The sum over some rows of the piece.
    pub fn sum(&self, rows: Range<usize>) -> Result<u64, Overflow> {
        let too_large = Overflow("the sum of a column");
        match self {
            Self::Same(value) => {
                let rows = u64::try_from(rows.len()).map_err(|_| too_large)?;
                value.checked_mul(rows).ok_or(too_large)
            }
            Self::Each(values) => {
                let values = values.get(rows).unwrap_or_default();
                let bits = values.iter().fold(0, |bits, value| bits | value);
                if bits < SMALL && values.len() <= PIECE_ROWS {
                    return Ok(values.iter().sum());
                }
                values.iter().try_fold(0_u64, |sum, value| sum.checked_add(*value)).ok_or(too_large)
            }
        }
    }

    /// Whether any of some rows is above zero.
    pub fn any(&self, rows: Range<usize>) -> bool {
        match self {
            Self::Same(value) => *value > 0,
            Self::Each(values) => values.get(rows).unwrap_or_default().iter().any(|value| *value > 0),
        }
    }
}

/// A piece of rows: all of one day, in the order (GPU, hour, owner).
///
/// Invariant: each column that is there has a value for each of the [`Self::rows`], of which there are at
/// most [`PIECE_ROWS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuHours {
    pub day: Day,
    pub rows: usize,
    pub gpu: Values<u32>,
    pub hour: Option<Values<u32>>,
    pub owner: Option<Values<u32>>,
    pub active_ms: Option<Values<u64>>,
    pub held_ms: Option<Values<u64>>,
    pub free_ms: Option<Values<u64>>,
    pub down_ms: Option<Values<u64>>,
    pub counter_mj: Option<Values<u64>>,
    pub gap_mj: Option<Values<u64>>,
    pub estimated_mj: Option<Values<u64>>,
    pub active_mj: Option<Values<u64>>,
    pub busy_ppm_ms: Option<Values<u64>>,
    pub busy_known_ms: Option<Values<u64>>,
    pub memory_byte_ms: Option<Values<u128>>,
    pub throttled_ms: Option<Values<u64>>,
    /// A row without a reading has `None` within the column.
    pub power_max_mw: Option<Values<Option<u64>>>,
    pub temperature_max_mc: Option<Values<Option<i64>>>,
    pub samples: Option<Values<u64>>,
}

impl GpuHours {
    /// So many rows of one GPU, without any other column.
    pub const fn bare(day: Day, rows: usize, gpu: Values<u32>) -> Self {
        Self {
            day,
            rows,
            gpu,
            hour: None,
            owner: None,
            active_ms: None,
            held_ms: None,
            free_ms: None,
            down_ms: None,
            counter_mj: None,
            gap_mj: None,
            estimated_mj: None,
            active_mj: None,
            busy_ppm_ms: None,
            busy_known_ms: None,
            memory_byte_ms: None,
            throttled_ms: None,
            power_max_mw: None,
            temperature_max_mc: None,
            samples: None,
        }
    }

    /// All columns of some rows of a day.
    pub fn of(day: Day, rows: &[(GpuHourKey, GpuHour)]) -> Self {
        Self {
            day,
            rows: rows.len(),
            gpu: column(rows, |(key, _)| key.gpu.0),
            hour: Some(column(rows, |(key, _)| key.hour.0)),
            owner: Some(column(rows, |(key, _)| key.owner.0)),
            active_ms: Some(column(rows, |(_, row)| row.active_ms.0)),
            held_ms: Some(column(rows, |(_, row)| row.held_ms.0)),
            free_ms: Some(column(rows, |(_, row)| row.free_ms.0)),
            down_ms: Some(column(rows, |(_, row)| row.down_ms.0)),
            counter_mj: Some(column(rows, |(_, row)| row.counter_mj.0)),
            gap_mj: Some(column(rows, |(_, row)| row.gap_mj.0)),
            estimated_mj: Some(column(rows, |(_, row)| row.estimated_mj.0)),
            active_mj: Some(column(rows, |(_, row)| row.active_mj.0)),
            busy_ppm_ms: Some(column(rows, |(_, row)| row.busy_ppm_ms.0)),
            busy_known_ms: Some(column(rows, |(_, row)| row.busy_known_ms.0)),
            memory_byte_ms: Some(column(rows, |(_, row)| row.memory_byte_ms.0)),
            throttled_ms: Some(column(rows, |(_, row)| row.throttled_ms.0)),
            power_max_mw: Some(column(rows, |(_, row)| row.power_max_mw.map(|power| power.0))),
            temperature_max_mc: Some(column(rows, |(_, row)| {
                row.temperature_max_mc.map(|celsius| celsius.0)
            })),
            samples: Some(column(rows, |(_, row)| row.samples)),
        }
    }

    /// The rows one by one; a column that is not there gives its default.
    pub fn iter(&self) -> impl Iterator<Item = (GpuHourKey, GpuHour)> {
        (0..self.rows).map(|row| (self.key(row), self.row(row)))
    }

    fn key(&self, row: usize) -> GpuHourKey {
        let hour = value(self.hour.as_ref(), row).map_or(self.day.first_hour(), Hour);
        let gpu = GpuKey(value(Some(&self.gpu), row).unwrap_or_default());
        GpuHourKey { hour, gpu, owner: OwnerKey(value(self.owner.as_ref(), row).unwrap_or_default()) }
    }

    fn row(&self, row: usize) -> GpuHour {
        let sum = |column: &Option<Values<u64>>| value(column.as_ref(), row).unwrap_or_default();
        GpuHour {
            active_ms: Millis(sum(&self.active_ms)),
            held_ms: Millis(sum(&self.held_ms)),
            free_ms: Millis(sum(&self.free_ms)),
            down_ms: Millis(sum(&self.down_ms)),
            counter_mj: Millijoules(sum(&self.counter_mj)),
            gap_mj: Millijoules(sum(&self.gap_mj)),
            estimated_mj: Millijoules(sum(&self.estimated_mj)),
            active_mj: Millijoules(sum(&self.active_mj)),
            busy_ppm_ms: PpmMillis(sum(&self.busy_ppm_ms)),
            busy_known_ms: Millis(sum(&self.busy_known_ms)),
            memory_byte_ms: ByteMillis(value(self.memory_byte_ms.as_ref(), row).unwrap_or_default()),
            throttled_ms: Millis(sum(&self.throttled_ms)),
            power_max_mw: value(self.power_max_mw.as_ref(), row).flatten().map(Milliwatts),
            temperature_max_mc: value(self.temperature_max_mc.as_ref(), row).flatten().map(Millicelsius),
            samples: sum(&self.samples),
        }
    }
}

fn column<T>(rows: &[(GpuHourKey, GpuHour)], value: impl Fn(&(GpuHourKey, GpuHour)) -> T) -> Values<T> {
    Values::Each(rows.iter().map(value).collect())
}

fn value<T: Copy>(column: Option<&Values<T>>, row: usize) -> Option<T> {
    column.and_then(|column| column.at(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::samples;

    #[test]
    fn rows_come_back_from_their_columns() {
        let day = Day::of(samples::HOUR);
        let key = |gpu, hours: u32| GpuHourKey {
            hour: Hour(samples::HOUR.0 + hours),
            gpu: GpuKey(gpu),
            owner: OwnerKey(9),
        };
        let bare = GpuHour { power_max_mw: None, temperature_max_mc: None, ..samples::row() };
        let rows = [(key(1, 0), samples::row()), (key(1, 3), GpuHour::default()), (key(2, 1), bare)];
        let piece = GpuHours::of(day, &rows);
        assert_eq!(piece.iter().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn a_column_that_is_not_there_is_none_and_one_value_can_stand_for_all() {
        let mut piece = GpuHours::bare(Day(20_541), 2, Values::Same(7));
        piece.counter_mj = Some(Values::Same(5));
        assert_eq!(piece.active_ms, None);
        let rows: Vec<_> = piece.iter().collect();
        assert_eq!(rows[1].0.gpu, GpuKey(7));
        assert_eq!(rows[1].0.hour, Day(20_541).first_hour());
        assert_eq!(rows[0].1, GpuHour { counter_mj: Millijoules(5), ..GpuHour::default() });
    }

    #[test]
    fn sums_are_exact_and_one_that_does_not_fit_is_told() {
        let each = Values::Each(vec![1, 2, 4, 8]);
        assert_eq!((each.sum(1..3), each.sum(0..4), each.sum(2..2)), (Ok(6), Ok(15), Ok(0)));
        assert!(each.any(0..1) && !Values::Each(vec![0, 1]).any(0..1));
        assert_eq!(Values::Same(3).sum(5..9), Ok(12));
        let large = u64::MAX / 2 + 1;
        assert_eq!(Values::Each(vec![large, large - 1]).sum(0..2), Ok(u64::MAX));
        assert!(Values::Each(vec![large, large]).sum(0..2).is_err());
        assert!(Values::Same(large).sum(0..2).is_err());
    }

    #[test]
    fn a_run_ends_where_the_value_changes() {
        let each = Values::Each(vec![4, 4, 4, 9, 4]);
        assert_eq!((each.run(0, 5), each.run(1, 2), each.run(3, 5), each.run(4, 5)), (3, 2, 4, 5));
        assert_eq!(Values::Same(4).run(2, 5), 5);
    }
}
