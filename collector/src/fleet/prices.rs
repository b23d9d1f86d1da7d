//! Rent prices: `[[price]]` of the register, and files with the same columns.
//!
//! | column | |
//! |---|---|
//! | `offer` | name of what is rented: `aws p5.48xlarge us-east-1` |
//! | `kind` | `on_demand`, `spot`, `1_year`, `3_years`, `capacity_block` or `market_index` |
//! | `model` | words of the GPU's model: `H100` |
//! | `per_gpu_hour` | price of one GPU for one hour; or `per_hour` and `gpus`: of an instance with that many |
//! | `currency` | ISO 4217; in the register file its own where it is left out |
//! | `effective_from` | day from which the price was in force |
//! | `fetched_at` | day on which it was read; as `effective_from` where empty |
//! | `source` | where it was published |
//! | `licence` | of the source; may be empty |

use super::cells::Table;
use super::error::FleetError;
use super::facts::Facts;
use super::section::{Section, Source};
use super::{Root, read_file};
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::rent::{PriceKind, RentPrice};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::path::Path;

pub const COLUMNS: [&str; 11] = [
    "offer",
    "kind",
    "model",
    "per_gpu_hour",
    "per_hour",
    "gpus",
    "currency",
    "effective_from",
    "fetched_at",
    "source",
    "licence",
];

/// Most GPUs that one price can be of.
const GPUS_MAX: u32 = 100_000;

pub(super) fn prices(root: &Root<'_>, rates: &Rates) -> Result<Vec<RentPrice>, FleetError> {
    let mut prices = Vec::new();
    for (path, field) in root.files("prices")? {
        let text = read_file(&path).map_err(|error| field.error(error.to_string()))?;
        prices.extend(read_prices(&path, &text)?);
    }
    for section in root.section.list("price", &COLUMNS)? {
        prices.push(price(&section, Some(root.currency))?);
    }
    distinct(&prices)?;
    for price in &prices {
        // The rate of the day that a report ends with counts; that there is none at all is told here.
        let money = Money::new(price.per_gpu_hour, price.currency);
        if let Err(error) = rates.convert(money, root.currency, Date::MAX) {
            let (offer, own, other) = (&price.offer, price.currency, root.currency);
            let message = format!(
                "the price of {offer} is in {own} and the register in {other}: add an [[exchange_rate]] ({error})"
            );
            return Err(FleetError::new(price.entry.replace(" line ", ":"), message));
        }
    }
    Ok(prices)
}

/// Prices of a CSV file of ours.
pub fn read_prices(path: &Path, text: &str) -> Result<Vec<RentPrice>, FleetError> {
    let table = Table::read(path, text)?;
    table.only(&COLUMNS)?;
    table.rows().map(|row| price(&row, None)).collect()
}

/// Prices of a TOML file of ours: `[[price]]` tables and nothing else.
pub fn read_prices_toml(path: &Path, text: &str) -> Result<Vec<RentPrice>, FleetError> {
    let name = path.display().to_string();
    let source = Source { path: &name, text };
    let table = source.parse()?;
    let root = Section::new(source, "", 0, table.get_ref(), &["price"])?;
    root.list("price", &COLUMNS)?.iter().map(|section| price(section, None)).collect()
}

fn price(facts: &impl Facts, unsaid: Option<Currency>) -> Result<RentPrice, FleetError> {
    let kind = facts.need_text("kind", "\"on_demand\"")?;
    let currency = facts.currency("currency")?.or(unsaid);
    let effective_from = facts.need_date("effective_from", "2026-07-20")?;
    Ok(RentPrice {
        offer: facts.need_text("offer", "\"aws p5.48xlarge us-east-1\"")?,
        kind: kind_of(&kind).map_err(|message| facts.wrong_at("kind", message))?,
        model: facts.need_text("model", "\"H100\"")?,
        per_gpu_hour: per_gpu_hour(facts)?,
        currency: currency.ok_or_else(|| facts.missing("currency", "\"USD\""))?,
        effective_from,
        fetched_at: facts.date("fetched_at")?.unwrap_or(effective_from),
        source: facts.need_text("source", "\"https://…\"")?,
        licence: facts.text("licence")?.unwrap_or_default(),
        entry: facts.place(),
    })
}

fn per_gpu_hour(facts: &impl Facts) -> Result<Decimal, FleetError> {
    let (key, price) = match (facts.amount("per_gpu_hour")?, facts.amount("per_hour")?) {
        (Some(price), None) => ("per_gpu_hour", Some(price)),
        (None, Some(price)) => {
            let gpus = facts.count("gpus", GPUS_MAX)?.filter(|gpus| *gpus > 0).ok_or_else(|| {
                let message =
                    "how many GPUs does per_hour pay for? add gpus, the number of GPUs that it pays for";
                facts.wrong_at("gpus", message.to_owned())
            })?;
            ("per_hour", price.checked_div(Decimal::from(gpus)))
        }
        (Some(_), Some(_)) => {
            let message = "per_gpu_hour and per_hour say the same thing: leave one out";
            return Err(facts.wrong_at("per_hour", message.to_owned()));
        }
        (None, None) => return Err(facts.missing("per_gpu_hour", "\"2.95\"")),
    };
    let price = price.filter(|price| *price > Decimal::ZERO);
    price.ok_or_else(|| facts.wrong_at(key, "expected a price above zero".to_owned()))
}

/// A kind by its name in files.
pub fn kind_of(text: &str) -> Result<PriceKind, String> {
    PriceKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
        let names: Vec<&str> = PriceKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("{text:?} is not a kind of price; expected {}", names.join(", "))
    })
}

/// Refuses two prices of one offer from one day, with both places.
pub fn distinct(prices: &[RentPrice]) -> Result<(), FleetError> {
    let mut known = BTreeMap::new();
    for price in prices {
        let key = (&price.offer, price.kind, &price.model, price.effective_from);
        if let Some(first) = known.insert(key, &price.entry) {
            let message =
                format!("{} has a price from {} at {first} already", price.offer, price.effective_from);
            return Err(FleetError::new(price.entry.replace(" line ", ":"), message));
        }
    }
    Ok(())
}
