//! Whether a GPU's energy counter and its power readings tell the same story. Pure.
//!
//! Both are taken over windows of [`WINDOW_MS`]: the counter moves in steps of up to a tenth of a second, so
//! that over short spans the two differ without meaning. A window in which a reading was missing, the counter
//! was reset or time stood still is thrown away. The ratio is told from the end of one window to the end of
//! the next; some GPUs are far off while they idle, which is why only several windows in a row are a matter
//! for the log.

use crate::meter::Meter;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};
use tracing::warn;

/// Ten minutes: a step of the counter is less than a thousandth of it.
const WINDOW_MS: u64 = 600_000;
/// Readings further apart than this leave a hole in a window.
const GAP_MS: u64 = 20_000;
/// Outside of this, several windows long, one of the two is wrong.
const AGREES_PPM: std::ops::RangeInclusive<i64> = 900_000..=1_100_000;
const WINDOWS_TOLD: u32 = 3;

/// Where a window began.
#[derive(Debug)]
struct Window {
    begun_ms: u64,
    energy_mj: i64,
    meter: Meter,
    /// The last counter and time in it.
    last: (u64, i64),
}

/// What is remembered of one GPU.
#[derive(Debug, Default)]
pub struct Agreement {
    window: Option<Window>,
    told: Option<i64>,
    /// Windows in a row in which the two did not agree.
    apart: u32,
}

impl Agreement {
    /// Takes in one sample and gives the ratio of the last whole window, in ppm: counter over power.
    pub fn read(&mut self, at_ms: u64, energy_mj: Reading<i64>, power_mw: Reading<i64>) -> Reading<i64> {
        let (energy, power) = match (energy_mj, power_mw) {
            (Reading::Value(energy), Reading::Value(power)) => (energy, power),
            (Reading::Absent(reason), _) | (_, Reading::Absent(reason)) => {
                self.window = None;
                return Reading::Absent(reason);
            }
        };
        let broken = |window: &Window| {
            energy < window.last.1 || at_ms < window.last.0 || at_ms - window.last.0 > GAP_MS
        };
        if self.window.as_ref().is_none_or(broken) {
            self.begin(at_ms, energy, power);
        }
        if let Some(window) = &mut self.window {
            window.last = (at_ms, energy);
            let integrated = window.meter.read(at_ms, Reading::Value(power));
            if at_ms - window.begun_ms >= WINDOW_MS {
                let gained = energy - window.energy_mj;
                self.told = integrated.value().and_then(|of| ratio_ppm(gained, of)).or(self.told);
                let apart = self.told.is_some_and(|ratio| !AGREES_PPM.contains(&ratio));
                self.apart = if apart { self.apart.saturating_add(1) } else { 0 };
                self.begin(at_ms, energy, power);
            }
        }
        self.told.ok_or(Absence::Pending).into()
    }

    /// Whether the two have just been apart for so long that somebody should hear of it: once.
    fn is_news(&self) -> bool {
        self.apart == WINDOWS_TOLD
    }

    /// The same, told in the log where it is news.
    pub fn read_and_tell(
        &mut self,
        gpu: &GpuUuid,
        at_ms: u64,
        energy_mj: Reading<i64>,
        power_mw: Reading<i64>,
    ) -> Reading<i64> {
        let was_news = self.is_news();
        let ratio = self.read(at_ms, energy_mj, power_mw);
        if self.is_news() && !was_news {
            warn!(%gpu, ratio_ppm = self.told, "energy counter and power readings have disagreed for half an hour");
        }
        ratio
    }

    fn begin(&mut self, at_ms: u64, energy_mj: i64, power_mw: i64) {
        let mut meter = Meter::new(GAP_MS);
        let _ = meter.read(at_ms, Reading::Value(power_mw));
        self.window = Some(Window { begun_ms: at_ms, energy_mj, meter, last: (at_ms, energy_mj) });
    }
}

/// `None` where nothing was drawn that could be compared.
fn ratio_ppm(counter_mj: i64, integrated_mj: i64) -> Option<i64> {
    i64::try_from(i128::from(counter_mj).checked_mul(1_000_000)?.checked_div(i128::from(integrated_mj))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of every second at 100 W, with a counter that gains so many mJ a second.
    fn run(agreement: &mut Agreement, seconds: std::ops::Range<u64>, gain_mj: i64) -> Reading<i64> {
        let mut last = Reading::Absent(Absence::Pending);
        for second in seconds {
            let energy = i64::try_from(second).unwrap() * gain_mj;
            last = agreement.read(second * 1_000, Reading::Value(energy), Reading::Value(100_000));
        }
        last
    }

    /// nvml.md, rows 4 and 5.
    #[test]
    fn the_ratio_is_told_of_whole_windows_only() {
        let mut agreement = Agreement::default();
        assert_eq!(run(&mut agreement, 0..600, 57_000), Reading::Absent(Absence::Pending));
        assert_eq!(run(&mut agreement, 600..700, 57_000), Reading::Value(570_000));
        assert_eq!(run(&mut agreement, 700..1_300, 57_000), Reading::Value(570_000));
        assert!(!agreement.is_news());
        run(&mut agreement, 1_300..1_900, 57_000);
        assert!(agreement.is_news(), "three windows in a row");
    }

    #[test]
    fn a_reset_a_hole_and_a_missing_reading_throw_a_window_away() {
        for spoil in [
            |a: &mut Agreement| a.read(300_500, Reading::Value(0), Reading::Value(100_000)),
            |a: &mut Agreement| a.read(330_000, Reading::Value(99_000_000), Reading::Value(100_000)),
            |a: &mut Agreement| a.read(300_500, Reading::Absent(Absence::Lost), Reading::Value(100_000)),
        ] {
            let mut agreement = Agreement::default();
            run(&mut agreement, 0..300, 100_000);
            spoil(&mut agreement);
            assert_eq!(run(&mut agreement, 340..900, 100_000), Reading::Absent(Absence::Pending));
            assert_eq!(run(&mut agreement, 900..1_000, 100_000), Reading::Value(1_000_000));
        }
    }
}
