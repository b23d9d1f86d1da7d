//! `[[node]]`: which site the nodes whose name fits are at, and what is known of their GPUs.

use super::error::FleetError;
use super::facts::Facts as _;
use super::pattern::Pattern;
use super::section::Section;
use super::{NodeRule, Root};
use gpuledger_tco::asset::GPUS_MAX;
use gpuledger_tco::usage::Declared;

pub const KEYS: [&str; 5] = ["name", "site", "gpus", "model", "power_only"];

pub fn nodes(root: &Root<'_>) -> Result<Vec<NodeRule>, FleetError> {
    root.section.list("node", &KEYS)?.iter().map(|section| rule(section, root)).collect()
}

fn rule(section: &Section<'_>, root: &Root<'_>) -> Result<NodeRule, FleetError> {
    let active = match section.get("power_only") {
        Some(field) => match field.text()? {
            "active" => Some(true),
            "unmonitored" => Some(false),
            other => return Err(field.error(format!("{other:?}; expected \"active\" or \"unmonitored\""))),
        },
        None => None,
    };
    let declared = match section.count("gpus", GPUS_MAX)? {
        Some(gpus) => {
            let model = section.need_text("model", "\"NVIDIA H100\" (the model of its GPUs)")?;
            Some(Declared { gpus, model, active: active.unwrap_or(false) })
        }
        None if active.is_some() => return Err(section.error("power_only says nothing without gpus")),
        None => None,
    };
    let name = Pattern::new(&section.need_text("name", "\"gpu-*\"")?);
    Ok(NodeRule { name, site: root.site_of(section)?, declared })
}
