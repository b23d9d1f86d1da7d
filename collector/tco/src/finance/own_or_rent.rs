//! Owning against renting after tax: the present value of each, from the same rate and tax.
//!
//! Costs are given as sizes, and worth as what it is: the present value of a cost is negative, so that
//! the higher of two values is the better choice. Source: the usual after-tax discounting; interest is
//! in the rate and in no flow.

use super::capital::check_share;
use super::{check_not_negative, check_rate, minus, named, npv, refuse};
use crate::decimal::{add, div, mul, sub, sum};
use crate::error::TcoError;
use rust_decimal::Decimal;

/// One period of owning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPeriod {
    /// Cash cost of the period before tax: energy, site, staff, support.
    pub cash_cost: Decimal,
    /// Depreciation that the tax allows in the period.
    pub tax_depreciation: Decimal,
}

/// Present value of owning after tax:
/// −C + Σ (−cash costₖ·(1−t) + tax depreciationₖ·t)/(1+r)ᵏ + (S − t·(S − tax basis))/(1+r)ⁿ, k from 1 to n.
///
/// S is the sale at the end; the tax basis is what the tax depreciation left of the cost. Range: rate
/// above −1, tax rate from 0 to 1, cost and tax depreciation zero or more, no more depreciated than the
/// cost, 1 to 40,000 periods.
pub fn npv_own_after_tax(
    rate: Decimal,
    tax_rate: Decimal,
    cost: Decimal,
    periods: &[OwnPeriod],
    sale: Decimal,
) -> Result<Decimal, TcoError> {
    const NAME: &str = "npv_own_after_tax";
    check_rate(NAME, "rate", rate)?;
    check_share(NAME, "tax_rate", tax_rate)?;
    check_not_negative(NAME, "cost", cost)?;
    for period in periods {
        check_not_negative(NAME, "tax_depreciation", period.tax_depreciation)?;
    }
    let depreciated = named(sum(periods.iter().map(|period| period.tax_depreciation)), "the depreciation")?;
    if depreciated > cost {
        return refuse(NAME, "sum of tax_depreciation", &depreciated, "at most the cost");
    }
    let kept = sub(Decimal::ONE, tax_rate)?;
    let flows = || {
        let after_tax =
            |period: &OwnPeriod| sub(mul(period.tax_depreciation, tax_rate)?, mul(period.cash_cost, kept)?);
        let mut flows = periods.iter().map(after_tax).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = flows.last_mut() {
            let gain = sub(sale, sub(cost, depreciated)?)?;
            *last = add(*last, sub(sale, mul(gain, tax_rate)?)?)?;
        }
        Ok(flows)
    };
    named(npv(rate, &named(flows(), "a flow")?).and_then(|later| sub(later, cost)), "the present value")
}

/// Present value of renting after tax: −Σ rentₖ·(1−t)/(1+r)ᵏ, k from 1 to n.
///
/// The rent of a period includes egress, storage, support and what is reserved but idle. Range: rate
/// above −1, tax rate from 0 to 1, rents zero or more, 1 to 40,000 periods.
pub fn npv_rent_after_tax(rate: Decimal, tax_rate: Decimal, rents: &[Decimal]) -> Result<Decimal, TcoError> {
    const NAME: &str = "npv_rent_after_tax";
    check_rate(NAME, "rate", rate)?;
    check_share(NAME, "tax_rate", tax_rate)?;
    for &rent in rents {
        check_not_negative(NAME, "rent", rent)?;
    }
    let kept = sub(Decimal::ONE, tax_rate)?;
    named(npv(rate, rents).and_then(|value| mul(value, kept)).map(minus), "the present value")
}

/// The share of the year above which owning is cheaper: u* = F/(N·8760·(p − v)).
///
/// F is the fixed cost of a year of N GPUs, v the variable cost and p the rent of a useful GPU-hour.
/// Above 1 renting always is cheaper; `None` where no share helps, as the rent does not exceed the
/// variable cost. Range: fixed cost zero or more, GPUs above zero.
pub fn break_even_utilization(
    fixed_per_year: Decimal,
    gpus: Decimal,
    rent_per_hour: Decimal,
    variable_per_hour: Decimal,
) -> Result<Option<Decimal>, TcoError> {
    const NAME: &str = "break_even_utilization";
    check_not_negative(NAME, "fixed_per_year", fixed_per_year)?;
    super::check_positive(NAME, "gpus", gpus)?;
    let share = || {
        let margin = sub(rent_per_hour, variable_per_hour)?;
        if margin <= Decimal::ZERO {
            return Ok(None);
        }
        let hours = mul(gpus, Decimal::from(8_760))?;
        div(fixed_per_year, mul(hours, margin)?, "the fixed cost").map(Some)
    };
    named(share(), "the break-even")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn period(cash_cost: &str, tax_depreciation: &str) -> OwnPeriod {
        OwnPeriod { cash_cost: dec(cash_cost), tax_depreciation: dec(tax_depreciation) }
    }

    #[test]
    fn owning_is_worth_its_costs_less_what_the_tax_gives_back() {
        // −1000 + (−100·0.75 + 600·0.25)/1.1 + (−100·0.75 + 300·0.25 + 200 − 0.25·(200 − 100))/1.21.
        let periods = [period("100", "600"), period("100", "300")];
        let value = npv_own_after_tax(dec("0.1"), dec("0.25"), dec("1000"), &periods, dec("200")).unwrap();
        assert!(
            (value - (dec("-1000") + dec("75") / dec("1.1") + dec("175") / dec("1.21"))).abs()
                < dec("0.000000000001")
        );
        // Without interest and tax it is plain money.
        let plain =
            npv_own_after_tax(Decimal::ZERO, Decimal::ZERO, dec("1000"), &periods, dec("200")).unwrap();
        assert_eq!(plain, dec("-1000"));
    }

    #[test]
    fn renting_is_worth_its_rents_after_tax() {
        let value = npv_rent_after_tax(dec("0.1"), dec("0.25"), &[dec("110"), dec("121")]).unwrap();
        assert!((value - dec("-150")).abs() < dec("0.000000000001"));
    }

    #[test]
    fn break_even_counts_every_hour_of_the_year() {
        let share =
            |rent: &str| break_even_utilization(dec("108959.86"), dec("8"), dec(rent), dec("0.05")).unwrap();
        assert_eq!(share("6.93").unwrap().round_dp(4), dec("0.2260"));
        assert_eq!(share("0.05"), None);
    }

    #[test]
    fn more_tax_depreciation_than_cost_is_refused() {
        let own = |depreciation: &str, tax: &str| {
            let periods = [period("1", depreciation)];
            npv_own_after_tax(Decimal::ZERO, dec(tax), dec("100"), &periods, Decimal::ZERO)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            own("101", "0"),
            "sum of tax_depreciation of npv_own_after_tax is 101: expected at most the cost"
        );
        assert_eq!(own("1", "1.1"), "tax_rate of npv_own_after_tax is 1.1: expected 0 to 1 (100 %)");
        assert!(npv_own_after_tax(Decimal::ZERO, Decimal::ZERO, Decimal::ONE, &[], Decimal::ZERO).is_err());
        assert!(npv_rent_after_tax(Decimal::ZERO, Decimal::ZERO, &[dec("-1")]).is_err());
    }
}
