//! Amounts of money: a decimal and its currency. Two currencies never mix.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An ISO 4217 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Why an amount could not be computed or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{0:?} is not a currency: expected three capital letters of ISO 4217, such as EUR or USD")]
    Currency(String),
    #[error("cannot add {0} and {1}: convert one of them first")]
    Mixed(Currency, Currency),
    #[error("an amount leaves the range of 28 decimal digits")]
    Overflow,
}

impl Currency {
    pub const EUR: Self = Self(*b"EUR");
    pub const USD: Self = Self(*b"USD");

    pub fn new(code: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_uppercase) => Ok(Self(bytes)),
            _ => Err(MoneyError::Currency(code.to_owned())),
        }
    }

    pub fn code(&self) -> &str {
        // Only capital letters come in, so that there is always a text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Decimal places of the smallest unit (ISO 4217 minor unit).
    pub fn minor_digits(self) -> u32 {
        match &self.0 {
            b"JPY" | b"KRW" | b"VND" | b"CLP" | b"ISK" | b"XAF" | b"XOF" | b"XPF" | b"PYG" | b"UGX"
            | b"RWF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(code: String) -> Result<Self, MoneyError> {
        Self::new(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

/// An amount in a currency, with as many digits as it was computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Money {
    pub amount: Decimal,
    pub currency: Currency,
}

impl Money {
    pub const fn new(amount: Decimal, currency: Currency) -> Self {
        Self { amount, currency }
    }

    pub const fn zero(currency: Currency) -> Self {
        Self { amount: Decimal::ZERO, currency }
    }

    /// The sum; refuses two currencies and overflow.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(amount, self.currency))
    }

    /// Rounded to the smallest unit of the currency, halves away from zero as invoices do, and written
    /// with all its places: 5.00.
    #[must_use]
    pub fn rounded(self) -> Self {
        let digits = self.currency.minor_digits();
        let mut amount = self.amount.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
        amount.rescale(digits);
        Self::new(amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::new("EUR"), Ok(Currency::EUR));
        for wrong in ["", "eur", "EURO", "E1R", "€"] {
            assert_eq!(Currency::new(wrong), Err(MoneyError::Currency(wrong.to_owned())));
        }
    }

    #[test]
    fn two_currencies_are_never_added() {
        let error = Money::zero(Currency::EUR).plus(Money::zero(Currency::USD)).unwrap_err();
        assert_eq!(error.to_string(), "cannot add EUR and USD: convert one of them first");
        let most = Money::new(Decimal::MAX, Currency::EUR);
        assert_eq!(most.plus(most), Err(MoneyError::Overflow));
    }

    #[test]
    fn amounts_round_to_the_smallest_unit_of_their_currency_and_show_all_its_places() {
        let amount = Decimal::new(-12_345, 4);
        let rounded = |code| Money::new(amount, Currency::new(code).unwrap()).rounded().amount.to_string();
        assert_eq!([rounded("EUR"), rounded("JPY"), rounded("KWD")], ["-1.23", "-1", "-1.235"]);
        assert_eq!(Money::new(Decimal::from(5), Currency::EUR).rounded().amount.to_string(), "5.00");
    }
}
