//! `[[site.contract]]`: tariffs one after the other, without gap or overlap.

use super::tariff::tariff;
use super::{Here, HourlyFile};
use crate::fleet::error::FleetError;
use crate::fleet::facts::Facts as _;
use crate::fleet::section::Section;
use gpuledger_tco::calendar::{Calendar, HOUR_MS, UtcHour};
use gpuledger_tco::energy::{Contract, Tariff};
use jiff::civil::Date;

pub(super) const KEYS: [&str; 3] = ["from", "to", "tariff"];

pub(super) fn contracts(
    site: &Section<'_>,
    here: &Here<'_>,
    hourly: &mut Option<HourlyFile>,
) -> Result<Tariff, FleetError> {
    let calendar = Calendar::new(here.zone.clone());
    let mut contracts: Vec<Contract> = Vec::new();
    for section in site.list("contract", &KEYS)? {
        let hour = |day: Date| {
            // Where days begin within an hour of UTC, the contract begins with the next one.
            let ms = calendar.day_start_ms(day).map_err(|error| section.error(error.to_string()))?;
            let hour = ms.saturating_add(HOUR_MS - 1).div_euclid(HOUR_MS);
            u32::try_from(hour).map(UtcHour).map_err(|_| section.error(format!("{day} is before 1970")))
        };
        let (from, to) = (section.need_date("from", "2026-01-01")?, section.date("to")?);
        if to.is_some_and(|to| to <= from) {
            let message = "expected a day after from: the first day on which it does not hold any more";
            return Err(section.wrong_at("to", message.to_owned()));
        }
        contracts.push(Contract {
            from: hour(from)?,
            to: to.map(hour).transpose()?,
            tariff: tariff(&section.need("tariff", "\"0.21\"")?, here, hourly)?,
        });
        let so_far = Tariff::Contracts(contracts);
        so_far.check().map_err(|error| section.error(error.to_string()))?;
        let Tariff::Contracts(list) = so_far else { return Ok(so_far) };
        contracts = list;
    }
    Ok(Tariff::Contracts(contracts))
}
