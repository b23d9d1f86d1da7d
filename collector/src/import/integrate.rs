//! Readings to samples of a cumulative energy, in integers.
//!
//! Power in microwatts over time in milliseconds gives nanojoules; the trapezoid halves a sum, so
//! the running total counts half nanojoules and nothing is rounded until a sample is told, to the
//! nearest millijoule. Where two readings lie on both sides of a full hour, a sample at the hour is
//! put between them, with the power that lies on the straight line and the energy up to there: the
//! two parts sum to the whole exactly.
//!
//! A meter near zero reads some watts below it. Such readings are integrated as they are, while the
//! energy that is told never falls: it waits until what follows has made up for the dip.

use gpuledger_ledger::HOUR_MS;
use gpuledger_units::{Overflow, prorate};

/// One row of a file: when, and how many microwatts or millijoules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub wall_ms: u64,
    pub value: i64,
}

/// What the fold is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub wall_ms: u64,
    /// Absent where the file counts energy.
    pub power_mw: Option<i64>,
    /// Since the first row; where the file counts energy, the counter itself.
    pub energy_mj: u64,
}

/// Half nanojoules in a millijoule.
const HALF_NJ_PER_MJ: i128 = 2_000_000;

/// Integrates power. `rows` are in the order of time; of several rows of one moment the first ends
/// the interval before it and the last begins the one after it. An interval longer than
/// `longest_gap_ms` adds nothing: nobody looked.
pub fn power(rows: &[Row], longest_gap_ms: u64) -> Result<Vec<Sample>, Overflow> {
    let mut told = Told { samples: Vec::with_capacity(rows.len()), highest: 0 };
    let mut total: i128 = 0;
    let mut before: Option<Row> = None;
    for &row in rows {
        let power_mw = row.value / 1_000;
        match before {
            Some(start) if start.wall_ms == row.wall_ms => {
                if let Some(sample) = told.samples.last_mut() {
                    sample.power_mw = sample.power_mw.max(Some(power_mw));
                }
            }
            Some(start) if row.wall_ms - start.wall_ms <= longest_gap_ms => {
                for boundary in hours_between(start.wall_ms, row.wall_ms) {
                    let (part, at_uw) = until(start, row, boundary);
                    told.push(boundary, at_uw / 1_000, total + part)?;
                }
                let span = i128::from(row.wall_ms - start.wall_ms);
                total += (i128::from(start.value) + i128::from(row.value)) * span;
                told.push(row.wall_ms, power_mw, total)?;
            }
            _ => told.push(row.wall_ms, power_mw, total)?,
        }
        before = Some(row);
    }
    Ok(told.samples)
}

/// Carries a counter of energy over, with a value at each full hour between two readings. A counter
/// that went down, or that nobody read for longer than `longest_gap_ms`, is left as it is: what that
/// means is the fold's decision.
pub fn counter(rows: &[Row], longest_gap_ms: u64) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::with_capacity(rows.len());
    let mut before: Option<(u64, u64)> = None;
    for row in rows {
        let (wall_ms, value) = (row.wall_ms, row.value.unsigned_abs());
        if let Some((since, start)) = before {
            let span = wall_ms - since;
            if span == 0 {
                // The later row of one moment wins: a counter has one value.
                samples.pop();
            } else if span <= longest_gap_ms && value >= start {
                for boundary in hours_between(since, wall_ms) {
                    let energy_mj = start + prorate(value - start, boundary - since, span);
                    samples.push(Sample { wall_ms: boundary, power_mw: None, energy_mj });
                }
            }
        }
        samples.push(Sample { wall_ms, power_mw: None, energy_mj: value });
        before = Some((wall_ms, value));
    }
    samples
}

/// Samples so far, and the highest energy that they told.
struct Told {
    samples: Vec<Sample>,
    highest: i128,
}

impl Told {
    fn push(&mut self, wall_ms: u64, power_mw: i64, half_nj: i128) -> Result<(), Overflow> {
        self.highest = self.highest.max(half_nj);
        let energy_mj = i64::try_from(nearest_mj(self.highest)).map_err(|_| Overflow("Millijoules"))?;
        self.samples.push(Sample { wall_ms, power_mw: Some(power_mw), energy_mj: energy_mj.unsigned_abs() });
        Ok(())
    }
}

/// Halves go to the even neighbour: whole watts over whole milliseconds often end on a half, and
/// rounding all of them up would add energy to a fleet.
fn nearest_mj(half_nj: i128) -> i128 {
    let (whole, rest) = (half_nj / HALF_NJ_PER_MJ, half_nj % HALF_NJ_PER_MJ);
    let up = match rest.cmp(&(HALF_NJ_PER_MJ / 2)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    whole + i128::from(up)
}

/// Full hours strictly between two moments.
fn hours_between(from_ms: u64, to_ms: u64) -> impl Iterator<Item = u64> {
    let first = (from_ms / HOUR_MS + 1) * HOUR_MS;
    (first..to_ms).step_by(usize::try_from(HOUR_MS).unwrap_or(usize::MAX))
}

/// Half nanojoules from `start` until `boundary` and the power there, on the line to `end`.
///
/// With `x` into a span `s`: 2·E(x) = (2·p₁ + (p₂ − p₁)·x/s)·x, brought over `s` before dividing.
fn until(start: Row, end: Row, boundary: u64) -> (i128, i64) {
    let span = i128::from(end.wall_ms - start.wall_ms);
    let x = i128::from(boundary - start.wall_ms);
    let (p1, p2) = (i128::from(start.value), i128::from(end.value));
    let rise = (p2 - p1) * x;
    let at = p1 + rise / span;
    ((2 * p1 * span + rise) * x / span, i64::try_from(at).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000;

    fn rows(pairs: &[(u64, i64)]) -> Vec<Row> {
        pairs.iter().map(|&(wall_ms, watts)| Row { wall_ms, value: watts * 1_000_000 }).collect()
    }

    fn energies(samples: &[Sample]) -> Vec<(u64, u64)> {
        samples.iter().map(|s| (s.wall_ms, s.energy_mj)).collect()
    }

    #[test]
    fn a_triangle_has_half_the_energy_of_its_box() {
        // 0 W to 2000 W in 3 s: 3 kJ.
        let samples = power(&rows(&[(1_000, 0), (4_000, 2_000)]), MINUTE).unwrap();
        assert_eq!(energies(&samples), [(1_000, 0), (4_000, 3_000_000)]);
        assert_eq!(samples[1].power_mw, Some(2_000_000));
    }

    #[test]
    fn an_interval_over_a_full_hour_is_cut_on_the_line_between_its_readings() {
        // 0 W at one second before the hour to 4000 W at three seconds after it: 1000 W at the hour.
        let samples = power(&rows(&[(HOUR_MS - 1_000, 0), (HOUR_MS + 3_000, 4_000)]), MINUTE).unwrap();
        assert_eq!(
            energies(&samples),
            [(HOUR_MS - 1_000, 0), (HOUR_MS, 500_000), (HOUR_MS + 3_000, 8_000_000)]
        );
        assert_eq!(samples[1].power_mw, Some(1_000_000));
    }

    #[test]
    fn a_reading_on_the_full_hour_is_not_doubled() {
        let samples =
            power(&rows(&[(HOUR_MS - 1_000, 10), (HOUR_MS, 10), (HOUR_MS + 1_000, 10)]), MINUTE).unwrap();
        assert_eq!(samples.len(), 3);
    }

    #[test]
    fn a_gap_beyond_the_longest_adds_no_energy_and_no_sample() {
        let samples = power(&rows(&[(0, 100), (HOUR_MS + 1, 100), (HOUR_MS + 1_001, 100)]), MINUTE).unwrap();
        assert_eq!(energies(&samples), [(0, 0), (HOUR_MS + 1, 0), (HOUR_MS + 1_001, 100_000)]);
    }

    #[test]
    fn of_two_readings_of_one_moment_the_first_ends_and_the_last_begins() {
        let samples = power(&rows(&[(0, 100), (1_000, 300), (1_000, 500), (2_000, 500)]), MINUTE).unwrap();
        assert_eq!(energies(&samples), [(0, 0), (1_000, 200_000), (2_000, 700_000)]);
        assert_eq!(samples[1].power_mw, Some(500_000), "the higher one is the peak");
    }

    #[test]
    fn a_counter_is_split_at_the_hour_and_left_alone_where_it_falls() {
        let row = |wall_ms, value| Row { wall_ms, value };
        let samples =
            counter(&[row(HOUR_MS - 1_000, 10), row(HOUR_MS + 2_000, 100), row(HOUR_MS + 3_000, 5)], MINUTE);
        let expected = [(HOUR_MS - 1_000, 10), (HOUR_MS, 40), (HOUR_MS + 2_000, 100), (HOUR_MS + 3_000, 5)];
        assert_eq!(energies(&samples), expected);
    }

    #[test]
    fn a_meter_below_zero_is_made_up_for_by_what_follows() {
        // 2 s at 100 W, 2 s at −10 W, 2 s at 100 W: 200 − 20 + 200 J, without the ramps between.
        let watts = [(0, 100), (2, 100), (2, -10), (4, -10), (4, 100), (6, 100)];
        let samples = power(&rows(&watts.map(|(s, w)| (s * 1_000, w))), MINUTE).unwrap();
        assert_eq!(energies(&samples), [(0, 0), (2_000, 200_000), (4_000, 200_000), (6_000, 380_000)]);
    }

    #[test]
    fn halves_do_not_add_up_in_one_direction() {
        // 1 W for 1 ms is 1 mJ; half of it rounds to 0, one and a half to 2.
        let told = |ms: u64| power(&rows(&[(0, 0), (ms, 1)]), MINUTE).unwrap()[1].energy_mj;
        assert_eq!([told(1), told(2), told(3), told(4), told(5)], [0, 1, 2, 2, 2]);
    }

    proptest! {
        #[test]
        fn cutting_at_hours_changes_no_total(
            steps in prop::collection::vec((0u64..3 * HOUR_MS, 0i64..20_000_000_000), 1..40),
            start in 0u64..HOUR_MS,
        ) {
            let mut at = start;
            let rows: Vec<Row> = steps.iter().map(|&(step, value)| { at += step; Row { wall_ms: at, value } }).collect();
            let exact: i128 = rows.windows(2)
                .map(|w| (i128::from(w[0].value) + i128::from(w[1].value)) * i128::from(w[1].wall_ms - w[0].wall_ms))
                .sum();
            let samples = power(&rows, 3 * HOUR_MS).unwrap();
            let told = i128::from(samples.last().unwrap().energy_mj);
            prop_assert!((told * HALF_NJ_PER_MJ - exact).abs() <= HALF_NJ_PER_MJ / 2);
            prop_assert!(samples.windows(2).all(|w| w[0].energy_mj <= w[1].energy_mj && w[0].wall_ms < w[1].wall_ms));
            prop_assert!(samples.windows(2).all(|w| (w[1].wall_ms - 1) / HOUR_MS == w[0].wall_ms / HOUR_MS));
        }
    }
}
