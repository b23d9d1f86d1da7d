//! What a supply contract asks beside the price of each kWh: demand, fixed amounts, taxes; and the PUE
//! where it is known hour by hour.
//!
//! Demand is the highest mean power of the facility in an interval of the month. The ledger's grid is the
//! hour, so that the highest hour counts; where the meter's own value for a month is given (15- or
//! 30-minute intervals), it stands. Billed is max(this month's, ratchet × the highest of the eleven
//! months before), and it is shared by load in the peak hour, not by kWh.

use crate::calendar::{Month, UtcHour};
use crate::energy::Series;
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_share, refuse};
use crate::money::Money;
use crate::power_bill::billed_demand_kw;
use crate::time_of_use::Window;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// A tax or levy on the electricity bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    pub name: String,
    /// Of energy, demand and fixed amounts: 0.19 is 19 %.
    pub share: Decimal,
    pub source: String,
}

/// A price on power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// A kW and month.
    pub per_kw: Money,
    /// Hours whose power counts; none at all is always.
    pub windows: Vec<Window>,
    pub zone: TimeZone,
    pub holidays: Vec<Date>,
    /// From 0 (none) to 1.
    pub ratchet: Decimal,
    /// Highest power (kW) of months, as the utility's meter has it; those before the period are what the
    /// ratchet looks back on.
    pub metered: Vec<(Month, Decimal)>,
    pub source: String,
}

impl Demand {
    /// Whether the power of an hour counts.
    pub fn counts(&self, hour: UtcHour) -> bool {
        self.windows.is_empty()
            || self.windows.iter().any(|window| window.has(hour, &self.zone, &self.holidays))
    }

    pub fn metered(&self, month: Month) -> Option<Decimal> {
        self.metered.iter().find(|(of, _)| *of == month).map(|(_, kw)| *kw)
    }

    /// What is billed for a month with this peak. `seen` are peaks of months of the period.
    pub fn billed_kw(
        &self,
        month: Month,
        peak: Decimal,
        seen: &[(Month, Decimal)],
    ) -> Result<Decimal, TcoError> {
        let mut earlier = Vec::new();
        for back in -11..=-1 {
            let before = month.plus(back)?;
            let of_ledger = seen.iter().find(|(of, _)| *of == before).map(|(_, kw)| *kw);
            earlier.extend(self.metered(before).or(of_ledger));
        }
        billed_demand_kw(peak, &earlier, self.ratchet)
    }
}

/// The contract of a site, beside its tariff.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Supply {
    /// PUE by hour; hours that it does not have take the site's own PUE.
    pub pue: Option<Series>,
    pub demand: Option<Demand>,
    pub fixed_per_month: Option<(Money, String)>,
    pub taxes: Vec<Tax>,
}

impl Supply {
    pub(crate) fn check(&self, site: &str) -> Result<(), TcoError> {
        let name = format!("site {site}");
        for tax in &self.taxes {
            check_share(&name, &format!("tax {}", tax.name), tax.share)?;
        }
        if let Some(demand) = &self.demand {
            check_share(&name, "ratchet", demand.ratchet)?;
            check_not_negative(&name, "price of demand", demand.per_kw.amount)?;
            for (_, kw) in &demand.metered {
                check_not_negative(&name, "metered demand", *kw)?;
            }
        }
        if let Some(series) = &self.pue {
            let below = series.values.iter().flatten().find(|pue| **pue < Decimal::ONE);
            if let Some(pue) = below {
                return refuse(&name, "PUE", pue, "1 or more: energy of the facility over energy of its IT");
            }
        }
        Ok(())
    }

    /// Currencies that the contract is written in.
    pub(crate) fn money(&self) -> impl Iterator<Item = Money> + '_ {
        let demand = self.demand.as_ref().map(|demand| demand.per_kw);
        demand.into_iter().chain(self.fixed_per_month.as_ref().map(|(money, _)| *money))
    }

    /// All taxes together.
    pub(crate) fn tax_share(&self) -> Result<Decimal, TcoError> {
        crate::decimal::sum(self.taxes.iter().map(|tax| tax.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use crate::time_of_use::Days;

    fn demand() -> Demand {
        Demand {
            per_kw: Money::new(Decimal::from(15), Currency::USD),
            windows: vec![Window { days: Days::WORKING, from_hour: 8, to_hour: 20 }],
            zone: TimeZone::UTC,
            holidays: Vec::new(),
            ratchet: Decimal::new(8, 1),
            metered: vec![(Month { year: 2023, month: 7 }, Decimal::from(200))],
            source: "tariff".to_owned(),
        }
    }

    #[test]
    fn a_ratchet_looks_back_on_meter_and_ledger() {
        let billed =
            |month, seen: &[(Month, Decimal)]| demand().billed_kw(month, Decimal::from(100), seen).unwrap();
        assert_eq!(billed(Month { year: 2024, month: 6 }, &[]), Decimal::from(160));
        assert_eq!(billed(Month { year: 2024, month: 7 }, &[]), Decimal::from(100), "twelve months back");
        let seen = [(Month { year: 2024, month: 6 }, Decimal::from(300))];
        assert_eq!(billed(Month { year: 2024, month: 7 }, &seen), Decimal::from(240));
    }

    #[test]
    fn only_hours_of_the_windows_count() {
        let hour = |text: &str| {
            UtcHour(u32::try_from(text.parse::<jiff::Timestamp>().unwrap().as_second() / 3600).unwrap())
        };
        assert!(
            demand().counts(hour("2024-05-17T19:00:00Z")) && !demand().counts(hour("2024-05-17T20:00:00Z"))
        );
        assert!(!demand().counts(hour("2024-05-18T12:00:00Z")), "a Saturday");
        assert!(Demand { windows: Vec::new(), ..demand() }.counts(hour("2024-05-18T12:00:00Z")));
    }

    #[test]
    fn a_contract_beyond_hundred_percent_is_refused() {
        let tax = |share| Supply {
            taxes: vec![Tax { name: "VAT".to_owned(), share, source: String::new() }],
            ..Supply::default()
        };
        assert_eq!(tax(Decimal::new(19, 2)).check("dc1"), Ok(()));
        assert_eq!(
            tax(Decimal::from(19)).check("dc1").unwrap_err().to_string(),
            "tax VAT of site dc1 is 19: expected 0 to 1 (100 %)"
        );
    }
}
