//! CSV with a header: cells by column name, and errors that name file, line and column.

use super::error::{FleetError, suggestion};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::path::Path;

/// A number as plain digits with a point: no exponents, thousands separators or signs of currency.
pub fn plain_decimal(text: &str) -> Result<Decimal, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number = if plain { Decimal::from_str_exact(text).ok() } else { None };
    number.ok_or_else(|| {
        format!("{text:?} is not a number; expected digits with a point and no separators, such as 1234.50")
    })
}

/// A table read from a file.
pub struct Table {
    /// As the user named it.
    pub path: String,
    columns: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
}

impl Table {
    pub fn read(path: &Path, text: &str) -> Result<Self, FleetError> {
        let path = path.display().to_string();
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let fail = |error: &csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            let message = match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    format!("has {len} cells; expected {expected_len} as in the header")
                }
                _ => error.to_string(),
            };
            FleetError::new(format!("{path}:{line}"), message)
        };
        let columns: Vec<String> =
            reader.headers().map_err(|e| fail(&e))?.iter().map(str::to_owned).collect();
        if columns.iter().all(String::is_empty) {
            return Err(FleetError::new(
                path,
                "is empty; expected a header line with the names of the columns",
            ));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| fail(&e))?;
            rows.push((record.position().map_or(0, csv::Position::line), record));
        }
        Ok(Self { path, columns, rows })
    }

    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.path)
    }

    /// Position of a column that must be there.
    pub fn column(&self, name: &str) -> Result<usize, FleetError> {
        let known: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        known.iter().position(|column| *column == name).ok_or_else(|| {
            let message = format!("has no column {name:?}; {}", self.columns_message(name, &known));
            FleetError::new(self.place(1), message)
        })
    }

    fn columns_message(&self, name: &str, known: &[&str]) -> String {
        if self.columns.len() == 1 && known[0].contains(';') {
            return "the file is separated by semicolons; expected commas".to_owned();
        }
        format!("the columns are {}; {}", known.join(", "), suggestion(name, known))
    }

    /// Refuses columns beside those that are known, and those named twice.
    pub fn only(&self, known: &[&str]) -> Result<(), FleetError> {
        for (position, column) in self.columns.iter().enumerate() {
            if !known.contains(&column.as_str()) {
                let message = format!("unknown column {column:?}; {}", suggestion(column, known));
                return Err(FleetError::new(self.place(1), message));
            }
            if self.columns[..position].contains(column) {
                return Err(FleetError::new(self.place(1), format!("column {column:?} stands twice")));
            }
        }
        Ok(())
    }

    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, record)| Row { table: self, line: *line, record })
    }
}

/// One line of a table.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    pub line: u64,
    record: &'a csv::StringRecord,
}

impl<'a> Row<'a> {
    /// "assets.csv line 4".
    pub fn place(&self) -> String {
        format!("{} line {}", self.table.path, self.line)
    }

    pub fn error(&self, message: impl Into<String>) -> FleetError {
        FleetError::new(self.table.place(self.line), message)
    }

    pub fn cell_error(&self, column: &str, message: impl Into<String>) -> FleetError {
        FleetError::new(format!("{}: column {column}", self.table.place(self.line)), message)
    }

    /// The cell at a position; `None` where it is empty.
    pub fn at(&self, position: usize) -> Option<&'a str> {
        self.record.get(position).filter(|cell| !cell.is_empty())
    }

    /// The cell of a column that may be missing; `None` where it is empty.
    pub fn get(&self, column: &str) -> Option<&'a str> {
        let position = self.table.columns.iter().position(|known| known == column)?;
        self.at(position)
    }

    pub fn need(&self, column: &str) -> Result<&'a str, FleetError> {
        self.table.column(column)?;
        self.get(column).ok_or_else(|| self.cell_error(column, "is empty"))
    }

    pub fn decimal(&self, column: &str) -> Result<Option<Decimal>, FleetError> {
        let parse = |text| plain_decimal(text).map_err(|message| self.cell_error(column, message));
        self.get(column).map(parse).transpose()
    }

    pub fn count(&self, column: &str) -> Result<Option<u32>, FleetError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| self.cell_error(column, format!("{text:?} is not a whole number")))
        };
        self.get(column).map(parse).transpose()
    }

    pub fn date(&self, column: &str) -> Result<Date, FleetError> {
        let text = self.need(column)?;
        text.parse().ok().filter(|_| text.len() == 10).ok_or_else(|| {
            self.cell_error(
                column,
                format!("{text:?} is not a day; expected year, month and day, such as 2026-01-15"),
            )
        })
    }
}
