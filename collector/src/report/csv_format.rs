//! One row a line of the statement, for spreadsheets.
//!
//! Columns: `group, family, id, label, amount, currency, formula, inputs`. The inputs are one cell:
//! `name = value unit [source]`, separated by semicolons. The amounts sum to the total of the
//! statement; there is no row for it.

use super::{Format, family_name};
use gpuledger_tco::statement::{Input, Statement};
use std::io::{self, Write};

pub struct Csv;

impl Format for Csv {
    fn write(&self, statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["group", "family", "id", "label", "amount", "currency", "formula", "inputs"])?;
        for line in &statement.lines {
            let amount = line.amount.to_string();
            let inputs = line.inputs.iter().map(input).collect::<Vec<_>>().join("; ");
            csv.write_record([
                harmless(&line.group).as_str(),
                family_name(line.family),
                harmless(&line.id).as_str(),
                harmless(&line.label).as_str(),
                amount.as_str(),
                line.currency.code(),
                harmless(&line.formula).as_str(),
                harmless(&inputs).as_str(),
            ])?;
        }
        csv.flush()
    }
}

fn input(input: &Input) -> String {
    let Input { name, value, unit, source } = input;
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    let source = if source.is_empty() { String::new() } else { format!(" [{source}]") };
    format!("{name} = {value}{unit}{source}")
}

/// A name from outside must not become a formula in somebody's spreadsheet.
pub fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use rust_decimal::Decimal;

    #[test]
    fn the_amounts_of_the_rows_sum_to_the_total() {
        let statement = sample::statement();
        let mut out = Vec::new();
        Csv.write(&statement, &mut out).unwrap();
        let mut reader = csv::Reader::from_reader(out.as_slice());
        let amounts = reader.records().map(|row| row.unwrap()[4].parse::<Decimal>().unwrap());
        assert_eq!(amounts.sum::<Decimal>(), statement.total.amount);
    }

    #[test]
    fn a_name_that_looks_like_a_formula_is_made_harmless() {
        assert_eq!(harmless("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(harmless("gpu-01"), "gpu-01");
    }

    #[test]
    fn an_input_tells_its_unit_and_source_where_it_has_one() {
        let statement = sample::statement();
        assert_eq!(input(&statement.lines[0].inputs[0]), "quantity = 18234.5612 kWh [ledger]");
        let bare =
            Input { unit: String::new(), source: String::new(), ..statement.lines[0].inputs[0].clone() };
        assert_eq!(input(&bare), "quantity = 18234.5612");
    }
}
