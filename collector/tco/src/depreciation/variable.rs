//! Declining balance with switch to straight line, over any stretch of the life (VDB).
//!
//! Source: Excel's VDB; parts of a period as `OpenDocument` defines them: a period's depreciation runs
//! evenly within it, so that stretches which meet add up to the whole.

use super::check;
use super::declining::{left_of, lengths, step};
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, named, refuse};
use rust_decimal::Decimal;

/// Depreciation from `start` to `end`, both in periods since the start of the life and possibly
/// fractions.
///
/// In each period max(book·factor/life, (book − salvage)/remaining life), never below the salvage;
/// with `no_switch` the declining balance alone. Excel: VDB(cost, salvage, life, start, end, factor,
/// no switch), with factor 2 and a switch if nothing is said. Range: 0 ≤ salvage ≤ cost, life above
/// zero and at most 36,525, 0 ≤ start ≤ end ≤ life, factor above zero.
pub fn vdb(
    cost: Decimal,
    salvage: Decimal,
    life: Decimal,
    start: Decimal,
    end: Decimal,
    factor: Decimal,
    no_switch: bool,
) -> Result<Decimal, TcoError> {
    check("vdb", cost, salvage, life)?;
    check_positive("vdb", "factor", factor)?;
    check_not_negative("vdb", "start", start)?;
    if end < start || end > life {
        return refuse("vdb", "end", &end, "from the start to the life");
    }
    let amount = || {
        let (mut book, mut sum) = (cost, Decimal::ZERO);
        for (k, length) in lengths(life)?.into_iter().enumerate() {
            let begins = Decimal::from(k);
            if begins >= end {
                break;
            }
            let a_period = of_period(book, salvage, life, k, factor, no_switch)?;
            let within = sub(end.min(add(begins, length)?), start.max(begins))?;
            if within > Decimal::ZERO {
                sum = add(sum, mul(a_period, within)?)?;
            }
            book = sub(book, mul(a_period, length)?)?;
        }
        Ok(sum)
    };
    named(amount(), "the depreciation")
}

/// Depreciation of period k (from zero) as of a whole period, from the book value at its start.
pub(crate) fn of_period(
    book: Decimal,
    salvage: Decimal,
    life: Decimal,
    k: usize,
    factor: Decimal,
    no_switch: bool,
) -> Result<Decimal, TcoError> {
    let declining = step(book, salvage, life, factor)?;
    if no_switch {
        return Ok(declining);
    }
    let left = sub(book, salvage)?.max(Decimal::ZERO);
    Ok(declining.max(div(left, left_of(life, k)?, "cost − salvage")?))
}
