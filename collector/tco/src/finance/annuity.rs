//! Equal payments: present and future value, payment, its interest and principal, number of periods.
//!
//! All of them solve one equation for one of its parts, with r the rate of a period, n periods,
//! `when` 0 for payments at the end of a period and 1 at its start:
//!
//! PV·(1+r)ⁿ + PMT·(1 + r·when)·((1+r)ⁿ − 1)/r + FV = 0, and PV + PMT·n + FV = 0 where r is zero.
//!
//! Source of the formulas: the `OpenDocument` formula standard and numpy-financial 1.0, which agree with
//! Excel's functions of the same names and the same order of arguments.

use super::{check_count, check_not_negative, check_positive, check_rate, minus, named, refuse};
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::powers::{annuity_future, annuity_present, ln_1p, power};
use rust_decimal::Decimal;

/// Most periods of which one is picked by its number.
const PERIODS_MAX: u32 = 1_000_000;

/// When in its period a payment is due; the `type` of spreadsheets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// At the end: 0 in spreadsheets.
    #[default]
    End,
    /// At the start, as a lease in advance: 1 in spreadsheets.
    Begin,
}

impl TryFrom<Decimal> for When {
    type Error = TcoError;

    /// The `type` of spreadsheets: 0 or 1.
    fn try_from(number: Decimal) -> Result<Self, TcoError> {
        match number {
            end if end.is_zero() => Ok(Self::End),
            begin if begin == Decimal::ONE => Ok(Self::Begin),
            other => refuse("a payment", "type", &other, "0 (end of the period) or 1 (its start)"),
        }
    }
}

impl When {
    /// 1 + r·when.
    fn factor(self, rate: Decimal) -> Result<Decimal, TcoError> {
        match self {
            Self::End => Ok(Decimal::ONE),
            Self::Begin => add(Decimal::ONE, rate),
        }
    }
}

/// Future value: what a balance and equal payments come to after `nper` periods.
///
/// FV = −(PV·(1+r)ⁿ + PMT·(1 + r·when)·((1+r)ⁿ − 1)/r). Range: rate above −1, nper zero or more,
/// fractions allowed. Excel: FV(rate, nper, pmt, pv, type).
pub fn fv(rate: Decimal, nper: Decimal, pmt: Decimal, pv: Decimal, when: When) -> Result<Decimal, TcoError> {
    check_rate("fv", "rate", rate)?;
    check_not_negative("fv", "nper", nper)?;
    named(grown(rate, nper, pmt, pv, when).map(minus), "the future value")
}

/// PV·(1+r)ⁿ + PMT·(1 + r·when)·((1+r)ⁿ − 1)/r.
fn grown(rate: Decimal, nper: Decimal, pmt: Decimal, pv: Decimal, when: When) -> Result<Decimal, TcoError> {
    add(moved(rate, nper, pv)?, paid(rate, pmt, when, || annuity_future(rate, nper))?)
}

/// An amount so many periods later; earlier where they are negative.
fn moved(rate: Decimal, periods: Decimal, amount: Decimal) -> Result<Decimal, TcoError> {
    // Of nothing the factor need not fit.
    if amount.is_zero() { Ok(amount) } else { mul(amount, power(add(Decimal::ONE, rate)?, periods)?) }
}

/// What equal payments are worth by the factor of their annuity, which need not fit without payments.
fn paid(
    rate: Decimal,
    pmt: Decimal,
    when: When,
    annuity: impl FnOnce() -> Result<Decimal, TcoError>,
) -> Result<Decimal, TcoError> {
    if pmt.is_zero() { Ok(pmt) } else { mul(mul(pmt, when.factor(rate)?)?, annuity()?) }
}

/// Present value of equal payments and of an amount at their end.
///
/// PV = −(FV·(1+r)⁻ⁿ + PMT·(1 + r·when)·(1 − (1+r)⁻ⁿ)/r). Range: rate above −1, nper zero or more,
/// fractions allowed. Excel: PV(rate, nper, pmt, fv, type).
pub fn pv(rate: Decimal, nper: Decimal, pmt: Decimal, fv: Decimal, when: When) -> Result<Decimal, TcoError> {
    check_rate("pv", "rate", rate)?;
    check_not_negative("pv", "nper", nper)?;
    let worth = || {
        let last = moved(rate, minus(nper), fv)?;
        add(last, paid(rate, pmt, when, || annuity_present(rate, nper))?)
    };
    named(worth().map(minus), "the present value")
}

/// The equal payment of a period that turns `pv` into `fv`.
///
/// PMT = −(PV·(1+r)ⁿ + FV)·r / ((1 + r·when)·((1+r)ⁿ − 1)); −(PV + FV)/n where r is zero. Range: rate
/// above −1, nper above zero, fractions allowed. Excel: PMT(rate, nper, pv, fv, type).
pub fn pmt(rate: Decimal, nper: Decimal, pv: Decimal, fv: Decimal, when: When) -> Result<Decimal, TcoError> {
    check_rate("pmt", "rate", rate)?;
    check_positive("pmt", "nper", nper)?;
    named(payment(rate, nper, pv, fv, when), "the payment")
}

fn payment(rate: Decimal, nper: Decimal, pv: Decimal, fv: Decimal, when: When) -> Result<Decimal, TcoError> {
    // Both sides are taken to the end of the time that has the smaller powers, so that long lives and
    // high rates fit.
    let growth = add(Decimal::ONE, rate)?;
    let (value, annuity) = if rate > Decimal::ZERO {
        (add(pv, mul(fv, power(growth, minus(nper))?)?)?, annuity_present(rate, nper)?)
    } else {
        (add(mul(pv, power(growth, nper)?)?, fv)?, annuity_future(rate, nper)?)
    };
    Ok(minus(div(value, mul(when.factor(rate)?, annuity)?, "the value of the payments")?))
}

/// The interest in the payment of period `per`: that on the balance before it.
///
/// IPMT = FV(rate, per − 1, PMT, PV)·r; with payments at the start of a period it is discounted by that
/// period, and the first payment bears none. Range: as [`pmt`]; per a whole number from 1 to nper.
/// Excel: IPMT(rate, per, nper, pv, fv, type).
pub fn ipmt(
    rate: Decimal,
    per: Decimal,
    nper: Decimal,
    pv: Decimal,
    fv: Decimal,
    when: When,
) -> Result<Decimal, TcoError> {
    check_rate("ipmt", "rate", rate)?;
    check_positive("ipmt", "nper", nper)?;
    check_period("ipmt", per, nper)?;
    named(interest(rate, per, nper, pv, fv, when), "the interest")
}

fn interest(
    rate: Decimal,
    per: Decimal,
    nper: Decimal,
    pv: Decimal,
    fv: Decimal,
    when: When,
) -> Result<Decimal, TcoError> {
    let payment = payment(rate, nper, pv, fv, when)?;
    if when == When::Begin && per == Decimal::ONE {
        return Ok(Decimal::ZERO);
    }
    let before = sub(per, Decimal::ONE)?;
    let interest = mul(minus(grown(rate, before, payment, pv, when)?), rate)?;
    div(interest, when.factor(rate)?, "the interest")
}

/// The principal in the payment of period `per`: PPMT = PMT − IPMT. Ranges as those of [`ipmt`].
/// Excel: PPMT(rate, per, nper, pv, fv, type).
pub fn ppmt(
    rate: Decimal,
    per: Decimal,
    nper: Decimal,
    pv: Decimal,
    fv: Decimal,
    when: When,
) -> Result<Decimal, TcoError> {
    check_rate("ppmt", "rate", rate)?;
    check_positive("ppmt", "nper", nper)?;
    check_period("ppmt", per, nper)?;
    let principal = || sub(payment(rate, nper, pv, fv, when)?, interest(rate, per, nper, pv, fv, when)?);
    named(principal(), "the principal")
}

fn check_period(function: &str, per: Decimal, nper: Decimal) -> Result<(), TcoError> {
    let expected = "a whole number from 1 to nper";
    check_count(function, "per", per, PERIODS_MAX, expected)?;
    if per > nper { refuse(function, "per", &per, expected) } else { Ok(()) }
}

/// The number of periods after which equal payments turn `pv` into `fv`; a fraction in general, and
/// negative where the time would have to run backwards.
///
/// n = ln((z − FV·r)/(z + PV·r)) / ln(1+r) with z = PMT·(1 + r·when); −(PV + FV)/PMT where r is zero.
/// Range: rate above −1; refused where no number of such payments leads from `pv` to `fv`. Excel:
/// NPER(rate, pmt, pv, fv, type).
pub fn nper(rate: Decimal, pmt: Decimal, pv: Decimal, fv: Decimal, when: When) -> Result<Decimal, TcoError> {
    check_rate("nper", "rate", rate)?;
    let never = || refuse("nper", "pmt", &pmt, "a payment that leads from pv to fv at this rate");
    let value = named(add(pv, fv), "pv + fv")?;
    if value.is_zero() && !pmt.is_zero() {
        return Ok(Decimal::ZERO);
    }
    let periods = || {
        if rate.is_zero() {
            return if pmt.is_zero() { never() } else { div(minus(value), pmt, "a value") };
        }
        let z = mul(pmt, when.factor(rate)?)?;
        let balance = add(z, mul(pv, rate)?)?;
        if balance.is_zero() {
            return never();
        }
        // (z − FV·r)/(z + PV·r) less one, so that small rates keep their digits.
        let less_one = div(minus(mul(value, rate)?), balance, "the balance")?;
        if less_one <= Decimal::NEGATIVE_ONE {
            return never();
        }
        div(ln_1p(less_one)?, ln_1p(rate)?, "a logarithm")
    };
    named(periods(), "the number of periods")
}
