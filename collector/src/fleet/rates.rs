//! Exchange rates: `[[exchange_rate]]` of the register, and CSV files with the same columns.

use super::cells::Table;
use super::error::FleetError;
use super::facts::Facts;
use super::{Root, read_file};
use gpuledger_tco::exchange::{Rate, Rates};
use rust_decimal::Decimal;
use std::path::Path;

/// One unit of `from` is `rate` of `to` on `date`.
pub const COLUMNS: [&str; 5] = ["from", "to", "rate", "date", "source"];

pub(super) fn rates(root: &Root<'_>) -> Result<Rates, FleetError> {
    let mut rates = Vec::new();
    for (path, field) in root.files("rates")? {
        let text = read_file(&path).map_err(|error| field.error(error.to_string()))?;
        rates.extend(read_rates(&path, &text)?);
    }
    for section in root.section.list("exchange_rate", &COLUMNS)? {
        rates.push(rate(&section)?);
    }
    checked(&rates)?;
    Rates::new(rates).map_err(|error| root.section.error(error.to_string()))
}

/// Every rate of a file of ours.
pub fn read_rates(path: &Path, text: &str) -> Result<Vec<Rate>, FleetError> {
    let table = Table::read(path, text)?;
    table.only(&COLUMNS)?;
    table.rows().map(|row| rate(&row)).collect()
}

fn rate(facts: &impl Facts) -> Result<Rate, FleetError> {
    let currency = |key, example| facts.currency(key)?.ok_or_else(|| facts.missing(key, example));
    let (from, to) = (currency("from", "\"USD\"")?, currency("to", "\"EUR\"")?);
    if from == to {
        return Err(facts.wrong_at("to", format!("expected another currency than {from}")));
    }
    let rate = facts.number("rate")?.ok_or_else(|| facts.missing("rate", "\"0.92\""))?;
    if rate <= Decimal::ZERO {
        return Err(facts.wrong_at("rate", format!("{rate} is not a rate; expected more than zero")));
    }
    let source = facts.need_text("source", "\"ECB reference rate\"")?;
    let on = facts.need_date("date", "2026-01-15")?;
    Ok(Rate { from, to, rate, on, source: format!("{source}, {}", facts.place()) })
}

/// Refuses two different rates of one pair and day, with both places.
pub fn checked(rates: &[Rate]) -> Result<(), FleetError> {
    let mut known = std::collections::BTreeMap::new();
    for rate in rates {
        let place = |rate: &Rate| rate.source.rsplit(", ").next().unwrap_or_default().replace(" line ", ":");
        match known.insert((rate.from, rate.to, rate.on), rate) {
            Some(first) if first.rate != rate.rate => {
                let message = format!(
                    "{} to {} of {} is {}, and {} at {}: leave one out",
                    rate.from,
                    rate.to,
                    rate.on,
                    rate.rate,
                    first.rate,
                    place(first)
                );
                return Err(FleetError::new(place(rate), message));
            }
            _ => {}
        }
    }
    Ok(())
}
