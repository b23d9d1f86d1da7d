//! `[[asset]]` and `[[binding]]` of the register, and the CSV files beside them.

use super::economic::{self, Market, economy};
use super::entry::{Unsaid, Written, entry};
use super::table::read_assets;
use super::terms::EVENT_KEYS;
use super::words::{COMPONENT, ITEM};
use super::{Entry, Holdings};
use crate::fleet::cells::Table;
use crate::fleet::error::FleetError;
use crate::fleet::facts::Facts;
use crate::fleet::locale::Locale;
use crate::fleet::section::Section;
use crate::fleet::{Root, read_file};
use gpuledger_tco::asset::Place;
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::register::Binding;
use std::collections::BTreeMap;

pub const BINDING_KEYS: [&str; 5] = ["serial", "node", "slot", "from", "to"];
/// Highest slot of a server.
const SLOT_MAX: u32 = 1_023;

pub(in crate::fleet) fn holdings(root: &Root<'_>, market: &Market<'_>) -> Result<Holdings, FleetError> {
    let mut entries = Vec::new();
    for (path, field) in root.files("assets")? {
        let text = read_file(&path).map_err(|error| field.error(error.to_string()))?;
        entries.extend(read_assets(&path, &text, Locale::ISO)?);
    }
    for section in root.section.list("asset", &keys(&["component", "event", "economic"]))? {
        entries.push(asset(&section, root, market)?);
    }
    check(&entries, root, market.rates)?;
    let holdings = Holdings { entries, bindings: bindings(root)? };
    if let Some(mistake) = gpuledger_tco::register::check_bindings(&holdings.bindings).first() {
        return Err(at_last_place(&mistake.to_string(), &holdings.bindings));
    }
    holdings.assets().map_err(|error| root.section.error(error.to_string()))?;
    Ok(holdings)
}

/// Keys of an asset with those that only one kind of table has.
fn keys(more: &[&'static str]) -> Vec<&'static str> {
    [&ITEM[..], &COMPONENT, more].concat()
}

fn asset(section: &Section<'_>, root: &Root<'_>, market: &Market<'_>) -> Result<Entry, FleetError> {
    let component_keys = [&["name"], &COMPONENT[..]].concat();
    let components = section.list("component", &component_keys)?;
    let mut parts: Vec<(String, &Section<'_>)> = Vec::new();
    for component in &components {
        let name = component.need_text("name", "\"gpu-tray\"")?;
        if name.contains(['/', '@']) {
            return Err(component.wrong_at("name", format!("{name:?} has a / or an @: leave them out")));
        }
        parts.push((name, component));
    }
    if parts.is_empty() {
        parts.push((String::new(), section));
    } else {
        for key in ["cost", "salvage", "gpus"] {
            if section.has(key) {
                return Err(section.wrong_at(key, "give it in each [[asset.component]]".to_owned()));
            }
        }
    }
    let events = section.list("event", &EVENT_KEYS)?;
    let site = (root.sites.len() == 1).then(|| root.sites[0].name.as_str());
    let unsaid = Unsaid { currency: Some(root.currency), site };
    let mut entry = entry(&Written { item: section, parts, events: &events }, &unsaid)?;
    if let Some(field) = section.get("economic") {
        let inline = field.section(&economic::KEYS)?;
        let inline = inline.ok_or_else(|| field.error("expected { utilization = 0.7, offer = \"…\" }"))?;
        entry.economy = Some(economy(&inline, &entry.item, market)?);
    }
    Ok(entry)
}

/// What no asset can know alone: serials, sites and currencies.
fn check(entries: &[Entry], root: &Root<'_>, rates: &Rates) -> Result<(), FleetError> {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in entries {
        let item = &entry.item;
        let wrong = |message: String| FleetError::new(item.source.replace(" line ", ":"), message);
        if let Some(first) = known.insert(&item.serial, &item.source) {
            let message = format!("asset {:?} stands at {first} already: a serial is one asset", item.serial);
            return Err(wrong(message));
        }
        if let Some(component) = item.components.first()
            && let Err(error) = rates.convert(component.cost, root.currency, item.purchased)
        {
            let (own, other) = (component.cost.currency, root.currency);
            let message =
                format!("asset {} costs {own}; give it in {other}, or its rate: {error}", item.serial);
            return Err(wrong(message));
        }
        if let Place::Site(name) = &item.place
            && !root.sites.iter().any(|site| site.name == *name)
        {
            let names: Vec<&str> = root.sites.iter().map(|site| site.name.as_str()).collect();
            return Err(wrong(format!("there is no site {name:?}; the sites are {}", names.join(", "))));
        }
    }
    Ok(())
}

fn bindings(root: &Root<'_>) -> Result<Vec<Binding>, FleetError> {
    let mut bindings = Vec::new();
    for (path, field) in root.files("bindings")? {
        let text = read_file(&path).map_err(|error| field.error(error.to_string()))?;
        let table = Table::read(&path, &text)?;
        table.only(&BINDING_KEYS)?;
        for row in table.rows() {
            bindings.push(binding(&row)?);
        }
    }
    for section in root.section.list("binding", &BINDING_KEYS)? {
        bindings.push(binding(&section)?);
    }
    Ok(bindings)
}

fn binding(facts: &impl Facts) -> Result<Binding, FleetError> {
    let binding = Binding {
        serial: facts.need_text("serial", "\"SN123\"")?,
        node: facts.need_text("node", "\"gpu-01\"")?,
        slot: facts.count("slot", SLOT_MAX)?,
        from: facts.need_date("from", "2026-01-15")?,
        to: facts.date("to")?,
        source: facts.place(),
    };
    if binding.to.is_some_and(|to| to <= binding.from) {
        let message = "expected a day after from: the first day on which it is not there any more";
        return Err(facts.wrong_at("to", message.to_owned()));
    }
    Ok(binding)
}

/// A mistake between two bindings, at the one that it names first.
fn at_last_place(mistake: &str, bindings: &[Binding]) -> FleetError {
    let named = |binding: &&Binding| mistake.contains(&format!("({})", binding.source));
    let first = bindings.iter().filter(named).min_by_key(|b| mistake.find(&format!("({})", b.source)));
    let place = first.map_or_else(String::new, |binding| binding.source.replace(" line ", ":"));
    FleetError::new(place, mistake.to_owned())
}
