//! `showback`, `utilization` and `energy`: who pays, and what the time and the energy were used for.

use crate::error::TcoError;
use crate::formulas;
use crate::pools::input;
use crate::sheet::{Cell, Sheet, Why};
use crate::showback::Showback;
use crate::statement::Statement;
use rust_decimal::Decimal;

fn percent(share: Option<Decimal>) -> Cell {
    share.map(|share| crate::decimal::round(share.saturating_mul(Decimal::ONE_HUNDRED), 1)).into()
}

/// Owners or cost centres, with idle time apart.
pub fn showback(of: &Showback) -> Result<Sheet, TcoError> {
    let code = of.currency.code();
    let per_hour = format!("{code}/hour");
    let columns = [
        ("owner", ""),
        ("active", "hours"),
        ("held idle", "hours"),
        ("energy", "kWh"),
        ("used", code),
        ("idle", code),
        ("total", code),
        ("share", "%"),
        ("per active hour", per_hour.as_str()),
    ];
    let mut sheet = Sheet::new("showback", "Showback", of.currency, &columns);
    for row in &of.rows {
        let round = |value| crate::decimal::round(value, 2);
        let cells = vec![
            row.name.as_str().into(),
            round(row.active_hours).into(),
            round(row.held_idle_hours).into(),
            round(row.energy_kwh).into(),
            row.used.into(),
            row.held_idle.into(),
            row.total.into(),
            percent(row.share),
            row.per_active_hour.map(|rate| crate::decimal::round(rate, 4)).into(),
        ];
        let inputs = vec![
            input("active", row.active_hours, "GPU-hours", "ledger"),
            input("held and idle", row.held_idle_hours, "GPU-hours", "ledger"),
            input("other", row.other_hours, "GPU-hours", "ledger and register"),
            input("energy", row.energy_kwh, "kWh", "ledger"),
            input("cost of all", of.total.amount, code, "lines of the statement"),
        ];
        let why = Why { column: String::new(), formula_id: formulas::SHOWBACK, inputs };
        sheet.push(&row.name, cells, vec![why]);
    }
    if let Some(concentration) = &of.concentration {
        sheet.notes.push(format!(
            "{} owners; the two largest pay {} %, the largest is {}; HHI {}.",
            concentration.tenants,
            crate::decimal::round(concentration.top_two.saturating_mul(Decimal::ONE_HUNDRED), 1),
            concentration.largest.0,
            crate::decimal::round(concentration.hhi, 3)
        ));
    }
    Ok(sheet)
}

/// Hours by state, energy and emissions of each group of a statement.
pub fn utilization(statement: &Statement) -> Result<Sheet, TcoError> {
    let columns = [
        ("group", ""),
        ("in service", "hours"),
        ("active", "%"),
        ("held idle", "%"),
        ("free", "%"),
        ("down", "%"),
        ("unmonitored", "%"),
        ("energy", "kWh"),
        ("carbon", "kg"),
    ];
    let mut sheet = Sheet::new("utilization", "Utilization", statement.currency, &columns);
    sheet.simulated = statement.simulated;
    for group in &statement.groups {
        let hours = &group.hours;
        let share = |part: Decimal| crate::decimal::ratio(part, hours.in_service).map(percent);
        let cells = vec![
            group.name.as_str().into(),
            crate::decimal::round(hours.in_service, 2).into(),
            share(hours.active)?,
            share(hours.held_idle)?,
            share(hours.free)?,
            share(hours.down)?,
            share(hours.unmonitored)?,
            crate::decimal::round(group.energy_kwh, 3).into(),
            group.carbon_kg.map(|kg| crate::decimal::round(kg, 3)).into(),
        ];
        let states = [
            ("active", hours.active),
            ("held idle", hours.held_idle),
            ("free", hours.free),
            ("down", hours.down),
            ("unmonitored", hours.unmonitored),
        ];
        let inputs =
            states.into_iter().map(|(name, value)| input(name, value, "GPU-hours", "ledger and register"));
        let why = Why { column: String::new(), formula_id: formulas::STATES, inputs: inputs.collect() };
        sheet.push(&group.name, cells, vec![why]);
    }
    Ok(sheet)
}
