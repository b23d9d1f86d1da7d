//! Rates at which cash flows are worth nothing: internal rate of return by period and by date, and the
//! rate of equal payments.
//!
//! With two changes of sign two rates may fit, and neither is the answer: so these functions refuse
//! such flows and name the rates, unless a guess asks for the one nearest to it. All rates between
//! [`RATE_MIN`] and [`RATE_MAX`] are found, whatever the guess (see `roots.rs`), and are rounded to
//! [`RATE_DIGITS`] places after the point; below 1000 % they are right to about the last of them.
//!
//! Source: the definition, Σ flowₖ/(1 + rate)^tₖ = 0; t in periods, or in days by 365 as in Excel's
//! XIRR.

use super::annuity::When;
use super::cash_flow::{DAYS_PER_YEAR, days};
use super::roots::Powers;
use super::{check_count, check_flows, minus, named, refuse};
use crate::decimal::{div, round, sub};
use crate::error::TcoError;
use crate::powers::power;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// Lowest rate that is looked for: −99.9999 % a period (a year in [`xirr`]).
pub const RATE_MIN: Decimal = Decimal::from_parts(999_999, 0, 0, true, 6);
/// Highest rate that is looked for: 99,999,900 % a period.
pub const RATE_MAX: Decimal = Decimal::from_parts(999_999, 0, 0, false, 0);
/// Places after the point that rates are rounded to.
pub const RATE_DIGITS: u32 = 18;
/// Most changes of sign: the work grows with their square, and no investment has that many by plan.
pub const SIGN_CHANGES_MAX: usize = 24;
/// Most of changes of sign, squared, times flows that are searched: a second of work or two. Ten years of
/// days may change sign 16 times.
pub const WORK_MAX: usize = 1_000_000;

/// Values of 1 + rate at which the search is cut into pieces: small ones where rates usually lie.
const GROWTHS: [(u32, u32); 12] = [
    (1_000_000, 0),
    (1_000, 0),
    (10, 0),
    (2, 0),
    (125, 2),
    (11, 1),
    (1, 0),
    (9, 1),
    (75, 2),
    (5, 1),
    (1, 2),
    (1, 6),
];

/// The discount factors of a grid of rates, rising; with the 365th root where periods are days.
fn grid(periods_per_rate: Decimal) -> Result<Vec<Decimal>, TcoError> {
    let exponent = div(Decimal::NEGATIVE_ONE, periods_per_rate, "one")?;
    let growth = |&(number, scale): &(u32, u32)| power(Decimal::new(number.into(), scale), exponent);
    GROWTHS.iter().map(growth).collect()
}

/// All rates of sorted flows, rising.
fn rates(
    function: &'static str,
    flows: &Powers,
    periods_per_rate: Decimal,
) -> Result<Vec<Decimal>, TcoError> {
    let changes = flows.sign_changes();
    if changes == 0 {
        return refuse(function, "flows", "all of one sign", "at least one paid and one received");
    }
    if changes > SIGN_CHANGES_MAX {
        return refuse(function, "changes of sign in the flows", &changes, "at most 24");
    }
    if changes > 1 && changes.saturating_mul(changes).saturating_mul(flows.terms()) > WORK_MAX {
        let expected = "fewer for so many flows: changes squared times flows at most 1000000";
        return refuse(function, "changes of sign in the flows", &changes, expected);
    }
    let found = || {
        let mut rates = Vec::new();
        for y in flows.roots(&grid(periods_per_rate)?)? {
            let rate = sub(power(y, minus(periods_per_rate))?, Decimal::ONE)?;
            rates.push(round(rate, RATE_DIGITS).normalize());
        }
        rates.sort_unstable();
        rates.dedup();
        Ok(rates)
    };
    let rates = named(found(), "the search for a rate")?;
    if rates.is_empty() {
        return Err(TcoError::NoRate { function });
    }
    Ok(rates)
}

/// The one rate, or the one nearest to a guess; of two equally near ones the higher.
fn one_rate(
    function: &'static str,
    flows: &Powers,
    periods_per_rate: Decimal,
    guess: Option<Decimal>,
) -> Result<Decimal, TcoError> {
    let rates = rates(function, flows, periods_per_rate)?;
    let Some(guess) = guess else {
        let changes = flows.sign_changes();
        return match rates.as_slice() {
            [rate] if changes == 1 => Ok(*rate),
            _ => Err(TcoError::ManyRates { function, changes, rates }),
        };
    };
    let mut nearest: Option<(Decimal, Decimal)> = None;
    for rate in rates {
        let distance = named(sub(rate, guess), "the distance to the guess")?.abs();
        if nearest.is_none_or(|(least, _)| distance <= least) {
            nearest = Some((distance, rate));
        }
    }
    nearest.map(|(_, rate)| rate).ok_or(TcoError::NoRate { function })
}

fn by_period(flows: &[Decimal]) -> Result<Powers, TcoError> {
    Powers::new((0..).zip(flows.iter().copied()))
}

/// Internal rate of return: the rate at which flows, one a period, are worth nothing.
///
/// Without a guess, flows that change sign more than once are refused with the rates that fit; with
/// one, the rate nearest to it is taken. Excel: IRR(flows, guess), which always guesses, 0.1 if
/// nothing is said; numpy-financial takes the rate nearest to zero. Range: up to 40,000 flows, at
/// least one paid and one received.
pub fn irr(flows: &[Decimal], guess: Option<Decimal>) -> Result<Decimal, TcoError> {
    check_flows("irr", flows.len())?;
    one_rate("irr", &named(by_period(flows), "the flows")?, Decimal::ONE, guess)
}

/// Every internal rate of return of flows, one a period, rising. Ranges as those of [`irr`].
pub fn irr_all(flows: &[Decimal]) -> Result<Vec<Decimal>, TcoError> {
    check_flows("irr_all", flows.len())?;
    rates("irr_all", &named(by_period(flows), "the flows")?, Decimal::ONE)
}

/// Internal rate of return a year of flows by date, days by 365.
///
/// Excel: XIRR(flows, dates, guess). Dates in any order but none before the first; the guess as in
/// [`irr`].
pub fn xirr(flows: &[Decimal], dates: &[Date], guess: Option<Decimal>) -> Result<Decimal, TcoError> {
    let mut by_day: Vec<(u32, Decimal)> =
        days("xirr", flows, dates)?.into_iter().zip(flows.iter().copied()).collect();
    by_day.sort_by_key(|(day, _)| *day);
    one_rate("xirr", &named(Powers::new(by_day), "the flows")?, DAYS_PER_YEAR, guess)
}

/// The rate of a period at which `nper` equal payments turn `pv` into `fv`.
///
/// The internal rate of return of `pv` at the start, `pmt` in each period and `fv` at the end. Excel:
/// RATE(nper, pmt, pv, fv, type, guess); the guess as in [`irr`]. Range: nper a whole number from 1 to
/// 39,999.
pub fn rate(
    nper: Decimal,
    pmt: Decimal,
    pv: Decimal,
    fv: Decimal,
    when: When,
    guess: Option<Decimal>,
) -> Result<Decimal, TcoError> {
    let periods = check_count("rate", "nper", nper, 39_999, "a whole number from 1 to 39999")?;
    let first = u32::from(when == When::End);
    let payments = (first..first.saturating_add(periods)).map(|period| (period, pmt));
    let mut flows: Vec<(u32, Decimal)> = vec![(0, pv)];
    flows.extend(payments);
    flows.push((periods, fv));
    flows.sort_by_key(|(period, _)| *period);
    one_rate("rate", &named(Powers::new(flows), "the flows")?, Decimal::ONE, guess)
}
