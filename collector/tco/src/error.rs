//! Why a statement could not be computed. Each variant names the thing and says how to mend it.

use crate::calendar::UtcHour;
use crate::decimal::round;
use crate::money::{Currency, MoneyError};
use jiff::civil::Date;
use rust_decimal::Decimal;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TcoError {
    #[error(transparent)]
    Money(#[from] MoneyError),

    #[error("{0} leaves the range that can be computed exactly")]
    Overflow(&'static str),

    #[error("{0} is divided by zero")]
    DivisionByZero(&'static str),

    #[error("{what} is {given}: expected {expected}")]
    Invalid { what: String, given: String, expected: &'static str },

    #[error(
        "no rate between -99.9999 % and 99999900 % makes the flows of {function} worth nothing: \
         compare npv at a stated rate instead"
    )]
    NoRate { function: &'static str },

    #[error(
        "the flows of {function} change sign {changes} times, so that no single rate tells their return \
         (they are worth nothing at {}): name a guess to take the nearest, or compare npv at a stated rate",
        list(rates)
    )]
    ManyRates { function: &'static str, changes: usize, rates: Vec<Decimal> },

    #[error("{what} is in {found} and the statement in {expected}: give it in {expected}")]
    ForeignCurrency { what: String, found: Currency, expected: Currency },

    #[error(
        "site {site} used electricity at {hour} but {tariff} has no price for that hour: \
         add the hour, or say how missing hours are priced (missing = \"previous\", or an amount)"
    )]
    MissingPrice { site: String, hour: UtcHour, tariff: String },

    #[error(
        "no rent price of {model} is in force on {day}: the earliest is {earliest}; \
         add the price that was in force then, or leave the offers for {model} out"
    )]
    NoRentPrice { model: String, day: Date, earliest: Date },

    #[error(
        "no rate from {from} to {to} is known on {day}: {}",
        earliest.map_or_else(
            || "import one, with its date and source".to_owned(),
            |earliest| format!("the earliest is of {earliest}; import the rate of that day")
        )
    )]
    NoExchangeRate { from: Currency, to: Currency, day: Date, earliest: Option<Date> },

    #[error(
        "owner {owner} fits two rules: {first} and {other}; add a rule for {owner:?} itself, or narrow one of them"
    )]
    TwoRules { owner: String, first: String, other: String },

    #[error("{what} names the site {site:?} but the sites are {known}")]
    UnknownSite { what: String, site: String, known: String },

    #[error("row of hour {hour}: {what} is number {number} of only {known}")]
    UnknownRow { hour: UtcHour, what: &'static str, number: u32, known: usize },
}

/// Rates for people, to four places.
fn list(rates: &[Decimal]) -> String {
    let rates: Vec<String> = rates.iter().map(|&rate| round(rate, 4).to_string()).collect();
    rates.join(" and ")
}
