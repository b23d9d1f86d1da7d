//! Depreciation of an asset of the register by calendar month, from its [`Book`].
//!
//! A straight-line life of n months is n equal parts of (cost − salvage), each rounded to the smallest
//! unit of the currency; what the rounding leaves over goes to the last part, so that the life sums to
//! cost − salvage exactly. An asset that comes into service within a month gets that month by its
//! convention, as a rule by actual days; the rest of that part ends the life, in the calendar month n
//! months later. Within a month depreciation runs evenly with time.
//!
//! [`accumulated`] gives depreciation to an instant, rounded: a period's depreciation is a
//! difference of it, so periods that share a border neither lose nor double a cent.

use crate::asset::Asset;
use crate::books::Book;
use crate::calendar::{Calendar, Month};
use crate::decimal::sub;
use crate::error::TcoError;
use rust_decimal::Decimal;

/// Depreciation from the start of service to an instant, in the smallest unit of the currency.
pub fn accumulated(asset: &Asset, calendar: &Calendar, at_ms: i64) -> Result<Decimal, TcoError> {
    Book::new(asset, calendar, &[])?.charged(at_ms)
}

/// The whole life, one amount a calendar month; without events it sums to cost − salvage exactly.
pub fn by_month(asset: &Asset, calendar: &Calendar) -> Result<Vec<(Month, Decimal)>, TcoError> {
    let book = Book::new(asset, calendar, &[])?;
    let end_ms = book.end_ms().unwrap_or(i64::MIN);
    let mut months = Vec::new();
    let mut month = Month::of(asset.in_service);
    let mut before = Decimal::ZERO;
    while calendar.month_start_ms(month)? < end_ms {
        let next = month.plus(1)?;
        let after = book.charged(calendar.month_start_ms(next)?)?;
        months.push((month, sub(after, before)?));
        (month, before) = (next, after);
    }
    Ok(months)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::tests::server;
    use crate::money::{Currency, Money};
    use jiff::civil::{Date, date};
    use proptest::prelude::*;

    fn asset(cost: i64, salvage: i64, life_months: u32, in_service: Date) -> Asset {
        let money = |cents| Money::new(Decimal::new(cents, 2), Currency::EUR);
        Asset { cost: money(cost), salvage: money(salvage), life_months, in_service, ..server("SN1", "n1") }
    }

    fn amounts(asset: &Asset) -> Vec<String> {
        by_month(asset, &Calendar::utc()).unwrap().iter().map(|(month, a)| format!("{month} {a}")).collect()
    }

    #[test]
    fn the_residue_goes_to_the_last_month() {
        assert_eq!(
            amounts(&asset(1_000_000, 0, 3, date(2024, 1, 1))),
            ["2024-01 3333.33", "2024-02 3333.33", "2024-03 3333.34"]
        );
    }

    #[test]
    fn a_leap_february_is_shared_by_its_29_days() {
        // In service for 15 of 29 days: 2900 ÷ 2 months × 15/29 = 750.
        assert_eq!(
            amounts(&asset(290_000, 0, 2, date(2024, 2, 15))),
            ["2024-02 750.00", "2024-03 1450.00", "2024-04 700.00"]
        );
    }

    #[test]
    fn parts_below_a_cent_never_depreciate_more_than_the_base() {
        let plan = amounts(&asset(30, 0, 60, date(2024, 1, 1)));
        assert_eq!((plan[0].as_str(), plan[30].as_str(), plan.len()), ("2024-01 0.01", "2026-07 0.00", 60));
    }

    #[test]
    fn a_life_of_zero_and_a_salvage_above_cost_are_refused() {
        assert!(by_month(&asset(100, 0, 0, date(2024, 1, 1)), &Calendar::utc()).is_err());
        assert!(by_month(&asset(100, 101, 12, date(2024, 1, 1)), &Calendar::utc()).is_err());
    }

    proptest! {
        #[test]
        fn life_sums_to_cost_minus_salvage_in_any_split(
            cost in 0_i64..5_000_000_000, salvage in 0_u32..=100, life in 1_u32..=120,
            day in 1_i8..=28, month in 1_i8..=12, cuts in proptest::collection::vec(0_i64..12 * 366 * 24, 0..8),
        ) {
            let asset = asset(cost, cost * i64::from(salvage) / 100, life, date(2023, month, day));
            let (calendar, base) = (Calendar::utc(), asset.base().unwrap());
            let months = by_month(&asset, &calendar).unwrap();
            prop_assert!(months.iter().all(|(_, amount)| *amount >= Decimal::ZERO));
            prop_assert_eq!(months.iter().map(|(_, amount)| amount).sum::<Decimal>(), base);

            let start = calendar.day_start_ms(date(2022, 12, 1)).unwrap();
            let mut instants: Vec<i64> = cuts.iter().map(|hour| start + hour * 3_600_000).collect();
            instants.extend([start, start + 15 * 366 * 86_400_000]);
            instants.sort_unstable();
            let steps: Vec<Decimal> = instants.iter().map(|&at| accumulated(&asset, &calendar, at).unwrap()).collect();
            prop_assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!((steps[0], *steps.last().unwrap()), (Decimal::ZERO, base));
        }

        #[test]
        fn accumulated_agrees_with_the_months(life in 1_u32..=40, day in 1_i8..=31) {
            let asset = asset(123_456_789, 1_000_000, life, date(2024, 1, day));
            let calendar = Calendar::utc();
            let mut sum = Decimal::ZERO;
            for (month, amount) in by_month(&asset, &calendar).unwrap() {
                sum += amount;
                let end = calendar.month_start_ms(month.plus(1).unwrap()).unwrap();
                prop_assert_eq!(accumulated(&asset, &calendar, end).unwrap(), sum);
            }
        }
    }
}
