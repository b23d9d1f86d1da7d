//! Tables of the register, read with the place of every key.

use super::cells::plain_decimal;
use super::error::{FleetError, suggestion};
use super::facts::{Facts, Key};
use gpuledger_tco::money::Currency;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file that a table stands in.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// As the user named it.
    pub path: &'a str,
    pub text: &'a str,
}

impl<'a> Source<'a> {
    pub fn parse(self) -> Result<Spanned<DeTable<'a>>, FleetError> {
        DeTable::parse(self.text).map_err(|error| {
            self.error(error.span().map_or(1, |span| self.line(span.start)), error.message())
        })
    }

    pub fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }

    pub fn error(&self, line: usize, message: impl Into<String>) -> FleetError {
        FleetError::new(format!("{}:{line}", self.path), message)
    }
}

/// The name of a table before a message; the file itself has none.
fn prefix(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!("{section}: ") }
}

/// A table whose keys are all known.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    pub source: Source<'a>,
    /// "site", "asset": for messages.
    name: String,
    line: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Refuses the first unknown key.
    pub fn new(
        source: Source<'a>,
        name: &str,
        start: usize,
        table: &'a DeTable<'a>,
        known: &[&str],
    ) -> Result<Self, FleetError> {
        let mut keys: Vec<_> = table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        for key in keys {
            let text: &str = key.get_ref();
            if !known.contains(&text) {
                let line = source.line(key.span().start);
                let message = format!("unknown key {text:?}; {}", suggestion(text, known));
                return Err(source.error(line, prefix(name) + &message));
            }
        }
        Ok(Self { source, name: name.to_owned(), line: source.line(start), table })
    }

    pub fn error(&self, message: impl Into<String>) -> FleetError {
        self.source.error(self.line, prefix(&self.name) + &message.into())
    }

    pub fn get(&self, key: &'static str) -> Option<Field<'a>> {
        let (at, value) = self.table.get_key_value(key)?;
        let line = self.source.line(at.span().start);
        Some(Field { source: self.source, section: self.name.clone(), key, line, value })
    }

    /// The key, or an error that says what to write.
    pub fn need(&self, key: &'static str, example: &str) -> Result<Field<'a>, FleetError> {
        self.get(key).ok_or_else(|| self.error(format!("{key} is missing; add {key} = {example}")))
    }

    /// Refuses two keys that say the same thing.
    pub fn only_one(&self, keys: [&'static str; 2], example: &str) -> Result<Field<'a>, FleetError> {
        match keys.map(|key| self.get(key)) {
            [Some(_), Some(second)] => {
                Err(second.error(format!("{} and {} say the same thing: leave one out", keys[0], keys[1])))
            }
            [Some(field), None] | [None, Some(field)] => Ok(field),
            [None, None] => Err(self.error(format!("{} is missing; add {example}", keys[0]))),
        }
    }

    /// The tables of `[[key]]`, in the order of the file.
    pub fn list(&self, key: &'static str, known: &[&str]) -> Result<Vec<Section<'a>>, FleetError> {
        let Some(field) = self.get(key) else { return Ok(Vec::new()) };
        let wrong = || field.error(format!("expected tables, each headed [[{key}]]"));
        let DeValue::Array(items) = field.value.get_ref() else { return Err(wrong()) };
        let section = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::Table(table) => Section::new(self.source, key, item.span().start, table, known),
            _ => Err(wrong()),
        };
        items.iter().map(section).collect()
    }
}

impl Facts for Section<'_> {
    fn place(&self) -> String {
        format!("{} line {}", self.source.path, self.line)
    }

    fn wrong(&self, message: String) -> FleetError {
        self.error(message)
    }

    fn wrong_at(&self, key: Key, message: String) -> FleetError {
        match self.get(key) {
            Some(field) => field.error(message),
            None => self.error(format!("{key}: {message}")),
        }
    }

    fn missing(&self, key: Key, example: &str) -> FleetError {
        self.error(format!("{key} is missing; add {key} = {example}"))
    }

    fn has(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    fn text(&self, key: Key) -> Result<Option<String>, FleetError> {
        self.get(key).map(|field| field.text().map(str::to_owned)).transpose()
    }

    fn number(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        self.get(key).map(|field| field.decimal()).transpose()
    }

    fn amount(&self, key: Key) -> Result<Option<Decimal>, FleetError> {
        self.get(key).map(|field| field.amount()).transpose()
    }

    fn count(&self, key: Key, max: u32) -> Result<Option<u32>, FleetError> {
        self.get(key).map(|field| field.count(max)).transpose()
    }

    fn date(&self, key: Key) -> Result<Option<Date>, FleetError> {
        self.get(key).map(|field| field.date()).transpose()
    }

    fn flag(&self, key: Key) -> Result<Option<bool>, FleetError> {
        self.get(key).map(|field| field.boolean()).transpose()
    }
}

/// One key and its value.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    source: Source<'a>,
    section: String,
    pub key: &'a str,
    line: usize,
    pub value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    pub fn error(&self, message: impl Into<String>) -> FleetError {
        self.source.error(self.line, format!("{}{}: {}", prefix(&self.section), self.key, message.into()))
    }

    pub fn place(&self) -> String {
        format!("{} line {}", self.source.path, self.line)
    }

    /// A text that is not empty.
    pub fn text(&self) -> Result<&'a str, FleetError> {
        match self.value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Ok(text),
            DeValue::String(_) => Err(self.error("is empty")),
            other => Err(self.error(format!("expected a text in quotes, not {}", other.type_str()))),
        }
    }

    /// A text, or a list of them.
    pub fn texts(&self) -> Result<Vec<&'a str>, FleetError> {
        let DeValue::Array(items) = self.value.get_ref() else { return Ok(vec![self.text()?]) };
        let text = |item: &'a Spanned<DeValue<'a>>| self.item(item).text();
        items.iter().map(text).collect()
    }

    /// A list of days.
    pub fn dates(&self) -> Result<Vec<Date>, FleetError> {
        let DeValue::Array(items) = self.value.get_ref() else {
            return Err(self.error("expected a list of days, such as [2026-12-25, 2026-12-26]"));
        };
        items.iter().map(|item| self.item(item).date()).collect()
    }

    /// One value of a list, with its own line.
    fn item(&self, item: &'a Spanned<DeValue<'a>>) -> Self {
        Self { line: self.source.line(item.span().start), value: item, ..self.clone() }
    }

    /// The values of a table whose keys are names of the user's, in the order of the file.
    pub fn named(&self, example: &str) -> Result<Vec<(String, Self)>, FleetError> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.error(format!("expected a table such as {example}")));
        };
        let section = format!("{}{}", prefix(&self.section), self.key);
        let mut named: Vec<_> = table.iter().collect();
        named.sort_by_key(|(name, _)| name.span().start);
        let field = |(name, value): (&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            let line = self.source.line(name.span().start);
            let key: &'a str = name.get_ref();
            (key.to_owned(), Self { section: section.clone(), key, line, value, ..self.clone() })
        };
        Ok(named.into_iter().map(field).collect())
    }

    pub fn boolean(&self) -> Result<bool, FleetError> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(self.error(format!("expected true or false, not {}", other.type_str()))),
        }
    }

    /// A number, bare or in quotes.
    pub fn decimal(&self) -> Result<Decimal, FleetError> {
        let text = match self.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
            DeValue::Float(number) => number.as_str().replace('_', ""),
            other => return Err(self.error(format!("expected a number, not {}", other.type_str()))),
        };
        plain_decimal(&text).map_err(|message| self.error(message))
    }

    /// An amount of money or a price: a number in quotes.
    pub fn amount(&self) -> Result<Decimal, FleetError> {
        match self.value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => {
                Err(self.error("money is written in quotes, such as \"1234.50\""))
            }
            _ => self.decimal(),
        }
    }

    pub fn amount_not_negative(&self) -> Result<Decimal, FleetError> {
        let amount = self.amount()?;
        if amount < Decimal::ZERO {
            return Err(self.error(format!("{amount} is negative; expected zero or more")));
        }
        Ok(amount)
    }

    pub fn count(&self, max: u32) -> Result<u32, FleetError> {
        let wrong = || self.error(format!("expected a whole number from 0 to {max}"));
        match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => {
                let count = number.as_str().replace('_', "").parse::<u32>().map_err(|_| wrong())?;
                if count <= max { Ok(count) } else { Err(wrong()) }
            }
            _ => Err(wrong()),
        }
    }

    /// A day, bare or in quotes.
    pub fn date(&self) -> Result<Date, FleetError> {
        let text = match self.value.get_ref() {
            DeValue::Datetime(day) => day.to_string(),
            DeValue::String(day) => day.to_string(),
            other => return Err(self.error(format!("expected a day, not {}", other.type_str()))),
        };
        text.parse().ok().filter(|_| text.len() == 10).ok_or_else(|| {
            self.error(format!("{text:?} is not a day; expected year, month and day, such as 2026-01-15"))
        })
    }

    pub fn currency(&self) -> Result<Currency, FleetError> {
        Currency::new(self.text()?).map_err(|error| self.error(error.to_string()))
    }

    pub fn time_zone(&self) -> Result<TimeZone, FleetError> {
        let name = self.text()?;
        TimeZone::get(name).map_err(|_| {
            self.error(format!(
                "{name:?} is not a time zone that this system knows; expected one such as \"Europe/Berlin\""
            ))
        })
    }

    /// An inline table or a table of its own.
    pub fn section(&self, known: &[&str]) -> Result<Option<Section<'a>>, FleetError> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                Section::new(self.source, self.key, self.value.span().start, table, known).map(Some)
            }
            _ => Ok(None),
        }
    }
}
