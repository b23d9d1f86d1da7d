//! Prices and carbon intensities of electricity, flat or hour by hour.
//!
//! Prices may be negative. An hour that a series does not have is an error that names site, hour and
//! series, unless the tariff says how missing hours are filled. Both kinds are read into integers of
//! a fixed scale, so that energy × price adds up exactly over any number of rows.

use crate::calendar::{Period, UtcHour};
use crate::decimal;
use crate::error::TcoError;
use crate::time_of_use::TimeOfUse;
use rust_decimal::Decimal;

/// Places after the point that a price per kWh or a carbon intensity is computed with.
pub const SCALE: u32 = 12;

/// What a price of one [`SCALE`] unit makes of the integral mJ × price: units of 10⁻¹² per kWh·mJ.
const MJ_PER_KWH: i128 = 3_600_000_000;

/// One value an hour from `first` on; `None` where the source has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    pub first: UtcHour,
    pub values: Vec<Option<Decimal>>,
    /// "prices.csv".
    pub source: String,
}

impl Series {
    pub fn at(&self, hour: UtcHour) -> Option<Decimal> {
        let position = usize::try_from(hour.0.checked_sub(self.first.0)?).ok()?;
        self.values.get(position).copied().flatten()
    }

    /// Every hour of a period that the source has no value for.
    pub fn missing(&self, period: Period) -> Vec<UtcHour> {
        (period.from().0..period.to().0).map(UtcHour).filter(|&hour| self.at(hour).is_none()).collect()
    }

    /// Last value before an hour.
    fn before(&self, hour: UtcHour) -> Option<Decimal> {
        let end = usize::try_from(hour.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.values.iter().take(end).rev().copied().flatten().next()
    }
}

/// What an hour without a price costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is assumed: using electricity in such an hour is an error.
    Refuse,
    /// The last price before it.
    Previous,
    /// This much per kWh.
    Price(Decimal),
}

/// Price of a kWh, in the statement's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tariff {
    Flat {
        per_kwh: Decimal,
        source: String,
    },
    Hourly {
        per_kwh: Series,
        missing: Missing,
    },
    TimeOfUse(Box<TimeOfUse>),
    /// Contracts one after the other; see [`Tariff::check`].
    Contracts(Vec<Contract>),
}

/// A tariff for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub from: UtcHour,
    /// Not in force in this hour any more.
    pub to: Option<UtcHour>,
    pub tariff: Tariff,
}

impl Contract {
    fn covers(&self, hour: UtcHour) -> bool {
        self.from <= hour && self.to.is_none_or(|to| hour < to)
    }
}

impl Tariff {
    pub fn source(&self) -> &str {
        match self {
            Self::Flat { source, .. } => source,
            Self::Hourly { per_kwh, .. } => &per_kwh.source,
            Self::TimeOfUse(tariff) => &tariff.source,
            Self::Contracts(contracts) => contracts.first().map_or("", |contract| contract.tariff.source()),
        }
    }

    /// Refuses gaps and overlaps of bands and of contracts, by name.
    pub fn check(&self) -> Result<(), TcoError> {
        match self {
            Self::Flat { .. } | Self::Hourly { .. } => Ok(()),
            Self::TimeOfUse(tariff) => tariff.check(),
            Self::Contracts(contracts) => {
                contracts.windows(2).try_for_each(|pair| match pair {
                    [earlier, later] => follows(earlier, later),
                    _ => Ok(()),
                })?;
                contracts.iter().try_for_each(|contract| contract.tariff.check())
            }
        }
    }

    fn at(&self, hour: UtcHour) -> Option<Decimal> {
        match self {
            Self::Flat { per_kwh, .. } => Some(*per_kwh),
            Self::Hourly { per_kwh, missing } => per_kwh.at(hour).or(match missing {
                Missing::Refuse => None,
                Missing::Previous => per_kwh.before(hour),
                Missing::Price(price) => Some(*price),
            }),
            Self::TimeOfUse(tariff) => tariff.at(hour),
            Self::Contracts(contracts) => contracts
                .iter()
                .find(|contract| contract.covers(hour))
                .and_then(|contract| contract.tariff.at(hour)),
        }
    }
}

/// A contract begins where the one before it ends.
fn follows(earlier: &Contract, later: &Contract) -> Result<(), TcoError> {
    let ends = earlier.to.map_or_else(|| "never".to_owned(), |to| to.to_string());
    if earlier.to == Some(later.from) {
        return Ok(());
    }
    Err(TcoError::Invalid {
        what: format!("start of the contract {}", later.tariff.source()),
        given: format!("{} while {} ends {ends}", later.from, earlier.tariff.source()),
        expected: "the hour in which the contract before it ends: no gap and no overlap",
    })
}

/// Grams of CO2 (or equivalent) of a kWh from the grid at that place, location-based.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intensity {
    Flat { g_per_kwh: Decimal, source: String },
    Hourly(Series),
}

impl Intensity {
    pub fn source(&self) -> &str {
        match self {
            Self::Flat { source, .. } => source,
            Self::Hourly(series) => &series.source,
        }
    }

    fn at(&self, hour: UtcHour) -> Option<Decimal> {
        match self {
            Self::Flat { g_per_kwh, .. } => Some(*g_per_kwh),
            Self::Hourly(series) => series.at(hour),
        }
    }
}

/// A price or intensity of every hour of a period, in units of 10⁻[`SCALE`].
#[derive(Debug, Clone)]
pub(crate) struct HourTable(Vec<Option<i128>>);

impl HourTable {
    /// Prices; times the PUE of the hour where one is given.
    pub(crate) fn of_tariff(
        tariff: &Tariff,
        pue: impl Fn(UtcHour) -> Decimal,
        period: Period,
    ) -> Result<Self, TcoError> {
        let hours = (period.from().0..period.to().0).map(UtcHour);
        let price = |hour| tariff.at(hour).map(|price| scaled(decimal::mul(price, pue(hour))?)).transpose();
        hours.map(price).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn of_intensity(
        intensity: &Intensity,
        pue: impl Fn(UtcHour) -> Decimal,
        period: Period,
    ) -> Result<Self, TcoError> {
        let hours = (period.from().0..period.to().0).map(UtcHour);
        let grams =
            |hour| intensity.at(hour).map(|grams| scaled(decimal::mul(grams, pue(hour))?)).transpose();
        hours.map(grams).collect::<Result<_, _>>().map(Self)
    }

    /// By position from the start of the period.
    pub(crate) fn at(&self, position: usize) -> Option<i128> {
        self.0.get(position).copied().flatten()
    }
}

/// A decimal in units of 10⁻[`SCALE`].
fn scaled(value: Decimal) -> Result<i128, TcoError> {
    let mut value = decimal::round(value, SCALE);
    value.rescale(SCALE);
    if value.scale() == SCALE {
        Ok(value.mantissa())
    } else {
        Err(TcoError::Overflow("a price of electricity"))
    }
}

/// The amount of an integral of mJ × scaled price: exact to 10⁻¹².
pub(crate) fn amount(integral: i128) -> Result<Decimal, TcoError> {
    let units = integral.checked_div(MJ_PER_KWH).ok_or(TcoError::Overflow("the price of energy"))?;
    Decimal::try_from_i128_with_scale(units, SCALE).map_err(|_| TcoError::Overflow("the price of energy"))
}

/// Kilograms of a location-based emission: kWh × PUE × intensity in g/kWh ÷ 1000.
pub fn carbon_kg(kwh: Decimal, pue: Decimal, g_per_kwh: Decimal) -> Result<Decimal, TcoError> {
    let grams = decimal::mul(decimal::mul(kwh, pue)?, g_per_kwh)?;
    decimal::div(grams, Decimal::ONE_THOUSAND, "grams")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[Option<i64>]) -> Series {
        let values = values.iter().map(|v| v.map(|v| Decimal::new(v, 2))).collect();
        Series { first: UtcHour(100), values, source: "p.csv".to_owned() }
    }

    #[test]
    fn a_missing_hour_has_no_price_unless_the_tariff_fills_it() {
        let tariff = |missing| Tariff::Hourly { per_kwh: series(&[Some(-5), None, Some(7)]), missing };
        let at = |missing, hour| tariff(missing).at(UtcHour(hour));
        assert_eq!(at(Missing::Refuse, 100), Some(Decimal::new(-5, 2)));
        assert_eq!(at(Missing::Refuse, 101), None);
        assert_eq!(at(Missing::Refuse, 99), None);
        assert_eq!(at(Missing::Previous, 101), Some(Decimal::new(-5, 2)));
        assert_eq!(at(Missing::Previous, 103), Some(Decimal::new(7, 2)));
        assert_eq!(at(Missing::Previous, 99), None, "nothing comes before the first hour");
        assert_eq!(at(Missing::Price(Decimal::ONE), 101), Some(Decimal::ONE));
    }

    #[test]
    fn an_integral_is_priced_exactly_also_below_zero() {
        // 1.5 kWh at −0.08 and 2 kWh at 0.000000000001.
        let integral = 5_400_000_000 * scaled(Decimal::new(-8, 2)).unwrap()
            + 7_200_000_000 * scaled(Decimal::new(1, 12)).unwrap();
        assert_eq!(amount(integral).unwrap().to_string(), "-0.119999999998");
    }

    #[test]
    fn a_price_beyond_the_range_is_refused() {
        assert_eq!(scaled(Decimal::MAX), Err(TcoError::Overflow("a price of electricity")));
    }
}
