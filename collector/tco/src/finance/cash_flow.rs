//! What a series of cash flows is worth at a stated rate: net present value by period and by date, and
//! the modified internal rate of return.
//!
//! Source of the formulas: Excel's NPV, XNPV and MIRR; [`npv_at_start`] is numpy-financial's `npv`.

use super::{check_flows, check_rate, minus, named, refuse};
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::powers::power;
use jiff::civil::Date;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Days of a year of XNPV and XIRR: actual days by 365, in leap years too.
pub(super) const DAYS_PER_YEAR: Decimal = Decimal::from_parts(365, 0, 0, false, 0);

/// Net present value with the first flow after one period, as in Excel: Σ flowₖ/(1+r)ᵏ, k from 1.
///
/// Excel: NPV(rate, flows). What is paid today is added to it. Range: rate above −1, 1 to 40,000 flows.
pub fn npv(rate: Decimal, flows: &[Decimal]) -> Result<Decimal, TcoError> {
    check_rate("npv", "rate", rate)?;
    check_flows("npv", flows.len())?;
    let after_one = || div(worth(rate, flows)?, add(Decimal::ONE, rate)?, "a value");
    named(after_one(), "the net present value")
}

/// Net present value with the first flow today, as in numpy-financial: Σ flowₖ/(1+r)ᵏ, k from 0.
///
/// Range: rate above −1, 1 to 40,000 flows.
pub fn npv_at_start(rate: Decimal, flows: &[Decimal]) -> Result<Decimal, TcoError> {
    check_rate("npv_at_start", "rate", rate)?;
    check_flows("npv_at_start", flows.len())?;
    named(worth(rate, flows), "the net present value")
}

/// From the last flow to the first: each is added and all discounted by a period. Nothing overflows
/// at high rates, and division keeps whole results whole.
fn worth(rate: Decimal, flows: &[Decimal]) -> Result<Decimal, TcoError> {
    let growth = add(Decimal::ONE, rate)?;
    flows.iter().rev().try_fold(Decimal::ZERO, |later, &flow| add(flow, div(later, growth, "a value")?))
}

/// Days of each flow after the first one, none of which may be before it.
pub(super) fn days(function: &str, flows: &[Decimal], dates: &[Date]) -> Result<Vec<u32>, TcoError> {
    check_flows(function, flows.len())?;
    if flows.len() != dates.len() {
        return refuse(function, "number of dates", &dates.len(), "one date for each flow");
    }
    let first = dates.first().copied().unwrap_or_default();
    let since = |(position, date): (usize, &Date)| {
        let days = first.until(*date).ok().and_then(|span| span.get_days().to_u32());
        let number = position.saturating_add(1);
        days.map_or_else(|| refuse(function, &format!("date {number}"), &date, "none before the first"), Ok)
    };
    dates.iter().enumerate().map(since).collect()
}

/// Net present value by date: Σ flowₖ/(1+r)^(days since the first date / 365).
///
/// Excel: XNPV(rate, flows, dates). Range: rate above −1 a year, one date for each flow, in any order
/// but none before the first.
pub fn xnpv(rate: Decimal, flows: &[Decimal], dates: &[Date]) -> Result<Decimal, TcoError> {
    check_rate("xnpv", "rate", rate)?;
    let days = days("xnpv", flows, dates)?;
    let growth = add(Decimal::ONE, rate)?;
    let value = || {
        flows.iter().zip(days).try_fold(Decimal::ZERO, |sum, (&flow, days)| {
            let years = div(Decimal::from(days), DAYS_PER_YEAR, "days")?;
            let discount = power(growth, sub(Decimal::ZERO, years)?)?;
            add(sum, mul(flow, discount)?)
        })
    };
    named(value(), "the net present value")
}

/// Modified internal rate of return: what is paid is financed at one rate, what is received is
/// reinvested at another.
///
/// (FV of the receipts at the end / −PV of the payments)^(1/(n−1)) − 1. Excel: MIRR(flows,
/// finance rate, reinvestment rate). Range: rates above −1; at least one flow paid and one received.
pub fn mirr(flows: &[Decimal], finance_rate: Decimal, reinvest_rate: Decimal) -> Result<Decimal, TcoError> {
    check_rate("mirr", "finance_rate", finance_rate)?;
    check_rate("mirr", "reinvest_rate", reinvest_rate)?;
    check_flows("mirr", flows.len())?;
    let any = |sign: fn(Decimal) -> bool| flows.iter().any(|&flow| sign(flow));
    if !any(|flow| flow > Decimal::ZERO) || !any(|flow| flow < Decimal::ZERO) {
        return refuse("mirr", "flows", "all of one sign", "at least one paid and one received");
    }
    let rate = || {
        let growth = add(Decimal::ONE, reinvest_rate)?;
        let received = flows
            .iter()
            .try_fold(Decimal::ZERO, |sum, &flow| add(mul(sum, growth)?, flow.max(Decimal::ZERO)))?;
        let paid: Vec<Decimal> = flows.iter().map(|&flow| minus(flow.min(Decimal::ZERO))).collect();
        let ratio = div(received, worth(finance_rate, &paid)?, "what is received")?;
        let periods = Decimal::from(flows.len().saturating_sub(1));
        sub(power(ratio, div(Decimal::ONE, periods, "one")?)?, Decimal::ONE)
    };
    named(rate(), "the modified rate of return")
}
