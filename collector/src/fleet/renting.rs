//! What is assumed where owning is held against renting: the terms of offers beside their price, the
//! horizon, what free hours would have earned, and business models.

use super::error::FleetError;
use super::facts::{Facts as _, Key};
use super::pattern::Pattern;
use super::section::Section;
use super::{Fleet, Root};
use gpuledger_tco::TcoError;
use gpuledger_tco::decide::way::YEARS_MAX;
use gpuledger_tco::decide::{Offer, market};
use gpuledger_tco::rent::RentPrice;
use rust_decimal::Decimal;

/// Seed where the register says none: figures that are drawn must not change from run to run.
const SEED: u64 = 1;

/// What renting costs and does beside the price of an hour, for offers whose name fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RentTerms {
    pub(super) offer: Pattern,
    /// Work of one of its hours, in hours of the own model.
    pub throughput: Decimal,
    /// Share of the hours in use whose work is kept.
    pub goodput: Decimal,
    /// Share of the paid hours that are reserved and idle.
    pub idle: Decimal,
    /// Of the spend: 0.1 is 10 %.
    pub support: Decimal,
    pub egress_per_month: Decimal,
    pub storage_per_month: Decimal,
    /// Change of the price a year.
    pub trend: Decimal,
    pub source: String,
}

/// What is assumed of owning and of money. What is `None` is measured, or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Horizon.
    pub years: u32,
    /// A year; the capital rate where the register says none.
    pub discount: Decimal,
    pub tax_rate: Decimal,
    /// Share of all hours in which the GPUs can be used.
    pub availability: Decimal,
    pub goodput: Decimal,
    pub utilization: Option<Decimal>,
    /// Share of the purchase that a sale brings at the end of the horizon; the salvage where `None`.
    pub residual: Option<Decimal>,
    /// Of a GPU with its share of the host, in use and idle.
    pub kw: Option<Decimal>,
    pub idle_kw: Option<Decimal>,
    pub seed: u64,
    pub source: String,
}

impl Comparison {
    /// What holds where the register says nothing.
    pub(super) fn unsaid(discount: Decimal) -> Self {
        Self {
            years: 5,
            discount,
            tax_rate: Decimal::ZERO,
            availability: Decimal::ONE,
            goodput: Decimal::ONE,
            utilization: None,
            residual: None,
            kw: None,
            idle_kw: None,
            seed: SEED,
            source: "not said in the register".to_owned(),
        }
    }
}

impl Fleet {
    /// The first terms that an offer's name fits.
    pub fn rent_terms(&self, offer: &str) -> Option<&RentTerms> {
        self.rent_terms.iter().find(|terms| terms.offer.fits(offer))
    }

    /// A price with its terms, as decisions take it; the price in the register's currency, at the rate
    /// of the day from which it holds.
    pub fn offer(&self, price: &RentPrice) -> Result<Offer, TcoError> {
        let own = gpuledger_tco::money::Money::new(price.per_gpu_hour, price.currency);
        let converted = self.rates.convert(own, self.currency, price.effective_from)?;
        let terms = self.rent_terms(&price.offer);
        let of = |value: fn(&RentTerms) -> Decimal, unsaid: Decimal| terms.map_or(unsaid, value);
        let mut source = format!("{} from {}, {}", price.entry, price.effective_from, price.source);
        for part in [Some(converted.explained()), terms.map(|terms| terms.source.clone())] {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                source = format!("{source}; {part}");
            }
        }
        Ok(Offer {
            name: format!("{}, {}", price.offer, price.kind.label()),
            per_gpu_hour: converted.money.amount,
            throughput: of(|t| t.throughput, Decimal::ONE),
            goodput: of(|t| t.goodput, Decimal::ONE),
            idle: of(|t| t.idle, Decimal::ZERO),
            support: of(|t| t.support, Decimal::ZERO),
            egress_per_month: of(|t| t.egress_per_month, Decimal::ZERO),
            storage_per_month: of(|t| t.storage_per_month, Decimal::ZERO),
            trend: of(|t| t.trend, Decimal::ZERO),
            source,
        })
    }
}

const TERMS_KEYS: [&str; 8] =
    ["offer", "throughput", "goodput", "idle", "support", "egress_per_month", "storage_per_month", "trend"];
const COMPARISON_KEYS: [&str; 10] = [
    "years",
    "discount",
    "tax_rate",
    "availability",
    "goodput",
    "utilization",
    "residual",
    "kw",
    "idle_kw",
    "seed",
];
const MARKET_KEYS: [&str; 3] = ["fee", "sold", "cost_per_hour"];

/// `[[rent_terms]]`.
pub(super) fn rent_terms(root: &Root<'_>) -> Result<Vec<RentTerms>, FleetError> {
    let terms = |section: &Section<'_>| {
        let above_zero = |key: Key, number: Option<Decimal>| match number {
            Some(number) if number.is_zero() => {
                Err(section.wrong_at(key, "expected more than zero".to_owned()))
            }
            number => Ok(number.unwrap_or(Decimal::ONE)),
        };
        let idle = section.share("idle")?.unwrap_or_default();
        if idle == Decimal::ONE {
            let message = "1 is all of the paid hours: expected less than 1, such as 0.1";
            return Err(section.wrong_at("idle", message.to_owned()));
        }
        Ok(RentTerms {
            offer: Pattern::new(&section.need_text("offer", "\"aws *\"")?),
            throughput: above_zero("throughput", section.quantity("throughput")?)?,
            goodput: above_zero("goodput", section.share("goodput")?)?,
            idle,
            support: section.share("support")?.unwrap_or_default(),
            egress_per_month: section.price("egress_per_month")?.unwrap_or_default(),
            storage_per_month: section.price("storage_per_month")?.unwrap_or_default(),
            trend: change(section, "trend")?.unwrap_or_default(),
            source: section.place(),
        })
    };
    root.section.list("rent_terms", &TERMS_KEYS)?.iter().map(terms).collect()
}

/// A change of a price: no price falls by more than all of it.
fn change(section: &Section<'_>, key: Key) -> Result<Option<Decimal>, FleetError> {
    section.within(
        key,
        (Decimal::NEGATIVE_ONE, Decimal::ONE),
        "a change a year from -1 to 1: 15 % down is -0.15",
    )
}

/// `[comparison]`.
pub(super) fn comparison(root: &Root<'_>, discount: Decimal) -> Result<Comparison, FleetError> {
    let unsaid = Comparison::unsaid(discount);
    let Some(field) = root.section.get("comparison") else { return Ok(unsaid) };
    let section = field.section(&COMPARISON_KEYS)?;
    let section = section.ok_or_else(|| field.error("expected a table, headed [comparison]"))?;
    let years = section.count("years", YEARS_MAX)?.unwrap_or(unsaid.years);
    if years == 0 {
        return Err(section.wrong_at("years", format!("expected 1 to {YEARS_MAX}")));
    }
    let (kw, idle_kw) = (section.quantity("kw")?, section.quantity("idle_kw")?);
    if let (Some(kw), Some(idle)) = (kw, idle_kw)
        && idle > kw
    {
        return Err(section.wrong_at("idle_kw", format!("{idle} is more than in use, {kw}")));
    }
    Ok(Comparison {
        years,
        discount: section.share("discount")?.unwrap_or(unsaid.discount),
        tax_rate: section.share("tax_rate")?.unwrap_or_default(),
        availability: section.share("availability")?.unwrap_or(Decimal::ONE),
        goodput: section.share("goodput")?.unwrap_or(Decimal::ONE),
        utilization: section.share("utilization")?,
        residual: section.share("residual")?,
        kw,
        idle_kw,
        seed: section.count("seed", u32::MAX)?.map_or(unsaid.seed, u64::from),
        source: section.place(),
    })
}

/// `[market]`.
pub(super) fn market(root: &Root<'_>) -> Result<Option<market::Terms>, FleetError> {
    let Some(field) = root.section.get("market") else { return Ok(None) };
    let section = field.section(&MARKET_KEYS)?;
    let section = section.ok_or_else(|| field.error("expected a table, headed [market]"))?;
    let share = |key: Key, example: &str| section.share(key)?.ok_or_else(|| section.missing(key, example));
    Ok(Some(market::Terms {
        fee: share("fee", "0.2")?,
        sold: share("sold", "0.5")?,
        cost_per_hour: section.price("cost_per_hour")?.unwrap_or_default(),
    }))
}

#[cfg(test)]
pub(super) fn every_key() -> Vec<&'static str> {
    [&TERMS_KEYS[..], &COMPARISON_KEYS, &MARKET_KEYS].concat()
}
