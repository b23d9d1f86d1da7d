//! What capital costs: its weighted rate, its recovery by equal amounts, levelised cost, payback, leases.
//!
//! Amounts are sizes here: costs and payments are positive. Sources: the textbook definitions named at
//! each function; lease accounting as both IFRS 16 and US GAAP (finance lease) measure the liability.

use super::annuity::When;
use super::{FLOWS_MAX, check_not_negative, check_positive, check_rate, named, npv_at_start, refuse};
use crate::decimal::{add, div, mul, sub, sum};
use crate::error::TcoError;
use crate::powers::annuity_present;
use rust_decimal::Decimal;

/// A share: from zero to one.
pub(crate) fn check_share(function: &str, argument: &str, share: Decimal) -> Result<(), TcoError> {
    if (Decimal::ZERO..=Decimal::ONE).contains(&share) {
        return Ok(());
    }
    refuse(function, argument, &share, "0 to 1 (100 %)")
}

/// Weighted average cost of capital: E/V·re + D/V·rd·(1 − t), V = E + D.
///
/// Range: equity and debt zero or more, not both zero; rates above −1; tax rate from 0 to 1.
pub fn wacc(
    equity: Decimal,
    debt: Decimal,
    cost_of_equity: Decimal,
    cost_of_debt: Decimal,
    tax_rate: Decimal,
) -> Result<Decimal, TcoError> {
    check_not_negative("wacc", "equity", equity)?;
    check_not_negative("wacc", "debt", debt)?;
    check_rate("wacc", "cost_of_equity", cost_of_equity)?;
    check_rate("wacc", "cost_of_debt", cost_of_debt)?;
    check_share("wacc", "tax_rate", tax_rate)?;
    let value = named(add(equity, debt), "equity + debt")?;
    check_positive("wacc", "equity + debt", value)?;
    let weighted = || {
        let after_tax = mul(cost_of_debt, sub(Decimal::ONE, tax_rate)?)?;
        div(add(mul(equity, cost_of_equity)?, mul(debt, after_tax)?)?, value, "the cost of capital")
    };
    named(weighted(), "the cost of capital")
}

/// The equal amount a period that recovers an asset's cost with interest over its life:
/// (C − S)·CRF + S·i with CRF = i(1+i)ⁿ/((1+i)ⁿ − 1), which is 1/n without interest.
///
/// Range: 0 ≤ salvage ≤ cost, rate zero or more, life above zero.
pub fn capital_recovery(
    cost: Decimal,
    salvage: Decimal,
    rate: Decimal,
    life: Decimal,
) -> Result<Decimal, TcoError> {
    check_not_negative("capital_recovery", "salvage", salvage)?;
    if salvage > cost {
        return refuse("capital_recovery", "salvage", &salvage, "at most the cost");
    }
    check_not_negative("capital_recovery", "rate", rate)?;
    check_positive("capital_recovery", "life", life)?;
    let recovered = || {
        let lost = div(sub(cost, salvage)?, annuity_present(rate, life)?, "cost − salvage")?;
        add(lost, mul(salvage, rate)?)
    };
    named(recovered(), "the capital recovery")
}

/// Levelised cost of a unit: Σ costₜ/(1+r)ᵗ ÷ Σ unitsₜ/(1+r)ᵗ, t from 0 in both.
///
/// The purchase is cost 0, a residual value a negative cost at the end; units are useful GPU-hours or
/// kWh. Range: rate above −1; as many units as costs, none negative, not all zero.
pub fn levelised(rate: Decimal, costs: &[Decimal], units: &[Decimal]) -> Result<Decimal, TcoError> {
    if costs.len() != units.len() {
        return refuse("levelised", "number of units", &units.len(), "as many units as costs");
    }
    for &of_period in units {
        check_not_negative("levelised", "units", of_period)?;
    }
    let units = npv_at_start(rate, units)?;
    check_positive("levelised", "units", units)?;
    named(div(npv_at_start(rate, costs)?, units, "cost"), "the levelised cost")
}

/// Periods after which an investment has paid for itself: investment ÷ saving a period.
///
/// The saving is cash against cash; depreciation is no part of it, or the investment would be paid
/// twice. `None` where nothing is saved. Range: investment zero or more.
pub fn payback_periods(investment: Decimal, saving: Decimal) -> Result<Option<Decimal>, TcoError> {
    check_not_negative("payback_periods", "investment", investment)?;
    if saving <= Decimal::ZERO {
        return Ok(None);
    }
    named(div(investment, saving, "the investment"), "the payback").map(Some)
}

/// One period of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePeriod {
    pub payment: Decimal,
    /// On the liability, after a payment at the start of the period.
    pub interest: Decimal,
    /// What is still owed at the end of the period.
    pub liability: Decimal,
    /// Straight line over the term.
    pub depreciation: Decimal,
}

/// A lease as the lessee's books show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Present value of the payments: the liability, and the right-of-use asset, at the start.
    pub liability: Decimal,
    pub periods: Vec<LeasePeriod>,
}

/// The books of a lease: liability = present value of the payments at the incremental borrowing rate,
/// interest on the liability, the right-of-use asset straight line.
///
/// Over the term interest and depreciation sum to the payments. Range: rate zero or more; 1 to 40,000
/// payments, one a period, none negative.
pub fn lease(rate: Decimal, payments: &[Decimal], when: When) -> Result<Lease, TcoError> {
    check_not_negative("lease", "rate", rate)?;
    if payments.is_empty() || payments.len() > FLOWS_MAX {
        return refuse("lease", "number of payments", &payments.len(), "1 to 40000");
    }
    for &payment in payments {
        check_not_negative("lease", "payment", payment)?;
    }
    named(books(rate, payments, when), "the lease")
}

fn books(rate: Decimal, payments: &[Decimal], when: When) -> Result<Lease, TcoError> {
    let at_start = npv_at_start(rate, payments)?;
    let liability = match when {
        When::Begin => at_start,
        When::End => div(at_start, add(Decimal::ONE, rate)?, "a value")?,
    };
    let depreciation = div(liability, Decimal::from(payments.len()), "the right-of-use asset")?;
    let mut owed = liability;
    let mut periods = Vec::with_capacity(payments.len());
    for &payment in payments {
        let interest = match when {
            When::Begin => mul(sub(owed, payment)?, rate)?,
            When::End => mul(owed, rate)?,
        };
        owed = sub(sum([owed, interest])?, payment)?;
        periods.push(LeasePeriod { payment, interest, liability: owed, depreciation });
    }
    Ok(Lease { liability, periods })
}
