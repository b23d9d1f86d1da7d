//! Cost centres: `[[cost_centre]]` of the register, and CSV files with the same columns.

use super::cells::Table;
use super::error::FleetError;
use super::facts::Facts;
use super::{Root, read_file};
use gpuledger_tco::centres::{Rule, UNMATCHED};
use std::collections::{BTreeMap, BTreeSet};

/// Owners whose name fits a pattern, and who pays for them.
pub const COLUMNS: [&str; 2] = ["owner", "centre"];

pub(super) fn centres(root: &Root<'_>) -> Result<Vec<Rule>, FleetError> {
    let mut rules = Vec::new();
    for (path, field) in root.files("cost_centres")? {
        let text = read_file(&path).map_err(|error| field.error(error.to_string()))?;
        let table = Table::read(&path, &text)?;
        table.only(&COLUMNS)?;
        for row in table.rows() {
            rules.push(rule(&row)?);
        }
    }
    for section in root.section.list("cost_centre", &COLUMNS)? {
        rules.push(rule(&section)?);
    }
    distinct(&rules)?;
    Ok(rules)
}

/// Owners and centres of a table of others, under their names of the columns; a line without a centre is
/// an owner that nobody pays for yet, and is left out.
pub fn mapping(table: &Table, owner: &str, centre: &str) -> Result<Vec<Rule>, FleetError> {
    table.column(centre)?;
    let (mut rules, mut said) = (Vec::new(), BTreeSet::new());
    for row in table.rows() {
        let pattern = row.need(owner)?.to_owned();
        let Some(centre) = row.get(centre) else { continue };
        let rule = Rule { pattern, centre: centre.to_owned(), source: row.place() };
        // Staff lists say the same of a person in several lines.
        if said.insert((rule.pattern.clone(), rule.centre.clone())) {
            rules.push(rule);
        }
    }
    distinct(&rules)?;
    Ok(rules)
}

/// Refuses two rules for the same owners.
fn distinct(rules: &[Rule]) -> Result<(), FleetError> {
    let mut known: BTreeMap<&str, &Rule> = BTreeMap::new();
    for rule in rules {
        let Some(first) = known.insert(&rule.pattern, rule) else { continue };
        let message = if first.centre == rule.centre {
            format!("owner {:?} stands at {} already: leave one out", rule.pattern, first.source)
        } else {
            format!(
                "owner {:?} goes to {} here and to {} at {}: leave one out",
                rule.pattern, rule.centre, first.centre, first.source
            )
        };
        return Err(FleetError::new(rule.source.replace(" line ", ":"), message));
    }
    Ok(())
}

fn rule(facts: &impl Facts) -> Result<Rule, FleetError> {
    let pattern = facts.need_text("owner", "\"ml-*\"")?;
    let centre = facts.need_text("centre", "\"research\"")?;
    if centre.starts_with('(') {
        let message =
            format!("{centre:?} looks like a row of a report, such as {UNMATCHED}: give it another name");
        return Err(facts.wrong_at("centre", message));
    }
    Ok(Rule { pattern, centre, source: facts.place() })
}
