//! Power over time with energy in closed form.
//!
//! Power is in milliwatts and time in microseconds, so energy comes in nanojoules. A ramp has a
//! half in its formula, therefore everything below counts in *half nanojoules*: whole phases are
//! then integers, only the phase being read is rounded down, and rounding the sum down to
//! millijoules gives the floor of the exact integral. (A sine read inside a period uses a float
//! there; its whole periods are integers.)

/// How many half nanojoules a millijoule has.
pub const HALF_NJ_PER_MJ: u128 = 2_000_000;

/// Power during one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// The same power all the time.
    Constant { mw: u64 },
    /// A straight line from the start of the phase to its end.
    Ramp { from_mw: u64, to_mw: u64 },
    /// `mean + amplitude · sin`, starting at the mean and rising.
    Sine { mean_mw: u64, amplitude_mw: u64, period_us: u64 },
}

impl Wave {
    /// Power `at_us` into a phase of `length_us`.
    pub fn power_mw(self, at_us: u64, length_us: u64) -> u64 {
        match self {
            Self::Constant { mw } => mw,
            Self::Ramp { from_mw, to_mw } => {
                let moved = i128::from(to_mw) - i128::from(from_mw);
                let now = i128::from(from_mw) + (moved * i128::from(at_us)).div_euclid(i128::from(length_us));
                u64::try_from(now).unwrap_or(0)
            }
            Self::Sine { mean_mw, amplitude_mw, period_us } => {
                let swing = scale(amplitude_mw, angle(at_us, period_us).sin());
                u64::try_from(i128::from(mean_mw) + swing).unwrap_or(0)
            }
        }
    }

    /// Energy from the start of a phase of `length_us` until `at_us` into it, in half nanojoules.
    pub fn energy_half_nj(self, at_us: u64, length_us: u64) -> u128 {
        let t = i128::from(at_us);
        let energy = match self {
            Self::Constant { mw } => 2 * i128::from(mw) * t,
            Self::Ramp { from_mw, to_mw } => {
                let moved = i128::from(to_mw) - i128::from(from_mw);
                2 * i128::from(from_mw) * t + (moved * t * t).div_euclid(i128::from(length_us))
            }
            Self::Sine { mean_mw, amplitude_mw, period_us } => {
                // amplitude · period / 2π · (1 − cos): zero after every whole period.
                let lobe = amplitude_mw * period_us;
                2 * i128::from(mean_mw) * t
                    + scale(lobe, (1.0 - angle(at_us, period_us).cos()) / std::f64::consts::PI)
            }
        };
        u128::try_from(energy).unwrap_or(0)
    }
}

/// The phase angle, from the part of the period that has passed, so that long runs lose no precision.
#[allow(clippy::cast_precision_loss, reason = "a period of microseconds is far below 2^53")]
fn angle(at_us: u64, period_us: u64) -> f64 {
    (at_us % period_us) as f64 / period_us as f64 * std::f64::consts::TAU
}

/// `amount · factor`, rounded down, for factors between −1 and 1.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "amounts are limited to 2^53 when the scenario is checked"
)]
fn scale(amount: u64, factor: f64) -> i128 {
    (amount as f64 * factor).floor() as i128
}

/// A phase's length and power.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub length_us: u64,
    pub wave: Wave,
}

/// Phases repeated for ever.
#[derive(Debug)]
pub struct Schedule {
    stretches: Vec<Stretch>,
    cycle_us: u64,
    cycle_half_nj: u128,
}

/// Where in the schedule a moment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub phase: usize,
    pub at_us: u64,
}

impl Schedule {
    /// `stretches` must not be empty and each must have a length.
    pub fn new(stretches: Vec<Stretch>) -> Self {
        let cycle_us = stretches.iter().map(|s| s.length_us).sum();
        let cycle_half_nj = stretches.iter().map(|s| s.wave.energy_half_nj(s.length_us, s.length_us)).sum();
        Self { stretches, cycle_us, cycle_half_nj }
    }

    pub fn place(&self, t_us: u64) -> Place {
        let mut at_us = t_us % self.cycle_us;
        for (phase, stretch) in self.stretches.iter().enumerate() {
            if at_us < stretch.length_us {
                return Place { phase, at_us };
            }
            at_us -= stretch.length_us;
        }
        Place { phase: 0, at_us: 0 }
    }

    pub fn power_mw(&self, t_us: u64) -> u64 {
        let place = self.place(t_us);
        let stretch = self.stretches[place.phase];
        stretch.wave.power_mw(place.at_us, stretch.length_us)
    }

    /// How long phases of a kind have lasted since the schedule began.
    pub fn time_us(&self, t_us: u64, counts: impl Fn(usize) -> bool) -> u64 {
        let place = self.place(t_us);
        let of = |phases: std::ops::Range<usize>| -> u64 {
            phases.filter(|phase| counts(*phase)).map(|phase| self.stretches[phase].length_us).sum()
        };
        let open = if counts(place.phase) { place.at_us } else { 0 };
        t_us / self.cycle_us * of(0..self.stretches.len()) + of(0..place.phase) + open
    }

    /// Energy since the schedule began, in half nanojoules.
    pub fn energy_half_nj(&self, t_us: u64) -> u128 {
        let place = self.place(t_us);
        let whole: u128 = self.stretches[..place.phase]
            .iter()
            .map(|s| s.wave.energy_half_nj(s.length_us, s.length_us))
            .sum();
        let open = self.stretches[place.phase];
        u128::from(t_us / self.cycle_us) * self.cycle_half_nj
            + whole
            + open.wave.energy_half_nj(place.at_us, open.length_us)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(parts: &[(u64, Wave)]) -> Schedule {
        Schedule::new(parts.iter().map(|&(ms, wave)| Stretch { length_us: ms * 1000, wave }).collect())
    }

    #[test]
    fn constant_power_gives_power_times_time() {
        let s = schedule(&[(1000, Wave::Constant { mw: 300_000 })]);
        assert_eq!(s.energy_half_nj(3_600_000_000) / HALF_NJ_PER_MJ, 1_080_000_000, "300 W for an hour");
    }

    #[test]
    fn a_square_wave_gives_the_sum_of_its_parts() {
        let s = schedule(&[(3000, Wave::Constant { mw: 700_000 }), (7000, Wave::Constant { mw: 70_000 })]);
        assert_eq!(s.energy_half_nj(10_000_000) / HALF_NJ_PER_MJ, 2_100_000 + 490_000);
        assert_eq!(s.energy_half_nj(12_000_000) / HALF_NJ_PER_MJ, 2_590_000 + 1_400_000);
    }

    #[test]
    fn a_triangle_gives_half_its_height_per_second() {
        let s = schedule(&[
            (1000, Wave::Ramp { from_mw: 0, to_mw: 400_000 }),
            (1000, Wave::Ramp { from_mw: 400_000, to_mw: 0 }),
        ]);
        assert_eq!(s.power_mw(500_000), 200_000);
        assert_eq!(s.energy_half_nj(500_000), 2 * 50_000_000_000, "a quarter of the square");
        assert_eq!(s.energy_half_nj(2_000_000) / HALF_NJ_PER_MJ, 400_000);
    }

    #[test]
    fn a_sine_gives_its_mean_over_whole_periods_and_the_lobe_within() {
        let wave = Wave::Sine { mean_mw: 400_000, amplitude_mw: 300_000, period_us: 10_000_000 };
        let s = schedule(&[(10_000, wave)]);
        assert_eq!(s.energy_half_nj(50_000_000) / HALF_NJ_PER_MJ, 20_000_000);
        // Half a period: mean · T/2 + amplitude · T/π = 2000 J + 954.929658551372… J.
        assert_eq!(s.energy_half_nj(5_000_000) / HALF_NJ_PER_MJ, 2_954_929);
        assert_eq!(s.power_mw(2_500_000), 700_000);
    }

    #[test]
    fn the_time_of_a_kind_of_phase_is_counted_over_cycles_and_within() {
        let s = schedule(&[(3000, Wave::Constant { mw: 1 }), (7000, Wave::Constant { mw: 2 })]);
        let second = |t_ms: u64| s.time_us(t_ms * 1000, |phase| phase == 1) / 1000;
        assert_eq!(
            [second(0), second(3000), second(3500), second(10_000), second(14_000)],
            [0, 0, 500, 7000, 8000]
        );
    }

    fn any_wave() -> impl Strategy<Value = Wave> {
        prop_oneof![
            (0..900_000u64).prop_map(|mw| Wave::Constant { mw }),
            (0..900_000u64, 0..900_000u64).prop_map(|(from_mw, to_mw)| Wave::Ramp { from_mw, to_mw }),
            (0..450_000u64, 1_000_000..60_000_000u64).prop_map(|(amplitude_mw, period_us)| Wave::Sine {
                mean_mw: 450_000,
                amplitude_mw,
                period_us
            }),
        ]
    }

    proptest! {
        #[test]
        fn energy_never_falls_and_lies_between_least_and_greatest_power(
            parts in prop::collection::vec((1..5000u64, any_wave()), 1..6),
            from_us in 0..100_000_000u64,
            step_us in 1..1_000_000u64,
        ) {
            let s = schedule(&parts);
            let gained = s.energy_half_nj(from_us + step_us).checked_sub(s.energy_half_nj(from_us));
            let gained = gained.expect("energy falls");
            prop_assert!(gained <= 2 * 900_001 * u128::from(step_us) + 2);
        }

        #[test]
        fn small_trapezoids_agree_with_the_closed_form(
            parts in prop::collection::vec((500..3000u64, any_wave()), 1..4),
        ) {
            let s = schedule(&parts);
            let end_us: u64 = parts.iter().map(|p| p.0 * 1000).sum();
            let mut sum: u128 = 0;
            for t in (0..end_us).step_by(500) {
                // Both ends are read inside the step, so that a jump at its edge is not smeared.
                sum += u128::from(s.power_mw(t) + s.power_mw(t + 499)) * 500;
            }
            let exact = s.energy_half_nj(end_us);
            prop_assert!(sum.abs_diff(exact) <= exact / 1000 + 2_000_000 * u128::from(end_us) / 500,
                "trapezoids {sum}, closed form {exact}");
        }
    }
}
