//! Single lines of a statement with all that they were computed from.

use super::columns::wrap;
use super::ledger_rows::{self, LedgerRows};
use super::number::amount;
use super::sheet_explain::inputs;
use gpuledger_tco::statement::{Line, Statement};
use std::io::{self, Write};

const WIDTH: usize = 100;
/// Ids that are proposed where none fits.
const PROPOSED_MAX: usize = 12;

/// The lines whose id begins with this.
pub fn lines<'a>(statement: &'a Statement, id: &str) -> Vec<&'a Line> {
    statement.lines.iter().filter(|line| line.id.starts_with(id)).collect()
}

/// Says which ids there are.
pub fn none(statement: &Statement, id: &str) -> String {
    let mut known: Vec<&str> = statement.lines.iter().map(|line| line.id.as_str()).collect();
    known.dedup();
    let more = if known.len() > PROPOSED_MAX { ", …" } else { "" };
    known.truncate(PROPOSED_MAX);
    format!(
        "no line of the statement has an id that begins with {id:?}; there are {}{more}",
        known.join(", ")
    )
}

/// Writes lines with their derivations; `ledger` are the rows of the ledger below them.
pub fn write(lines: &[&Line], ledger: &[LedgerRows], out: &mut dyn Write) -> io::Result<()> {
    for (position, line) in lines.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", line.id)?;
        writeln!(out, "  {} ({})", line.label, line.group)?;
        writeln!(out, "  {} {}", line.currency, amount(line.amount, line.currency))?;
        for (row, part) in wrap(&line.formula, WIDTH - 4).iter().enumerate() {
            writeln!(out, "  {}{part}", if row == 0 { "= " } else { "  " })?;
        }
        writeln!(out, "    [{}; {}]", line.formula_id.id, line.formula_id.source)?;
        inputs(&line.inputs, out)?;
    }
    for rows in ledger {
        writeln!(out)?;
        ledger_rows::write(rows, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_line_is_told_with_formula_inputs_and_sources() {
        let statement = sample::statement();
        let lines = lines(&statement, "electricity/dc1/2026-10");
        let mut out = Vec::new();
        write(&lines, &[], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in
            ["EUR 3,290.31", "= quantity × price", "18,234.5612 kWh", "from fleet.toml: site dc1", "[energy."]
        {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn values_stand_in_one_column_however_long_the_names() {
        let statement = sample::statement();
        let mut line = statement.lines[0].clone();
        line.inputs[0].name = "GPU-hours in service in 2026-10".into();
        let mut short = line.inputs[0].clone();
        (short.name, short.value) = ("PUE".into(), line.inputs[0].value);
        line.inputs = vec![line.inputs[0].clone(), short];
        let mut out = Vec::new();
        write(&[&line], &[], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let value = super::super::number::brief(line.inputs[0].value);
        let columns: Vec<usize> = ["GPU-hours in", "PUE"]
            .map(|name| {
                text.lines().find(|l| l.trim_start().starts_with(name)).unwrap().rfind(&value).unwrap()
            })
            .to_vec();
        assert_eq!(columns[0], columns[1], "{text}");
    }

    #[test]
    fn an_id_that_is_not_there_is_answered_with_those_that_are() {
        let statement = sample::statement();
        assert!(lines(&statement, "rent/").is_empty());
        assert!(none(&statement, "rent/").contains("depreciation/dc1/2026-09"));
    }
}
