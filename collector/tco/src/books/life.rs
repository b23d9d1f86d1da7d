//! What other useful lives would mean: the largest lever of all, as one table.
//!
//! Straight line and whole years, or whatever the asset's method is; events are left out, since a
//! what-if asks how it would be from the start. Reported lives: Nebius 4, Amazon 5 (part), Meta 5.5,
//! Microsoft, Alphabet and `CoreWeave` 6 years.

use super::Book;
use crate::asset::Asset;
use crate::calendar::{Calendar, Month};
use crate::decimal::{div, sub};
use crate::error::TcoError;
use rust_decimal::Decimal;
use std::ops::RangeInclusive;

/// Lives that the table shows as a rule, in years.
pub const YEARS: RangeInclusive<u32> = 3..=7;

/// One life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifeRow {
    pub years: u32,
    /// Depreciation of the first twelve months.
    pub first_year: Decimal,
    /// Depreciation of a mean year of this life.
    pub per_year: Decimal,
    /// The same for each useful GPU-hour; `None` without any.
    pub per_hour: Option<Decimal>,
    /// Book value after 1, 2, … years in service, to the longest life of the table.
    pub net_after: Vec<Decimal>,
}

/// The table for an asset. `hours_per_year` are its useful GPU-hours a year.
pub fn life_table(
    asset: &Asset,
    calendar: &Calendar,
    years: RangeInclusive<u32>,
    hours_per_year: Decimal,
) -> Result<Vec<LifeRow>, TcoError> {
    let longest = *years.end();
    let first = Month::of(asset.in_service);
    years
        .map(|life| {
            let mut what_if = asset.clone();
            what_if.life_months = life.saturating_mul(12);
            what_if.terms.events.clear();
            let book = Book::new(&what_if, calendar, &[])?;
            let net = |after: u32| {
                let months = i32::try_from(after.saturating_mul(12)).unwrap_or(i32::MAX);
                book.net(calendar.month_start_ms(first.plus(months)?)?)
            };
            let per_year = div(what_if.base()?, Decimal::from(life), "cost − salvage")?;
            let per_hour = if hours_per_year.is_zero() {
                None
            } else {
                Some(div(per_year, hours_per_year, "depreciation")?)
            };
            Ok(LifeRow {
                years: life,
                first_year: sub(asset.cost.amount, net(1)?)?,
                per_year,
                per_hour,
                net_after: (1..=longest).map(net).collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::tests::server;

    #[test]
    fn each_year_more_makes_the_year_cheaper_and_the_book_value_higher() {
        let table = life_table(&server("SN1", "n1"), &Calendar::utc(), YEARS, Decimal::from(50_000)).unwrap();
        let shown: Vec<String> = table
            .iter()
            .map(|row| {
                format!("{} {} {}", row.years, row.per_year.round_dp(0), row.per_hour.unwrap().round_dp(2))
            })
            .collect();
        assert_eq!(shown, ["3 100000 2", "4 75000 1.50", "5 60000 1.20", "6 50000 1", "7 42857 0.86"]);
        assert_eq!(table[0].net_after[2..], [Decimal::ZERO; 5]);
        for pair in table.windows(2) {
            assert!(pair[0].net_after.iter().zip(&pair[1].net_after).all(|(short, long)| short <= long));
            assert!(pair[0].first_year > pair[1].first_year);
        }
    }

    #[test]
    fn the_life_that_the_asset_has_changes_nothing() {
        let asset = server("SN1", "n1");
        let row = &life_table(&asset, &Calendar::utc(), 5..=5, Decimal::ZERO).unwrap()[0];
        let book = Book::new(&asset, &Calendar::utc(), &[]).unwrap();
        let end = Calendar::utc().month_start_ms(Month { year: 2026, month: 1 }).unwrap();
        assert_eq!(row.net_after[1], book.net(end).unwrap());
        assert_eq!(row.per_hour, None);
    }
}
