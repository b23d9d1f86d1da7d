//! Book, tax and economic value of one asset, month by month.

use super::economic::stranded;
use super::tax::TaxBook;
use super::{Book, booking};
use crate::calendar::{Calendar, Month};
use crate::decimal::sub;
use crate::error::TcoError;
use rust_decimal::Decimal;

/// One month. Values are those at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BooksOfMonth {
    pub month: Month,
    pub depreciation: Decimal,
    /// Impairments less reversals, and losses less gains of disposals.
    pub other_charges: Decimal,
    pub net_book_value: Decimal,
    /// `None` without a tax book.
    pub tax_deduction: Option<Decimal>,
    pub tax_basis: Option<Decimal>,
    /// Book value above the tax basis: what deferred tax is computed on.
    pub book_over_tax: Option<Decimal>,
    /// `None` where no economic value is known for the month.
    pub economic_value: Option<Decimal>,
    pub stranded: Option<Decimal>,
}

/// The months from `first` to `last`, both in it. `values` as [`super::economic::values`] gives them.
pub fn side_by_side(
    book: &Book,
    tax: Option<&TaxBook>,
    values: &[(Month, Decimal)],
    calendar: &Calendar,
    (first, last): (Month, Month),
    digits: u32,
) -> Result<Vec<BooksOfMonth>, TcoError> {
    let mut rows = Vec::new();
    let mut month = first;
    while month <= last {
        let next = month.plus(1)?;
        let (from_ms, to_ms) = (calendar.month_start_ms(month)?, calendar.month_start_ms(next)?);
        // What happens on the first of the next month belongs to that one.
        let net_book_value = book.net_before(to_ms)?;
        let tax_basis = tax.map(|tax| tax.basis_after(month, digits)).transpose()?;
        let value = values.iter().find(|(of, _)| *of == month).map(|(_, value)| *value);
        rows.push(BooksOfMonth {
            month,
            depreciation: sub(book.charged(to_ms)?, book.charged(from_ms)?)?,
            other_charges: booking::cost_between(book.bookings(), from_ms, to_ms)?,
            net_book_value,
            tax_deduction: tax.map(|tax| tax.of_month(month, digits)).transpose()?,
            book_over_tax: tax_basis.map(|basis| sub(net_book_value, basis)).transpose()?,
            tax_basis,
            stranded: value.map(|value| stranded(net_book_value, value)).transpose()?,
            economic_value: value,
        });
        month = next;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::tests::server;
    use crate::books::tax::{Property, TaxAsset, tax_books};
    use jiff::civil::date;

    #[test]
    fn three_books_of_one_server_stand_in_one_row() {
        let (asset, calendar) = (server("SN1", "n1"), Calendar::utc());
        let tax = TaxAsset {
            serial: "SN1".to_owned(),
            in_service: asset.in_service,
            basis: asset.cost.amount,
            property: Property::Macrs { years: 5 },
            bonus: Decimal::ZERO,
            disposed: None,
        };
        assert_eq!(asset.in_service, date(2024, 1, 1));
        let tax = &tax_books(&[tax], 2).unwrap()[0];
        let values = [(Month { year: 2024, month: 12 }, Decimal::from(200_000))];
        let book = Book::new(&asset, &calendar, &[]).unwrap();
        let span = (Month { year: 2024, month: 1 }, Month { year: 2024, month: 12 });
        let rows = side_by_side(&book, Some(tax), &values, &calendar, span, 2).unwrap();
        let december = &rows[11];
        assert_eq!(
            (december.depreciation, december.net_book_value),
            (Decimal::from(5_000), Decimal::from(240_000))
        );
        // Half of the first year's 40 %, evenly over twelve months.
        assert_eq!(
            (december.tax_deduction, december.tax_basis),
            (Some(Decimal::from(5_000)), Some(Decimal::from(240_000)))
        );
        assert_eq!(december.stranded, Some(Decimal::from(40_000)));
        assert_eq!((rows[10].economic_value, rows[10].stranded), (None, None));
    }
}
