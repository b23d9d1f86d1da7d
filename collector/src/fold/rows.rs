//! How a quantity over time is cut into hours and owners without losing a unit.

use super::coverage::Span;
use gpuledger_ledger::{GpuHour, HOUR_MS, Hour, OwnerKey};
use gpuledger_units::{ByteMillis, Overflow, largest_remainder, prorate};

/// Energy is spread over a year of hours at the most. A longer interval is not an outage but a clock
/// that was wrong, and a row for each of its hours would fill memory and ledger.
const SPREAD_MS_MAX: u64 = 366 * 24 * HOUR_MS;

/// Owners of a GPU with their shares in ppm, which sum to the whole.
pub type Shares = [(OwnerKey, u32)];

/// Cuts a span at hour boundaries.
pub fn hours(span: Span) -> impl Iterator<Item = (Hour, Span)> {
    let mut at = span.from;
    std::iter::from_fn(move || {
        if at >= span.to {
            return None;
        }
        let hour = Hour::of(at);
        let piece = Span { from: at, to: span.to.min(hour.end_ms()) };
        at = piece.to;
        Some((hour, piece))
    })
}

/// Cuts an amount that was used evenly over a span into hours; the pieces sum to it. An empty span
/// (a clock that stood or stepped back) puts all of it into the hour it ends in. One that is longer
/// than a year puts it into the last year.
pub fn by_hour(amount: u64, span: Span) -> impl Iterator<Item = (Hour, u64)> {
    let span = Span { from: span.from.max(span.to.saturating_sub(SPREAD_MS_MAX)), to: span.to };
    let length = span.length();
    let until = move |ms: u64| if ms == span.to { amount } else { prorate(amount, ms - span.from, length) };
    let at_once = (length == 0).then(|| (Hour::of(span.to), amount));
    let pieces = hours(span).map(move |(hour, piece)| {
        let before = if piece.from == span.from { 0 } else { until(piece.from) };
        (hour, until(piece.to) - before)
    });
    at_once.into_iter().chain(pieces)
}

/// One row as several, whose sums are the row. Maxima go to all, the sample to the first.
pub fn split_row(row: &GpuHour, shares: &Shares) -> Result<Vec<GpuHour>, Overflow> {
    let weights: Vec<u64> = shares.iter().map(|&(_, ppm)| u64::from(ppm)).collect();
    let mut parts = vec![
        GpuHour {
            power_max_mw: row.power_max_mw,
            temperature_max_mc: row.temperature_max_mc,
            ..GpuHour::default()
        };
        shares.len()
    ];
    let mut split = |total: u64, put: fn(&mut GpuHour, u64)| -> Result<(), Overflow> {
        let pieces = largest_remainder(total, &weights).ok_or(Overflow("shares of a GPU"))?;
        for (part, piece) in parts.iter_mut().zip(pieces) {
            put(part, piece);
        }
        Ok(())
    };
    split(row.active_ms.0, |part, ms| part.active_ms.0 = ms)?;
    split(row.held_ms.0, |part, ms| part.held_ms.0 = ms)?;
    split(row.free_ms.0, |part, ms| part.free_ms.0 = ms)?;
    split(row.down_ms.0, |part, ms| part.down_ms.0 = ms)?;
    split(row.counter_mj.0, |part, mj| part.counter_mj.0 = mj)?;
    split(row.gap_mj.0, |part, mj| part.gap_mj.0 = mj)?;
    split(row.estimated_mj.0, |part, mj| part.estimated_mj.0 = mj)?;
    split(row.active_mj.0, |part, mj| part.active_mj.0 = mj)?;
    split(row.busy_ppm_ms.0, |part, ppm_ms| part.busy_ppm_ms.0 = ppm_ms)?;
    split(row.busy_known_ms.0, |part, ms| part.busy_known_ms.0 = ms)?;
    split(row.throttled_ms.0, |part, ms| part.throttled_ms.0 = ms)?;
    let memory = u64::try_from(row.memory_byte_ms.0).map_err(|_| Overflow("ByteMillis"))?;
    split(memory, |part, byte_ms| part.memory_byte_ms = ByteMillis(u128::from(byte_ms)))?;
    parts[0].samples = row.samples;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_units::{Millijoules, Millis, PpmMillis};

    #[test]
    fn hours_cut_a_span_without_a_seam() {
        let span = Span { from: HOUR_MS - 1, to: 3 * HOUR_MS + 1 };
        let pieces: Vec<_> = hours(span).map(|(hour, piece)| (hour.0, piece.length())).collect();
        assert_eq!(pieces, [(0, 1), (1, HOUR_MS), (2, HOUR_MS), (3, 1)]);
        assert_eq!(hours(Span { from: 5, to: 5 }).count(), 0);
    }

    #[test]
    fn energy_over_an_hour_boundary_sums_to_the_whole() {
        let span = Span { from: HOUR_MS - 333, to: HOUR_MS + 667 };
        assert_eq!(by_hour(1_001, span).collect::<Vec<_>>(), [(Hour(0), 333), (Hour(1), 668)]);
        assert_eq!(by_hour(7, Span { from: 9, to: 9 }).collect::<Vec<_>>(), [(Hour(0), 7)]);
    }

    #[test]
    fn energy_over_a_clock_that_jumped_by_decades_takes_a_year_of_rows_and_sums_to_the_whole() {
        let span = Span { from: 50 * 365 * 24 * HOUR_MS, to: 100 * 365 * 24 * HOUR_MS + 1 };
        let pieces: Vec<_> = by_hour(1_000_003, span).collect();
        assert_eq!(pieces.len(), 366 * 24 + 1);
        assert_eq!(pieces.iter().map(|piece| piece.1).sum::<u64>(), 1_000_003);
        assert_eq!(pieces.last().unwrap().0, Hour(100 * 365 * 24));
    }

    #[test]
    fn a_row_split_among_owners_sums_to_the_row() {
        let row = GpuHour {
            active_ms: Millis(1_000),
            counter_mj: Millijoules(700_001),
            active_mj: Millijoules(700_001),
            busy_ppm_ms: PpmMillis(999_999_999),
            busy_known_ms: Millis(1_000),
            samples: 1,
            ..GpuHour::default()
        };
        let shares = [(OwnerKey(2), 333_334), (OwnerKey(3), 333_333), (OwnerKey(4), 333_333)];
        let mut sum = GpuHour::default();
        for part in split_row(&row, &shares).unwrap() {
            sum.merge(&part).unwrap();
        }
        assert_eq!(sum, row);
    }
}
