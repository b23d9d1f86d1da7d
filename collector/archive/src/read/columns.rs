//! Batches of GPU rows in the form in which the ledger gives them.

use super::{Batch, Figures};
use crate::table::{MIB_BITS, Number};
use gpuledger_ledger::{Day, GpuHour, GpuHours, Values};

/// The same rows.
pub fn gpu_hours(day: Day, batch: Batch<GpuHour>) -> GpuHours {
    let mut piece = GpuHours::bare(day, batch.rows, batch.subject);
    (piece.hour, piece.owner) = (batch.hour, batch.owner);
    for (number, figures) in batch.numbers {
        put(&mut piece, number, figures);
    }
    piece
}

fn put(piece: &mut GpuHours, number: &Number<GpuHour>, figures: Figures) {
    let rows = piece.rows;
    match (number.name, figures) {
        ("active_ms", Figures::Always(values)) => piece.active_ms = Some(values),
        ("held_ms", Figures::Always(values)) => piece.held_ms = Some(values),
        ("free_ms", Figures::Always(values)) => piece.free_ms = Some(values),
        ("down_ms", Figures::Always(values)) => piece.down_ms = Some(values),
        ("counter_mj", Figures::Always(values)) => piece.counter_mj = Some(values),
        ("gap_mj", Figures::Always(values)) => piece.gap_mj = Some(values),
        ("estimated_mj", Figures::Always(values)) => piece.estimated_mj = Some(values),
        ("active_mj", Figures::Always(values)) => piece.active_mj = Some(values),
        ("busy_ppm_ms", Figures::Always(values)) => piece.busy_ppm_ms = Some(values),
        ("busy_known_ms", Figures::Always(values)) => piece.busy_known_ms = Some(values),
        ("throttled_ms", Figures::Always(values)) => piece.throttled_ms = Some(values),
        ("samples", Figures::Always(values)) => piece.samples = Some(values),
        ("memory_mib_ms", Figures::Always(values)) => add_memory(piece, &values, MIB_BITS),
        ("memory_rest_byte_ms", Figures::Always(values)) => add_memory(piece, &values, 0),
        ("power_max_mw", Figures::Maybe(values)) => {
            piece.power_max_mw = Some(map(values, rows, |power| power.map(i64::unsigned_abs)));
        }
        ("temperature_max_mc", Figures::Maybe(values)) => piece.temperature_max_mc = Some(values),
        // A test says that every column has its place above.
        _ => {}
    }
}

/// Memory × time is two columns: whole MiB and the rest.
fn add_memory(piece: &mut GpuHours, values: &Values<u64>, bits: u32) {
    let before = piece.memory_byte_ms.take().unwrap_or(Values::Same(0));
    let value = |row| {
        let more = u128::from(values.at(row).unwrap_or_default()) << bits;
        before.at(row).unwrap_or_default() | more
    };
    piece.memory_byte_ms = Some(Values::Each((0..piece.rows).map(value).collect()));
}

fn map<T: Copy, U>(values: Values<T>, rows: usize, to: impl Fn(T) -> U) -> Values<U> {
    match values {
        Values::Same(value) => Values::Same(to(value)),
        Values::Each(values) => Values::Each(values.into_iter().take(rows).map(to).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Kind as _;

    #[test]
    fn every_column_of_numbers_has_its_place() {
        for (at, number) in (1_u64..).zip(GpuHour::NUMBERS) {
            let mut piece = GpuHours::bare(Day(20_541), 1, Values::Same(1));
            let figures = if number.optional {
                Figures::Maybe(Values::Same(Some(at.cast_signed())))
            } else {
                Figures::Always(Values::Same(at))
            };
            put(&mut piece, number, figures);
            let (_, row) = piece.iter().next().unwrap();
            assert_eq!((number.get)(&row), Some(i128::from(at)), "{}", number.name);
        }
    }
}
