//! Assets as lines of a table: CSV files of finance, and the ledger's documents, which hold the same.
//!
//! A line is a component; lines of one `serial` are one asset, each with a name under `component`. The
//! columns are the keys of `[[asset]]` in the register: see [`super::words`]. A file is read and checked
//! whole before anything of it is used.

use super::entry::{Unsaid, Written, entry};
use super::words::{COMPONENT, CONVENTIONS, DUE, FINANCING, ITEM, METHODS, Method, Paid, UNITS, word};
use super::{Entry, Tax};
use crate::fleet::cells::{Row, Table};
use crate::fleet::error::FleetError;
use crate::fleet::locale::Locale;
use gpuledger_tco::asset::Place;
use gpuledger_tco::books::BookMethod;
use gpuledger_tco::books::terms::Change;
use gpuledger_tco::register::{Component, Financing};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of a component, the only column that `[[asset]]` does not have.
const NAME: &str = "component";

/// All columns, in the order in which they are written.
pub fn columns() -> Vec<&'static str> {
    let (serial, rest) = (&ITEM[..1], &ITEM[1..]);
    [serial, &[NAME], &rest[..5], &COMPONENT, &rest[5..]].concat()
}

/// Every asset of a file, checked.
pub fn read_assets(path: &Path, text: &str, locale: Locale) -> Result<Vec<Entry>, FleetError> {
    let table = Table::read_as(path, text, locale)?;
    let entries = entries(&table)?;
    if entries.is_empty() {
        return Err(FleetError::new(table.path, "has a header and no assets"));
    }
    Ok(entries)
}

fn entries(table: &Table) -> Result<Vec<Entry>, FleetError> {
    table.only(&columns())?;
    let mut items: Vec<Vec<Row<'_>>> = Vec::new();
    let mut position: BTreeMap<String, usize> = BTreeMap::new();
    for row in table.rows() {
        let serial = row.need("serial")?.to_owned();
        if let Some(rows) = position.get(&serial).and_then(|&at| items.get_mut(at)) {
            agree(&rows[0], &row)?;
            distinct(rows, &row)?;
            rows.push(row);
        } else {
            position.insert(serial, items.len());
            items.push(vec![row]);
        }
    }
    items.iter().map(|rows| of_rows(rows)).collect()
}

fn of_rows(rows: &[Row<'_>]) -> Result<Entry, FleetError> {
    let name = |row: &Row<'_>| row.get(NAME).unwrap_or_default().to_owned();
    let parts = rows.iter().map(|row| (name(row), row)).collect();
    let unsaid = Unsaid { currency: None, site: None };
    entry(&Written { item: &rows[0], parts, events: &[] }, &unsaid)
}

/// Refuses a line that says something else of the whole item than the first one.
fn agree(first: &Row<'_>, row: &Row<'_>) -> Result<(), FleetError> {
    for key in ITEM {
        if let (here, Some(own)) = (first.get(key), row.get(key))
            && here != Some(own)
        {
            let here = here.unwrap_or("empty");
            let message =
                format!("{own:?}, while it is {here} in line {}: a serial is one asset", first.line);
            return Err(row.cell_error(key, message));
        }
    }
    Ok(())
}

/// Refuses a component that is there already.
fn distinct(rows: &[Row<'_>], row: &Row<'_>) -> Result<(), FleetError> {
    let Some(first) = rows.iter().find(|known| known.get(NAME) == row.get(NAME)) else { return Ok(()) };
    let key = if row.get(NAME).is_some() { NAME } else { "serial" };
    let what = row.get(key).unwrap_or_default();
    let mut message = format!("{what:?} stands in line {} already", first.line);
    if key == "serial" {
        message.push_str("; parts of one asset have names under component");
    }
    Err(row.cell_error(key, message))
}

/// A value, as a file of any locale can have it.
enum Cell {
    Text(String),
    Number(Decimal),
    Day(Date),
}

impl Cell {
    fn write(&self, locale: &Locale) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => locale.write_number(*number),
            Self::Day(day) => locale.write_date(*day),
        }
    }
}

fn count(number: u32) -> Cell {
    Cell::Number(Decimal::from(number))
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// The lines of an entry. What a table has no column for (events beside a sale, economic value) is told
/// by [`unwritten`].
fn rows(entry: &Entry) -> Vec<BTreeMap<&'static str, Cell>> {
    let of = |(component, tax): (&Component, &Option<Tax>)| {
        let mut row = item_cells(entry);
        component_cells(component, tax.as_ref(), &mut row);
        row
    };
    entry.item.components.iter().zip(&entry.tax).map(of).collect()
}

fn item_cells(entry: &Entry) -> BTreeMap<&'static str, Cell> {
    let item = &entry.item;
    let mut row = BTreeMap::from([("serial", text(&item.serial)), ("purchased", Cell::Day(item.purchased))]);
    match &item.place {
        Place::Node(node) => row.insert("node", text(node)),
        Place::Site(site) => row.insert("site", text(site)),
    };
    if let Some(model) = &item.model {
        row.insert("model", text(model));
    }
    let mut paid = |kind, rate: Decimal, months, first: gpuledger_tco::calendar::Month| {
        row.insert("financing", text(word(&FINANCING, &kind)));
        row.insert("interest_rate", Cell::Number(rate));
        row.insert("term_months", count(months));
        row.insert("first_month", Cell::Text(first.to_string()));
    };
    match item.financing {
        Financing::Cash => {}
        Financing::Loan { principal, rate, months, first } => {
            paid(Paid::Loan, rate, months, first);
            row.insert("principal", Cell::Number(principal));
        }
        Financing::Lease { payment, rate, months, first, when } => {
            paid(Paid::Lease, rate, months, first);
            row.insert("payment_per_month", Cell::Number(payment));
            row.insert("payment_due", text(word(&DUE, &when)));
        }
    }
    row
}

fn component_cells(component: &Component, tax: Option<&Tax>, row: &mut BTreeMap<&'static str, Cell>) {
    if !component.name.is_empty() {
        row.insert(NAME, text(&component.name));
    }
    row.insert("currency", text(component.cost.currency.code()));
    row.insert("gpus", count(component.gpus));
    row.insert("cost", Cell::Number(component.cost.amount));
    row.insert("salvage", Cell::Number(component.salvage.amount));
    row.insert("life_months", count(component.life_months));
    if let Some(day) = component.in_service {
        row.insert("in_service", Cell::Day(day));
    }
    let terms = &component.terms;
    row.insert("convention", text(word(&CONVENTIONS, &terms.convention)));
    row.insert("method", text(word(&METHODS, &Method::of(&terms.method))));
    match &terms.method {
        BookMethod::Declining { factor, switch } if Method::of(&terms.method) == Method::Declining => {
            row.insert("declining_factor", Cell::Number(*factor));
            row.insert("switch_to_straight_line", text(if *switch { "true" } else { "false" }));
        }
        BookMethod::Units(units) => {
            row.insert("unit", text(word(&UNITS, &units.unit)));
            row.insert("life_units", Cell::Number(units.life));
        }
        _ => {}
    }
    if let Some(tax) = tax {
        let (class, years) = tax.class();
        row.insert("tax_class", text(class));
        row.insert("bonus", Cell::Number(tax.bonus));
        if let Some(years) = years {
            row.insert("tax_life_years", count(years));
        }
    }
    for event in &terms.events {
        if let Change::Disposal { share, proceeds, selling_cost } = event.what
            && share == Decimal::ONE
        {
            row.insert("disposed", Cell::Day(event.on));
            row.insert("proceeds", Cell::Number(proceeds));
            row.insert("selling_cost", Cell::Number(selling_cost));
        }
    }
}

/// What of an entry a table cannot hold; `None` where it holds all of it.
pub fn unwritten(entry: &Entry) -> Option<String> {
    let whole = |change: &Change| matches!(change, Change::Disposal { share, .. } if *share == Decimal::ONE);
    let events = entry.item.components.iter().flat_map(|component| &component.terms.events);
    let events = events.filter(|event| !whole(&event.what)).count();
    let mut parts = Vec::new();
    if events > 0 {
        parts.push(format!("events: {events}"));
    }
    if entry.economy.is_some() {
        parts.push("economic value".to_owned());
    }
    (!parts.is_empty()).then(|| format!("{} ({})", entry.item.serial, parts.join(", ")))
}

/// Entries as a CSV file of a locale.
pub fn write_assets(entries: &[Entry], locale: &Locale) -> Result<String, csv::Error> {
    let delimiter = u8::try_from(locale.delimiter).unwrap_or(b',');
    let mut out = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    let columns = columns();
    out.write_record(&columns)?;
    for row in entries.iter().flat_map(rows) {
        let cell = |column| row.get(column).map_or_else(String::new, |cell| cell.write(locale));
        out.write_record(columns.iter().copied().map(cell))?;
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    String::from_utf8(bytes).map_err(|error| std::io::Error::other(error).into())
}

/// An asset as the ledger keeps it: its lines, and where they stood.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rows: Vec<BTreeMap<String, String>>,
    source: String,
}

pub fn to_document(entry: &Entry) -> Result<String, FleetError> {
    let written = |row: BTreeMap<&'static str, Cell>| {
        row.into_iter().map(|(key, cell)| (key.to_owned(), cell.write(&Locale::ISO))).collect()
    };
    let document =
        Document { rows: rows(entry).into_iter().map(written).collect(), source: entry.item.source.clone() };
    serde_json::to_string(&document)
        .map_err(|error| FleetError::new(entry.item.source.clone(), format!("cannot be stored: {error}")))
}

/// The entry of a document, checked again: it may be of another version.
pub fn from_document(serial: &str, document: &str) -> Result<Entry, FleetError> {
    let place = format!("ledger: asset {serial}");
    let fail = |reason: String| {
        FleetError::new(place.clone(), format!("cannot be read ({reason}); import it again"))
    };
    let document = parse(document).map_err(|error| fail(error.to_string()))?;
    let columns = columns();
    if let Some(unknown) =
        document.rows.iter().flat_map(BTreeMap::keys).find(|key| !columns.contains(&key.as_str()))
    {
        return Err(fail(format!("unknown fact {unknown:?}")));
    }
    let row = |row: BTreeMap<String, String>| {
        columns.iter().map(|column| row.get(*column).cloned().unwrap_or_default()).collect()
    };
    let held = document.rows.into_iter().map(row).collect();
    let table = Table::held(&place, columns.iter().map(|column| (*column).to_owned()).collect(), held);
    let mut entries = entries(&table).map_err(|error| fail(error.to_string()))?.into_iter();
    let (Some(mut entry), None) = (entries.next(), entries.next()) else {
        return Err(fail("it is not one asset".to_owned()));
    };
    for event in entry.item.components.iter_mut().flat_map(|component| &mut component.terms.events) {
        event.source.clone_from(&document.source);
    }
    entry.item.source = document.source;
    Ok(entry)
}

/// Ledgers of version 0.1 have one flat object an asset.
fn parse(document: &str) -> Result<Document, serde_json::Error> {
    use serde_json::Value;
    let value: Value = serde_json::from_str(document)?;
    let Value::Object(fields) = &value else { return serde_json::from_value(value) };
    if fields.contains_key("rows") || !fields.contains_key("serial") {
        return serde_json::from_value(value);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut row: BTreeMap<String, String> =
        fields.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let source = row.remove("source").unwrap_or_default();
    Ok(Document { rows: vec![row], source })
}
