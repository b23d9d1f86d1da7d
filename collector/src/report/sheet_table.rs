//! Sheets as text, at most [`WIDTH`] columns: names are shortened first, then amounts lose their cents, then
//! columns go on below, behind the first one.

use super::columns::{Align, Table, wrap};
use super::document::Document;
use super::number::{brief, grouped};
use super::table::{ending, shortened};
use gpuledger_tco::money::Currency;
use gpuledger_tco::sheet::{Cell, Row, Sheet};
use rust_decimal::Decimal;
use std::io::{self, Write};

/// What fits a terminal and a page.
const WIDTH: usize = 100;
/// Names are not shortened below this so that a table fits, and not kept above that where it does not.
const NAME_MIN: usize = 22;
const NAME_MAX: usize = 40;
/// Sheets with more rows than this have a line that says so in their head.
const LONG: usize = 40;

pub fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    if document.simulated {
        writeln!(out, "*** SIMULATED DATA: these GPUs do not exist ***\n")?;
    }
    writeln!(out, "{}", document.title)?;
    writeln!(out, "{}\n", "═".repeat(document.title.chars().count().min(WIDTH)))?;
    if let Some(period) = &document.period {
        writeln!(out, "Period   {period}, end not included\n")?;
    }
    for sheet in &document.sheets {
        self::sheet(sheet, out)?;
    }
    if !document.notes.is_empty() {
        writeln!(out, "NOTES")?;
        notes(&document.notes, out)?;
    }
    writeln!(
        out,
        "How a row came about: --explain ID; ids are in --format csv and json, most are the first column."
    )
}

fn sheet(sheet: &Sheet, out: &mut dyn Write) -> io::Result<()> {
    for line in wrap(&sheet.title.to_uppercase(), WIDTH) {
        writeln!(out, "{line}")?;
    }
    if sheet.rows.is_empty() {
        writeln!(out, "Nothing of that kind in the period.")?;
    } else {
        let (sheet, left_out) = without_empty(sheet);
        let (tables, rounded) = fitted(&sheet);
        for (position, table) in tables.iter().enumerate() {
            if position > 0 {
                writeln!(out)?;
            }
            table.write(out)?;
        }
        if sheet.rows.len() > LONG {
            writeln!(out, "{} rows", sheet.rows.len())?;
        }
        if !left_out.is_empty() {
            writeln!(out, "Nothing is known of: {}.", left_out.join(", "))?;
        }
        if rounded {
            writeln!(out, "Rounded to whole {}: other formats have all places.", sheet.currency)?;
        }
    }
    notes(&sheet.notes, out)?;
    writeln!(out)
}

/// A sheet without its columns in which there is nothing, and their names. What is unknown is shown.
fn without_empty(sheet: &Sheet) -> (Sheet, Vec<String>) {
    let empty = |column: &usize| {
        let cell = |row: &Row| row.cells.get(*column).is_none_or(|cell| *cell == Cell::Empty(()));
        sheet.absent == "–" && sheet.rows.iter().all(cell)
    };
    let (left_out, kept): (Vec<usize>, Vec<usize>) = (0..sheet.columns.len()).partition(empty);
    let mut shown = sheet.clone();
    shown.columns = kept.iter().filter_map(|column| sheet.columns.get(*column).cloned()).collect();
    for row in &mut shown.rows {
        row.cells = kept.iter().filter_map(|column| row.cells.get(*column).cloned()).collect();
    }
    let name = |column: &usize| sheet.columns.get(*column).map(|column| column.name.clone());
    (shown, left_out.iter().filter_map(name).collect())
}

fn notes(notes: &[String], out: &mut dyn Write) -> io::Result<()> {
    for note in notes {
        for (position, line) in wrap(note, WIDTH - 2).iter().enumerate() {
            writeln!(out, "{}{line}", if position == 0 { "- " } else { "  " })?;
        }
    }
    Ok(())
}

/// The tables that a sheet is shown as, and whether its amounts lost their cents.
fn fitted(sheet: &Sheet) -> (Vec<Table>, bool) {
    let fits = |table: &Table| table.width() <= WIDTH;
    let exact = table_of(sheet, false);
    let narrow = shorten(exact.clone(), WIDTH, NAME_MIN);
    if fits(&narrow) {
        return (vec![narrow], false);
    }
    let whole = shorten(table_of(sheet, true), WIDTH, NAME_MIN);
    if fits(&whole) { (vec![whole], true) } else { (stacked(&shorten(exact, 0, NAME_MAX)), false) }
}

fn table_of(sheet: &Sheet, whole: bool) -> Table {
    let lean = |column: usize| {
        let number = |row: &Row| matches!(row.cells.get(column), Some(Cell::Number(_)));
        let text = |row: &Row| matches!(row.cells.get(column), Some(Cell::Text(_)));
        let left = sheet.rows.iter().any(text) && !sheet.rows.iter().any(number);
        if left { Align::Left } else { Align::Right }
    };
    let mut table = Table {
        align: (0..sheet.columns.len()).map(lean).collect(),
        header: sheet.columns.iter().map(|column| column.name.clone()).collect(),
        ..Table::default()
    };
    if sheet.columns.iter().any(|column| !column.unit.is_empty()) {
        table.units = sheet.columns.iter().map(|column| column.unit.clone()).collect();
    }
    let unit = sheet.columns.iter().position(|column| column.name == "unit");
    for row in &sheet.rows {
        // A sheet of figures has a unit for each row.
        let of_row = unit.and_then(|unit| row.cells.get(unit)).and_then(|cell| match cell {
            Cell::Text(unit) => Some(unit.as_str()),
            _ => None,
        });
        let cells = row.cells.iter().zip(&sheet.columns).map(|(cell, column)| match cell {
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => {
                let unit = of_row.filter(|_| column.unit.is_empty()).unwrap_or(&column.unit);
                in_unit(*number, unit, sheet.currency, whole)
            }
            Cell::Empty(()) => sheet.absent.clone(),
        });
        table.rows.push(cells.collect());
    }
    if sheet.rows.last().is_some_and(|row| row.id == "total") {
        table.total = table.rows.pop();
    }
    table
}

/// A number for reading, with the places that fit its unit.
pub fn in_unit(value: Decimal, unit: &str, currency: Currency, whole: bool) -> String {
    let (of, per) = unit.split_once('/').map_or((unit, None), |(of, per)| (of, Some(per)));
    match (of, per) {
        (code, None | Some("year" | "month")) if code == currency.code() => {
            grouped(value, if whole { 0 } else { currency.minor_digits() })
        }
        (code, Some(_)) if code == currency.code() => grouped(value, 4),
        (of, _) if of.starts_with('%') => grouped(value, 1),
        ("hours" | "kWh" | "kg" | "GPU-hours", _) => grouped(value, 1),
        _ => brief(value),
    }
}

/// Texts made to fit so many columns: the widest text first, none below `least`.
fn shorten(mut table: Table, columns: usize, least: usize) -> Table {
    while table.width() > columns {
        let over = table.width() - columns;
        let widest = |column: &usize| {
            let cells = table.rows.iter().chain(&table.total).filter_map(|row| row.get(*column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let texts = (0..table.align.len()).filter(|column| table.align.get(*column) == Some(&Align::Left));
        let Some(column) = texts.max_by_key(widest) else { break };
        let width = widest(&column);
        let room = width.saturating_sub(over).max(least);
        if width <= room {
            break;
        }
        // The end of a model's name says more than its maker.
        let model = table.header.get(column).is_some_and(|name| name == "model");
        let short = if model { ending } else { shortened };
        for cell in table.rows.iter_mut().chain(&mut table.total).filter_map(|row| row.get_mut(column)) {
            *cell = short(cell, room);
        }
    }
    table
}

/// One table below the other, each with the first column and as many others as fit.
fn stacked(table: &Table) -> Vec<Table> {
    let pick = |columns: &[usize]| {
        let of = |cells: &Vec<String>| -> Vec<String> {
            columns.iter().filter_map(|column| cells.get(*column).cloned()).collect()
        };
        Table {
            align: columns.iter().filter_map(|column| table.align.get(*column).copied()).collect(),
            header: of(&table.header),
            units: of(&table.units),
            rows: table.rows.iter().map(of).collect(),
            total: table.total.as_ref().map(of),
        }
    };
    let (mut tables, mut columns) = (Vec::new(), vec![0]);
    for column in 1..table.align.len() {
        columns.push(column);
        if columns.len() > 2 && pick(&columns).width() > WIDTH {
            columns.pop();
            tables.push(pick(&columns));
            columns = vec![0, column];
        }
    }
    tables.push(pick(&columns));
    tables
}

#[cfg(test)]
mod tests {
    use super::super::document::SheetFormat;
    use super::super::document::tests::{dec, sample, text};
    use super::*;

    #[test]
    fn numbers_have_the_places_of_their_unit_and_absence_is_shown() {
        let text = text(SheetFormat::Table);
        for part in [
            "*** SIMULATED DATA",
            "Period   2026-10-01 to 2026-11-01 (UTC), end not included",
            "WHO PAYS",
            "team-a  1,234.6  98,765.40   12.3",
            "Nothing is known of: rate.",
            "HHI         0.4321",
            "largest  98,765.40  EUR",
            "- A note on owners.",
            "- A note on all.",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_sheet_of_any_width_fits_a_page_and_keeps_every_column() {
        let names: Vec<String> = (0..16).map(|number| format!("column {number}")).collect();
        let columns: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), if name == "column 0" { "" } else { "EUR" })).collect();
        let mut sheet = Sheet::new("wide", "A wide sheet", Currency::EUR, &columns);
        let amounts = (1..16).map(|_| Cell::from(dec("123456789.12")));
        let name = Cell::from("a name that is much longer than anything that would fit beside all of this");
        sheet.push("one", std::iter::once(name).chain(amounts).collect(), Vec::new());
        let document = Document { sheets: vec![sheet], ..sample() };
        let mut out = Vec::new();
        write(&document, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(names.iter().all(|name| text.contains(name.as_str())), "{text}");
        assert_eq!(text.matches("123,456,789.12").count(), 15);
    }

    #[test]
    fn a_last_row_of_totals_stands_below_a_rule() {
        let mut document = sample();
        let mut last = document.sheets[0].rows[0].clone();
        last.id = "total".to_owned();
        document.sheets[0].rows.push(last);
        let table = table_of(&document.sheets[0], false);
        assert_eq!((table.rows.len(), table.total.is_some()), (2, true));
    }
}
