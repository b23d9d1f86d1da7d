//! Emissions: of the grid at the place and hour, and of what was contracted.

use super::{Here, HourlyFile, file};
use crate::fleet::error::FleetError;
use crate::fleet::facts::Facts as _;
use crate::fleet::hourly_csv::{Columns, series};
use crate::fleet::section::Field;
use crate::fleet::{CarbonContract, MarketCarbon};
use gpuledger_tco::carbon::Instrument;
use gpuledger_tco::energy::Intensity;
use rust_decimal::Decimal;

const GRID_KEYS: [&str; 3] = ["file", "hour_column", "column"];
const MARKET_KEYS: [&str; 2] = ["residual_g_per_kwh", "contract"];
const CONTRACT_KEYS: [&str; 5] = ["name", "kwh", "g_per_kwh", "from", "to"];

/// Location-based: one intensity, or a column of the tariff's file or of another.
pub(super) fn intensity(
    field: &Field<'_>,
    here: &Here<'_>,
    hourly: Option<&HourlyFile>,
) -> Result<Intensity, FleetError> {
    let Some(section) = field.section(&GRID_KEYS)? else {
        let g_per_kwh = field.decimal()?;
        if g_per_kwh < Decimal::ZERO {
            return Err(field.error(format!("{g_per_kwh} is negative; expected grams per kWh")));
        }
        return Ok(Intensity::Flat { g_per_kwh, source: field.place() });
    };
    let own = section.get("file").map(|_| file(&section, here.folder)).transpose()?;
    let file = own
        .as_ref()
        .or(hourly)
        .ok_or_else(|| section.error("file is missing, and the tariff has none that could be meant"))?;
    let hour_column = match section.get("hour_column") {
        Some(field) => field.text()?,
        None => &file.hour_column,
    };
    let column = section.need("column", "\"carbon_g_per_kwh\"")?.text()?;
    let columns = Columns { hour: hour_column, value: column, zone: &here.zone, divisor: Decimal::ONE };
    Ok(Intensity::Hourly(series(&file.table, &columns)?))
}

/// Market-based: certificates and contracts, and the mix of what they do not cover.
pub(super) fn market(field: &Field<'_>) -> Result<MarketCarbon, FleetError> {
    let section = field.section(&MARKET_KEYS)?;
    let section = section.ok_or_else(|| field.error("expected { residual_g_per_kwh = 420 }"))?;
    let mut contracts = Vec::new();
    for part in section.list("contract", &CONTRACT_KEYS)? {
        let contract = CarbonContract {
            instrument: Instrument {
                name: part.need_text("name", "\"guarantees of origin, wind, 2026\"")?,
                kwh: part.need_quantity("kwh", "1200000")?,
                g_per_kwh: part.quantity("g_per_kwh")?.unwrap_or_default(),
            },
            from: part.need_date("from", "2026-01-01")?,
            to: part.need_date("to", "2027-01-01")?,
            source: part.place(),
        };
        if contract.to <= contract.from {
            let message = "expected a day after from: the first day that it does not cover any more";
            return Err(part.wrong_at("to", message.to_owned()));
        }
        contracts.push(contract);
    }
    Ok(MarketCarbon {
        residual_g_per_kwh: section.need_quantity("residual_g_per_kwh", "420")?,
        contracts,
        source: section.place(),
    })
}

#[cfg(test)]
pub(super) fn every_key() -> Vec<&'static str> {
    [&GRID_KEYS[..], &MARKET_KEYS, &CONTRACT_KEYS].concat()
}
