//! Conventions: which part of its first year an asset gets, whatever its day.
//!
//! Years are those of the calendar. What the first year lacks is added behind the last one.

use super::schedule::to_smallest_unit;
use crate::decimal::{Fraction, add, mul, sub, sum};
use crate::error::TcoError;
use crate::finance::{check_not_negative, refuse};
use jiff::civil::Date;
use rust_decimal::Decimal;

/// When service is taken to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// At the start of the month of the day.
    FullMonth,
    /// In the middle of that month.
    MidMonth,
    /// On the day itself.
    ActualDays,
    /// In the middle of the year.
    HalfYear,
    /// In the middle of the quarter of the day.
    MidQuarter,
}

/// Quarter of the calendar year, 1 to 4.
pub fn quarter(day: Date) -> u8 {
    match day.month() {
        ..=3 => 1,
        4..=6 => 2,
        7..=9 => 3,
        _ => 4,
    }
}

/// The part of its first calendar year that an asset gets: of twelfths, days or eighths.
///
/// Full month (13 − m)/12, mid-month (25 − 2m)/24, actual days those from the day to the end of the
/// year by its 365 or 366, half-year 1/2, mid-quarter (9 − 2q)/8.
pub fn first_year_share(convention: Convention, in_service: Date) -> Fraction {
    let month = i64::from(in_service.month());
    match convention {
        Convention::FullMonth => Fraction { part: 13_i64.saturating_sub(month), whole: 12 },
        Convention::MidMonth => Fraction { part: 25_i64.saturating_sub(month.saturating_mul(2)), whole: 24 },
        Convention::ActualDays => {
            let whole = i64::from(in_service.days_in_year());
            let before = i64::from(in_service.day_of_year()).saturating_sub(1);
            Fraction { part: whole.saturating_sub(before), whole }
        }
        Convention::HalfYear => Fraction { part: 1, whole: 2 },
        Convention::MidQuarter => Fraction {
            part: 9_i64.saturating_sub(i64::from(quarter(in_service)).saturating_mul(2)),
            whole: 8,
        },
    }
}

/// Calendar years from years of service: each gets `share` of its own year of service and the rest of
/// the one before, in units of 10⁻`digits`; the last takes the residue, so that the sum stays.
pub fn over_years(years: &[Decimal], share: Fraction, digits: u32) -> Result<Vec<Decimal>, TcoError> {
    if share.part <= 0 || share.part > share.whole {
        let given = format!("{}/{}", share.part, share.whole);
        return refuse("over_years", "share", &given, "more than 0 and at most 1");
    }
    let mut amounts = Vec::with_capacity(years.len().saturating_add(1));
    let mut rest = Decimal::ZERO;
    for &year in years {
        let own = share.of(year)?;
        amounts.push(add(rest, own)?);
        rest = sub(year, own)?;
    }
    if share.part < share.whole {
        amounts.push(rest);
    }
    to_smallest_unit(&amounts, sum(years.iter().copied())?, digits)
}

/// Whether the mid-quarter convention holds for everything of a tax year: where more than 40 % of the
/// basis of what came into service in the year came in its last quarter. Exactly 40 % is half-year.
///
/// Range: days of one calendar year, no basis negative. Source: IRS Publication 946.
pub fn mid_quarter_applies(additions: &[(Date, Decimal)]) -> Result<bool, TcoError> {
    const NAME: &str = "mid_quarter_applies";
    let year = additions.first().map(|(day, _)| day.year());
    for (day, basis) in additions {
        check_not_negative(NAME, "basis", *basis)?;
        if Some(day.year()) != year {
            return refuse(NAME, "day", day, "a day of the same year as the first one");
        }
    }
    let basis =
        |only: fn(Date) -> bool| sum(additions.iter().filter(|(day, _)| only(*day)).map(|(_, basis)| *basis));
    let last = basis(|day| quarter(day) == 4)?;
    Ok(last > mul(basis(|_| true)?, Decimal::new(4, 1))?)
}
