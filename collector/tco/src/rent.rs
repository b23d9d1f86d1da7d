//! Rent prices with their dates, and the share of use above which owning is cheaper.
//!
//! A price is in force from its effective day until the same offer has a later one: a period across a
//! price change is priced day by day. Nothing is known before the first price of an offer. A price that
//! was fetched more than [`PRICE_AGE_DAYS_MAX`] days before the end of what is counted is used and noted.

use crate::decimal::{div, mul, sub};
use crate::error::TcoError;
use crate::money::Currency;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// A price fetched longer ago than this is noted as old.
pub const PRICE_AGE_DAYS_MAX: i32 = 30;

/// What is bought with a rent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriceKind {
    OnDemand,
    Spot,
    OneYear,
    ThreeYears,
    CapacityBlock,
    MarketIndex,
}

impl PriceKind {
    pub const ALL: [Self; 6] =
        [Self::OnDemand, Self::Spot, Self::OneYear, Self::ThreeYears, Self::CapacityBlock, Self::MarketIndex];

    /// As written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on_demand",
            Self::Spot => "spot",
            Self::OneYear => "1_year",
            Self::ThreeYears => "3_years",
            Self::CapacityBlock => "capacity_block",
            Self::MarketIndex => "market_index",
        }
    }

    /// As written for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OnDemand => "on demand",
            Self::Spot => "spot",
            Self::OneYear => "1 year",
            Self::ThreeYears => "3 years",
            Self::CapacityBlock => "capacity block",
            Self::MarketIndex => "market index",
        }
    }
}

/// One price of one offer from one day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RentPrice {
    /// "aws p5.48xlarge us-east-1".
    pub offer: String,
    pub kind: PriceKind,
    /// Matched by [`model_matches`].
    pub model: String,
    pub per_gpu_hour: Decimal,
    pub currency: Currency,
    pub effective_from: Date,
    pub fetched_at: Date,
    /// Where it was published.
    pub source: String,
    pub licence: String,
    /// Where the entry stands: "prices.csv line 4".
    pub entry: String,
}

/// True when every word of the wanted model is a word of the model that a driver reports: "H100"
/// matches "NVIDIA H100 80GB HBM3", "A100 80GB" matches "NVIDIA A100-SXM4-80GB".
pub fn model_matches(wanted: &str, model: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    };
    let known = words(model);
    let wanted = words(wanted);
    !wanted.is_empty() && wanted.iter().all(|word| known.contains(word))
}

/// The price of one offer that is in force on a day; prices in any order.
pub fn in_force<'a>(prices: &[&'a RentPrice], day: Date) -> Option<&'a RentPrice> {
    prices
        .iter()
        .copied()
        .filter(|price| price.effective_from <= day)
        .max_by_key(|price| price.effective_from)
}

/// Share of the hours in service that must be in use for owning to cost as much as renting those
/// hours: F ÷ (hours × (p − v)), with F the fixed cost of the period, v the variable cost of an hour in
/// use and p the rent of an hour. Above 1 renting is always cheaper; `None` where no share helps,
/// because the rent does not even exceed the variable cost.
pub fn break_even(
    fixed: Decimal,
    hours_in_service: Decimal,
    rent: Decimal,
    variable: Decimal,
) -> Result<Option<Decimal>, TcoError> {
    let margin = sub(rent, variable)?;
    if margin <= Decimal::ZERO || hours_in_service.is_zero() {
        return Ok(None);
    }
    div(fixed, mul(hours_in_service, margin)?, "fixed cost").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn price(cents: i64, from: Date) -> RentPrice {
        RentPrice {
            offer: "cloud h100".to_owned(),
            kind: PriceKind::OnDemand,
            model: "H100".to_owned(),
            per_gpu_hour: Decimal::new(cents, 2),
            currency: Currency::USD,
            effective_from: from,
            fetched_at: from,
            source: "https://example.com".to_owned(),
            licence: "CC0".to_owned(),
            entry: "prices.csv line 2".to_owned(),
        }
    }

    #[test]
    fn a_price_is_in_force_from_its_day_to_the_next() {
        let (old, new) = (price(1229, date(2024, 4, 25)), price(688, date(2025, 6, 1)));
        let prices = [&new, &old];
        let on = |day| in_force(&prices, day).map(|price| price.per_gpu_hour);
        assert_eq!(on(date(2024, 4, 24)), None);
        assert_eq!(on(date(2024, 4, 25)), Some(Decimal::new(1229, 2)));
        assert_eq!(on(date(2025, 5, 31)), Some(Decimal::new(1229, 2)));
        assert_eq!(on(date(2025, 6, 1)), Some(Decimal::new(688, 2)));
    }

    #[test]
    fn a_model_matches_by_words_not_by_letters() {
        assert!(model_matches("H100", "NVIDIA H100 80GB HBM3"));
        assert!(model_matches("a100 80gb", "NVIDIA A100-SXM4-80GB"));
        assert!(!model_matches("A10", "NVIDIA A100-SXM4-80GB"));
        assert!(!model_matches("A100 40GB", "NVIDIA A100-SXM4-80GB"));
        assert!(!model_matches("", "NVIDIA H100"));
    }

    #[test]
    fn no_use_pays_where_the_rent_is_below_the_electricity() {
        let [fixed, hours] = [Decimal::from(100), Decimal::from(50)];
        assert_eq!(break_even(fixed, hours, Decimal::ONE, Decimal::ONE).unwrap(), None);
        assert_eq!(
            break_even(fixed, hours, Decimal::from(5), Decimal::ONE).unwrap(),
            Some(Decimal::new(5, 1))
        );
    }
}
