//! The tax book in the United States: MACRS with its conventions, bonus, and the year of disposal.
//!
//! Tax years are calendar years. Computers are 5-year property. Whether mid-quarter holds is decided for
//! everything that came into service in a year: where more than 40 % of its basis came in the last
//! quarter. The bonus does not lower the basis of that test; what was bought and sold within the year,
//! and buildings, are no part of it. In the year of disposal an asset gets the part of the year to the
//! middle of the year, quarter or month, as its convention says. Not tax advice. Source: IRS
//! Publication 946.

use crate::calendar::Month;
use crate::decimal::{Fraction, add, div, mul, round, sub, sum};
use crate::depreciation::convention::quarter;
use crate::depreciation::{TaxConvention, macrs, mid_quarter_applies, to_smallest_unit};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_share, refuse};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// Longest recovery by straight line, in years.
const RECOVERY_MAX: u32 = 50;

/// How the tax recovers a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// 3-, 5- or 7-year property by the printed tables.
    Macrs { years: u32 },
    /// Straight line from the middle of the month: buildings (39 years).
    MidMonth { years: u32 },
}

/// One asset as the tax sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxAsset {
    pub serial: String,
    pub in_service: Date,
    pub basis: Decimal,
    pub property: Property,
    /// Share of the basis that is deducted in the first year: 1 for what was acquired after 2025-01-19,
    /// as far as the law allows it; the caller says which.
    pub bonus: Decimal,
    pub disposed: Option<Date>,
}

/// The deductions of one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxBook {
    /// `None` for buildings.
    pub convention: Option<TaxConvention>,
    pub in_service: Date,
    pub disposed: Option<Date>,
    pub basis: Decimal,
    /// By tax year, in the smallest unit.
    pub years: Vec<(i16, Decimal)>,
}

impl TaxAsset {
    fn same_year(&self) -> bool {
        self.disposed.is_some_and(|day| day.year() == self.in_service.year())
    }

    fn check(&self) -> Result<(), TcoError> {
        let name = format!("asset {}", self.serial);
        check_not_negative(&name, "tax basis", self.basis)?;
        check_share(&name, "bonus", self.bonus)?;
        if self.disposed.is_some_and(|day| day < self.in_service) {
            return refuse(
                &name,
                "disposal date",
                &self.disposed.unwrap_or_default(),
                "a day after its in-service date",
            );
        }
        match self.property {
            Property::Macrs { years: 3 | 5 | 7 } => Ok(()),
            Property::MidMonth { years } if (1..=RECOVERY_MAX).contains(&years) => Ok(()),
            Property::Macrs { years } => refuse(&name, "recovery years", &years, "3, 5 or 7 years"),
            Property::MidMonth { years } => refuse(&name, "recovery years", &years, "1 to 50 years"),
        }
    }
}

/// The tax books of everything a taxpayer owns, in the order given. Assets of one year decide its
/// convention together, so that all of them must be there.
pub fn tax_books(assets: &[TaxAsset], digits: u32) -> Result<Vec<TaxBook>, TcoError> {
    let mut additions: BTreeMap<i16, Vec<(Date, Decimal)>> = BTreeMap::new();
    for asset in assets {
        asset.check()?;
        if matches!(asset.property, Property::Macrs { .. }) && !asset.same_year() {
            additions.entry(asset.in_service.year()).or_default().push((asset.in_service, asset.basis));
        }
    }
    let mut mid_quarter = BTreeMap::new();
    for (&year, of_year) in &additions {
        mid_quarter.insert(year, mid_quarter_applies(of_year)?);
    }
    let book = |asset: &TaxAsset| {
        let mid_quarter = mid_quarter.get(&asset.in_service.year()).copied().unwrap_or_default();
        let (convention, years) = match asset.property {
            Property::Macrs { years } => {
                let convention = TaxConvention::of(asset.in_service, mid_quarter);
                (Some(convention), by_tables(asset, years, convention, digits)?)
            }
            Property::MidMonth { years } => (None, by_mid_month(asset, years, digits)?),
        };
        let (in_service, disposed, basis) = (asset.in_service, asset.disposed, asset.basis);
        Ok(TaxBook { convention, in_service, disposed, basis, years })
    };
    assets.iter().map(book).collect()
}

fn by_tables(
    asset: &TaxAsset,
    recovery: u32,
    convention: TaxConvention,
    digits: u32,
) -> Result<Vec<(i16, Decimal)>, TcoError> {
    if asset.same_year() {
        return Ok(Vec::new());
    }
    let amounts = macrs(asset.basis, Decimal::from(recovery), convention, asset.bonus)?;
    let amounts = to_smallest_unit(&amounts, asset.basis, digits)?;
    let mut years = Vec::with_capacity(amounts.len());
    for (year, amount) in (asset.in_service.year()..).zip(amounts) {
        let Some(day) = asset.disposed.filter(|day| day.year() == year) else {
            years.push((year, amount));
            continue;
        };
        let last = i64::from(year.saturating_sub(asset.in_service.year())) == i64::from(recovery);
        let part = disposal_part(day, convention, last);
        years.push((year, round(part.of(amount)?, digits)));
        break;
    }
    Ok(years)
}

/// The part of a year's deduction that the year of disposal gets. The last year of a recovery ends in
/// its middle anyway, so that it is held against that.
fn disposal_part(day: Date, convention: TaxConvention, last: bool) -> Fraction {
    match convention {
        TaxConvention::HalfYear if last => Fraction { part: 1, whole: 1 },
        TaxConvention::HalfYear => Fraction { part: 1, whole: 2 },
        TaxConvention::MidQuarter(began) => {
            let middle = |quarter: u8| i64::from(quarter).saturating_mul(2).saturating_sub(1);
            let (sold, ends) = (middle(quarter(day)), if last { middle(began) } else { 8 });
            Fraction { part: sold.min(ends), whole: ends }
        }
    }
}

/// A month's worth is half in the month of service and in that of disposal.
fn by_mid_month(asset: &TaxAsset, recovery: u32, digits: u32) -> Result<Vec<(i16, Decimal)>, TcoError> {
    let halves = i64::from(recovery).saturating_mul(24);
    let begin = i64::from(Month::of(asset.in_service).index()).saturating_mul(2).saturating_add(1);
    let end = match asset.disposed {
        Some(day) => begin
            .saturating_add(halves)
            .min(i64::from(Month::of(day).index()).saturating_mul(2).saturating_add(1)),
        None => begin.saturating_add(halves),
    };
    let special = round(mul(asset.basis, asset.bonus)?, digits);
    let rest = sub(asset.basis, special)?;
    let (mut years, mut before) = (Vec::new(), Decimal::ZERO);
    let mut year = asset.in_service.year();
    loop {
        let year_end = i64::from(year).saturating_add(1).saturating_mul(24).min(end);
        let done = Fraction { part: year_end.saturating_sub(begin).max(0), whole: halves };
        let to_date = round(done.of(rest)?, digits);
        let first = if year == asset.in_service.year() { special } else { Decimal::ZERO };
        years.push((year, add(first, sub(to_date, before)?)?));
        before = to_date;
        if year_end >= end {
            return Ok(years);
        }
        year = year.saturating_add(1);
    }
}

impl TaxBook {
    /// Deducted in all years before this one.
    pub fn deducted_before(&self, year: i16) -> Result<Decimal, TcoError> {
        sum(self.years.iter().filter(|(of, _)| *of < year).map(|(_, amount)| *amount))
    }

    /// Deduction of a calendar month: its tax year's, evenly over the months in service of that year, the
    /// residue in the last of them.
    pub fn of_month(&self, month: Month, digits: u32) -> Result<Decimal, TcoError> {
        let Some(&(_, amount)) = self.years.iter().find(|(year, _)| *year == month.year) else {
            return Ok(Decimal::ZERO);
        };
        let (first, last) = self.months_of(month.year);
        if month.month < first || month.month > last {
            return Ok(Decimal::ZERO);
        }
        let count = Decimal::from(last.saturating_sub(first).saturating_add(1));
        let to_date = |months: i8| -> Result<Decimal, TcoError> {
            Ok(round(div(mul(amount, Decimal::from(months))?, count, "a year")?, digits))
        };
        let done = month.month.saturating_sub(first);
        sub(to_date(done.saturating_add(1))?, to_date(done)?)
    }

    fn months_of(&self, year: i16) -> (i8, i8) {
        let first = if self.in_service.year() == year { self.in_service.month() } else { 1 };
        let last = self.disposed.filter(|day| day.year() == year).map_or(12, Date::month);
        (first, last)
    }

    /// What is left of the basis at the end of a month.
    pub fn basis_after(&self, month: Month, digits: u32) -> Result<Decimal, TcoError> {
        let (mut of_year, mut each) = (Decimal::ZERO, Month { month: 1, ..month });
        while each <= month {
            of_year = add(of_year, self.of_month(each, digits)?)?;
            each = each.plus(1)?;
        }
        let gone = self.disposed.is_some_and(|day| Month::of(day) <= month);
        if gone || Month::of(self.in_service) > month {
            return Ok(Decimal::ZERO);
        }
        sub(self.basis, add(self.deducted_before(month.year)?, of_year)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn asset(in_service: Date, basis: &str) -> TaxAsset {
        TaxAsset {
            serial: "SN1".to_owned(),
            in_service,
            basis: dec(basis),
            property: Property::Macrs { years: 5 },
            bonus: Decimal::ZERO,
            disposed: None,
        }
    }

    fn years(book: &TaxBook) -> Vec<String> {
        book.years.iter().map(|(year, amount)| format!("{year} {}", amount.normalize())).collect()
    }

    #[test]
    fn exactly_forty_percent_in_the_last_quarter_is_half_year() {
        let books = |last: &str| {
            tax_books(&[asset(date(2024, 2, 1), "60"), asset(date(2024, 12, 1), last)], 2).unwrap()
        };
        assert_eq!(books("40")[0].convention, Some(TaxConvention::HalfYear));
        let over = books("40.01");
        assert_eq!(over[0].convention, Some(TaxConvention::MidQuarter(1)));
        assert_eq!(over[1].convention, Some(TaxConvention::MidQuarter(4)));
        assert_eq!(years(&over[0])[0], "2024 21");
    }

    #[test]
    fn what_was_sold_within_its_year_is_no_part_of_the_test_and_deducts_nothing() {
        let sold = TaxAsset { disposed: Some(date(2024, 12, 24)), ..asset(date(2024, 11, 1), "1000") };
        let books = tax_books(&[asset(date(2024, 2, 1), "60"), sold], 2).unwrap();
        assert_eq!(books[0].convention, Some(TaxConvention::HalfYear));
        assert_eq!(years(&books[1]), Vec::<String>::new());
    }

    #[test]
    fn the_year_of_disposal_gets_the_part_to_the_middle_of_year_or_quarter() {
        let half = TaxAsset { disposed: Some(date(2026, 3, 1)), ..asset(date(2024, 2, 1), "1000") };
        let books = tax_books(&[half], 2).unwrap();
        assert_eq!(years(&books[0]), ["2024 200", "2025 320", "2026 96"]);
        assert_eq!(books[0].basis_after(Month { year: 2025, month: 12 }, 2).unwrap(), dec("480"));
        // Mid-quarter, sold in the third quarter: 5/8 of the year's deduction.
        let quarter = TaxAsset { disposed: Some(date(2025, 8, 1)), ..asset(date(2024, 12, 1), "1000") };
        assert_eq!(years(&tax_books(&[quarter], 2).unwrap()[0]), ["2024 50", "2025 237.5"]);
        // The last year of the recovery ends in its middle, sold or not.
        let late = TaxAsset { disposed: Some(date(2029, 11, 1)), ..asset(date(2024, 2, 1), "1000") };
        assert_eq!(years(&tax_books(&[late], 2).unwrap()[0])[5], "2029 57.6");
    }

    #[test]
    fn a_bonus_comes_first_and_the_tables_take_the_rest() {
        let of = |bonus: &str| TaxAsset { bonus: dec(bonus), ..asset(date(2025, 3, 1), "300000") };
        let books = tax_books(&[of("0.4")], 2).unwrap();
        let golden = ["2025 156000", "2026 57600", "2027 34560", "2028 20736", "2029 20736", "2030 10368"];
        assert_eq!(years(&books[0]), golden);
        assert_eq!(years(&tax_books(&[of("1")], 2).unwrap()[0])[0], "2025 300000");
    }

    #[test]
    fn a_building_goes_by_the_middle_of_its_month() {
        let hall =
            TaxAsset { property: Property::MidMonth { years: 39 }, ..asset(date(2024, 3, 20), "936000") };
        let book = &tax_books(std::slice::from_ref(&hall), 2).unwrap()[0];
        // 2,000 a month, nine and a half months in the first year.
        assert_eq!(years(book)[..2], ["2024 19000", "2025 24000"]);
        assert_eq!((book.years.len(), years(book)[39].as_str()), (40, "2063 5000"));
        let sold = TaxAsset { disposed: Some(date(2026, 1, 10)), ..hall };
        assert_eq!(years(&tax_books(&[sold], 2).unwrap()[0])[2], "2026 1000");
    }

    #[test]
    fn what_the_tax_cannot_take_is_refused_by_asset_and_field() {
        let says = |edit: fn(&mut TaxAsset)| {
            let mut asset = asset(date(2025, 3, 1), "300000");
            edit(&mut asset);
            tax_books(&[asset], 2).unwrap_err().to_string()
        };
        assert_eq!(says(|a| a.bonus = dec("1.2")), "bonus of asset SN1 is 1.2: expected 0 to 1 (100 %)");
        assert!(
            says(|a| a.property = Property::Macrs { years: 4 }).contains("recovery years of asset SN1 is 4")
        );
        assert!(says(|a| a.basis = dec("-1")).contains("tax basis"));
        assert!(says(|a| a.disposed = Some(date(2025, 2, 1))).contains("disposal date"));
    }

    proptest! {
        #[test]
        fn deductions_sum_to_the_basis_and_months_to_their_year(
            cents in 0_i64..10_000_000_000, month in 1_i8..=12, bonus in 0_u32..=10, kind in 0_u32..4,
        ) {
            let property = match kind {
                0 => Property::MidMonth { years: 15 },
                other => Property::Macrs { years: 1 + other * 2 },
            };
            let asset = TaxAsset { basis: Decimal::new(cents, 2), property, bonus: Decimal::new(bonus.into(), 1), ..asset(date(2024, month, 9), "0") };
            let book = &tax_books(&[asset], 2).unwrap()[0];
            prop_assert_eq!(book.years.iter().map(|(_, amount)| amount).sum::<Decimal>(), Decimal::new(cents, 2));
            for &(year, amount) in &book.years {
                let months = (1..=12).map(|month| book.of_month(Month { year, month }, 2).unwrap());
                prop_assert_eq!(months.sum::<Decimal>(), amount);
            }
        }
    }
}
