//! Everything of a statement, for programs: the fields of [`Statement`] under their own names,
//! amounts as strings so that no reader rounds them.

use super::Format;
use gpuledger_tco::statement::Statement;
use serde::Serialize;
use std::io::{self, Write};

pub struct Json;

impl Format for Json {
    fn write(&self, statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
        document(statement, out)
    }
}

/// Writes any document, indented, with a line end.
pub fn document(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_program_finds_lines_total_and_coverage_and_no_rounded_amount() {
        let statement = sample::statement();
        let mut out = Vec::new();
        Json.write(&statement, &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let line = &json["lines"][0];
        for field in ["id", "amount", "currency", "formula", "inputs"] {
            assert!(!line[field].is_null(), "{field}");
        }
        assert_eq!(line["amount"], "17204.12");
        assert_eq!(line["currency"], "EUR");
        assert_eq!(json["total"]["amount"], "52273.94");
        assert_eq!(json["coverage"]["observed_ratio"], "0.96203");
    }
}
