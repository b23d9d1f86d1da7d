//! `economic = { … }` of an asset: what its economic value is computed from.

use super::super::error::FleetError;
use super::super::facts::Facts as _;
use super::super::section::Section;
use gpuledger_tco::books::economic::{Economy, RentPath};
use gpuledger_tco::calendar::Month;
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::money::Money;
use gpuledger_tco::register::Item;
use gpuledger_tco::rent::RentPrice;
use rust_decimal::Decimal;

pub const KEYS: [&str; 8] = [
    "utilization",
    "offer",
    "rent_per_gpu_hour",
    "growth_per_month",
    "cash_cost_per_month",
    "discount",
    "until",
    "resale",
];

/// What the value of all assets is computed from.
pub struct Market<'a> {
    pub prices: &'a [RentPrice],
    pub rates: &'a Rates,
    /// A year.
    pub discount: Decimal,
}

pub fn economy(section: &Section<'_>, item: &Item, market: &Market<'_>) -> Result<Economy, FleetError> {
    let gpus: u32 = item.components.iter().map(|component| component.gpus).sum();
    if gpus == 0 {
        return Err(section.error("an asset without GPUs earns no rent: leave economic out, or add gpus"));
    }
    let life = item.components.iter().map(|component| component.life_months).max().unwrap_or_default();
    let end = Month::of(item.in_service).plus(i32::try_from(life).unwrap_or(i32::MAX));
    let salvage = item.components.iter().map(|component| component.salvage.amount).sum();
    let end = end.map_err(|error| section.error(error.to_string()))?;
    let growth = section.within(
        "growth_per_month",
        (Decimal::NEGATIVE_ONE, Decimal::ONE),
        "a share: 2 % down is -0.02",
    )?;
    Ok(Economy {
        gpus: Decimal::from(gpus),
        utilization: section
            .share("utilization")?
            .ok_or_else(|| section.missing("utilization", "0.7 (share of the hours that earn a rent)"))?,
        rent: RentPath {
            known: rents(section, item, market)?,
            growth: growth.unwrap_or_default(),
            source: section.place(),
        },
        cash_cost_per_month: section.price("cash_cost_per_month")?.unwrap_or_default(),
        discount: section.share("discount")?.unwrap_or(market.discount),
        last_month: section.month("until")?.unwrap_or(end),
        resale: section.price("resale")?.unwrap_or(salvage),
    })
}

/// The rent of a GPU-hour by month: of an offer of the price list, or one amount.
fn rents(
    section: &Section<'_>,
    item: &Item,
    market: &Market<'_>,
) -> Result<Vec<(Month, Decimal)>, FleetError> {
    let field = section.only_one(["offer", "rent_per_gpu_hour"], "offer = \"market index H100\"")?;
    if field.key == "rent_per_gpu_hour" {
        return Ok(vec![(Month::of(item.in_service), field.amount_not_negative()?)]);
    }
    let name = field.text()?;
    let mut of: Vec<&RentPrice> = market.prices.iter().filter(|price| price.offer == name).collect();
    of.sort_by_key(|price| price.effective_from);
    let currency = item.components.first().map(|component| component.cost.currency);
    let mut known: Vec<(Month, Decimal)> = Vec::new();
    for price in of {
        let own = Money::new(price.per_gpu_hour, price.currency);
        let rent = market.rates.convert(own, currency.unwrap_or(price.currency), price.effective_from);
        let rent = rent.map_err(|error| field.error(error.to_string()))?.money.amount;
        let month = Month::of(price.effective_from);
        // The last price of a month is the month's.
        known.retain(|(of, _)| *of != month);
        known.push((month, rent));
    }
    if known.is_empty() {
        let mut names: Vec<&str> = market.prices.iter().map(|price| price.offer.as_str()).collect();
        names.dedup();
        names.truncate(8);
        let offers = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(field.error(format!("there is no price of an offer {name:?}; the offers are {offers}")));
    }
    Ok(known)
}
