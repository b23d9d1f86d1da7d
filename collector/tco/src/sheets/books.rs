//! `depreciation`: the three books side by side, and the what-if of useful lives.

use crate::asset::Asset;
use crate::books::{BooksOfMonth, LifeRow};
use crate::decimal::{add, ratio, sub, sum};
use crate::error::TcoError;
use crate::formulas;
use crate::money::Currency;
use crate::pools::input;
use crate::sheet::{Cell, Sheet, Why};
use crate::statement::Input;
use rust_decimal::Decimal;

fn facts(asset: &Asset) -> Vec<Input> {
    let (unit, source) = (asset.cost.currency.code(), asset.source.as_str());
    let mut facts = vec![
        input("cost", asset.cost.amount, unit, source),
        input("salvage", asset.salvage.amount, unit, source),
        input("life", Decimal::from(asset.life_months), "months", source),
    ];
    facts.extend(
        asset
            .terms
            .events
            .iter()
            .map(|event| input(format!("event on {}", event.on), Decimal::ONE, "", &event.source)),
    );
    facts
}

/// Book, tax and economic value side by side, a row an asset and month; values are those at its end.
pub fn books(assets: &[AssetSums<'_>], currency: Currency) -> Result<Sheet, TcoError> {
    let code = currency.code();
    let columns = [
        ("asset", ""),
        ("month", ""),
        ("depreciation", code),
        ("other", code),
        ("book value", code),
        ("deduction", code),
        ("tax basis", code),
        ("over tax", code),
        ("economic", code),
        ("stranded", code),
    ];
    let mut sheet = Sheet::new("books", "Book, tax and economic value, month by month", currency, &columns);
    for (asset, row) in assets.iter().flat_map(|of| of.rows.iter().map(|row| (of.asset, row))) {
        let cells: Vec<Cell> = vec![
            asset.serial.as_str().into(),
            row.month.to_string().into(),
            row.depreciation.into(),
            row.other_charges.into(),
            row.net_book_value.into(),
            row.tax_deduction.into(),
            row.tax_basis.into(),
            row.book_over_tax.into(),
            row.economic_value.map(|value| currency.round(value)).into(),
            row.stranded.map(|value| currency.round(value)).into(),
        ];
        sheet.push(format!("{}/{}", asset.serial, row.month), cells, reasons(asset, row));
    }
    sheet.notes.push(
        "Other: impairments less reversals, losses less gains of disposals. Over tax: book value above the tax \
         basis. Not tax advice."
            .to_owned(),
    );
    Ok(sheet)
}

fn reasons(asset: &Asset, row: &BooksOfMonth) -> Vec<Why> {
    let code = asset.cost.currency.code();
    let why = |column: &str, formula_id, inputs| Why { column: column.to_owned(), formula_id, inputs };
    let mut all = vec![why("depreciation", asset.formula(), facts(asset))];
    if let Some(basis) = row.tax_basis {
        let left = input("tax basis at the end of the month", basis, code, "tax book");
        all.push(why("deduction", formulas::MACRS, vec![left]));
    }
    if let Some(value) = row.economic_value {
        let worth = input("value", value, code, "rents to come and resale: economic of the asset");
        all.push(why("economic", formulas::ECONOMIC, vec![worth.clone()]));
        let book = input("book value", row.net_book_value, code, "book");
        all.push(why("stranded", formulas::STRANDED, vec![book, worth]));
    }
    all
}

/// Useful lives of one asset, a row a life.
pub fn lives(asset: &Asset, rows: &[LifeRow]) -> Sheet {
    let code = asset.cost.currency.code();
    let per_hour = format!("{code}/GPU-hour");
    let mut columns = vec![
        ("life", "years"),
        ("first year", code),
        ("mean year", code),
        ("per useful hour", per_hour.as_str()),
    ];
    let count = rows.first().map_or(0, |row| row.net_after.len());
    let names: Vec<String> = (1..=count).map(|year| format!("value after {year}")).collect();
    columns.extend(names.iter().map(|name| (name.as_str(), code)));
    let title = format!("What other useful lives of {} would mean", asset.serial);
    let mut sheet = Sheet::new(&format!("lives/{}", asset.serial), &title, asset.cost.currency, &columns);
    for row in rows {
        let rounded = |value: Decimal| asset.cost.currency.round(value);
        let mut cells: Vec<Cell> = vec![
            Decimal::from(row.years).into(),
            row.first_year.into(),
            rounded(row.per_year).into(),
            row.per_hour.map(|value| crate::decimal::round(value, 6)).into(),
        ];
        cells.extend(row.net_after.iter().map(|value| Cell::from(*value)));
        let mut inputs = facts(asset);
        inputs.retain(|input| input.name != "life" && !input.name.starts_with("event"));
        inputs.push(input("life", Decimal::from(row.years), "years", "what-if"));
        let why = Why { column: String::new(), formula_id: asset.formula(), inputs };
        sheet.push(format!("{} years", row.years), cells, vec![why]);
    }
    sheet
}

/// What the books of one asset say of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetSums<'a> {
    pub asset: &'a Asset,
    pub rows: Vec<BooksOfMonth>,
}

/// All assets, a row each and one for all: depreciation of the period, and the three values at its end.
pub fn register_of(assets: &[AssetSums<'_>], currency: Currency) -> Result<Sheet, TcoError> {
    let code = currency.code();
    let columns = [
        ("asset", ""),
        ("cost", code),
        ("depreciation", code),
        ("other", code),
        ("book value", code),
        ("tax basis", code),
        ("economic", code),
        ("stranded", code),
    ];
    let mut sheet = Sheet::new("register", "Every asset, and its three books at the end", currency, &columns);
    let (mut totals, mut complete) = ([Decimal::ZERO; 7], [true; 7]);
    for AssetSums { asset, rows } in assets {
        let last = rows.last();
        let charges = sum(rows.iter().map(|row| row.other_charges))?;
        let values = [
            Some(asset.cost.amount),
            Some(sum(rows.iter().map(|row| row.depreciation))?),
            Some(charges),
            last.map(|row| row.net_book_value),
            last.and_then(|row| row.tax_basis),
            last.and_then(|row| row.economic_value).map(|value| currency.round(value)),
            last.and_then(|row| row.stranded).map(|value| currency.round(value)),
        ];
        for ((total, complete), value) in totals.iter_mut().zip(&mut complete).zip(values) {
            *total = add(*total, value.unwrap_or_default())?;
            *complete &= value.is_some();
        }
        let cells = std::iter::once(asset.serial.as_str().into()).chain(values.map(Cell::from)).collect();
        let why =
            Why { column: "depreciation".to_owned(), formula_id: asset.formula(), inputs: facts(asset) };
        sheet.push(&asset.serial, cells, vec![why]);
    }
    let total = |(total, complete): (Decimal, bool)| Cell::from(complete.then_some(total));
    let totals = totals.into_iter().zip(complete).map(total);
    let inputs = vec![input("assets", Decimal::from(assets.len()), "", "the rows above")];
    let why = Why { column: String::new(), formula_id: formulas::SUM, inputs };
    sheet.push("total", std::iter::once("total".into()).chain(totals).collect(), vec![why]);
    sheet.notes.push("Not tax advice.".to_owned());
    Ok(sheet)
}

/// What another useful life of every asset would have made of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivesOf {
    /// `None`: as it is booked.
    pub years: Option<u32>,
    /// Of the period.
    pub depreciation: Decimal,
    /// At its end.
    pub book_value: Decimal,
}

/// Useful lives of all assets together, a row a life; per hour by the active hours of the period, where they
/// are known.
pub fn lives_of(
    rows: &[LivesOf],
    active_hours: Option<Decimal>,
    currency: Currency,
) -> Result<Sheet, TcoError> {
    let code = currency.code();
    let per_hour = format!("{code}/GPU-hour");
    let columns = [
        ("useful life", ""),
        ("depreciation", code),
        ("against booked", code),
        ("per active hour", per_hour.as_str()),
        ("book value", code),
    ];
    let title = "What other useful lives would have made of this period";
    let mut sheet = Sheet::new("lives", title, currency, &columns);
    let booked = rows.iter().find(|row| row.years.is_none()).map_or(Decimal::ZERO, |row| row.depreciation);
    for row in rows {
        let name = row.years.map_or_else(|| "as booked".to_owned(), |years| format!("{years} years"));
        let per_hour = active_hours.map(|hours| ratio(row.depreciation, hours)).transpose()?.flatten();
        let cells = vec![
            name.as_str().into(),
            row.depreciation.into(),
            sub(row.depreciation, booked)?.into(),
            per_hour.map(|rate| crate::decimal::round(rate, 4)).into(),
            row.book_value.into(),
        ];
        let mut inputs = vec![input("depreciation as booked", booked, code, "books")];
        inputs.extend(active_hours.map(|hours| input("active", hours, "GPU-hours", "ledger")));
        inputs.extend(row.years.map(|years| input("life", Decimal::from(years), "years", "what-if")));
        let why = Why { column: String::new(), formula_id: formulas::LIFE, inputs };
        sheet.push(name, cells, vec![why]);
    }
    sheet.notes.push(
        "Each life as if it had been so from the start, without the events of the books. Reported lives: \
         Nebius 4 years, Amazon 5 (part), Meta 5.5, Microsoft, Alphabet and CoreWeave 6."
            .to_owned(),
    );
    Ok(sheet)
}
