//! Every sheet fits its columns, and every row says why.

use super::*;
use crate::asset::tests::server;
use crate::books::{Book, life_table, side_by_side};
use crate::calendar::{Calendar, Month};
use crate::money::Currency;
use crate::sheet::{Cell, Sheet};
use rust_decimal::Decimal;

fn sound(sheet: &Sheet) {
    sheet.check().unwrap();
    assert!(!sheet.rows.is_empty());
    for row in &sheet.rows {
        assert!(!row.why.is_empty(), "{}", row.id);
        assert!(row.why.iter().all(|why| !why.inputs.is_empty()), "{}", row.id);
    }
}

#[test]
fn books_and_lives_are_sheets() {
    let (asset, calendar) = (server("SN1", "n1"), Calendar::utc());
    let book = Book::new(&asset, &calendar, &[]).unwrap();
    let (first, last) = (Month { year: 2024, month: 1 }, Month { year: 2024, month: 3 });
    let values = [(last, Decimal::new(1_234_567, 3))];
    let rows = side_by_side(&book, None, &values, &calendar, (first, last), 2).unwrap();
    let sheet = books(&[AssetSums { asset: &asset, rows }], Currency::EUR).unwrap();
    sound(&sheet);
    assert_eq!(sheet.rows[2].cells[8], Cell::Number(Decimal::new(123_457, 2)));
    assert_eq!(sheet.rows[0].cells[5], Cell::Empty(()));
    let table = life_table(&asset, &calendar, 3..=7, Decimal::from(50_000)).unwrap();
    let lives = lives(&asset, &table);
    sound(&lives);
    assert_eq!((lives.rows.len(), lives.columns.len()), (5, 11));
}

#[test]
fn hours_that_are_not_known_are_no_input_and_give_no_rate() {
    let rows = [LivesOf { years: None, depreciation: Decimal::from(90), book_value: Decimal::ZERO }];
    let known = lives_of(&rows, Some(Decimal::from(30)), Currency::USD).unwrap();
    assert_eq!(known.rows[0].cells[3], Cell::Number(Decimal::new(30_000, 4)));
    let unknown = lives_of(&rows, None, Currency::USD).unwrap();
    assert_eq!(unknown.rows[0].cells[3], Cell::Empty(()));
    assert!(unknown.rows[0].why[0].inputs.iter().all(|input| input.name != "active"));
}

#[test]
fn a_split_says_how_sure_it_is() {
    use crate::decide::split::Prices;
    let prices = Prices {
        own_per_year: Decimal::from(8_760),
        own_per_hour: Decimal::ZERO,
        rent_per_hour: Decimal::TWO,
    };
    let found = crate::decide::best_split(&[4; 336], prices, 11).unwrap();
    let sheet = split("H100", &found, Currency::USD);
    sound(&sheet);
    assert!(sheet.notes[0].contains("between 4 and 4 GPUs in eight of ten years"), "{:?}", sheet.notes);
    assert!(sheet.notes[1].starts_with("Less than four weeks"));
}
