//! Emissions of electricity, market-based: by what was contracted, beside the location-based figure.
//!
//! Location-based is energy × PUE × intensity of the grid at the place and hour
//! ([`crate::energy::carbon_kg`]). Market-based is what certificates and supply contracts say: each
//! covers so many kWh at its own factor, and the rest has that of the residual mix. Never one instead of
//! the other. Source: GHG Protocol, Scope 2 Guidance.

use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_not_negative, named};
use rust_decimal::Decimal;

/// A certificate or contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// "guarantees of origin, wind, 2026".
    pub name: String,
    pub kwh: Decimal,
    pub g_per_kwh: Decimal,
}

/// Market-based emissions of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketBased {
    pub kg: Decimal,
    /// kWh that instruments cover, of all.
    pub covered_kwh: Decimal,
}

/// Instruments cover the energy in the order given, none of it twice: what they have beyond it counts
/// for nothing.
pub fn market_based(
    kwh: Decimal,
    instruments: &[Instrument],
    residual_g_per_kwh: Decimal,
) -> Result<MarketBased, TcoError> {
    const NAME: &str = "market_based";
    check_not_negative(NAME, "kwh", kwh)?;
    check_not_negative(NAME, "residual intensity", residual_g_per_kwh)?;
    let emissions = || {
        let (mut left, mut grams) = (kwh, Decimal::ZERO);
        for instrument in instruments {
            check_not_negative(NAME, "kWh of an instrument", instrument.kwh)?;
            check_not_negative(NAME, "intensity of an instrument", instrument.g_per_kwh)?;
            let covered = instrument.kwh.min(left);
            grams = add(grams, mul(covered, instrument.g_per_kwh)?)?;
            left = sub(left, covered)?;
        }
        grams = add(grams, mul(left, residual_g_per_kwh)?)?;
        Ok(MarketBased { kg: div(grams, Decimal::ONE_THOUSAND, "grams")?, covered_kwh: sub(kwh, left)? })
    };
    named(emissions(), "emissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_cover_once_and_the_rest_is_the_residual_mix() {
        let wind = |kwh: i64| Instrument {
            name: "wind".to_owned(),
            kwh: Decimal::from(kwh),
            g_per_kwh: Decimal::ZERO,
        };
        let of = |instruments: &[Instrument]| {
            market_based(Decimal::from(1_000), instruments, Decimal::from(400)).unwrap()
        };
        assert_eq!(of(&[]).kg, Decimal::from(400));
        assert_eq!(of(&[wind(600)]).kg, Decimal::from(160));
        let all = of(&[wind(600), wind(5_000)]);
        assert_eq!((all.kg, all.covered_kwh), (Decimal::ZERO, Decimal::from(1_000)));
        assert!(market_based(Decimal::NEGATIVE_ONE, &[], Decimal::ZERO).is_err());
    }
}
