//! Declining balance: at a fixed rate that Excel rounds (DB), and at a multiple of the straight line (DDB).
//!
//! Source: Excel's DB and DDB; limits and fractional periods of DDB as `OpenDocument` defines them.

use super::check;
use crate::decimal::{div, mul, round, sub};
use crate::error::TcoError;
use crate::finance::{check_count, check_positive, named, refuse};
use crate::powers::power;
use rust_decimal::Decimal;

/// Periods of DB are whole.
const WHOLE: &str = "a whole number from 1 to 36525";

/// Fixed declining balance, with the first period cut to `month` of its twelve months.
///
/// rate = 1 − (salvage/cost)^(1/life), rounded to three places; first period cost·rate·month/12; then
/// (cost − what was depreciated)·rate; the period after the life, of 12 − month months,
/// (cost − what was depreciated)·rate·(12 − month)/12. Excel: DB(cost, salvage, life, period, month),
/// with month 12 if nothing is said. Because of the rounded rate the life does not end at the salvage
/// exactly. Range: cost above zero, 0 ≤ salvage ≤ cost, life a whole number, month a whole number from
/// 1 to 12, period a whole number from 1 to life, or life + 1 where month is below 12.
pub fn db(
    cost: Decimal,
    salvage: Decimal,
    life: Decimal,
    period: Decimal,
    month: Decimal,
) -> Result<Decimal, TcoError> {
    check_positive("db", "cost", cost)?;
    check("db", cost, salvage, life)?;
    let life_count = check_count("db", "life", life, super::PERIODS_MAX, WHOLE)?;
    let months = check_count("db", "month", month, 12, "a whole number from 1 to 12")?;
    let periods = life_count.saturating_add(u32::from(months < 12));
    let expected = "a whole number from 1 to the life, and one more where month is below 12";
    let period = check_count("db", "period", period, periods, expected)?;
    let twelve = Decimal::from(12);
    let amount = || {
        let kept = power(div(salvage, cost, "salvage")?, div(Decimal::ONE, life, "one")?)?;
        let rate = round(sub(Decimal::ONE, kept)?, 3);
        let mut amount = div(mul(mul(cost, rate)?, month)?, twelve, "a year")?;
        let mut book = cost;
        for k in 2..=period {
            book = sub(book, amount)?;
            amount = mul(book, rate)?;
            if k > life_count {
                amount = div(mul(amount, sub(twelve, month)?)?, twelve, "a year")?;
            }
        }
        Ok(amount)
    };
    named(amount(), "the depreciation")
}

/// Declining balance at `factor`/life, never below the salvage: double declining with a factor of 2.
///
/// max(0, min((cost − acc)·factor/life, cost − salvage − acc)), with acc what was depreciated before.
/// Excel: DDB(cost, salvage, life, period, factor), with factor 2 if nothing is said. Range:
/// 0 ≤ salvage ≤ cost, life above zero and at most 36,525, 1 ≤ period ≤ life, factor above zero. A
/// fractional period lies between its neighbours, as (1 − rate)^period does.
pub fn ddb(
    cost: Decimal,
    salvage: Decimal,
    life: Decimal,
    period: Decimal,
    factor: Decimal,
) -> Result<Decimal, TcoError> {
    check("ddb", cost, salvage, life)?;
    check_positive("ddb", "factor", factor)?;
    if period < Decimal::ONE || period > life.max(Decimal::ONE) {
        return refuse("ddb", "period", &period, "1 to the life");
    }
    let amount = || {
        let before = balance(cost, life, sub(period, Decimal::ONE)?, factor)?;
        let after = balance(cost, life, period, factor)?;
        Ok(sub(before, after.max(salvage))?.max(Decimal::ZERO))
    };
    named(amount(), "the depreciation")
}

/// What the declining balance alone leaves after so many periods: cost·(1 − factor/life)^periods.
fn balance(cost: Decimal, life: Decimal, periods: Decimal, factor: Decimal) -> Result<Decimal, TcoError> {
    if periods.is_zero() {
        return Ok(cost);
    }
    // From factor/life = 1 on, the first period takes everything.
    if factor >= life {
        return Ok(Decimal::ZERO);
    }
    let kept = div(sub(life, factor)?, life, "the life")?;
    mul(cost, power(kept, periods)?)
}

/// One period of the declining balance on a book value: what [`ddb`] and [`vdb`](super::vdb) take.
pub(super) fn step(
    book: Decimal,
    salvage: Decimal,
    life: Decimal,
    factor: Decimal,
) -> Result<Decimal, TcoError> {
    let left = sub(book, salvage)?.max(Decimal::ZERO);
    if factor >= life {
        return Ok(left);
    }
    Ok(div(mul(book, factor)?, life, "the life")?.min(left))
}

/// The periods of a life, a last one that is cut short included, with the length of each.
pub(super) fn lengths(life: Decimal) -> Result<Vec<Decimal>, TcoError> {
    let mut lengths = Vec::new();
    let mut left = life;
    while left > Decimal::ZERO {
        lengths.push(left.min(Decimal::ONE));
        left = sub(left, Decimal::ONE)?;
    }
    Ok(lengths)
}

/// The length of the life that is left at the start of period k, counted from zero.
pub(super) fn left_of(life: Decimal, k: usize) -> Result<Decimal, TcoError> {
    sub(life, Decimal::from(k))
}
