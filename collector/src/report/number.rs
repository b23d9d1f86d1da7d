//! Numbers for people: thousands separators, fixed places, units.

use gpuledger_tco::money::{Currency, Money};
use gpuledger_units::Millijoules;
use rust_decimal::{Decimal, RoundingStrategy};

/// Millijoules in a kilowatt-hour.
const MJ_PER_KWH: u64 = 3_600_000_000;
/// A measured value that is absent, in tables.
pub const ABSENT: &str = "–";

/// `1,234,567.80`: groups of three, exactly `places` decimal places, halves away from zero.
pub fn grouped(value: Decimal, places: u32) -> String {
    let rounded = value.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
    let text = format!("{:.*}", usize::try_from(places).unwrap_or(0), rounded.abs());
    let (whole, part) = text.split_once('.').map_or((text.as_str(), None), |(w, p)| (w, Some(p)));
    let mut out = String::new();
    if rounded.is_sign_negative() && !rounded.is_zero() {
        // The sign that typesetters use is as wide as a digit; a hyphen would break columns.
        out.push('−');
    }
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(part) = part {
        out.push('.');
        out.push_str(part);
    }
    out
}

/// A quantity or price for reading: as many digits as say something. Programs get all of them.
pub fn brief(value: Decimal) -> String {
    let small = value.abs() < Decimal::ONE;
    let rounded = if small { value.round_sf(6).unwrap_or(value) } else { value.round_dp(4) }.normalize();
    grouped(rounded, rounded.scale())
}

/// A count with separators.
pub fn count(value: u64) -> String {
    grouped(Decimal::from(value), 0)
}

/// An amount with the places of its currency, without the code: `1,234.50`.
pub fn amount(value: Decimal, currency: Currency) -> String {
    grouped(value, currency.minor_digits())
}

/// An amount with its currency: `EUR 1,234.50`.
pub fn money(value: Money) -> String {
    format!("{} {}", value.currency, amount(value.amount, value.currency))
}

/// A rate or price a unit, with two places more than the currency where they say something.
pub fn rate(value: Decimal, currency: Currency) -> String {
    let places =
        if value.abs() < Decimal::TEN { currency.minor_digits() + 2 } else { currency.minor_digits() };
    grouped(value, places)
}

/// A share as percent: `93.4 %`.
pub fn percent(ratio: Decimal) -> String {
    ratio
        .checked_mul(Decimal::ONE_HUNDRED)
        .map_or_else(|| ABSENT.to_owned(), |p| format!("{} %", grouped(p, 1)))
}

/// A value or the sign for "not known".
pub fn or_absent<T>(value: Option<T>, tell: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| ABSENT.to_owned(), tell)
}

/// Kilowatt-hours, rounded to `places`.
pub fn kwh(energy: Millijoules, places: u32) -> Decimal {
    let exact = Decimal::from(energy.0) / Decimal::from(MJ_PER_KWH);
    exact.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

/// Hours of a duration in milliseconds, rounded to `places`.
pub fn hours(ms: u64, places: u32) -> Decimal {
    let exact = Decimal::from(ms) / Decimal::from(3_600_000u64);
    exact.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn digits_are_grouped_in_threes_from_the_point() {
        for (value, places, expected) in [
            ("0", 2, "0.00"),
            ("999.995", 2, "1,000.00"),
            ("1234567.8", 2, "1,234,567.80"),
            ("-1234.5", 0, "−1,235"),
            ("-0.001", 2, "0.00"),
            ("123456", 0, "123,456"),
        ] {
            assert_eq!(grouped(d(value), places), expected, "{value}");
        }
    }

    #[test]
    fn an_amount_has_the_places_of_its_currency() {
        assert_eq!(money(Money::new(d("1234.5"), Currency::EUR)), "EUR 1,234.50");
        assert_eq!(money(Money::new(d("1234.5"), Currency::new("JPY").unwrap())), "JPY 1,235");
    }

    #[test]
    fn a_quantity_for_reading_has_no_digits_that_say_nothing() {
        for (value, expected) in [
            ("6.4569228813888888888888888889", "6.4569"),
            ("0.0002276867030965391621129326", "0.000227687"),
            ("0.0701296050747363514060517185", "0.0701296"),
            ("281234567.8900", "281,234,567.89"),
            ("60", "60"),
            ("0", "0"),
        ] {
            assert_eq!(brief(d(value)), expected);
        }
    }

    #[test]
    fn a_small_rate_keeps_two_places_more() {
        assert_eq!(rate(d("0.12345"), Currency::EUR), "0.1235");
        assert_eq!(rate(d("98.32"), Currency::USD), "98.32");
        assert_eq!(percent(d("0.93449")), "93.4 %");
    }

    #[test]
    fn kilowatt_hours_are_exact_before_they_are_rounded() {
        assert_eq!(kwh(Millijoules(3_600_000_000), 6), d("1"));
        assert_eq!(kwh(Millijoules(1_800), 6), d("0.000001"), "half a millionth rounds up");
        assert_eq!(kwh(Millijoules(1_799), 6), d("0"));
    }
}
