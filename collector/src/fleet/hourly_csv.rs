//! Hourly series from CSV: one row an hour, in any order.
//!
//! An hour is written as `2024-05-01T00:00Z`, as RFC 3339, or without an offset as local time of the
//! site; a local hour that a clock change skips or repeats is refused, since nobody can tell which one
//! is meant. An empty cell is an hour without a value; so is an hour that no row speaks of. No hour may
//! stand twice.

use super::cells::{Row, Table, plain_decimal};
use super::error::FleetError;
use gpuledger_tco::calendar::{HOUR_MS, PERIOD_HOURS_MAX, UtcHour};
use gpuledger_tco::energy::Series;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// Which columns of a table to read, and how.
pub struct Columns<'a> {
    pub hour: &'a str,
    pub value: &'a str,
    /// Zone of hours that have no offset.
    pub zone: &'a TimeZone,
    /// What each value is divided by: 1000 where they are of a megawatt-hour.
    pub divisor: Decimal,
}

/// Reads one column of a table.
pub fn series(table: &Table, columns: &Columns<'_>) -> Result<Series, FleetError> {
    let (hour_at, value_at) = (table.column(columns.hour)?, table.column(columns.value)?);
    let mut hours: BTreeMap<UtcHour, (u64, Option<Decimal>)> = BTreeMap::new();
    for row in table.rows() {
        let hour = hour(&row, columns, row.at(hour_at))?;
        let value = match row.at(value_at) {
            Some(text) => Some(value(&row, columns, text)?),
            None => None,
        };
        if let Some((line, _)) = hours.insert(hour, (row.line, value)) {
            return Err(row.cell_error(columns.hour, format!("{hour} stands in line {line} already")));
        }
    }
    let (Some((&first, _)), Some((&last, _))) = (hours.first_key_value(), hours.last_key_value()) else {
        return Err(FleetError::new(table.path.clone(), "has a header and no rows"));
    };
    let length = last.0 - first.0;
    if length >= PERIOD_HOURS_MAX {
        let message = format!("spans {first} to {last}; expected at most 50 years");
        return Err(FleetError::new(table.path.clone(), message));
    }
    let value = |hour| hours.get(&UtcHour(hour)).and_then(|(_, value)| *value);
    let source = format!("{} column {}", table.path, columns.value);
    Ok(Series { first, values: (first.0..=last.0).map(value).collect(), source })
}

fn value(row: &Row<'_>, columns: &Columns<'_>, text: &str) -> Result<Decimal, FleetError> {
    let number = plain_decimal(text).map_err(|message| row.cell_error(columns.value, message))?;
    number.checked_div(columns.divisor).ok_or_else(|| row.cell_error(columns.value, "is out of range"))
}

fn hour(row: &Row<'_>, columns: &Columns<'_>, text: Option<&str>) -> Result<UtcHour, FleetError> {
    let fail = |message: String| row.cell_error(columns.hour, message);
    let text = text.ok_or_else(|| fail("is empty".to_owned()))?;
    let time = match (text.parse::<Timestamp>(), text.parse::<DateTime>()) {
        (Ok(time), _) => time,
        (_, Ok(local)) => {
            let zoned = columns.zone.to_ambiguous_timestamp(local).unambiguous();
            let zone = columns.zone.iana_name().unwrap_or("UTC");
            zoned.map_err(|_| {
                fail(format!(
                    "{text} does not exist or exists twice in {zone}, where the clock changes then; give UTC"
                ))
            })?
        }
        _ => return Err(fail(format!("{text:?} is not an hour; expected one such as 2024-05-01T00:00Z"))),
    };
    let ms = time.as_millisecond();
    let number = (ms % HOUR_MS == 0).then_some(ms / HOUR_MS).and_then(|hour| u32::try_from(hour).ok());
    number.map(UtcHour).ok_or_else(|| fail(format!("{text} is not the start of an hour from 1970 on")))
}
