//! Time value of money: the functions of a spreadsheet, in decimals.
//!
//! Signs are those of spreadsheets and numpy-financial: what is received is positive, what is paid is
//! negative. A rate is that of one period, 0.01 for 1 %. Results are not rounded, but for the rates that
//! are searched for ([`irr`](irr()), [`xirr`], [`rate`]). Every refusal names the function's argument
//! and what was expected; nothing panics, and a result beyond 28 digits is [`TcoError::Overflow`].
//!
//! | module | functions |
//! |---|---|
//! | [`annuity`] | [`pv`], [`fv`], [`pmt`], [`nper`], [`ipmt`], [`ppmt`] |
//! | [`cash_flow`] | [`npv`], [`npv_at_start`], [`xnpv`], [`mirr`] |
//! | [`irr`](mod@irr) | [`irr`](irr()), [`irr_all`], [`xirr`], [`rate`] |
//! | [`capital`] | [`wacc`], [`capital_recovery`], [`levelised`], [`payback_periods`], [`lease`] |
//! | [`own_or_rent`] | [`npv_own_after_tax`], [`npv_rent_after_tax`], [`break_even_utilization`] |

pub mod annuity;
pub mod capital;
pub mod cash_flow;
pub mod irr;
pub mod own_or_rent;
mod roots;

pub use annuity::{When, fv, ipmt, nper, pmt, ppmt, pv};
pub(crate) use capital::check_share;
pub use capital::{Lease, capital_recovery, lease, levelised, payback_periods, wacc};
pub use cash_flow::{mirr, npv, npv_at_start, xnpv};
pub use irr::{irr, irr_all, rate, xirr};
pub use own_or_rent::{OwnPeriod, break_even_utilization, npv_own_after_tax, npv_rent_after_tax};

use crate::error::TcoError;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Most cash flows of one series: a flow a day for a century and more.
pub const FLOWS_MAX: usize = 40_000;

/// The refusal of an argument: "life of sln is 0: expected more than zero".
pub(crate) fn refuse<T>(
    function: &str,
    argument: &str,
    given: &(impl ToString + ?Sized),
    expected: &'static str,
) -> Result<T, TcoError> {
    Err(TcoError::Invalid { what: format!("{argument} of {function}"), given: given.to_string(), expected })
}

/// A rate of a period: more than −1, since at −1 nothing is left of anything.
pub(crate) fn check_rate(function: &str, argument: &str, rate: Decimal) -> Result<(), TcoError> {
    if rate > Decimal::NEGATIVE_ONE {
        return Ok(());
    }
    refuse(function, argument, &rate, "more than -1 (-100 %)")
}

pub(crate) fn check_not_negative(function: &str, argument: &str, value: Decimal) -> Result<(), TcoError> {
    if value >= Decimal::ZERO {
        return Ok(());
    }
    refuse(function, argument, &value, "zero or more")
}

pub(crate) fn check_positive(function: &str, argument: &str, value: Decimal) -> Result<(), TcoError> {
    if value > Decimal::ZERO {
        return Ok(());
    }
    refuse(function, argument, &value, "more than zero")
}

/// A whole number from one on, as a count.
pub(crate) fn check_count(
    function: &str,
    argument: &str,
    value: Decimal,
    max: u32,
    expected: &'static str,
) -> Result<u32, TcoError> {
    match value.to_u32() {
        Some(count) if Decimal::from(count) == value && (1..=max).contains(&count) => Ok(count),
        _ => refuse(function, argument, &value, expected),
    }
}

/// At least one flow and at most [`FLOWS_MAX`].
fn check_flows(function: &str, flows: usize) -> Result<(), TcoError> {
    if (1..=FLOWS_MAX).contains(&flows) {
        return Ok(());
    }
    refuse(function, "number of flows", &flows, "1 to 40000")
}

/// The number with the other sign; every decimal has one.
pub(crate) fn minus(mut value: Decimal) -> Decimal {
    value.set_sign_positive(value.is_sign_negative());
    value
}

/// Says of a result that does not fit what it is the result of.
pub(crate) fn named<T>(result: Result<T, TcoError>, result_of: &'static str) -> Result<T, TcoError> {
    match result {
        Err(TcoError::Overflow(_)) => Err(TcoError::Overflow(result_of)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
