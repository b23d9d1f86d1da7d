//! `utilization` and `showback`: who had what, and what each pays.

use super::super::CostingError;
use super::super::count::count;
use super::{Asked, Sheets};
use gpuledger_tco::centres::{UNMATCHED, assign};
use gpuledger_tco::evaluate::Evaluation;
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::sheets;
use gpuledger_tco::showback::showback_of;
use gpuledger_tco::statement::GroupBy;
use std::collections::BTreeMap;

/// Most names that a note lists.
const NAMED_MAX: usize = 20;

/// GPU-hours by state, energy and emissions.
pub async fn utilization(of: Asked<'_>, by: GroupBy) -> Result<Sheets, CostingError> {
    let counted = count(of.ledger, of.fleet, of.period, Some(of.now)).await?;
    let statement = counted.evaluation.statement(&counted.inputs, by)?;
    let sheets = vec![sheets::utilization(&statement)?];
    Sheets { sheets, notes: statement.notes, simulated: statement.simulated, ..Sheets::default() }.checked()
}

/// Whose rows a showback has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payers {
    /// Cost centres where the register has rules for them, else owners.
    AsRuled,
    Owners,
}

#[derive(Debug, Clone, Copy)]
pub struct ShowbackOptions {
    pub payers: Payers,
    /// Instead of what the register says.
    pub basis: Option<ChargeBasis>,
}

/// What each owner or cost centre pays, with held idle, free, down and unmonitored time apart.
pub async fn showback(of: Asked<'_>, options: ShowbackOptions) -> Result<Sheets, CostingError> {
    let mut counted = count(of.ledger, of.fleet, of.period, Some(of.now)).await?;
    let simulated = counted.inputs.usage.simulated;
    let basis = options.basis.unwrap_or(of.fleet.basis);
    // A risk hangs on who uses the hardware, whichever centre pays.
    let by_owner = showback_of(&counted.evaluation, &counted.inputs, basis)?;
    let (mut notes, mut owners) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    if options.payers == Payers::AsRuled && !of.fleet.centres.is_empty() {
        let assigned = assign(&mut counted.inputs.usage, &of.fleet.centres)?;
        for (owner, (centre, _)) in assigned.owners {
            owners.entry(centre).or_default().push(owner);
        }
        if !assigned.unmatched.is_empty() {
            let (count, named) = (assigned.unmatched.len(), list(&assigned.unmatched));
            notes.push(format!(
                "No rule of [[cost_centre]] fits {count} owners, who are {UNMATCHED}: {named}."
            ));
        }
        let unused: Vec<String> = assigned
            .unused
            .iter()
            .map(|rule| format!("{:?} → {} ({})", rule.pattern, rule.centre, rule.source))
            .collect();
        if !unused.is_empty() {
            notes.push(format!("Rules that fitted nobody in this period: {}.", list(&unused)));
        }
    } else if of.fleet.centres.is_empty() {
        notes.push(
            "Rows are owners: the register has no cost centres (cost_centres = \"centres.csv\").".to_owned(),
        );
    }
    let of_all = showback_of(&counted.evaluation, &counted.inputs, basis)?;
    let mut sheets = vec![sheets::showback(&of_all)?];
    sheets.extend(sheets::tenants(&by_owner));
    notes.extend(common_notes(&counted.evaluation, &counted.inputs)?);
    Sheets { sheets, notes, simulated, owners }.checked()
}

/// What a statement of the same period says to its reader.
fn common_notes(
    evaluation: &Evaluation,
    inputs: &gpuledger_tco::Inputs,
) -> Result<Vec<String>, CostingError> {
    Ok(evaluation.statement(inputs, GroupBy::Month)?.notes)
}

fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut text = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text = format!("{text} and {more} more");
    }
    text
}
