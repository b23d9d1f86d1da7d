//! Durations and sizes as people write them: a whole number and a unit.

use std::ops::RangeInclusive;

/// Unit and factor, largest first: `s` is not taken for the end of `ms`.
type Units = [(&'static str, u64)];

const DURATIONS: &Units = &[("h", 3_600_000), ("min", 60_000), ("ms", 1), ("s", 1_000)];
const SIZES: &Units = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `500ms`, `1s`, `2min`, `1h` in milliseconds.
pub fn duration_ms(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    parse(text, DURATIONS, &range, "a duration such as 500ms, 1s, 2min or 1h")
}

/// `64MiB`, `1GiB` in bytes.
pub fn bytes(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    parse(text, SIZES, &range, "a size such as 64MiB or 1GiB")
}

fn parse(text: &str, units: &Units, range: &RangeInclusive<u64>, expected: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not {expected}"))?;
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let Some(factor) = factor else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        let known = names.join(", ");
        return Err(match unit {
            "" => format!("{text:?} has no unit; expected {expected}"),
            unit => format!("{text:?} has the unknown unit {unit:?}; expected one of {known}"),
        });
    };
    let value = number.checked_mul(factor).filter(|value| range.contains(value));
    value.ok_or_else(|| {
        let (low, high) = (write(*range.start(), units), write(*range.end(), units));
        format!("{text:?} is out of range; expected {low} to {high}")
    })
}

/// The shortest way to write a value.
fn write(value: u64, units: &Units) -> String {
    let whole = units.iter().filter(|(_, factor)| value.is_multiple_of(*factor) && value >= *factor);
    match whole.max_by_key(|(_, factor)| *factor) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_read() {
        for (text, expected) in [("500ms", 500), ("1s", 1_000), ("2 min", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration_ms(text, 0..=u64::MAX), Ok(expected), "{text}");
        }
        assert_eq!(bytes("3MiB", 0..=u64::MAX), Ok(3 << 20));
    }

    #[test]
    fn what_is_wrong_and_what_is_expected_is_told() {
        for (text, expected) in [
            ("1", "\"1\" has no unit; expected a duration such as 500ms, 1s, 2min or 1h"),
            ("1sec", "\"1sec\" has the unknown unit \"sec\"; expected one of h, min, ms, s"),
            ("10ms", "\"10ms\" is out of range; expected 100ms to 10s"),
            ("1h", "\"1h\" is out of range; expected 100ms to 10s"),
            ("18446744073709551615h", "\"18446744073709551615h\" is out of range; expected 100ms to 10s"),
            ("-1s", "\"-1s\" is not a duration such as 500ms, 1s, 2min or 1h"),
            ("1.5s", "\"1.5s\" has the unknown unit \".5s\"; expected one of h, min, ms, s"),
            ("", "\"\" is not a duration such as 500ms, 1s, 2min or 1h"),
        ] {
            assert_eq!(duration_ms(text, 100..=10_000).unwrap_err(), expected);
        }
        assert!(bytes("1GB", 0..=1 << 40).unwrap_err().contains("unknown unit \"GB\""));
        assert!(bytes("2TiB", 1 << 20..=1 << 40).unwrap_err().ends_with("expected 1MiB to 1TiB"));
    }
}
