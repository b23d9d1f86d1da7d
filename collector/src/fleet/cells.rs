//! CSV with a header: cells by column name, and errors that name file, line and column.

use super::error::{FleetError, suggestion};
use super::facts::{Facts, Key};
use super::locale::Locale;
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::path::Path;

/// A number as plain digits with a point: no exponents, thousands separators or signs of currency.
pub fn plain_decimal(text: &str) -> Result<Decimal, String> {
    Locale::ISO.number(text)
}

/// A table read from a file.
pub struct Table {
    /// As the user named it.
    pub path: String,
    columns: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
    locale: Locale,
}

impl Table {
    /// A file of the register.
    pub fn read(path: &Path, text: &str) -> Result<Self, FleetError> {
        Self::read_as(path, text, Locale::ISO)
    }

    /// A file as somebody else has it.
    pub fn read_as(path: &Path, text: &str, locale: Locale) -> Result<Self, FleetError> {
        let path = path.display().to_string();
        let delimiter = u8::try_from(locale.delimiter).unwrap_or(b',');
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).delimiter(delimiter).from_reader(text.as_bytes());
        let fail = |error: &csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            let message = match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    let why = mixed(text, line, locale);
                    format!("has {len} cells; expected {expected_len} as in the header{why}")
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
        let mut table = Self { path: path.clone(), columns, rows: Vec::new(), locale };
        if let Some(message) = table.other_signs() {
            return Err(FleetError::new(table.place(1), message));
        }
        for record in reader.records() {
            let record = record.map_err(|e| fail(&e))?;
            table.rows.push((record.position().map_or(0, csv::Position::line), record));
        }
        Ok(table)
    }

    /// Rows that are held already, as [`Locale::ISO`] writes them.
    pub fn held(path: &str, columns: Vec<String>, rows: Vec<Vec<String>>) -> Self {
        let rows = (1..).zip(rows.into_iter().map(csv::StringRecord::from)).collect();
        Self { path: path.to_owned(), columns, rows, locale: Locale::ISO }
    }

    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.path)
    }

    /// Names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// Position of a column that must be there.
    pub fn column(&self, name: &str) -> Result<usize, FleetError> {
        let known: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        known.iter().position(|column| *column == name).ok_or_else(|| {
            let message = format!(
                "has no column {name:?}; the columns are {}; {}",
                known.join(", "),
                suggestion(name, &known)
            );
            FleetError::new(self.place(1), message)
        })
    }

    /// What to say of a header whose cells other signs separate.
    fn other_signs(&self) -> Option<String> {
        const SIGNS: [(char, &str); 3] = [(',', "commas"), (';', "semicolons"), ('\t', "tabs")];
        let [only] = &self.columns[..] else { return None };
        let own = SIGNS.iter().find(|(sign, _)| *sign == self.locale.delimiter);
        let own = own.map_or("the sign that was named", |(_, name)| name);
        let mut others = SIGNS.iter().filter(|(sign, _)| *sign != self.locale.delimiter);
        let (_, other) = others.find(|(sign, _)| only.contains(*sign))?;
        Some(format!("the file is separated by {other}; expected {own}"))
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

    fn parse<T>(
        &self,
        column: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, FleetError> {
        let parse = |text| parse(text).map_err(|message| self.cell_error(column, message));
        self.get(column).map(parse).transpose()
    }
}

impl Facts for Row<'_> {
    fn place(&self) -> String {
        format!("{} line {}", self.table.path, self.line)
    }

    fn wrong(&self, message: String) -> FleetError {
        self.error(message)
    }

    fn wrong_at(&self, key: Key, message: String) -> FleetError {
        self.cell_error(key, message)
    }

    fn missing(&self, key: Key, _: &str) -> FleetError {
        self.need(key).err().unwrap_or_else(|| self.cell_error(key, "is empty"))
    }

    fn has(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    fn text(&self, key: Key) -> Result<Option<String>, FleetError> {
        Ok(self.get(key).map(str::to_owned))
    }

    fn number(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        self.parse(key, |text| self.table.locale.number(text))
    }

    fn amount(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        self.number(key)
    }

    fn count(&self, key: Key, max: u32) -> Result<Option<u32>, FleetError> {
        self.parse(key, |text| {
            let count = text.parse::<u32>().map_err(|_| format!("{text:?} is not a whole number"))?;
            if count <= max { Ok(count) } else { Err(format!("expected a whole number from 0 to {max}")) }
        })
    }

    fn date(&self, key: Key) -> Result<Option<Date>, FleetError> {
        self.parse(key, |text| self.table.locale.date(text))
    }

    fn flag(&self, key: Key) -> Result<Option<bool>, FleetError> {
        self.parse(key, |text| match text {
            "true" | "yes" => Ok(true),
            "false" | "no" => Ok(false),
            _ => Err(format!("{text:?} is neither; expected true or false")),
        })
    }
}

/// Why a line has other cells than the header, where its signs say so.
fn mixed(text: &str, line: u64, locale: Locale) -> &'static str {
    let number = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    let line = text.lines().nth(number).unwrap_or_default();
    match locale.delimiter {
        ',' if line.contains(';') => ": this line is separated by semicolons, the header by commas",
        ';' if line.contains(',') => ": this line is separated by commas, the header by semicolons",
        _ => "",
    }
}
