//! `[[site]]`: where servers stand, what electricity costs there and what it emits.

use super::cells::Table;
use super::error::FleetError;
use super::hourly_csv::{Columns, series};
use super::section::{Field, Section};
use gpuledger_tco::energy::{Intensity, Missing, Tariff};
use gpuledger_tco::facility::{Colocation, Site};
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::supply::Supply;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::path::{Path, PathBuf};

pub const KEYS: [&str; 6] = ["name", "time_zone", "pue", "tariff", "carbon_g_per_kwh", "colocation"];
const TARIFF_KEYS: [&str; 6] = ["file", "hour_column", "price_column", "per", "currency", "missing"];
const CARBON_KEYS: [&str; 3] = ["file", "hour_column", "column"];
const COLOCATION_KEYS: [&str; 3] = ["contracted_kw", "price_per_kw_month", "power_included"];

/// Above this the number is a percentage or a mistake.
const PUE_MAX: Decimal = Decimal::TEN;

/// What holds for all sites.
pub struct Defaults<'a> {
    pub folder: &'a Path,
    pub currency: Currency,
    pub time_zone: &'a TimeZone,
}

/// The site of a register that names none.
pub fn unnamed() -> Site {
    Site {
        name: "default".to_owned(),
        pue: Decimal::ONE,
        tariff: None,
        intensity: None,
        colocation: None,
        supply: Supply::default(),
        source: "no site in the register".to_owned(),
    }
}

/// The file of hourly prices, which the carbon intensity may share.
struct HourlyFile {
    table: Table,
    hour_column: String,
}

pub fn site(section: &Section<'_>, defaults: &Defaults<'_>) -> Result<Site, FleetError> {
    let zone = section.get("time_zone").map(|field| field.time_zone()).transpose()?;
    let zone = zone.unwrap_or_else(|| defaults.time_zone.clone());
    let mut hourly = None;
    let tariff = match section.get("tariff") {
        Some(field) => Some(tariff(&field, defaults, &zone, &mut hourly)?),
        None => None,
    };
    let intensity = match section.get("carbon_g_per_kwh") {
        Some(field) => Some(intensity(&field, defaults, &zone, hourly.as_ref())?),
        None => None,
    };
    Ok(Site {
        name: section.need("name", "\"dc1\"")?.text()?.to_owned(),
        pue: match section.get("pue") {
            Some(field) => pue(&field)?,
            None => Decimal::ONE,
        },
        tariff,
        intensity,
        colocation: match section.get("colocation") {
            Some(field) => Some(colocation(&field, defaults.currency)?),
            None => None,
        },
        supply: Supply::default(),
        source: section.place(),
    })
}

fn pue(field: &Field<'_>) -> Result<Decimal, FleetError> {
    let pue = field.decimal()?;
    if pue < Decimal::ONE || pue > PUE_MAX {
        let message =
            format!("{pue} is out of range; expected energy of the site over energy of its IT, 1 to 10");
        return Err(field.error(message));
    }
    Ok(pue)
}

fn tariff(
    field: &Field<'_>,
    defaults: &Defaults<'_>,
    zone: &TimeZone,
    hourly: &mut Option<HourlyFile>,
) -> Result<Tariff, FleetError> {
    let Some(section) = field.section(&TARIFF_KEYS)? else {
        // A flat price may be negative no more than a cost: only hours of a market are.
        return Ok(Tariff::Flat { per_kwh: field.amount_not_negative()?, source: field.place() });
    };
    if let Some(field) = section.get("currency") {
        let currency = field.currency()?;
        if currency != defaults.currency {
            let message = format!("{currency} is not the currency of the register, {}", defaults.currency);
            return Err(field.error(message));
        }
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
    let file = file(&section, defaults.folder)?;
    let column = section.need("price_column", "\"price_per_mwh\"")?.text()?;
    let columns = Columns { hour: &file.hour_column, value: column, zone, divisor };
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
        other => match super::cells::plain_decimal(other) {
            Ok(price) => Ok(Missing::Price(price)),
            Err(_) => Err(field.error(format!(
                "{other:?} is not a way to fill hours; expected \"error\", \"previous\" or a price per kWh"
            ))),
        },
    }
}

fn file(section: &Section<'_>, folder: &Path) -> Result<HourlyFile, FleetError> {
    let field = section.need("file", "\"prices.csv\"")?;
    let table = table(&field, folder)?;
    let hour_column = section.need("hour_column", "\"hour_utc\"")?.text()?.to_owned();
    Ok(HourlyFile { table, hour_column })
}

/// The CSV file that a key names, relative to the register's folder.
pub fn table(field: &Field<'_>, folder: &Path) -> Result<Table, FleetError> {
    let path: PathBuf = folder.join(field.text()?);
    let text = super::read_file(&path).map_err(|error| field.error(error.to_string()))?;
    Table::read(&path, &text)
}

fn intensity(
    field: &Field<'_>,
    defaults: &Defaults<'_>,
    zone: &TimeZone,
    hourly: Option<&HourlyFile>,
) -> Result<Intensity, FleetError> {
    let Some(section) = field.section(&CARBON_KEYS)? else {
        let g_per_kwh = field.decimal()?;
        if g_per_kwh < Decimal::ZERO {
            return Err(field.error(format!("{g_per_kwh} is negative; expected grams per kWh")));
        }
        return Ok(Intensity::Flat { g_per_kwh, source: field.place() });
    };
    let own = section.get("file").map(|_| file(&section, defaults.folder)).transpose()?;
    let file = own
        .as_ref()
        .or(hourly)
        .ok_or_else(|| section.error("file is missing, and the tariff has none that could be meant"))?;
    let hour_column = match section.get("hour_column") {
        Some(field) => field.text()?,
        None => &file.hour_column,
    };
    let column = section.need("column", "\"carbon_g_per_kwh\"")?.text()?;
    let columns = Columns { hour: hour_column, value: column, zone, divisor: Decimal::ONE };
    Ok(Intensity::Hourly(series(&file.table, &columns)?))
}

fn colocation(field: &Field<'_>, currency: Currency) -> Result<Colocation, FleetError> {
    let Some(section) = field.section(&COLOCATION_KEYS)? else {
        let message =
            "expected { contracted_kw = 40, price_per_kw_month = \"180.00\", power_included = false }";
        return Err(field.error(message));
    };
    let kw = section.need("contracted_kw", "40")?;
    let contracted_kw = kw.decimal()?;
    if contracted_kw <= Decimal::ZERO {
        return Err(kw.error(format!("{contracted_kw} is not a power above zero")));
    }
    let price = section.need("price_per_kw_month", "\"180.00\"")?;
    Ok(Colocation {
        contracted_kw,
        price_per_kw_month: Money::new(price.amount_not_negative()?, currency),
        power_included: section.need("power_included", "true or false")?.boolean()?,
        overage: None,
        source: section.place(),
    })
}
