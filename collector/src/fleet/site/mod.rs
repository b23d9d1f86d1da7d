//! `[[site]]`: where servers stand, what electricity costs there and what it emits.

mod carbon;
mod contract;
mod demand;
mod tariff;
#[cfg(test)]
mod tests;
mod windows;

use super::MarketCarbon;
use super::cells::Table;
use super::error::FleetError;
use super::facts::Facts as _;
use super::hourly_csv::{Columns, series};
use super::section::{Field, Section};
use gpuledger_tco::energy::Series;
use gpuledger_tco::facility::{Colocation, Overage, Site};
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::supply::{Supply, Tax};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::path::{Path, PathBuf};

pub const KEYS: [&str; 13] = [
    "name",
    "time_zone",
    "pue",
    "tariff",
    "contract",
    "holidays",
    "demand",
    "fixed_per_month",
    "taxes",
    "carbon_g_per_kwh",
    "carbon_market",
    "colocation",
    "currency",
];
const PUE_KEYS: [&str; 4] = ["file", "hour_column", "column", "otherwise"];
const COLOCATION_KEYS: [&str; 5] =
    ["contracted_kw", "price_per_kw_month", "power_included", "included_kwh_per_month", "overage_per_kwh"];

/// Above this the number is a percentage or a mistake.
const PUE_MAX: Decimal = Decimal::TEN;

/// What holds for all sites.
pub struct Defaults<'a> {
    pub folder: &'a Path,
    pub currency: Currency,
    pub time_zone: &'a TimeZone,
}

/// What the parts of one site are read with.
struct Here<'a> {
    folder: &'a Path,
    /// Of tariffs: the register's.
    currency: Currency,
    zone: TimeZone,
    holidays: Vec<Date>,
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

/// A file of hourly values, which the carbon intensity may share with the tariff.
struct HourlyFile {
    table: Table,
    hour_column: String,
}

pub fn site(
    section: &Section<'_>,
    defaults: &Defaults<'_>,
) -> Result<(Site, Option<MarketCarbon>), FleetError> {
    let zone = section.get("time_zone").map(|field| field.time_zone()).transpose()?;
    let mut holidays = section.get("holidays").map(|field| field.dates()).transpose()?.unwrap_or_default();
    holidays.sort();
    holidays.dedup();
    let zone = zone.unwrap_or_else(|| defaults.time_zone.clone());
    let here = Here { folder: defaults.folder, currency: defaults.currency, zone, holidays };
    // Of contracts and amounts by month; prices of energy are in the register's.
    let paid_in = section.currency("currency")?.unwrap_or(defaults.currency);
    let mut hourly = None;
    let tariff = match (section.get("tariff"), section.get("contract")) {
        (Some(_), Some(contract)) => {
            return Err(contract.error("says the tariff of each time: leave tariff out"));
        }
        (Some(field), None) => Some(tariff::tariff(&field, &here, &mut hourly)?),
        (None, Some(_)) => Some(contract::contracts(section, &here, &mut hourly)?),
        (None, None) => None,
    };
    let intensity = match section.get("carbon_g_per_kwh") {
        Some(field) => Some(carbon::intensity(&field, &here, hourly.as_ref())?),
        None => None,
    };
    let (pue, by_hour) = match section.get("pue") {
        Some(field) => pue(&field, &here)?,
        None => (Decimal::ONE, None),
    };
    let site = Site {
        name: section.need("name", "\"dc1\"")?.text()?.to_owned(),
        pue,
        tariff,
        intensity,
        colocation: match section.get("colocation") {
            Some(field) => Some(colocation(&field, paid_in)?),
            None => None,
        },
        supply: Supply { pue: by_hour, ..supply(section, &here, paid_in)? },
        source: section.place(),
    };
    let market = section.get("carbon_market").map(|field| carbon::market(&field)).transpose()?;
    Ok((site, market))
}

/// Demand, fixed amounts and taxes.
fn supply(section: &Section<'_>, here: &Here<'_>, paid_in: Currency) -> Result<Supply, FleetError> {
    let fixed = section.get("fixed_per_month");
    let mut taxes = Vec::new();
    if let Some(field) = section.get("taxes") {
        for (name, field) in field.named("{ vat = 0.19 }")? {
            let share = field.decimal()?;
            if share < Decimal::ZERO || share > Decimal::ONE {
                let message = format!("{share} is out of range; expected a share from 0 to 1: 19 % is 0.19");
                return Err(field.error(message));
            }
            taxes.push(Tax { name, share, source: field.place() });
        }
    }
    Ok(Supply {
        pue: None,
        demand: section.get("demand").map(|field| demand::demand(&field, here, paid_in)).transpose()?,
        fixed_per_month: match fixed {
            Some(field) => Some((Money::new(field.amount_not_negative()?, paid_in), field.place())),
            None => None,
        },
        taxes,
    })
}

/// One PUE, or one for each hour with what holds for the hours that the file does not have.
fn pue(field: &Field<'_>, here: &Here<'_>) -> Result<(Decimal, Option<Series>), FleetError> {
    let checked = |field: &Field<'_>, pue: Decimal| {
        if pue < Decimal::ONE || pue > PUE_MAX {
            let message =
                format!("{pue} is out of range; expected energy of the site over energy of its IT, 1 to 10");
            return Err(field.error(message));
        }
        Ok(pue)
    };
    let Some(section) = field.section(&PUE_KEYS)? else {
        return Ok((checked(field, field.decimal()?)?, None));
    };
    let otherwise = section.need("otherwise", "1.3 (for hours that the file does not have)")?;
    let file = file(&section, here.folder)?;
    let column = section.need("column", "\"pue\"")?;
    let columns =
        Columns { hour: &file.hour_column, value: column.text()?, zone: &here.zone, divisor: Decimal::ONE };
    let by_hour = series(&file.table, &columns)?;
    if let Some(wrong) = by_hour.values.iter().flatten().find(|pue| **pue < Decimal::ONE || **pue > PUE_MAX) {
        let place = file.table.path.as_str();
        return Err(column.error(format!("{place} has a PUE of {wrong}; expected 1 to 10 in every hour")));
    }
    Ok((checked(&otherwise, otherwise.decimal()?)?, Some(by_hour)))
}

fn file(section: &Section<'_>, folder: &Path) -> Result<HourlyFile, FleetError> {
    let field = section.need("file", "\"prices.csv\"")?;
    let table = table(&field, folder)?;
    let hour_column = section.need("hour_column", "\"hour_utc\"")?.text()?.to_owned();
    Ok(HourlyFile { table, hour_column })
}

/// The CSV file that a key names, relative to the register's folder.
fn table(field: &Field<'_>, folder: &Path) -> Result<Table, FleetError> {
    let path: PathBuf = folder.join(field.text()?);
    let text = super::read_file(&path).map_err(|error| field.error(error.to_string()))?;
    Table::read(&path, &text)
}

/// The price of the energy in a tariff is in the register's currency.
fn same_currency(section: &Section<'_>, here: &Here<'_>) -> Result<(), FleetError> {
    let Some(field) = section.get("currency") else { return Ok(()) };
    let currency = field.currency()?;
    if currency == here.currency {
        return Ok(());
    }
    Err(field.error(format!("{currency} is not the currency of the register, {}", here.currency)))
}

fn colocation(field: &Field<'_>, currency: Currency) -> Result<Colocation, FleetError> {
    let section = field.section(&COLOCATION_KEYS)?;
    let section = section.ok_or_else(|| {
        field.error("expected { contracted_kw = 40, price_per_kw_month = \"180.00\", power_included = true }")
    })?;
    let contracted_kw = section.need_quantity("contracted_kw", "40")?;
    let power_included =
        section.need("power_included", "true where the price pays for electricity too")?.boolean()?;
    let included = section.quantity("included_kwh_per_month")?;
    let overage = match (included, section.money("overage_per_kwh", currency)?) {
        (None, None) => None,
        (Some(included_kwh_per_month), Some(per_kwh)) => Some(Overage { included_kwh_per_month, per_kwh }),
        (Some(_), None) => return Err(section.missing("overage_per_kwh", "\"0.25\"")),
        (None, Some(_)) => return Err(section.missing("included_kwh_per_month", "20000")),
    };
    if overage.is_some() && !power_included {
        let message =
            "energy is included only with power_included = true; else the tariff pays for all of it";
        return Err(section.wrong_at("included_kwh_per_month", message.to_owned()));
    }
    Ok(Colocation {
        contracted_kw,
        price_per_kw_month: section.need_money("price_per_kw_month", currency, "\"180.00\"")?,
        power_included,
        overage,
        source: section.place(),
    })
}

#[cfg(test)]
pub(super) fn every_key() -> Vec<&'static str> {
    let mut keys =
        [&KEYS[..], &PUE_KEYS, &COLOCATION_KEYS, &windows::WINDOW_KEYS, &demand::KEYS, &contract::KEYS]
            .concat();
    keys.extend(tariff::every_key());
    keys.extend(carbon::every_key());
    keys
}
