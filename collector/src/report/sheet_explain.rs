//! Single rows of a report with all that they were computed from.

use super::columns::wrap;
use super::document::Document;
use super::ledger_rows::{self, LedgerRows};
use super::number::brief;
use super::sheet_table::in_unit;
use gpuledger_tco::sheet::{Cell, Row, Sheet, Why};
use gpuledger_tco::statement::Input;
use std::io::{self, Write};

const WIDTH: usize = 100;
/// Columns of names: as many as the longest needs, within these.
const NAME_MIN: usize = 16;
const NAME_MAX: usize = 44;
/// Ids that are proposed where none fits.
const PROPOSED_MAX: usize = 12;

/// A row and the sheet that it is of.
pub type Found<'a> = (&'a Sheet, &'a Row);

/// The rows with this id: `ID` or `SHEET/ID`; where no row has it, those whose id begins so.
pub fn rows<'a>(document: &'a Document, id: &str) -> Vec<Found<'a>> {
    let all = || document.sheets.iter().flat_map(|sheet| sheet.rows.iter().map(move |row| (sheet, row)));
    let ids = |(sheet, row): &Found<'a>| [row.id.clone(), format!("{}/{}", sheet.name, row.id)];
    let exact: Vec<Found<'a>> = all().filter(|found| ids(found).iter().any(|own| own == id)).collect();
    if exact.is_empty() {
        return all().filter(|found| ids(found).iter().any(|own| own.starts_with(id))).collect();
    }
    exact
}

/// Says which ids there are.
pub fn none(document: &Document, id: &str) -> String {
    let mut known: Vec<&str> =
        document.sheets.iter().flat_map(|sheet| &sheet.rows).map(|row| row.id.as_str()).collect();
    let more = if known.len() > PROPOSED_MAX { ", …" } else { "" };
    known.truncate(PROPOSED_MAX);
    format!("no row of the report has an id that begins with {id:?}; there are {}{more}", known.join(", "))
}

/// Writes rows, each with its cells and their derivations; `ledger` are the rows of the ledger below them.
pub fn write(found: &[Found<'_>], ledger: &[LedgerRows], out: &mut dyn Write) -> io::Result<()> {
    for (position, (sheet, row)) in found.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}/{}", sheet.name, row.id)?;
        let room = room(sheet.columns.iter().map(|column| column.name.as_str()));
        for (column, cell) in sheet.columns.iter().zip(&row.cells) {
            let text = match cell {
                Cell::Text(text) if text.is_empty() => continue,
                Cell::Text(text) => text.clone(),
                Cell::Number(number) => {
                    with_unit(in_unit(*number, &column.unit, sheet.currency, false), &column.unit)
                }
                Cell::Empty(()) => sheet.absent.clone(),
            };
            writeln!(out, "  {:<room$}  {text}", column.name)?;
        }
        for why in &row.why {
            derivation(why, out)?;
        }
    }
    for rows in ledger {
        writeln!(out)?;
        ledger_rows::write(rows, out)?;
    }
    Ok(())
}

fn derivation(why: &Why, out: &mut dyn Write) -> io::Result<()> {
    let of = if why.column.is_empty() { String::new() } else { format!("{}: ", why.column) };
    let formula = why.formula_id;
    for (line, part) in wrap(&format!("{of}{}", formula.text), WIDTH - 4).iter().enumerate() {
        writeln!(out, "  {}{part}", if line == 0 { "= " } else { "  " })?;
    }
    writeln!(out, "    [{}; {}]", formula.id, formula.source)?;
    inputs(&why.inputs, out)
}

/// Quantities and prices, one a line, each with its source.
pub fn inputs(inputs: &[Input], out: &mut dyn Write) -> io::Result<()> {
    let room = room(inputs.iter().map(|input| input.name.as_str()));
    for input in inputs {
        writeln!(out, "    {:<room$}  {}", input.name, with_unit(brief(input.value), &input.unit))?;
        for (line, part) in wrap(&input.source, WIDTH.saturating_sub(room + 11)).iter().enumerate() {
            writeln!(out, "    {:<room$}  {}{part}", "", if line == 0 { "from " } else { "     " })?;
        }
    }
    Ok(())
}

fn with_unit(text: String, unit: &str) -> String {
    if unit.is_empty() { text } else { format!("{text} {unit}") }
}

fn room<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(NAME_MIN, NAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sample;
    use super::*;

    #[test]
    fn a_row_is_told_with_cells_formula_id_quantities_and_sources() {
        let document = sample();
        let mut out = Vec::new();
        write(&rows(&document, "showback/team-a"), &[LedgerRows::default()], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in [
            "showback/team-a",
            "total             98,765.40 EUR",
            "[showback.row; allocation]",
            "1,234.5678 GPU-hours",
            "from ledger",
            "No ledger rows",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn an_exact_id_goes_before_those_that_begin_with_it() {
        let mut document = sample();
        let mut longer = document.sheets[0].rows[0].clone();
        longer.id = "team-a2".to_owned();
        document.sheets[0].rows.push(longer);
        assert_eq!(rows(&document, "team-a").len(), 1);
        assert_eq!(rows(&document, "team").len(), 2);
        assert!(rows(&document, "nobody").is_empty());
        assert!(none(&document, "nobody").contains("there are team-a, =cmd(), team-a2, hhi, top"));
    }
}
