//! What an asset is worth: the rents that it will earn, and its resale.
//!
//! `V_t = Σ_j (u·hours·rent_{t+j} − cash cost)/(1+r)^j + resale/(1+r)^(n−t)`, month by month to the horizon
//! n. Rents follow an index: where it is known its own values, after that a stated growth, which may go
//! up or down (market indices rose by 10 % in a month for H100 and by 24 % for B200 in early 2026). What
//! the book shows above that value is stranded.

use crate::calendar::Month;
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_rate, check_share, refuse};
use crate::powers::{power, power_of_whole};
use rust_decimal::Decimal;

/// Mean hours of a month: 8760 ÷ 12.
pub const MONTH_HOURS: Decimal = Decimal::from_parts(730, 0, 0, false, 0);

/// Longest horizon, in months.
pub const HORIZON_MAX: u32 = 600;

/// Rent of a GPU-hour over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RentPath {
    /// Known values, in the order of months: each holds until the next.
    pub known: Vec<(Month, Decimal)>,
    /// Growth a month after the last known value: −0.02 is two percent down.
    pub growth: Decimal,
    pub source: String,
}

impl RentPath {
    /// Rent of a GPU-hour in a month.
    pub fn at(&self, month: Month) -> Result<Decimal, TcoError> {
        let Some(&(last, value)) = self.known.last() else {
            return refuse("the rent path", "known values", &0, "at least one month");
        };
        if month > last {
            let months = u32::try_from(month.index().saturating_sub(last.index())).unwrap_or_default();
            return mul(value, power_of_whole(add(Decimal::ONE, self.growth)?, months)?);
        }
        let known = self.known.iter().rev().find(|(from, _)| *from <= month);
        match known {
            Some((_, value)) => Ok(*value),
            None => refuse("the rent path", "month", &month, "a month on or after the first known value"),
        }
    }

    fn check(&self) -> Result<(), TcoError> {
        check_rate("the rent path", "growth", self.growth)?;
        for pair in self.known.windows(2) {
            if let [(earlier, _), (later, _)] = pair
                && later <= earlier
            {
                return refuse("the rent path", "month", later, "months in order, each once");
            }
        }
        self.known.iter().try_for_each(|(_, rent)| check_not_negative("the rent path", "rent", *rent))
    }
}

/// What the value is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Economy {
    pub gpus: Decimal,
    /// Share of the hours that are rented out or used as if.
    pub utilization: Decimal,
    pub rent: RentPath,
    /// Cash cost of a month: energy, site, staff.
    pub cash_cost_per_month: Decimal,
    /// Discount rate a year.
    pub discount: Decimal,
    /// Last month in which it earns; then it is sold.
    pub last_month: Month,
    /// What the sale will bring.
    pub resale: Decimal,
}

/// The value at the end of each month from `first` on, to the last month, whose value is the resale.
pub fn values(economy: &Economy, first: Month) -> Result<Vec<(Month, Decimal)>, TcoError> {
    const NAME: &str = "the economic value";
    check_not_negative(NAME, "GPUs", economy.gpus)?;
    check_share(NAME, "utilization", economy.utilization)?;
    check_rate(NAME, "discount rate", economy.discount)?;
    check_not_negative(NAME, "resale", economy.resale)?;
    economy.rent.check()?;
    let months = economy.last_month.index().saturating_sub(first.index());
    if months < 0 || u32::try_from(months).is_ok_and(|months| months > HORIZON_MAX) {
        return refuse(
            NAME,
            "last month",
            &economy.last_month,
            "on or after the first one, at most 600 months later",
        );
    }
    let twelfth = div(Decimal::ONE, Decimal::from(12), "a year")?;
    let growth = power(add(Decimal::ONE, economy.discount)?, twelfth)?;
    let (mut month, mut value) = (economy.last_month, economy.resale);
    let mut values = vec![(month, value)];
    while month > first {
        let flow = flow(economy, month)?;
        value = div(add(flow, value)?, growth, "a value")?;
        month = month.plus(-1)?;
        values.push((month, value));
    }
    values.reverse();
    Ok(values)
}

fn flow(economy: &Economy, month: Month) -> Result<Decimal, TcoError> {
    let hours = mul(mul(economy.gpus, economy.utilization)?, MONTH_HOURS)?;
    sub(mul(hours, economy.rent.at(month)?)?, economy.cash_cost_per_month)
}

/// Undiscounted cash flows to come after a month, resale included: the first step of the test of US GAAP.
pub fn undiscounted(economy: &Economy, after: Month) -> Result<Decimal, TcoError> {
    Ok(values(&Economy { discount: Decimal::ZERO, ..economy.clone() }, after)?
        .first()
        .map_or(Decimal::ZERO, |(_, v)| *v))
}

/// What the book shows above the economic value; zero where it shows less.
pub fn stranded(net_book_value: Decimal, value: Decimal) -> Result<Decimal, TcoError> {
    Ok(sub(net_book_value, value)?.max(Decimal::ZERO))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    pub(in crate::books) fn economy() -> Economy {
        Economy {
            gpus: Decimal::ONE,
            utilization: dec("0.5"),
            rent: RentPath {
                known: vec![(Month { year: 2026, month: 1 }, Decimal::TWO)],
                growth: Decimal::ZERO,
                source: "index".to_owned(),
            },
            cash_cost_per_month: dec("230"),
            discount: Decimal::ZERO,
            last_month: Month { year: 2026, month: 4 },
            resale: dec("1000"),
        }
    }

    #[test]
    fn without_interest_a_value_is_what_will_still_come() {
        // 730 × 0.5 × 2 − 230 = 500 a month.
        let values = values(&economy(), Month { year: 2026, month: 1 }).unwrap();
        let values: Vec<String> = values.iter().map(|(month, value)| format!("{month} {value}")).collect();
        assert_eq!(values, ["2026-01 2500.0", "2026-02 2000.0", "2026-03 1500.0", "2026-04 1000"]);
        assert_eq!(undiscounted(&economy(), Month { year: 2026, month: 2 }).unwrap(), dec("2000"));
    }

    #[test]
    fn a_year_ahead_is_discounted_by_a_year() {
        let mut economy =
            Economy { utilization: Decimal::ZERO, cash_cost_per_month: Decimal::ZERO, ..economy() };
        (economy.discount, economy.last_month) = (dec("0.25"), Month { year: 2027, month: 1 });
        let value = values(&economy, Month { year: 2026, month: 1 }).unwrap()[0].1;
        assert!((value - dec("800")).abs() < dec("0.000001"), "{value}");
    }

    #[test]
    fn rents_rise_as_well_as_fall() {
        let mut path = economy().rent;
        path.known.push((Month { year: 2026, month: 2 }, dec("2.2")));
        path.growth = dec("-0.1");
        let at = |month| path.at(Month { year: 2026, month }).unwrap().normalize();
        assert_eq!([1, 2, 3, 4].map(at), ["2", "2.2", "1.98", "1.782"].map(dec));
        assert!(path.at(Month { year: 2025, month: 12 }).is_err());
    }

    proptest! {
        #[test]
        fn more_use_and_higher_rents_never_lower_the_value(u in 0_i64..100, rent in 0_i64..1000, growth in -50_i64..50) {
            let base = Economy { utilization: Decimal::new(u, 2), discount: dec("0.1"), ..economy() };
            let mut more = base.clone();
            more.utilization += dec("0.01");
            more.rent.growth = Decimal::new(growth, 3);
            let mut less = base;
            less.rent.growth = Decimal::new(growth, 3);
            less.rent.known[0].1 = Decimal::new(rent, 2);
            more.rent.known[0].1 = Decimal::new(rent + 1, 2);
            let first = |economy: &Economy| values(economy, Month { year: 2026, month: 1 }).unwrap()[0].1;
            prop_assert!(first(&less) <= first(&more));
        }
    }
}
