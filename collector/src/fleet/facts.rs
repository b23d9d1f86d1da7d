//! One entry of the register, wherever it is written: a table of the register file, a line of a CSV
//! file, or a document of the ledger. What an asset or a price is made of is read once for all of them.

use super::error::FleetError;
use gpuledger_tco::calendar::Month;
use gpuledger_tco::money::{Currency, Money};
use jiff::civil::Date;
use rust_decimal::Decimal;

pub type Key = &'static str;

/// Keys and values, each with its place.
pub trait Facts {
    /// "fleet.toml line 12": for sources of amounts.
    fn place(&self) -> String;
    /// A mistake of the whole entry.
    fn wrong(&self, message: String) -> FleetError;
    /// A mistake of one value.
    fn wrong_at(&self, key: Key, message: String) -> FleetError;
    /// What to say where a value must be there; the example is as the register file has it.
    fn missing(&self, key: Key, example: &str) -> FleetError;
    fn has(&self, key: Key) -> bool;
    fn text(&self, key: Key) -> Result<Option<String>, FleetError>;
    fn number(&self, key: Key) -> Result<Option<Decimal>, FleetError>;
    /// Money; may be negative.
    fn amount(&self, key: Key) -> Result<Option<Decimal>, FleetError>;
    fn count(&self, key: Key, max: u32) -> Result<Option<u32>, FleetError>;
    fn date(&self, key: Key) -> Result<Option<Date>, FleetError>;
    fn flag(&self, key: Key) -> Result<Option<bool>, FleetError>;

    fn need_text(&self, key: Key, example: &str) -> Result<String, FleetError> {
        self.text(key)?.ok_or_else(|| self.missing(key, example))
    }

    fn need_date(&self, key: Key, example: &str) -> Result<Date, FleetError> {
        self.date(key)?.ok_or_else(|| self.missing(key, example))
    }

    fn price(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        let Some(amount) = self.amount(key)? else { return Ok(None) };
        if amount < Decimal::ZERO {
            return Err(self.wrong_at(key, format!("{amount} is negative; expected zero or more")));
        }
        Ok(Some(amount))
    }

    fn money(&self, key: Key, currency: Currency) -> Result<Option<Money>, FleetError> {
        Ok(self.price(key)?.map(|amount| Money::new(amount, currency)))
    }

    fn need_money(&self, key: Key, currency: Currency, example: &str) -> Result<Money, FleetError> {
        self.money(key, currency)?.ok_or_else(|| self.missing(key, example))
    }

    /// A number within bounds, which the message repeats.
    fn within(
        &self,
        key: Key,
        (least, most): (Decimal, Decimal),
        expected: &str,
    ) -> Result<Option<Decimal>, FleetError> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        if number < least || number > most {
            return Err(self.wrong_at(key, format!("{number} is out of range; expected {expected}")));
        }
        Ok(Some(number))
    }

    /// A part of a whole: a percentage is written as 0.19.
    fn share(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        self.within(key, (Decimal::ZERO, Decimal::ONE), "a share from 0 to 1: 19 % is 0.19")
    }

    /// Zero or more.
    fn quantity(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        self.within(key, (Decimal::ZERO, Decimal::MAX), "zero or more")
    }

    fn need_quantity(&self, key: Key, example: &str) -> Result<Decimal, FleetError> {
        self.quantity(key)?.ok_or_else(|| self.missing(key, example))
    }

    fn currency(&self, key: Key) -> Result<Option<Currency>, FleetError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        Currency::new(&text).map(Some).map_err(|error| self.wrong_at(key, error.to_string()))
    }

    /// A month as 2026-01.
    fn month(&self, key: Key) -> Result<Option<Month>, FleetError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        month(&text).map(Some).ok_or_else(|| {
            self.wrong_at(
                key,
                format!("{text:?} is not a month; expected year and month, such as \"2026-01\""),
            )
        })
    }

    /// One of several words.
    fn choice<T: Copy>(&self, key: Key, words: &[(&str, T)]) -> Result<Option<T>, FleetError>
    where
        Self: Sized,
    {
        let Some(text) = self.text(key)? else { return Ok(None) };
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| Some(*value)).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong_at(key, format!("{text:?} is not known; expected one of {}", known.join(", ")))
        })
    }
}

/// A month as 2026-01.
pub fn month(text: &str) -> Option<Month> {
    let day: Date = format!("{text}-01").parse().ok()?;
    (text.len() == 7).then(|| Month::of(day))
}
