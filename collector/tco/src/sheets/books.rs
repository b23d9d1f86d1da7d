//! `depreciation`: the three books side by side, and the what-if of useful lives.

use crate::asset::Asset;
use crate::books::{BooksOfMonth, LifeRow};
use crate::error::TcoError;
use crate::formulas;
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

/// Book, tax and economic value of one asset, a row a month.
pub fn books(asset: &Asset, rows: &[BooksOfMonth]) -> Result<Sheet, TcoError> {
    let code = asset.cost.currency.code();
    let columns = [
        ("month", ""),
        ("depreciation", code),
        ("other charges", code),
        ("book value", code),
        ("tax deduction", code),
        ("tax basis", code),
        ("book over tax", code),
        ("economic value", code),
        ("stranded", code),
    ];
    let title = format!("Books of {}", asset.serial);
    let mut sheet = Sheet::new(&format!("books/{}", asset.serial), &title, asset.cost.currency, &columns);
    for row in rows {
        let cells: Vec<Cell> = vec![
            row.month.to_string().into(),
            row.depreciation.into(),
            row.other_charges.into(),
            row.net_book_value.into(),
            row.tax_deduction.into(),
            row.tax_basis.into(),
            row.book_over_tax.into(),
            row.economic_value.map(|value| asset.cost.currency.round(value)).into(),
            row.stranded.map(|value| asset.cost.currency.round(value)).into(),
        ];
        let why = |column: &str, formula_id, inputs| Why { column: column.to_owned(), formula_id, inputs };
        let mut all = vec![why("depreciation", asset.formula(), facts(asset))];
        if let Some(basis) = row.tax_basis {
            let left = input("tax basis at the end of the month", basis, code, "tax book");
            all.push(why("tax deduction", formulas::MACRS, vec![left]));
        }
        if let Some(value) = row.economic_value {
            all.push(why(
                "economic value",
                formulas::ECONOMIC,
                vec![input("value", value, code, "rents to come")],
            ));
            let both = vec![
                input("book value", row.net_book_value, code, "book"),
                input("economic value", value, code, "rents to come"),
            ];
            all.push(why("stranded", formulas::STRANDED, both));
        }
        sheet.push(row.month.to_string(), cells, all);
    }
    sheet.notes.push("Not tax advice.".to_owned());
    Ok(sheet)
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
