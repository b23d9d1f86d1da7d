//! All sheets of a report as one table for spreadsheets.
//!
//! Columns: `sheet, id`, then those of the sheets in their order, each once: sheets with a column of the
//! same name and unit share it. A unit stands behind its column in brackets. Numbers are as they were
//! computed, with a point and without separators; a cell without a value is empty, or says `unknown`.

use super::csv_format::harmless;
use super::document::Document;
use gpuledger_tco::sheet::{Cell, Column, Sheet};
use std::io::{self, Write};

pub fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let mut columns: Vec<&Column> = Vec::new();
    for column in document.sheets.iter().flat_map(|sheet| &sheet.columns) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let mut csv = csv::Writer::from_writer(out);
    let heads = columns.iter().map(|column| head(column));
    csv.write_record(["sheet".to_owned(), "id".to_owned()].into_iter().chain(heads))?;
    for sheet in &document.sheets {
        let places: Vec<Option<usize>> =
            columns.iter().map(|column| sheet.columns.iter().position(|own| own == *column)).collect();
        for row in &sheet.rows {
            let cell = |place: &Option<usize>| {
                place
                    .and_then(|place| row.cells.get(place))
                    .map_or_else(String::new, |cell| text(sheet, cell))
            };
            let cells = places.iter().map(cell);
            csv.write_record([harmless(&sheet.name), harmless(&row.id)].into_iter().chain(cells))?;
        }
    }
    csv.flush()
}

fn head(column: &Column) -> String {
    if column.unit.is_empty() { column.name.clone() } else { format!("{} [{}]", column.name, column.unit) }
}

fn text(sheet: &Sheet, cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => harmless(text),
        Cell::Number(number) => number.to_string(),
        Cell::Empty(()) if sheet.absent == "–" => String::new(),
        Cell::Empty(()) => sheet.absent.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::SheetFormat;
    use super::super::document::tests::text;

    #[test]
    fn sheets_stand_in_one_table_with_the_columns_of_both() {
        assert_eq!(
            text(SheetFormat::Csv),
            "sheet,id,owner,active [hours],total [EUR],share [%],rate [EUR/hour],figure,value,unit\n\
             showback,team-a,team-a,1234.5678,98765.40,12.3,,,,\n\
             showback,'=cmd(),'=cmd(),1,-2.00,12.3,,,,\n\
             concentration,hhi,,,,,,HHI,0.4321,\n\
             concentration,top,,,,,,largest,98765.4,EUR\n"
        );
    }
}
