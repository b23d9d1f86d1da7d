//! Depreciation: the functions of a spreadsheet, whole schedules, tax tables, and months of the calendar.
//!
//! Cost C, salvage S, base B = C − S, life n periods, period k = 1…n. Units are whatever a period is:
//! months or years. The functions are not rounded; [`schedule`](schedule()) rounds each period to the
//! smallest unit and gives what is left over to the last one, so that a life always sums to B. Bad
//! arguments are refused by name, with what was expected.
//!
//! | module | functions |
//! |---|---|
//! | [`straight`] | [`sln`], [`syd`], [`units_of_production`] |
//! | [`declining`] | [`db`], [`ddb`] |
//! | [`variable`] | [`vdb`] |
//! | [`schedule`](mod@schedule) | [`schedule`](schedule()), [`revise`], [`to_smallest_unit`] |
//! | [`convention`] | the part of the first year that counts, and the 40 % test |
//! | [`macrs`](mod@macrs) | [`macrs`](macrs()), its printed tables, and the same without tables |
//! | [`impairment`] | [`impairment_us`], [`impairment_ifrs`], [`disposal_gain`] |
//! | [`by_month`](mod@by_month) | an asset of the register by calendar month |

pub mod by_month;
pub mod convention;
pub mod declining;
pub mod impairment;
pub mod macrs;
mod macrs_tables;
pub mod schedule;
pub mod straight;
pub mod variable;

pub use by_month::{accumulated, by_month};
pub use convention::{Convention, first_year_share, mid_quarter_applies, over_years};
pub use declining::{db, ddb};
pub use impairment::{disposal_gain, impairment_ifrs, impairment_reversal_ifrs, impairment_us};
pub use macrs::{TaxConvention, macrs, macrs_percentages, macrs_without_tables};
pub use schedule::{Method, Revised, revise, schedule, to_smallest_unit};
pub use straight::{sln, syd, units_of_production};
pub use variable::vdb;

use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, refuse};
use rust_decimal::Decimal;

/// Most periods of a life: a century of days.
pub const PERIODS_MAX: u32 = 36_525;

/// What every method asks of cost, salvage and life.
fn check(function: &str, cost: Decimal, salvage: Decimal, life: Decimal) -> Result<(), TcoError> {
    check_not_negative(function, "cost", cost)?;
    check_not_negative(function, "salvage", salvage)?;
    if salvage > cost {
        return refuse(function, "salvage", &salvage, "at most the cost");
    }
    check_positive(function, "life", life)?;
    if life > Decimal::from(PERIODS_MAX) {
        return refuse(function, "life", &life, "at most 36525 periods");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
