//! Every report beside the statement: sheets under one title, in three forms.
//!
//! A [`Sheet`] has its cells, units and derivations from the engine; nothing is computed here. One writer a
//! form: [`super::sheet_table`], [`super::sheet_csv`], and everything as it is for JSON.

use super::{json, sheet_csv, sheet_table};
use gpuledger_tco::money::Currency;
use gpuledger_tco::sheet::Sheet;
use serde::Serialize;
use std::io::{self, Write};

/// The forms by the name that people type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SheetFormat {
    /// Text for a terminal, at most 100 columns
    Table,
    /// One row a row of a sheet, for spreadsheets
    Csv,
    /// Everything with its derivation, for programs
    Json,
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// As it is called on the command line: "showback".
    pub report: &'static str,
    pub title: String,
    /// RFC 3339, UTC; `from` is in the period, `to` is not. `None` where a report has no period.
    pub from: Option<String>,
    pub to: Option<String>,
    /// The same for people, in the time zone of the fleet: "2026-10-01 to 2026-11-01 (Europe/Berlin)".
    pub period: Option<String>,
    pub currency: Currency,
    pub sheets: Vec<Sheet>,
    /// What a reader must know: assumptions, and what was left out.
    pub notes: Vec<String>,
    /// True when any reading came from a simulation.
    pub simulated: bool,
}

impl Document {
    pub fn write(&self, format: SheetFormat, out: &mut dyn Write) -> io::Result<()> {
        match format {
            SheetFormat::Table => sheet_table::write(self, out),
            SheetFormat::Csv => sheet_csv::write(self, out),
            SheetFormat::Json => json::document(self, out),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use gpuledger_tco::formulas;
    use gpuledger_tco::sheet::{Cell, Why};
    use gpuledger_tco::statement::Input;
    use rust_decimal::Decimal;

    pub fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// Two sheets: owners with amounts, and figures with a unit each.
    pub fn sample() -> Document {
        let columns =
            [("owner", ""), ("active", "hours"), ("total", "EUR"), ("share", "%"), ("rate", "EUR/hour")];
        let mut owners = Sheet::new("showback", "Who pays", Currency::EUR, &columns);
        let input = Input {
            name: "active".to_owned(),
            value: dec("1234.5678"),
            unit: "GPU-hours".to_owned(),
            source: "ledger".to_owned(),
        };
        let why = Why { column: String::new(), formula_id: formulas::SHOWBACK, inputs: vec![input] };
        for (name, hours, total) in [("team-a", "1234.5678", "98765.40"), ("=cmd()", "1", "-2.00")] {
            let cells = vec![
                name.into(),
                dec(hours).into(),
                dec(total).into(),
                dec("12.3").into(),
                Cell::from(None::<Decimal>),
            ];
            owners.push(name, cells, vec![why.clone()]);
        }
        owners.notes.push("A note on owners.".to_owned());
        let mut figures = Sheet::new(
            "concentration",
            "How few pay",
            Currency::EUR,
            &[("figure", ""), ("value", ""), ("unit", "")],
        );
        figures.push("hhi", vec!["HHI".into(), dec("0.4321").into(), "".into()], vec![why.clone()]);
        figures.push("top", vec!["largest".into(), dec("98765.4").into(), "EUR".into()], vec![why]);
        Document {
            report: "showback",
            title: "Showback".to_owned(),
            from: Some("2026-10-01T00:00:00Z".to_owned()),
            to: Some("2026-11-01T00:00:00Z".to_owned()),
            period: Some("2026-10-01 to 2026-11-01 (UTC)".to_owned()),
            currency: Currency::EUR,
            sheets: vec![owners, figures],
            notes: vec!["A note on all.".to_owned()],
            simulated: true,
        }
    }

    pub fn text(format: SheetFormat) -> String {
        let mut out = Vec::new();
        sample().write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_has_every_cell_unrounded_with_formula_and_inputs() {
        let json: serde_json::Value = serde_json::from_str(&text(SheetFormat::Json)).unwrap();
        let row = &json["sheets"][0]["rows"][0];
        assert_eq!((row["id"].as_str(), row["cells"][1].as_str()), (Some("team-a"), Some("1234.5678")));
        assert_eq!(row["cells"][4], serde_json::Value::Null);
        assert_eq!(row["why"][0]["formula_id"], "showback.row");
        assert_eq!(row["why"][0]["inputs"][0]["source"], "ledger");
        assert_eq!(json["simulated"], true);
    }
}
