//! The months of a life, before rounding: how much of what is left falls on which calendar month.

use super::terms::BookMethod;
use crate::calendar::{Calendar, Month};
use crate::decimal::{Fraction, add, div, mul, sub, sum};
use crate::depreciation::Convention;
use crate::depreciation::variable::of_period;
use crate::error::TcoError;
use jiff::civil::Date;
use rust_decimal::Decimal;

const MONTHS: Decimal = Decimal::from_parts(12, 0, 0, false, 0);

/// Where a life begins by its convention: the month, and the part of it that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    pub month: Month,
    pub share: Fraction,
}

impl Begin {
    /// Full month, mid-month and actual days begin in the month of the day; half-year on 1 July of its
    /// year, mid-quarter in the middle of its quarter's middle month.
    pub(super) fn of(convention: Convention, day: Date, calendar: &Calendar) -> Result<Self, TcoError> {
        let own = Month::of(day);
        let month = match convention {
            Convention::HalfYear => Month { month: 7, ..own },
            Convention::MidQuarter => Month { month: middle_of_quarter(own.month), ..own },
            _ => own,
        };
        Ok(Self { month, share: first_month_share(convention, day, calendar)? })
    }
}

fn first_month_share(convention: Convention, day: Date, calendar: &Calendar) -> Result<Fraction, TcoError> {
    Ok(match convention {
        Convention::FullMonth | Convention::HalfYear => Fraction { part: 1, whole: 1 },
        Convention::MidMonth | Convention::MidQuarter => Fraction { part: 1, whole: 2 },
        Convention::ActualDays => {
            let month = Month::of(day);
            let next = calendar.month_start_ms(month.plus(1)?)?;
            Fraction {
                part: next.saturating_sub(calendar.day_start_ms(day)?),
                whole: calendar.month_ms(month)?,
            }
        }
    })
}

fn middle_of_quarter(month: i8) -> i8 {
    match month {
        ..=3 => 2,
        4..=6 => 5,
        7..=9 => 8,
        _ => 11,
    }
}

/// What is left to spread, and over what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub net: Decimal,
    pub salvage: Decimal,
    /// Whole life in months, from the begin on.
    pub life_months: u32,
    /// Calendar months since the begin's month that are over.
    pub elapsed: u32,
}

/// The exact amounts of the calendar months that are left, the next one first; empty where no life is.
pub(super) fn months_left(
    method: &BookMethod,
    left: Left,
    share: Fraction,
) -> Result<Vec<Decimal>, TcoError> {
    let base = sub(left.net, left.salvage)?.max(Decimal::ZERO);
    let parts = lengths(left.life_months, share)?;
    let elapsed = usize::try_from(left.elapsed).unwrap_or(usize::MAX);
    let rest = parts.get(elapsed..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    match method {
        BookMethod::Declining { factor, switch } => declining(left, rest, share, (*factor, *switch)),
        BookMethod::SumOfYears => {
            let digits = shifted(&digits_of_years(left.life_months)?, share)?;
            in_proportion(base, digits.get(elapsed..).unwrap_or_default())
        }
        _ => in_proportion(base, rest),
    }
}

/// The length of each calendar month of a life: the first its share, the last what that left.
fn lengths(life_months: u32, share: Fraction) -> Result<Vec<Decimal>, TcoError> {
    let count = usize::try_from(life_months).unwrap_or(usize::MAX);
    let mut parts = vec![Decimal::ONE; count];
    if share.part < share.whole {
        let first = share.value()?;
        if let Some(slot) = parts.first_mut() {
            *slot = first;
        }
        parts.push(sub(Decimal::ONE, first)?);
    }
    Ok(parts)
}

/// The digits of its year of service for each month of service.
fn digits_of_years(life_months: u32) -> Result<Vec<Decimal>, TcoError> {
    let years = div(Decimal::from(life_months), MONTHS, "the life")?;
    let digits = |month: u32| sub(years, Decimal::from(month.checked_div(12).unwrap_or_default()));
    (0..life_months).map(digits).collect()
}

fn in_proportion(base: Decimal, weights: &[Decimal]) -> Result<Vec<Decimal>, TcoError> {
    let whole = sum(weights.iter().copied())?;
    weights.iter().map(|&weight| div(mul(base, weight)?, whole, "the life")).collect()
}

/// Declining from the net value on. A life that just begins is shifted by the convention; one that was
/// changed begins anew with the month, and what the first month lacked ends it.
fn declining(
    left: Left,
    lengths: &[Decimal],
    share: Fraction,
    (factor, switch): (Decimal, bool),
) -> Result<Vec<Decimal>, TcoError> {
    if left.elapsed > 0 {
        return declining_service(left, lengths, factor, switch);
    }
    let whole = vec![Decimal::ONE; usize::try_from(left.life_months).unwrap_or(usize::MAX)];
    shifted(&declining_service(left, &whole, factor, switch)?, share)
}

/// Months of service; only the last may be a part of one.
fn declining_service(
    left: Left,
    lengths: &[Decimal],
    factor: Decimal,
    switch: bool,
) -> Result<Vec<Decimal>, TcoError> {
    let life = div(sum(lengths.iter().copied())?, MONTHS, "the life")?;
    let mut book = left.net;
    let mut amounts = Vec::with_capacity(lengths.len());
    for (year, months) in lengths.chunks(12).enumerate() {
        let over = sub(life, Decimal::from(year))?;
        let a_year = if over <= Decimal::ONE {
            // The last year, whole or not, takes what is left.
            div(sub(book, left.salvage)?.max(Decimal::ZERO), over, "the life")?
        } else {
            of_period(book, left.salvage, life, year, factor, !switch)?
        };
        for &length in months {
            amounts.push(div(mul(a_year, length)?, MONTHS, "a year")?);
        }
        book = sub(book, mul(a_year, over.min(Decimal::ONE))?)?;
    }
    Ok(amounts)
}

/// Calendar months from months of service: each has its share of its own and the rest of the one before.
fn shifted(service: &[Decimal], share: Fraction) -> Result<Vec<Decimal>, TcoError> {
    if share.part >= share.whole {
        return Ok(service.to_vec());
    }
    let mut amounts = Vec::with_capacity(service.len().saturating_add(1));
    let mut rest = Decimal::ZERO;
    for &month in service {
        let own = share.of(month)?;
        amounts.push(add(rest, own)?);
        rest = sub(month, own)?;
    }
    amounts.push(rest);
    Ok(amounts)
}
