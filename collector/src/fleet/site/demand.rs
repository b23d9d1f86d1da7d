//! `demand`: what power costs beside energy.

use super::Here;
use super::windows::{WINDOW_KEYS, windows};
use crate::fleet::error::FleetError;
use crate::fleet::facts::{Facts as _, month};
use crate::fleet::section::Field;
use gpuledger_tco::money::Currency;
use gpuledger_tco::supply::Demand;
use rust_decimal::Decimal;

pub(super) const KEYS: [&str; 5] = ["per_kw_month", "interval_minutes", "window", "ratchet", "metered_kw"];

/// Minutes over which a utility averages power.
const INTERVALS: [u32; 3] = [15, 30, 60];

pub(super) fn demand(field: &Field<'_>, here: &Here<'_>, currency: Currency) -> Result<Demand, FleetError> {
    let section = field.section(&KEYS)?;
    let section = section.ok_or_else(|| field.error("expected { per_kw_month = \"14.50\" }"))?;
    let mut metered = Vec::new();
    if let Some(field) = section.get("metered_kw") {
        for (name, field) in field.named("{ \"2026-01\" = 412 }")? {
            let month = month(&name)
                .ok_or_else(|| field.error("is not a month; expected year and month, such as \"2026-01\""))?;
            let kw = field.decimal()?;
            if kw < Decimal::ZERO {
                return Err(field.error(format!("{kw} is negative; expected the highest kW of the month")));
            }
            metered.push((month, kw));
        }
    }
    let interval = section.count("interval_minutes", 60)?.unwrap_or(60);
    if !INTERVALS.contains(&interval) {
        let message = format!("{interval} is no interval of a meter; expected 15, 30 or 60");
        return Err(section.wrong_at("interval_minutes", message));
    }
    if interval < 60 && metered.is_empty() {
        // The ledger's grid is the hour; a shorter peak is the meter's to say.
        let message = format!(
            "the ledger knows power by the hour, and the highest {interval} minutes are higher: add \
             metered_kw = {{ \"2026-01\" = 412 }} from the bill, or leave interval_minutes out to take hours"
        );
        return Err(section.wrong_at("interval_minutes", message));
    }
    let mut counted = Vec::new();
    for window in section.list("window", &WINDOW_KEYS)? {
        counted.extend(windows(&window)?);
    }
    Ok(Demand {
        per_kw: section.need_money("per_kw_month", currency, "\"14.50\"")?,
        windows: counted,
        zone: here.zone.clone(),
        holidays: here.holidays.clone(),
        ratchet: section.share("ratchet")?.unwrap_or_default(),
        metered,
        source: section.place(),
    })
}
