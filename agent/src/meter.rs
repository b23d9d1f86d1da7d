//! Energy from power readings, for GPUs without an energy counter and to compare with those that
//! have one. Pure.
//!
//! Between two power readings the power is taken as a straight line (trapezoid), over the time of
//! the boot clock. mW × ms = µJ and a trapezoid halves, so the sum is kept in half microjoules as
//! whole millijoules and a remainder: nothing is ever rounded away, however long it runs.
//!
//! Two readings further apart than the longest gap have nothing in between: what a GPU drew while
//! nobody looked for long is not known, and is not made up here.

use gpuledger_proto::reading::{Absence, Reading};

/// Half microjoules in a millijoule.
const HALF_MICROJOULES: u128 = 2_000;

/// One device's running integral.
#[derive(Debug, Clone)]
pub struct Meter {
    gap_ms_max: u64,
    last: Option<Point>,
    energy_mj: u64,
    /// Half microjoules below the millijoule, `0..2000`.
    carry: u128,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    boot_ms: u64,
    power_mw: u64,
}

impl Meter {
    /// A meter at zero that bridges gaps of at most this length.
    pub fn new(gap_ms_max: u64) -> Self {
        Self { gap_ms_max, last: None, energy_mj: 0, carry: 0 }
    }

    /// Takes in one power reading and gives the energy since the first one, in millijoules: absent
    /// for the same reason as the power. A reading that is not later than the one before it, or is
    /// negative, is not one that a device gave and counts as failed.
    pub fn read(&mut self, boot_ms: u64, power_mw: Reading<i64>) -> Reading<i64> {
        let power_mw = match power_mw {
            Reading::Value(power_mw) => power_mw,
            Reading::Absent(reason) => return Reading::Absent(reason),
        };
        let Ok(power_mw) = u64::try_from(power_mw) else {
            return Reading::Absent(Absence::Failed);
        };
        let here = Point { boot_ms, power_mw };
        if let Some(last) = self.last {
            let Some(span_ms) = boot_ms.checked_sub(last.boot_ms) else {
                return Reading::Absent(Absence::Failed);
            };
            if span_ms <= self.gap_ms_max {
                self.add(last.power_mw, power_mw, span_ms);
            }
        }
        self.last = Some(here);
        i64::try_from(self.energy_mj).map_err(|_| Absence::Failed).into()
    }

    fn add(&mut self, from_mw: u64, to_mw: u64, span_ms: u64) {
        let sum = (u128::from(from_mw) + u128::from(to_mw)) * u128::from(span_ms) + self.carry;
        self.carry = sum % HALF_MICROJOULES;
        // 5 TWh fit; a device that claims more stays at the top instead of wrapping to nothing.
        let whole = u64::try_from(sum / HALF_MICROJOULES).unwrap_or(u64::MAX);
        self.energy_mj = self.energy_mj.saturating_add(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GAP_MS: u64 = 10_000;

    /// The last reading after feeding all points.
    fn integrate(points: &[(u64, i64)]) -> i64 {
        let mut meter = Meter::new(GAP_MS);
        points.iter().map(|&(t, p)| meter.read(t, Reading::Value(p))).last().and_then(Reading::value).unwrap()
    }

    #[test]
    fn constant_power_for_an_hour_is_power_times_time() {
        let points: Vec<_> = (0..=3_600).map(|s| (s * 1_000, 627_300)).collect();
        assert_eq!(integrate(&points), 627_300 * 3_600);
    }

    #[test]
    fn a_triangle_has_half_the_energy_of_its_box() {
        assert_eq!(integrate(&[(0, 0), (5_000, 700_000), (10_000, 0)]), 700_000 * 10 / 2);
    }

    #[test]
    fn a_sawtooth_sampled_at_its_corners_is_exact() {
        // 77.7 W rising to 627.3 W in 4 s and falling back in 1 s, a hundred times.
        let points: Vec<_> = (0..100)
            .flat_map(|n| [(n * 5_000, 77_700), (n * 5_000 + 4_000, 627_300)])
            .chain([(500_000, 77_700)])
            .collect();
        assert_eq!(integrate(&points), 352_500 * 500);
    }

    #[test]
    fn fractions_of_a_millijoule_are_carried_and_not_lost() {
        // 1 mW over 1 ms is a thousandth of a millijoule.
        let points: Vec<_> = (0..=10_000).map(|t| (t, 1)).collect();
        assert_eq!(integrate(&points), 10);
    }

    #[test]
    fn nothing_is_made_up_over_a_gap_that_is_too_long() {
        let long = integrate(&[(0, 1_000), (1_000, 1_000), (11_001, 1_000), (12_001, 1_000)]);
        assert_eq!(long, 2_000);
        let bridged = integrate(&[(0, 1_000), (1_000, 1_000), (11_000, 1_000), (12_000, 1_000)]);
        assert_eq!(bridged, 12_000);
    }

    #[test]
    fn absence_is_passed_on_and_a_short_one_is_bridged() {
        let mut meter = Meter::new(GAP_MS);
        let absent = Reading::Absent(Absence::TimedOut);
        assert_eq!(
            meter.read(0, Reading::Absent(Absence::Unsupported)),
            Reading::Absent(Absence::Unsupported)
        );
        assert_eq!(meter.read(1_000, Reading::Value(5_000)), Reading::Value(0));
        assert_eq!(meter.read(2_000, absent), absent);
        assert_eq!(meter.read(3_000, Reading::Value(5_000)), Reading::Value(10_000));
    }

    #[test]
    fn a_negative_power_or_a_clock_that_runs_back_counts_as_failed_and_adds_nothing() {
        let mut meter = Meter::new(GAP_MS);
        meter.read(5_000, Reading::Value(1_000));
        assert_eq!(meter.read(6_000, Reading::Value(-1)), Reading::Absent(Absence::Failed));
        assert_eq!(meter.read(4_000, Reading::Value(1_000)), Reading::Absent(Absence::Failed));
        assert_eq!(meter.read(7_000, Reading::Value(1_000)), Reading::Value(2_000));
    }

    proptest! {
        #[test]
        fn the_integral_is_the_exact_rational_rounded_down_at_the_end(
            steps in prop::collection::vec((0u64..=GAP_MS, 0i64..1_200_000), 1..300),
        ) {
            let (mut time, mut exact, mut points) = (0, 0u128, vec![(0, 250_000i64)]);
            for (span, power) in steps {
                let before = points[points.len() - 1].1;
                exact += u128::try_from(before + power).unwrap() * u128::from(span);
                time += span;
                points.push((time, power));
            }
            prop_assert_eq!(u128::try_from(integrate(&points)).unwrap(), exact / HALF_MICROJOULES);
        }

        #[test]
        fn more_points_on_the_same_line_change_nothing(
            start in 0i64..1_000_000, slope in -50i64..50, span in 1u64..=GAP_MS, cuts in prop::collection::vec(0u64..=GAP_MS, 0..40),
        ) {
            let line = |t: u64| 500_000 + start + slope * i64::try_from(t).unwrap();
            let mut times: Vec<u64> = cuts.into_iter().map(|t| t.min(span)).chain([0, span]).collect();
            times.sort_unstable();
            let fine: Vec<_> = times.into_iter().map(|t| (t, line(t))).collect();
            prop_assert_eq!(integrate(&fine), integrate(&[(0, line(0)), (span, line(span))]));
        }
    }
}
