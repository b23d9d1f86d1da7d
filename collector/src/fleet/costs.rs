//! `[[overhead]]` and `capital_rate`: costs beside hardware and electricity.

use super::Root;
use super::error::FleetError;
use super::facts::{Facts as _, Key as Name};
use super::section::Section;
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::facility::{CapitalRate, Charge, Key, Overhead};
use gpuledger_tco::failures::yearly_rate;
use gpuledger_tco::money::Currency;
use jiff::civil::Date;
use rust_decimal::Decimal;

pub const KEYS: [&str; 14] = [
    "kind",
    "site",
    "per_year",
    "per_month",
    "per_gpu_year",
    "share_of_cost",
    "failures_per_gpu_year",
    "failures",
    "gpu_hours",
    "cost_per_failure",
    "shared_by",
    "currency",
    "from",
    "to",
];

/// Each of them says how an amount comes about; exactly one must stand.
const CHARGES: [Name; 6] =
    ["per_year", "per_month", "per_gpu_year", "share_of_cost", "failures_per_gpu_year", "failures"];

const SHARED_BY: [(&str, Key); 4] = [
    ("gpu_hours_in_service", Key::InService),
    ("gpu_hours_owned", Key::Owned),
    ("gpu_hours_active", Key::Active),
    ("energy", Key::Energy),
];

pub fn overheads(root: &Root<'_>, rates: &Rates) -> Result<Vec<Overhead>, FleetError> {
    let mut overheads: Vec<Overhead> = Vec::new();
    for section in root.section.list("overhead", &KEYS)? {
        let overhead = overhead(&section, root, rates)?;
        // One kind may change its amount from a day on, but never be owed twice.
        let twice = |known: &&Overhead| {
            known.kind == overhead.kind
                && known.site == overhead.site
                && known.from.is_none_or(|from| overhead.to.is_none_or(|to| from < to))
                && overhead.from.is_none_or(|from| known.to.is_none_or(|to| from < to))
        };
        if let Some(known) = overheads.iter().find(twice) {
            return Err(section.error(format!(
                "{:?} stands at {} already, for the same time: give it another kind, or say from and to",
                overhead.kind, known.source
            )));
        }
        overheads.push(overhead);
    }
    Ok(overheads)
}

fn overhead(section: &Section<'_>, root: &Root<'_>, rates: &Rates) -> Result<Overhead, FleetError> {
    let currency = section.currency("currency")?.unwrap_or(root.currency);
    let site = match section.get("site") {
        Some(_) => Some(root.sites[root.site_of(section)?].name.clone()),
        None => None,
    };
    let (from, to) = (section.date("from")?, section.date("to")?);
    if let (Some(from), Some(to)) = (from, to)
        && to <= from
    {
        let message = "expected a day after from: the first day on which it is not owed any more";
        return Err(section.wrong_at("to", message.to_owned()));
    }
    let charge = charge(section, currency)?;
    if let Some(money) = charge.money()
        && let Err(error) = rates.convert(money, root.currency, Date::MAX)
    {
        return Err(section.wrong_at("currency", format!("{error}: add an [[exchange_rate]]")));
    }
    Ok(Overhead {
        kind: section.need_text("kind", "\"staff\"")?,
        site,
        charge,
        key: section.choice("shared_by", &SHARED_BY)?.unwrap_or_default(),
        from,
        to,
        source: section.place(),
    })
}

fn charge(section: &Section<'_>, currency: Currency) -> Result<Charge, FleetError> {
    let said: Vec<Name> = CHARGES.into_iter().filter(|key| section.has(key)).collect();
    let key = match said[..] {
        [] => return Err(section.missing("per_year", "\"90000.00\"")),
        [key] => key,
        [first, second, ..] => {
            return Err(section.wrong_at(second, format!("{first} says the amount already: leave one out")));
        }
    };
    for (name, of) in [("cost_per_failure", "failures"), ("gpu_hours", "failures")] {
        if section.has(name) && !key.starts_with(of) {
            return Err(section.wrong_at(name, format!("says nothing beside {key}; it needs {of}")));
        }
    }
    let needed = || section.need_money(key, currency, "\"90000.00\"");
    Ok(match key {
        "per_year" => Charge::PerYear(needed()?),
        "per_month" => Charge::PerMonth(needed()?),
        "per_gpu_year" => Charge::PerGpuYear(needed()?),
        "share_of_cost" => Charge::ShareOfCost(section.share(key)?.unwrap_or_default()),
        _ => Charge::Failures {
            per_gpu_year: failures(section)?,
            cost: section.need_money("cost_per_failure", currency, "\"32000.00\"")?,
        },
    })
}

/// Failures of a GPU in a year: said, or observed in so many GPU-hours.
fn failures(section: &Section<'_>) -> Result<Decimal, FleetError> {
    if let Some(rate) = section.quantity("failures_per_gpu_year")? {
        if section.has("gpu_hours") {
            let message = "says nothing beside failures_per_gpu_year; it needs failures";
            return Err(section.wrong_at("gpu_hours", message.to_owned()));
        }
        return Ok(rate);
    }
    let failures = section.need_quantity("failures", "220")?;
    let hours = section.need_quantity("gpu_hours", "21233664")?;
    yearly_rate(failures, hours).map_err(|error| section.wrong_at("gpu_hours", error.to_string()))
}

pub fn capital_rate(root: &Root<'_>) -> Result<Option<CapitalRate>, FleetError> {
    let Some(field) = root.section.get("capital_rate") else { return Ok(None) };
    let rate = field.decimal()?;
    if rate < Decimal::ZERO || rate >= Decimal::ONE {
        let message =
            format!("{rate} is out of range; expected a share a year from 0 to below 1, such as \"0.06\"");
        return Err(field.error(message));
    }
    Ok(Some(CapitalRate { rate, source: field.place() }))
}
