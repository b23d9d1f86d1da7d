//! What is assumed where owning is held against renting: the terms of offers beside their price, the
//! horizon, what free hours would have earned, and business models.

use super::Fleet;
use super::pattern::Pattern;
use gpuledger_tco::TcoError;
use gpuledger_tco::decide::Offer;
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
