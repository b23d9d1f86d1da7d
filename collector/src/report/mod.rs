//! What people and programs read: a statement, an energy report or sheets, one file a format.
//!
//! Invariant: nothing here knows a ledger or computes money; a format prints what it is given, in
//! the order in which it is given, and the same input gives the same bytes.

pub mod chart;
pub mod columns;
mod csv_format;
pub mod document;
pub mod energy;
pub mod explain;
mod figures;
mod html;
pub mod json;
pub mod ledger_rows;
pub mod number;
#[cfg(test)]
mod sample;
mod sheet_csv;
pub mod sheet_explain;
mod sheet_table;
mod table;

use gpuledger_tco::statement::{Family, GroupBy, Statement};
use std::io::{self, Write};

/// A form that a statement can be written in.
pub trait Format {
    fn write(&self, statement: &Statement, out: &mut dyn Write) -> io::Result<()>;
}

/// The forms by the name that people type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StatementFormat {
    /// Text for a terminal, at most 100 columns
    Table,
    /// One row a line of the statement
    Csv,
    /// Everything, for programs
    Json,
    /// A page with charts, for reading and printing
    Html,
}

impl StatementFormat {
    pub fn format(self) -> &'static dyn Format {
        match self {
            Self::Table => &table::Table,
            Self::Csv => &csv_format::Csv,
            Self::Json => &json::Json,
            Self::Html => &html::Html,
        }
    }
}

/// Every family in the order of the statement.
pub const FAMILIES: [Family; 5] =
    [Family::Depreciation, Family::CapitalCharge, Family::Energy, Family::Colocation, Family::Overhead];

/// A family's name for people.
pub const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Depreciation => "Depreciation",
        Family::CapitalCharge => "Capital charge",
        Family::Energy => "Electricity",
        Family::Colocation => "Colocation",
        Family::Overhead => "Overhead",
    }
}

/// What a group is, for the head of a column.
pub const fn group_name(by: GroupBy) -> &'static str {
    match by {
        GroupBy::Month => "Month",
        GroupBy::Model => "GPU model",
        GroupBy::Node => "Node",
        GroupBy::Owner => "Owner",
        GroupBy::Site => "Site",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    fn text(format: StatementFormat, statement: &Statement) -> String {
        let mut out = Vec::new();
        format.format().write(statement, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_format_gives_the_same_bytes_for_the_same_statement() {
        for &format in StatementFormat::value_variants() {
            assert_eq!(text(format, &sample::statement()), text(format, &sample::statement()), "{format:?}");
        }
    }

    #[test]
    fn every_format_says_that_data_are_simulated_and_only_then() {
        let real = Statement { simulated: false, ..sample::statement() };
        for format in [StatementFormat::Table, StatementFormat::Html] {
            assert!(
                text(format, &sample::statement()).to_lowercase().contains("simulated data"),
                "{format:?}"
            );
            assert!(!text(format, &real).to_lowercase().contains("simulated data"), "{format:?}");
        }
        assert!(text(StatementFormat::Json, &real).contains("\"simulated\": false"));
    }

    #[test]
    fn a_statement_of_nothing_is_still_a_document() {
        let empty = Statement {
            lines: Vec::new(),
            groups: Vec::new(),
            comparisons: Vec::new(),
            notes: Vec::new(),
            hours: gpuledger_tco::statement::StateHours::default(),
            rates: gpuledger_tco::statement::Rates::default(),
            coverage: gpuledger_tco::statement::Coverage::default(),
            carbon_kg: None,
            ..sample::statement()
        };
        for &format in StatementFormat::value_variants() {
            assert!(!text(format, &empty).is_empty(), "{format:?}");
        }
    }
}
