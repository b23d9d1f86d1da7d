//! MACRS: tax depreciation in the United States of 3-, 5- and 7-year property (computers: 5 years).
//!
//! The general system: 200 % declining balance with switch to straight line, salvage ignored. The
//! printed tables are what counts; they are rounded and nudged, and [`macrs_without_tables`] agrees
//! with them to 0.02 points. Not tax advice. Source: IRS Publication 946, Appendix A, tables.

use super::convention::quarter;
use super::macrs_tables::TABLES;
use crate::decimal::{Fraction, add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_count, check_not_negative, check_share, named, refuse};
use jiff::civil::Date;
use rust_decimal::Decimal;

/// When service begins for the tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaxConvention {
    HalfYear,
    /// In the middle of this quarter, 1 to 4.
    MidQuarter(u8),
}

impl TaxConvention {
    /// The convention of an asset, with the answer of
    /// [`mid_quarter_applies`](super::convention::mid_quarter_applies) for its year.
    pub fn of(in_service: Date, mid_quarter: bool) -> Self {
        if mid_quarter { Self::MidQuarter(quarter(in_service)) } else { Self::HalfYear }
    }

    /// Position of its table.
    fn position(self) -> Result<usize, TcoError> {
        match self {
            Self::HalfYear => Ok(0),
            Self::MidQuarter(quarter @ 1..=4) => Ok(usize::from(quarter)),
            Self::MidQuarter(other) => refuse("macrs", "quarter", &other, "1 to 4"),
        }
    }

    /// Part of the first year.
    fn share(self) -> Result<Fraction, TcoError> {
        self.position()?;
        Ok(match self {
            Self::HalfYear => Fraction { part: 1, whole: 2 },
            Self::MidQuarter(quarter) => {
                Fraction { part: 9_i64.saturating_sub(i64::from(quarter).saturating_mul(2)), whole: 8 }
            }
        })
    }
}

const RECOVERY: &str = "3, 5 or 7 years";

/// The printed percentages of each tax year: 20.00, 32.00, … Range: recovery of 3, 5 or 7 years.
pub fn macrs_percentages(
    recovery_years: Decimal,
    convention: TaxConvention,
) -> Result<Vec<Decimal>, TcoError> {
    let years = check_count("macrs", "recovery_years", recovery_years, 7, RECOVERY)?;
    let table = convention.position()?;
    let printed = TABLES.iter().find(|(of, _)| *of == years).and_then(|(_, tables)| tables.get(table));
    match printed {
        Some(hundredths) => Ok(hundredths.iter().map(|&h| Decimal::new(h, 2)).collect()),
        None => refuse("macrs", "recovery_years", &recovery_years, RECOVERY),
    }
}

/// The deduction of each tax year, one more than the recovery years: the bonus (special allowance) in
/// the first year, and the rest of the basis by the printed tables.
///
/// Deductions are not rounded; they sum to the basis exactly. Which bonus the law allows depends on the
/// day of purchase (1 for what was acquired after 2025-01-19; 0.4 may be elected for the first tax year
/// that ends after it): the caller says it. Range: basis zero or more, bonus from 0 to 1.
pub fn macrs(
    basis: Decimal,
    recovery_years: Decimal,
    convention: TaxConvention,
    bonus: Decimal,
) -> Result<Vec<Decimal>, TcoError> {
    check_not_negative("macrs", "basis", basis)?;
    check_share("macrs", "bonus", bonus)?;
    let percentages = macrs_percentages(recovery_years, convention)?;
    let deductions = || {
        let special = mul(basis, bonus)?;
        let rest = sub(basis, special)?;
        let by_table =
            |percentage: Decimal| div(mul(rest, percentage)?, Decimal::ONE_HUNDRED, "a percentage");
        let mut years = percentages.into_iter().map(by_table).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = years.first_mut() {
            *first = add(*first, special)?;
        }
        Ok(years)
    };
    named(deductions(), "the deduction")
}

/// The same without tables: in each year max(2/n of the adjusted basis, the adjusted basis by the rest
/// of the recovery period), the first year cut to the convention's part, the last year the rest.
///
/// Not rounded; sums to the basis. Range: as [`macrs`]. Source: IRS Publication 946, "Figuring the
/// Deduction Without Tables".
pub fn macrs_without_tables(
    basis: Decimal,
    recovery_years: Decimal,
    convention: TaxConvention,
) -> Result<Vec<Decimal>, TcoError> {
    check_not_negative("macrs", "basis", basis)?;
    macrs_percentages(recovery_years, convention)?;
    let share = convention.share()?;
    let deductions = || {
        let a_year = |book: Decimal| div(mul(book, Decimal::TWO)?, recovery_years, "the recovery period");
        let first = share.of(a_year(basis)?)?;
        let mut years = vec![first];
        let mut book = sub(basis, first)?;
        let mut left = sub(recovery_years, share.value()?)?;
        while left > Decimal::ONE {
            let amount = a_year(book)?.max(div(book, left, "the recovery period")?);
            years.push(amount);
            book = sub(book, amount)?;
            left = sub(left, Decimal::ONE)?;
        }
        years.push(book);
        Ok(years)
    };
    named(deductions(), "the deduction")
}
