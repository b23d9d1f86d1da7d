//! Cells as exact integers: no float ever holds a reading.

use super::mapping::{EnergyUnit, PowerUnit, TimeUnit};
use jiff::Timestamp;
use rust_decimal::Decimal;

/// A server draws kilowatts: whatever claims more than a megawatt was read in the wrong unit.
const POWER_UW_MAX: u64 = 1_000_000_000_000;
/// 2000-01-01 and 2200-01-01 UTC: outside, the time unit is wrong.
const TIME_MS: std::ops::Range<u64> = 946_684_800_000..7_258_118_400_000;
/// Longest part of a cell that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// A cell of a power column in microwatts.
pub fn power_uw(cell: &str, unit: PowerUnit) -> Result<u64, String> {
    let factor = match unit {
        PowerUnit::Mw => 1_000,
        PowerUnit::W => 1_000_000,
        PowerUnit::Kw => 1_000_000_000,
    };
    let value = scaled(cell, factor, 1).map_err(|why| format!("expected a power in {unit:?}{why}"))?;
    if value > POWER_UW_MAX {
        return Err(format!("{} {unit:?} is more than a megawatt: is --power-unit right?", shown(cell)));
    }
    Ok(value)
}

/// A cell of a counter of energy in millijoules.
pub fn energy_mj(cell: &str, unit: EnergyUnit) -> Result<u64, String> {
    let factor = match unit {
        EnergyUnit::Mj => 1,
        EnergyUnit::J => 1_000,
        EnergyUnit::Wh => 3_600_000,
        EnergyUnit::Kwh => 3_600_000_000,
    };
    let value = scaled(cell, factor, 1).map_err(|why| format!("expected an energy in {unit:?}{why}"))?;
    // Readings travel as signed 64-bit integers.
    if i64::try_from(value).is_err() {
        return Err(format!("{} {unit:?} is beyond any counter: is --energy-unit right?", shown(cell)));
    }
    Ok(value)
}

/// A cell of the time column in milliseconds since the Unix epoch, parts of them cut off.
pub fn time_ms(cell: &str, unit: TimeUnit) -> Result<u64, String> {
    let value = match unit {
        TimeUnit::Rfc3339 => rfc3339(cell)?,
        TimeUnit::Ms => counted(cell, 1, 1, "milliseconds")?,
        TimeUnit::S => counted(cell, 1_000, 1, "seconds")?,
        TimeUnit::Us => counted(cell, 1, 1_000, "microseconds")?,
        TimeUnit::Ns => counted(cell, 1, 1_000_000, "nanoseconds")?,
    };
    if TIME_MS.contains(&value) {
        return Ok(value);
    }
    let year = i64::try_from(value).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let year = year.map_or_else(|| "far in the future".to_owned(), |t| format!("in {}", t.strftime("%Y")));
    Err(format!("{} would be {year}: is --time-unit right?", shown(cell)))
}

fn counted(cell: &str, factor: u64, divisor: u64, what: &str) -> Result<u64, String> {
    scaled(cell, factor, divisor).map_err(|why| format!("expected {what} since 1970-01-01 UTC{why}"))
}

fn rfc3339(cell: &str) -> Result<u64, String> {
    let wrong =
        || format!("expected a time with its offset such as 2024-05-17T15:00:00Z, found {}", shown(cell));
    let time: Timestamp = cell.trim().parse().map_err(|_| wrong())?;
    u64::try_from(time.as_millisecond()).map_err(|_| wrong())
}

/// `cell × factor ÷ divisor`, rounded down, without passing through a float. The error continues a
/// sentence that says what was expected.
fn scaled(cell: &str, factor: u64, divisor: u64) -> Result<u64, String> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Err(", found nothing".to_owned());
    }
    let too_large = || format!(", found {}, which is too large", shown(cell));
    if cell.len() <= 18 && cell.bytes().all(|b| b.is_ascii_digit()) {
        let whole: u64 = cell.parse().map_err(|_| too_large())?;
        return u64::try_from(u128::from(whole) * u128::from(factor) / u128::from(divisor))
            .map_err(|_| too_large());
    }
    let parsed = Decimal::from_str_exact(cell).or_else(|_| Decimal::from_scientific(cell));
    let value = parsed.map_err(|_| format!(", found {}, which is not a number", shown(cell)))?;
    if value.is_sign_negative() && !value.is_zero() {
        return Err(format!(" that is not negative, found {}", shown(cell)));
    }
    let scaled = value.checked_mul(Decimal::from(factor)).and_then(|v| v.checked_div(Decimal::from(divisor)));
    scaled.and_then(|v| u64::try_from(v.trunc()).ok()).ok_or_else(too_large)
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
        assert_eq!(time_ms("1715960308411", TimeUnit::Ms), Ok(ms));
        assert_eq!(time_ms("1715960308.411", TimeUnit::S), Ok(ms));
        assert_eq!(time_ms("1715960308411999", TimeUnit::Us), Ok(ms));
        assert_eq!(time_ms("1715960308411000001", TimeUnit::Ns), Ok(ms));
        assert_eq!(time_ms("2024-05-17T17:38:28.411+02:00", TimeUnit::Rfc3339), Ok(ms));
    }

    #[test]
    fn a_wrong_unit_is_noticed() {
        let seconds = time_ms("1715960308", TimeUnit::Ms).unwrap_err();
        assert!(seconds.contains("1970") && seconds.contains("--time-unit"), "{seconds}");
        assert!(time_ms("1715960308411", TimeUnit::S).unwrap_err().contains("--time-unit"));
        assert!(power_uw("6900000", PowerUnit::W).unwrap_err().contains("--power-unit"));
    }

    #[test]
    fn what_is_no_number_says_what_was_expected_and_found() {
        for (cell, part) in [
            ("", "found nothing"),
            ("n/a", "\"n/a\", which is not a number"),
            ("NaN", "not a number"),
            ("1,5", "not a number"),
            ("-3", "not negative"),
            ("99999999999999999999999", "too large"),
        ] {
            let refused = power_uw(cell, PowerUnit::W).unwrap_err();
            assert!(
                refused.starts_with("expected a power in W") && refused.contains(part),
                "{cell}: {refused}"
            );
        }
        assert!(
            time_ms("2024-05-17T15:00:00", TimeUnit::Rfc3339).is_err(),
            "a time without offset is ambiguous"
        );
    }
}
