//! What was contracted for emissions, beside the grid's intensity: certificates and supply contracts.

use gpuledger_tco::TcoError;
use gpuledger_tco::carbon::{Instrument, MarketBased, market_based};
use jiff::civil::Date;
use rust_decimal::Decimal;

/// A certificate or contract for the energy of some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarbonContract {
    pub instrument: Instrument,
    pub from: Date,
    /// Not in force on this day any more.
    pub to: Date,
    pub source: String,
}

/// The market-based side of a site's emissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketCarbon {
    /// Of energy that no contract covers.
    pub residual_g_per_kwh: Decimal,
    pub contracts: Vec<CarbonContract>,
    pub source: String,
}

impl MarketCarbon {
    /// What the contracts cover of some days, evenly over theirs; `to` is not in it.
    pub fn instruments(&self, from: Date, to: Date) -> Vec<Instrument> {
        let days =
            |from: Date, to: Date| Decimal::from(from.until(to).map_or(0, |span| span.get_days()).max(0));
        let part = |contract: &CarbonContract| {
            let covered = days(contract.from.max(from), contract.to.min(to));
            let whole = days(contract.from, contract.to);
            let kwh = contract.instrument.kwh.checked_mul(covered).and_then(|kwh| kwh.checked_div(whole));
            Instrument { kwh: kwh.unwrap_or_default(), ..contract.instrument.clone() }
        };
        self.contracts.iter().map(part).filter(|instrument| !instrument.kwh.is_zero()).collect()
    }

    /// Emissions of the facility's energy of some days.
    pub fn of(&self, kwh: Decimal, from: Date, to: Date) -> Result<MarketBased, TcoError> {
        market_based(kwh, &self.instruments(from, to), self.residual_g_per_kwh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_certificate_covers_the_days_of_its_year_evenly_and_the_rest_is_the_residual_mix() {
        let instrument =
            Instrument { name: "wind".to_owned(), kwh: Decimal::from(36_500), g_per_kwh: Decimal::ZERO };
        let market = MarketCarbon {
            residual_g_per_kwh: Decimal::from(400),
            contracts: vec![CarbonContract {
                instrument,
                from: date(2026, 1, 1),
                to: date(2027, 1, 1),
                source: "fleet.toml line 9".to_owned(),
            }],
            source: "fleet.toml line 8".to_owned(),
        };
        let january = market.of(Decimal::from(4_000), date(2026, 1, 1), date(2026, 2, 1)).unwrap();
        assert_eq!((january.covered_kwh, january.kg), (Decimal::from(3_100), Decimal::from(360)));
        assert_eq!(market.instruments(date(2027, 1, 1), date(2027, 2, 1)), []);
    }
}
