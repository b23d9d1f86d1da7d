//! Cells as exact integers: no float ever holds a reading.

use super::mapping::{EnergyUnit, PowerUnit, TimeUnit};
use crate::fold::{AHEAD_MS_MAX, WALL_MS_MAX, WALL_MS_MIN};
use jiff::Timestamp;
use rust_decimal::Decimal;

/// A server draws kilowatts: whatever claims more than a megawatt was read in the wrong unit.
const POWER_UW_MAX: i64 = 1_000_000_000_000;
/// The zero of a meter drifts by some watts, so that a server that is off reads a little below it. A
/// kilowatt below is no drift.
const POWER_UW_MIN: i64 = -1_000_000_000;
/// Longest part of a cell that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// A cell of a power column in microwatts.
pub fn power_uw(cell: &str, unit: PowerUnit) -> Result<i64, String> {
    let (name, factor) = match unit {
        PowerUnit::Mw => ("mW", 1_000),
        PowerUnit::W => ("W", 1_000_000),
        PowerUnit::Kw => ("kW", 1_000_000_000),
    };
    let value =
        scaled(cell, factor, 1).map_err(|found| format!("expected a power in {name}, found {found}"))?;
    if value > POWER_UW_MAX {
        return Err(format!("{} {name} is more than a megawatt: is --power-unit right?", shown(cell)));
    }
    if value < POWER_UW_MIN {
        return Err(format!("{} {name} is further below zero than a meter drifts", shown(cell)));
    }
    Ok(value)
}

/// A cell of a counter of energy in millijoules; never negative.
pub fn energy_mj(cell: &str, unit: EnergyUnit) -> Result<i64, String> {
    let (name, factor) = match unit {
        EnergyUnit::Mj => ("mJ", 1),
        EnergyUnit::J => ("J", 1_000),
        EnergyUnit::Wh => ("Wh", 3_600_000),
        EnergyUnit::Kwh => ("kWh", 3_600_000_000),
    };
    let value =
        scaled(cell, factor, 1).map_err(|found| format!("expected an energy in {name}, found {found}"))?;
    if value < 0 {
        return Err(format!("expected a counter of energy, found {}, which is below zero", shown(cell)));
    }
    Ok(value)
}

/// A cell of the time column in milliseconds since the Unix epoch, parts of them cut off. A time that
/// has not come yet by this machine's clock, and is no mistake of a time zone, is refused: time that is
/// counted once would stay counted when its true readings come.
pub fn time_ms(cell: &str, unit: TimeUnit, now_ms: u64) -> Result<u64, String> {
    let value = match unit {
        TimeUnit::Rfc3339 => rfc3339(cell)?,
        TimeUnit::Ms => since_1970(cell, 1, 1, "milliseconds")?,
        TimeUnit::S => since_1970(cell, 1_000, 1, "seconds")?,
        TimeUnit::Us => since_1970(cell, 1, 1_000, "microseconds")?,
        TimeUnit::Ns => since_1970(cell, 1, 1_000_000, "nanoseconds")?,
    };
    if let Ok(ms) = u64::try_from(value)
        && (WALL_MS_MIN..=WALL_MS_MAX).contains(&ms)
    {
        if ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(ahead(cell, value, now_ms));
        }
        return Ok(ms);
    }
    let year = Timestamp::from_millisecond(value).map(|time| time.strftime("in %Y").to_string());
    let year = year.unwrap_or_else(|_| "far from today".to_owned());
    Err(format!("{} is {year}; the ledger holds 2020 to 2078: is --time-unit right?", shown(cell)))
}

fn ahead(cell: &str, value: i64, now_ms: u64) -> String {
    let date = |ms: i64| {
        Timestamp::from_millisecond(ms).map_or_else(|_| "far from today".to_owned(), |t| t.to_string())
    };
    let now = date(i64::try_from(now_ms).unwrap_or(i64::MAX));
    format!(
        "{} is {}, more than 26 hours ahead of this machine's clock, which says {now}: are the time, --time-unit and the clock right?",
        shown(cell),
        date(value)
    )
}

fn since_1970(cell: &str, factor: i64, divisor: i64, unit: &str) -> Result<i64, String> {
    scaled(cell, factor, divisor)
        .map_err(|found| format!("expected {unit} since 1970-01-01 UTC, found {found}"))
}

fn rfc3339(cell: &str) -> Result<i64, String> {
    let time = cell.trim().parse::<Timestamp>().map(Timestamp::as_millisecond);
    time.map_err(|_| {
        format!("expected a time with its offset such as 2024-05-17T15:00:00Z, found {}", shown(cell))
    })
}

/// `cell × factor ÷ divisor`, cut off, without passing through a float. The error says what the cell
/// holds instead.
fn scaled(cell: &str, factor: i64, divisor: i64) -> Result<i64, String> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Err("nothing".to_owned());
    }
    let too_large = || format!("{}, which is too large", shown(cell));
    if cell.len() <= 18 && cell.bytes().all(|b| b.is_ascii_digit()) {
        let whole: i64 = cell.parse().map_err(|_| too_large())?;
        let scaled = i128::from(whole) * i128::from(factor) / i128::from(divisor);
        return i64::try_from(scaled).map_err(|_| too_large());
    }
    let parsed = Decimal::from_str_exact(cell).or_else(|_| Decimal::from_scientific(cell));
    let value = parsed.map_err(|_| format!("{}, which is not a number", shown(cell)))?;
    let scaled = value.checked_mul(factor.into()).and_then(|v| v.checked_div(divisor.into()));
    scaled.and_then(|v| i64::try_from(v.trunc()).ok()).ok_or_else(too_large)
}

fn shown(cell: &str) -> String {
    let mut text: String = cell.chars().take(SHOWN_CHARS_MAX).collect();
    if text.len() < cell.len() {
        text.push('…');
    }
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-09-21.
    const NOW_MS: u64 = 1_790_000_000_000;

    #[test]
    fn a_reading_keeps_every_digit_down_to_a_microwatt() {
        assert_eq!(power_uw("4316", PowerUnit::W), Ok(4_316_000_000));
        assert_eq!(power_uw("4316.25", PowerUnit::W), Ok(4_316_250_000));
        assert_eq!(power_uw("0.000001", PowerUnit::W), Ok(1));
        assert_eq!(power_uw(" 6.85e3 ", PowerUnit::W), Ok(6_850_000_000));
        assert_eq!(power_uw("6.85", PowerUnit::Kw), Ok(6_850_000_000));
        assert_eq!(power_uw("-0", PowerUnit::W), Ok(0));
    }

    #[test]
    fn a_counter_in_any_unit_becomes_millijoules() {
        assert_eq!(energy_mj("1", EnergyUnit::Kwh), Ok(3_600_000_000));
        assert_eq!(energy_mj("0.5", EnergyUnit::Wh), Ok(1_800_000));
        assert_eq!(energy_mj("1.2345", EnergyUnit::J), Ok(1_234));
        assert!(energy_mj("9223372036854775808", EnergyUnit::Mj).is_err());
    }

    #[test]
    fn the_same_moment_reads_the_same_in_every_unit() {
        let ms = 1_715_960_308_411;
        assert_eq!(time_ms("1715960308411", TimeUnit::Ms, NOW_MS), Ok(ms));
        assert_eq!(time_ms("1715960308.411", TimeUnit::S, NOW_MS), Ok(ms));
        assert_eq!(time_ms("1715960308411999", TimeUnit::Us, NOW_MS), Ok(ms));
        assert_eq!(time_ms("1715960308411000001", TimeUnit::Ns, NOW_MS), Ok(ms));
        assert_eq!(time_ms("2024-05-17T17:38:28.411+02:00", TimeUnit::Rfc3339, NOW_MS), Ok(ms));
    }

    #[test]
    fn a_wrong_unit_is_noticed() {
        let seconds = time_ms("1715960308", TimeUnit::Ms, NOW_MS).unwrap_err();
        assert!(seconds.contains("1970") && seconds.contains("--time-unit"), "{seconds}");
        assert!(time_ms("1715960308411", TimeUnit::S, NOW_MS).unwrap_err().contains("--time-unit"));
        assert!(time_ms("-5", TimeUnit::S, NOW_MS).unwrap_err().contains("1969"));
        assert!(power_uw("6900000", PowerUnit::W).unwrap_err().contains("--power-unit"));
    }

    #[test]
    fn a_time_that_has_not_come_yet_is_refused_and_says_what_to_mend() {
        let latest_ms = NOW_MS + 26 * 3_600_000;
        assert_eq!(time_ms(&latest_ms.to_string(), TimeUnit::Ms, NOW_MS), Ok(latest_ms), "a time zone");
        let refused = time_ms(&(latest_ms + 1).to_string(), TimeUnit::Ms, NOW_MS).unwrap_err();
        for part in ["2026-09-22T", "26 hours ahead", "says 2026-09-21T", "--time-unit"] {
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn a_meter_may_drift_below_zero_and_a_counter_may_not() {
        assert_eq!(power_uw("-43", PowerUnit::W), Ok(-43_000_000));
        assert!(power_uw("-5000", PowerUnit::W).unwrap_err().contains("further below zero"));
        assert!(energy_mj("-1", EnergyUnit::J).unwrap_err().contains("below zero"));
    }

    #[test]
    fn what_is_no_number_says_what_was_expected_and_found() {
        for (cell, part) in [
            ("", "found nothing"),
            ("n/a", "\"n/a\", which is not a number"),
            ("NaN", "not a number"),
            ("1,5", "not a number"),
            ("99999999999999999999999999999999", "not a number"),
            ("9999999999999999999", "too large"),
        ] {
            let refused = power_uw(cell, PowerUnit::W).unwrap_err();
            assert!(
                refused.starts_with("expected a power in W") && refused.contains(part),
                "{cell}: {refused}"
            );
        }
        assert!(
            time_ms("2024-05-17T15:00:00", TimeUnit::Rfc3339, NOW_MS).is_err(),
            "a time without offset is ambiguous"
        );
    }
}
