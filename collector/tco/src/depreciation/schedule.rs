//! Whole lives: every period of a method in the smallest unit of a currency, and changes of estimate.

use super::variable::of_period;
use super::{PERIODS_MAX, check, db, syd, units_of_production};
use crate::decimal::{add, div, round, sub};
use crate::error::TcoError;
use crate::finance::{check_count, check_not_negative, check_positive, named, refuse};
use rust_decimal::Decimal;

/// Most places after the point of a smallest unit that amounts are rounded to.
const DIGITS_MAX: u32 = 12;

/// How a life is spread over its periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    StraightLine,
    SumOfYears,
    /// Fixed declining balance, the first period of this many months: see [`db`].
    FixedDeclining {
        months: Decimal,
    },
    /// A multiple of the straight line, with a switch to it where it is the larger: see [`vdb`](super::vdb).
    Declining {
        factor: Decimal,
        switch: bool,
    },
    /// By use: the units of each period, of so many in all. See [`units_of_production`].
    Units {
        life: Decimal,
        of_periods: &'a [Decimal],
    },
}

/// Rounds each amount to the smallest unit, halves away from zero and none beyond what is left of the
/// total; the last one takes the residue, so that the result sums to the total, rounded.
///
/// Range: amounts and total zero or more, digits up to 12.
pub fn to_smallest_unit(amounts: &[Decimal], total: Decimal, digits: u32) -> Result<Vec<Decimal>, TcoError> {
    const NAME: &str = "to_smallest_unit";
    if digits > DIGITS_MAX {
        return refuse(NAME, "digits", &digits, "at most 12");
    }
    check_not_negative(NAME, "total", total)?;
    let last = amounts.len().saturating_sub(1);
    let mut left = round(total, digits);
    let mut rounded = Vec::with_capacity(amounts.len());
    for (k, &amount) in amounts.iter().enumerate() {
        check_not_negative(NAME, "amount", amount)?;
        let amount = if k == last { left } else { round(amount, digits).min(left) };
        left = sub(left, amount)?;
        rounded.push(amount);
    }
    Ok(rounded)
}

/// The depreciation of every period of a life of `life` periods, in units of 10⁻`digits`.
///
/// Each period is rounded, none beyond what is left of cost − salvage, and the last takes the residue:
/// the life sums to cost − salvage rounded. By use the amounts to date are rounded instead, and the sum
/// is cost − salvage once the units of the life are done. Range: 0 ≤ salvage ≤ cost, life a whole number
/// from 1 to 36,525 (for [`Method::Units`] the number of periods given), digits up to 12.
pub fn schedule(
    method: Method<'_>,
    cost: Decimal,
    salvage: Decimal,
    life: Decimal,
    digits: u32,
) -> Result<Vec<Decimal>, TcoError> {
    check("schedule", cost, salvage, life)?;
    let periods = check_count("schedule", "life", life, PERIODS_MAX, "a whole number from 1 to 36525")?;
    let of_life = || {
        if let Method::Units { life: units_life, of_periods } = method {
            return by_use(cost, salvage, units_life, of_periods, periods, digits);
        }
        to_smallest_unit(&exact(method, cost, salvage, life)?, sub(cost, salvage)?, digits)
    };
    named(of_life(), "the depreciation")
}

/// Unrounded amounts of a life.
fn exact(
    method: Method<'_>,
    cost: Decimal,
    salvage: Decimal,
    life: Decimal,
) -> Result<Vec<Decimal>, TcoError> {
    let mut periods = Vec::new();
    let mut k = Decimal::ONE;
    let mut book = cost;
    if let Method::Declining { factor, .. } = method {
        check_positive("schedule", "factor", factor)?;
    }
    while k <= life {
        let amount = match method {
            Method::SumOfYears => syd(cost, salvage, life, k)?,
            Method::FixedDeclining { months } if !cost.is_zero() => db(cost, salvage, life, k, months)?,
            Method::Declining { factor, switch } => {
                of_period(book, salvage, life, periods.len(), factor, !switch)?
            }
            _ => div(sub(cost, salvage)?, life, "cost − salvage")?,
        };
        book = sub(book, amount)?;
        periods.push(amount);
        k = add(k, Decimal::ONE)?;
    }
    if matches!(method, Method::FixedDeclining { months } if months < Decimal::from(12)) {
        // The months that the first period lacked are a period of their own; it takes the residue.
        periods.push(Decimal::ZERO);
    }
    Ok(periods)
}

fn by_use(
    cost: Decimal,
    salvage: Decimal,
    units_life: Decimal,
    of_periods: &[Decimal],
    periods: u32,
    digits: u32,
) -> Result<Vec<Decimal>, TcoError> {
    if usize::try_from(periods) != Ok(of_periods.len()) {
        return refuse("schedule", "number of periods with units", &of_periods.len(), "one for each period");
    }
    let (mut done, mut before) = (Decimal::ZERO, Decimal::ZERO);
    let mut amounts = Vec::with_capacity(of_periods.len());
    for &units in of_periods {
        check_not_negative("schedule", "units", units)?;
        done = add(done, units)?;
        let to_date = round(units_of_production(cost, salvage, units_life, Decimal::ZERO, done)?, digits);
        amounts.push(sub(to_date, before)?);
        before = to_date;
    }
    Ok(amounts)
}

/// An asset after a change of estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revised {
    /// Net book value on the day of the change.
    pub book_value: Decimal,
    /// Depreciation of each period that remains, straight line.
    pub per_period: Decimal,
}

/// A prospective change of life or salvage: (NBV − new salvage)/remaining periods, NBV = cost − what was
/// depreciated. What was booked stays as it is; a salvage above the NBV stops depreciation.
///
/// Range: 0 ≤ depreciated ≤ cost, salvage zero or more, remaining periods above zero. Source: ASC 250,
/// IAS 8.
pub fn revise(
    cost: Decimal,
    depreciated: Decimal,
    new_salvage: Decimal,
    remaining: Decimal,
) -> Result<Revised, TcoError> {
    check_not_negative("revise", "depreciated", depreciated)?;
    if depreciated > cost {
        return refuse("revise", "depreciated", &depreciated, "at most the cost");
    }
    check_not_negative("revise", "new_salvage", new_salvage)?;
    check_positive("revise", "remaining", remaining)?;
    let revised = || {
        let book_value = sub(cost, depreciated)?;
        let base = sub(book_value, new_salvage)?.max(Decimal::ZERO);
        Ok(Revised { book_value, per_period: div(base, remaining, "the book value")? })
    };
    named(revised(), "the depreciation")
}
