//! Straight line, sum of years' digits, units of production: shares of cost − salvage.
//!
//! Source of the formulas: Excel's SLN and SYD, which agree with `OpenDocument` and GNU Emacs Calc.

use super::check;
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, named, refuse};
use rust_decimal::Decimal;

/// Straight line: (cost − salvage)/life, the depreciation of each of `life` equal periods.
///
/// Excel: SLN(cost, salvage, life), which also takes a salvage above the cost. Range:
/// 0 ≤ salvage ≤ cost, life above zero and at most 36,525.
pub fn sln(cost: Decimal, salvage: Decimal, life: Decimal) -> Result<Decimal, TcoError> {
    check("sln", cost, salvage, life)?;
    named(sub(cost, salvage).and_then(|base| div(base, life, "cost − salvage")), "the depreciation")
}

/// Sum of years' digits: (cost − salvage)·2(n − k + 1)/(n(n + 1)) in period k.
///
/// Excel: SYD(cost, salvage, life, per). Range: 0 ≤ salvage ≤ cost, life above zero and at most 36,525,
/// 1 ≤ per ≤ life.
pub fn syd(cost: Decimal, salvage: Decimal, life: Decimal, per: Decimal) -> Result<Decimal, TcoError> {
    check("syd", cost, salvage, life)?;
    if per < Decimal::ONE || per > life {
        return refuse("syd", "per", &per, "1 to the life");
    }
    let amount = || {
        let left = mul(add(sub(life, per)?, Decimal::ONE)?, Decimal::TWO)?;
        let digits = mul(life, add(life, Decimal::ONE)?)?;
        div(mul(sub(cost, salvage)?, left)?, digits, "cost − salvage")
    };
    named(amount(), "the depreciation")
}

/// Units of production: (cost − salvage)·units/life units, until cost − salvage is used up.
///
/// `units_life` are the units that the asset is good for (GPU-hours or kWh), `units_before` those that
/// it has done before the period, `units` those of the period; a period without use depreciates
/// nothing. Range: 0 ≤ salvage ≤ cost, `units_life` above zero, the other units zero or more.
pub fn units_of_production(
    cost: Decimal,
    salvage: Decimal,
    units_life: Decimal,
    units_before: Decimal,
    units: Decimal,
) -> Result<Decimal, TcoError> {
    const NAME: &str = "units_of_production";
    check(NAME, cost, salvage, Decimal::ONE)?;
    check_positive(NAME, "units_life", units_life)?;
    check_not_negative(NAME, "units_before", units_before)?;
    check_not_negative(NAME, "units", units)?;
    let amount = || {
        let left = sub(units_life, units_before)?.max(Decimal::ZERO);
        div(mul(sub(cost, salvage)?, units.min(left))?, units_life, "cost − salvage")
    };
    named(amount(), "the depreciation")
}
