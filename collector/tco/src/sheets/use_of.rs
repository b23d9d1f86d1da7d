//! `showback` and `utilization`: who had what, and what it cost.

use crate::decimal::{add, ratio};
use crate::error::TcoError;
use crate::formulas;
use crate::pools::input;
use crate::shares::ChargeBasis;
use crate::sheet::{Cell, Sheet, Why};
use crate::showback::Showback;
use crate::statement::{GroupBy, Statement};
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
        ("GPU time", "hours"),
        ("active", "hours"),
        ("held", "hours"),
        ("energy", "kWh"),
        ("in use", code),
        ("idle", code),
        ("total", code),
        ("share", "%"),
        ("per active", per_hour.as_str()),
    ];
    let mut sheet = Sheet::new("showback", "Who pays what", of.currency, &columns);
    let mut sums = [Decimal::ZERO; 7];
    for row in &of.rows {
        let time = add(add(row.active_hours, row.held_idle_hours)?, row.other_hours)?;
        let figures =
            [time, row.active_hours, row.held_idle_hours, row.energy_kwh, row.used, row.held_idle, row.total];
        for (sum, more) in sums.iter_mut().zip(figures) {
            *sum = add(*sum, more)?;
        }
        let inputs = vec![
            input("active", row.active_hours, "GPU-hours", "ledger"),
            input("held and idle", row.held_idle_hours, "GPU-hours", "ledger"),
            input("free, down or unmonitored", row.other_hours, "GPU-hours", "ledger and register"),
            input("energy", row.energy_kwh, "kWh", "ledger"),
            input("cost of all", of.total.amount, code, "lines of report tco --by owner"),
        ];
        let why = Why { column: String::new(), formula_id: formulas::SHOWBACK, inputs };
        sheet.push(&row.name, showback_cells(&row.name, figures, row.share, row.per_active_hour), vec![why]);
    }
    let whole = if of.rows.is_empty() { None } else { Some(Decimal::ONE) };
    let rate = ratio(of.total.amount, sums.get(1).copied().unwrap_or_default())?;
    let inputs = vec![input("rows", Decimal::from(of.rows.len()), "", "the rows above")];
    let why = Why { column: String::new(), formula_id: formulas::SUM, inputs };
    sheet.push("total", showback_cells("total", sums, whole, rate), vec![why]);
    sheet.notes.push(
        match of.basis {
            ChargeBasis::Allocation => "Charged by allocation: who holds a GPU pays for its idle time.",
            ChargeBasis::Usage => "Charged by usage: idle time that somebody held is a row of its own.",
            ChargeBasis::Larger => "Charged by the larger of allocation and usage.",
        }
        .to_owned(),
    );
    Ok(sheet)
}

fn showback_cells(
    name: &str,
    figures: [Decimal; 7],
    share: Option<Decimal>,
    rate: Option<Decimal>,
) -> Vec<Cell> {
    let rounded = figures.into_iter().map(|figure| Cell::from(crate::decimal::round(figure, 2)));
    let last = [percent(share), rate.map(|rate| crate::decimal::round(rate, 4)).into()];
    std::iter::once(name.into()).chain(rounded).chain(last).collect()
}

/// How much depends on few owners; `None` where nobody pays, or somebody is paid.
pub fn tenants(of: &Showback) -> Option<Sheet> {
    let found = of.concentration.as_ref()?;
    let columns = [("figure", ""), ("value", ""), ("unit", "")];
    let mut sheet = Sheet::new("concentration", "How much depends on few owners", of.currency, &columns);
    let percent = |share: Decimal| crate::decimal::round(share.saturating_mul(Decimal::ONE_HUNDRED), 1);
    let rows = [
        ("owners", "owners that pay".to_owned(), Decimal::from(found.tenants), ""),
        ("largest", format!("share of the largest, {}", found.largest.0), percent(found.largest.1), "%"),
        ("top_two", "share of the two largest".to_owned(), percent(found.top_two), "%"),
        (
            "hhi",
            "Herfindahl–Hirschman index (HHI), 0 to 1".to_owned(),
            crate::decimal::round(found.hhi, 4),
            "",
        ),
    ];
    for (id, label, value, unit) in rows {
        let owners = of.rows.iter().filter(|row| !row.name.starts_with('('));
        let code = of.currency.code();
        let inputs = owners.map(|row| input(&row.name, row.total, code, "showback")).collect();
        let why = Why { column: "value".to_owned(), formula_id: formulas::CONCENTRATION, inputs };
        sheet.push(id, vec![label.into(), value.into(), unit.into()], vec![why]);
    }
    if found.hhi > Decimal::new(25, 2) {
        sheet
            .notes
            .push("Above 0.25 a market counts as highly concentrated: a risk to the owner.".to_owned());
    }
    Some(sheet)
}

/// Hours by state, energy and emissions of each group of a statement, and of all.
pub fn utilization(statement: &Statement) -> Result<Sheet, TcoError> {
    let group = match statement.by {
        GroupBy::Month => "month",
        GroupBy::Model => "model",
        GroupBy::Node => "node",
        GroupBy::Owner => "owner",
        GroupBy::Site => "site",
    };
    let columns = [
        (group, ""),
        ("GPUs", ""),
        ("in service", "hours"),
        ("active", "%"),
        ("held idle", "%"),
        ("free", "%"),
        ("down", "%"),
        ("unmonitored", "%"),
        ("energy", "kWh"),
        ("carbon", "kg"),
    ];
    let mut sheet = Sheet::new("utilization", "How the GPUs were used", statement.currency, &columns);
    sheet.simulated = statement.simulated;
    let groups = statement.groups.iter();
    let groups = groups.map(|of| (of.name.as_str(), Some(of.gpus), of.hours, of.energy_kwh, of.carbon_kg));
    // A GPU is of one model, node and site, and of many months and owners.
    let once = matches!(statement.by, GroupBy::Model | GroupBy::Node | GroupBy::Site);
    let gpus = once.then(|| statement.groups.iter().map(|of| of.gpus).fold(0, u64::saturating_add));
    let all = ("total", gpus, statement.hours, statement.energy_kwh, statement.carbon_kg);
    for (name, gpus, hours, energy, carbon) in groups.chain([all]) {
        let states = [
            ("active", hours.active),
            ("held idle", hours.held_idle),
            ("free", hours.free),
            ("down", hours.down),
            ("unmonitored", hours.unmonitored),
        ];
        let mut cells = vec![
            name.into(),
            gpus.map(Decimal::from).into(),
            crate::decimal::round(hours.in_service, 2).into(),
        ];
        for (_, part) in states {
            cells.push(percent(ratio(part, hours.in_service)?));
        }
        cells.push(crate::decimal::round(energy, 3).into());
        cells.push(carbon.map(|kg| crate::decimal::round(kg, 3)).into());
        let inputs =
            states.into_iter().map(|(name, value)| input(name, value, "GPU-hours", "ledger and register"));
        let energy = [input("energy", energy, "kWh", "ledger")];
        let inputs = inputs.chain(energy).collect();
        sheet.push(name, cells, vec![Why { column: String::new(), formula_id: formulas::STATES, inputs }]);
    }
    sheet.notes.push(
        "Shares of the time in service. Held idle: somebody owned the GPU and nothing ran. Free: nobody owned \
         it. Unmonitored: nobody looked, so that it is not known."
            .to_owned(),
    );
    Ok(sheet)
}
