//! A table that any report format prints: rows with an id, cells with a unit, and why each row says what
//! it says.
//!
//! A [`crate::statement::Statement`] is the result of the ledger; a sheet is that of everything else:
//! books, life tables, comparisons, splits, showbacks, scenarios. Invariants: every row has as many cells
//! as there are columns; ids are unique; rows are in one fixed order.

use crate::decide::Derived;
use crate::error::TcoError;
use crate::finance::refuse;
use crate::formulas::Formula;
use crate::money::Currency;
use crate::statement::Input;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeSet;

/// A column; its unit is empty for text and pure numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    pub unit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    Text(String),
    Number(Decimal),
    /// There is no such value.
    Empty(()),
}

impl From<Decimal> for Cell {
    fn from(value: Decimal) -> Self {
        Self::Number(value)
    }
}

impl From<Option<Decimal>> for Cell {
    fn from(value: Option<Decimal>) -> Self {
        value.map_or(Self::Empty(()), Self::Number)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Why a row says what it says: one derivation for each computed cell, or one for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// Name of the column; empty for all of the row.
    pub column: String,
    pub formula_id: Formula,
    pub inputs: Vec<Input>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What `--explain` asks for.
    pub id: String,
    pub cells: Vec<Cell>,
    pub why: Vec<Why>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// "split", "books/SN1".
    pub name: String,
    pub title: String,
    pub currency: Currency,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
    /// What an empty cell says: "–" where there is no such value, "unknown" where nothing told.
    pub absent: String,
    pub simulated: bool,
}

impl Sheet {
    pub fn new(name: &str, title: &str, currency: Currency, columns: &[(&str, &str)]) -> Self {
        let column =
            |(name, unit): &(&str, &str)| Column { name: (*name).to_owned(), unit: (*unit).to_owned() };
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            currency,
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
            absent: "–".to_owned(),
            simulated: false,
        }
    }

    pub fn push(&mut self, id: impl Into<String>, cells: Vec<Cell>, why: Vec<Why>) {
        self.rows.push(Row { id: id.into(), cells, why });
    }

    /// One row a figure: label, value, unit.
    pub fn of_figures(name: &str, title: &str, currency: Currency, figures: &[Derived]) -> Self {
        let mut sheet = Self::new(name, title, currency, &[("figure", ""), ("value", ""), ("unit", "")]);
        for figure in figures {
            let why = Why {
                column: "value".to_owned(),
                formula_id: figure.formula_id,
                inputs: figure.inputs.clone(),
            };
            let cells = vec![figure.label.as_str().into(), figure.value.into(), figure.unit.as_str().into()];
            sheet.push(&figure.id, cells, vec![why]);
        }
        sheet
    }

    /// The rows whose id is, or begins with, this.
    pub fn explain<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Row> + 'a {
        let exact = self.rows.iter().any(|row| row.id == id);
        self.rows.iter().filter(move |row| if exact { row.id == id } else { row.id.starts_with(id) })
    }

    /// What must hold of every sheet before it is printed.
    pub fn check(&self) -> Result<(), TcoError> {
        let name = format!("sheet {}", self.name);
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        if let Some(twice) = self.columns.iter().find(|column| !names.insert(column.name.as_str())) {
            return refuse(&name, "column", &twice.name, "a name of its own for each column");
        }
        for row in &self.rows {
            if row.cells.len() != self.columns.len() {
                return refuse(
                    &name,
                    &format!("cells of row {}", row.id),
                    &row.cells.len(),
                    "one for each column",
                );
            }
            if !ids.insert(row.id.as_str()) {
                return refuse(&name, "row id", &row.id, "an id of its own for each row");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formulas;

    #[test]
    fn a_row_is_explained_by_its_id_or_the_beginning_of_it() {
        let figure =
            |id: &str| Derived::new(id, id, Some(Decimal::ONE), "USD", formulas::PAYBACK, Vec::new());
        let sheet = Sheet::of_figures("t", "T", Currency::USD, &["npv", "npv_own", "irr"].map(figure));
        let ids = |id| sheet.explain(id).map(|row| row.id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids("npv"), ["npv"]);
        assert_eq!(ids("np"), ["npv", "npv_own"]);
        assert_eq!(sheet.check(), Ok(()));
    }

    #[test]
    fn a_sheet_that_does_not_fit_is_refused() {
        let mut sheet = Sheet::new("t", "T", Currency::USD, &[("a", "")]);
        sheet.push("one", vec!["x".into()], Vec::new());
        assert_eq!(sheet.check(), Ok(()));
        sheet.push("one", vec!["x".into()], Vec::new());
        assert!(sheet.check().unwrap_err().to_string().contains("row id of sheet t is one"));
        sheet.rows[1] = Row { id: "two".to_owned(), cells: Vec::new(), why: Vec::new() };
        assert!(sheet.check().unwrap_err().to_string().contains("cells of row two of sheet t is 0"));
    }
}
