//! `tariff`: one price, a price an hour from a file, or bands by season, day and hour.

use super::windows::{WINDOW_KEYS, windows};
use super::{Here, HourlyFile, file, same_currency};
use crate::fleet::cells::plain_decimal;
use crate::fleet::error::FleetError;
use crate::fleet::facts::Facts as _;
use crate::fleet::hourly_csv::{Columns, series};
use crate::fleet::section::{Field, Section};
use gpuledger_tco::energy::{Missing, Tariff};
use gpuledger_tco::time_of_use::{Band, Season, TimeOfUse};
use rust_decimal::Decimal;

const HOURLY_KEYS: [&str; 6] = ["file", "hour_column", "price_column", "per", "currency", "missing"];
const BAND_KEYS: [&str; 3] = ["name", "season", "per_kwh"];
const SEASON_KEYS: [&str; 3] = ["name", "from", "to"];

pub(super) fn tariff(
    field: &Field<'_>,
    here: &Here<'_>,
    hourly: &mut Option<HourlyFile>,
) -> Result<Tariff, FleetError> {
    let known = [&HOURLY_KEYS[..], &["band", "season"]].concat();
    let Some(section) = field.section(&known)? else {
        // A flat price may be negative no more than a cost: only hours of a market are.
        return Ok(Tariff::Flat { per_kwh: field.amount_not_negative()?, source: field.place() });
    };
    same_currency(&section, here)?;
    if section.has("band") {
        return time_of_use(&section, here);
    }
    if section.has("season") {
        return Err(section.missing("band", "[[site.tariff.band]] tables: what each season costs"));
    }
    let per = section.need("per", "\"MWh\" or \"kWh\"")?;
    let divisor = match per.text()? {
        "MWh" => Decimal::ONE_THOUSAND,
        "kWh" => Decimal::ONE,
        other => {
            return Err(
                per.error(format!("{other:?} is not a unit of energy here; expected \"MWh\" or \"kWh\""))
            );
        }
    };
    let file = file(&section, here.folder)?;
    let column = section.need("price_column", "\"price_per_mwh\"")?.text()?;
    let columns = Columns { hour: &file.hour_column, value: column, zone: &here.zone, divisor };
    let per_kwh = series(&file.table, &columns)?;
    let missing = match section.get("missing") {
        Some(field) => missing(&field)?,
        None => Missing::Refuse,
    };
    *hourly = Some(file);
    Ok(Tariff::Hourly { per_kwh, missing })
}

fn missing(field: &Field<'_>) -> Result<Missing, FleetError> {
    match field.text()? {
        "error" => Ok(Missing::Refuse),
        "previous" => Ok(Missing::Previous),
        other => match plain_decimal(other) {
            Ok(price) => Ok(Missing::Price(price)),
            Err(_) => Err(field.error(format!(
                "{other:?} is not a way to fill hours; expected \"error\", \"previous\" or a price per kWh"
            ))),
        },
    }
}

fn time_of_use(section: &Section<'_>, here: &Here<'_>) -> Result<Tariff, FleetError> {
    for key in ["file", "hour_column", "price_column", "per", "missing"] {
        if section.has(key) {
            return Err(
                section.wrong_at(key, "bands have prices of their own: leave one of both out".to_owned())
            );
        }
    }
    let mut seasons = Vec::new();
    for part in section.list("season", &SEASON_KEYS)? {
        seasons.push(Season {
            name: part.need_text("name", "\"summer\"")?,
            from: day_of_year(&part.need("from", "\"06-01\"")?)?,
            to: day_of_year(&part.need("to", "\"09-30\"")?)?,
        });
    }
    let mut bands = Vec::new();
    for part in section.list("band", &[&BAND_KEYS[..], &WINDOW_KEYS].concat())? {
        let name = part.need_text("name", "\"peak\"")?;
        let season = part.text("season")?;
        let per_kwh = part.amount("per_kwh")?.ok_or_else(|| part.missing("per_kwh", "\"0.31\""))?;
        for window in windows(&part)? {
            bands.push(Band { name: name.clone(), season: season.clone(), window, per_kwh });
        }
    }
    let (zone, holidays) = (here.zone.clone(), here.holidays.clone());
    let tariff = TimeOfUse { zone, seasons, holidays, bands, source: section.place() };
    tariff.check().map_err(|error| section.error(error.to_string()))?;
    Ok(Tariff::TimeOfUse(Box::new(tariff)))
}

/// Month and day as "06-01".
fn day_of_year(field: &Field<'_>) -> Result<(i8, i8), FleetError> {
    let text = field.text()?;
    // A leap year has every day that any year has.
    let day = format!("2024-{text}").parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 5);
    day.map(|day| (day.month(), day.day())).ok_or_else(|| {
        field.error(format!("{text:?} is not a day of the year; expected month and day, such as \"06-01\""))
    })
}

#[cfg(test)]
pub(super) fn every_key() -> Vec<&'static str> {
    [&HOURLY_KEYS[..], &BAND_KEYS, &SEASON_KEYS].concat()
}
