//! Checked decimal arithmetic: a result that leaves the 28 digits is an error, never a panic.

use crate::error::TcoError;
use rust_decimal::{Decimal, RoundingStrategy};

pub fn add(a: Decimal, b: Decimal) -> Result<Decimal, TcoError> {
    a.checked_add(b).ok_or(TcoError::Overflow("a sum"))
}

pub fn sub(a: Decimal, b: Decimal) -> Result<Decimal, TcoError> {
    a.checked_sub(b).ok_or(TcoError::Overflow("a difference"))
}

pub fn mul(a: Decimal, b: Decimal) -> Result<Decimal, TcoError> {
    a.checked_mul(b).ok_or(TcoError::Overflow("a product"))
}

/// The quotient; `what` names the dividend in the error for a divisor of zero.
pub fn div(a: Decimal, b: Decimal, what: &'static str) -> Result<Decimal, TcoError> {
    if b.is_zero() {
        return Err(TcoError::DivisionByZero(what));
    }
    a.checked_div(b).ok_or(TcoError::Overflow("a quotient"))
}

/// The quotient, or `None` where nothing is divided by nothing.
pub fn ratio(a: Decimal, b: Decimal) -> Result<Option<Decimal>, TcoError> {
    if b.is_zero() { Ok(None) } else { div(a, b, "a ratio").map(Some) }
}

pub fn sum(amounts: impl IntoIterator<Item = Decimal>) -> Result<Decimal, TcoError> {
    amounts.into_iter().try_fold(Decimal::ZERO, add)
}

/// An integer as a decimal.
pub fn from_i128(value: i128) -> Result<Decimal, TcoError> {
    Decimal::try_from_i128_with_scale(value, 0).map_err(|_| TcoError::Overflow("an integer"))
}

pub fn from_u128(value: u128) -> Result<Decimal, TcoError> {
    from_i128(i128::try_from(value).map_err(|_| TcoError::Overflow("an integer"))?)
}

/// Milliseconds as hours.
pub fn hours(ms: u128) -> Result<Decimal, TcoError> {
    div(from_u128(ms)?, Decimal::from(3_600_000_u32), "time")
}

/// Millijoules as kilowatt-hours.
pub fn kwh(mj: u128) -> Result<Decimal, TcoError> {
    div(from_u128(mj)?, Decimal::from(3_600_000_000_u64), "energy")
}

/// Rounded to this many places, halves away from zero as invoices do.
pub fn round(amount: Decimal, digits: u32) -> Decimal {
    amount.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero)
}

/// Rounded down to this many places, toward minus infinity.
pub fn floor(amount: Decimal, digits: u32) -> Decimal {
    amount.round_dp_with_strategy(digits, RoundingStrategy::ToNegativeInfinity)
}

/// A fraction of two whole numbers, such as 17 of 31 days. It multiplies before it divides, so that
/// a third of 300 is 100 and not 99.99….
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    pub part: i64,
    pub whole: i64,
}

impl Fraction {
    /// This fraction of an amount.
    pub fn of(self, amount: Decimal) -> Result<Decimal, TcoError> {
        div(mul(amount, Decimal::from(self.part))?, Decimal::from(self.whole), "a fraction")
    }

    /// The fraction as a number, rounded to 28 digits.
    pub fn value(self) -> Result<Decimal, TcoError> {
        self.of(Decimal::ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_range_is_an_error_not_a_panic() {
        assert_eq!(add(Decimal::MAX, Decimal::MAX), Err(TcoError::Overflow("a sum")));
        assert_eq!(mul(Decimal::MAX, Decimal::TEN), Err(TcoError::Overflow("a product")));
        assert_eq!(div(Decimal::ONE, Decimal::ZERO, "cost"), Err(TcoError::DivisionByZero("cost")));
        assert_eq!(from_u128(u128::MAX), Err(TcoError::Overflow("an integer")));
    }

    #[test]
    fn halves_round_away_from_zero_on_both_sides() {
        assert_eq!(round(Decimal::new(125, 3), 2), Decimal::new(13, 2));
        assert_eq!(round(Decimal::new(-125, 3), 2), Decimal::new(-13, 2));
        assert_eq!(floor(Decimal::new(-121, 3), 2), Decimal::new(-13, 2));
    }

    #[test]
    fn a_third_of_three_hundred_is_a_hundred() {
        assert_eq!(Fraction { part: 1, whole: 3 }.of(Decimal::from(300)).unwrap(), Decimal::from(100));
        assert!(Fraction { part: 1, whole: 0 }.value().is_err());
    }

    #[test]
    fn units_convert_exactly() {
        assert_eq!(kwh(3_600_000_000).unwrap(), Decimal::ONE);
        assert_eq!(hours(5_400_000).unwrap(), Decimal::new(15, 1));
    }
}
