//! Reports: the ledger read, the result handed to a format.

use super::Failure;
use super::energy;
use super::period::start_of;
use super::report_task::{Content, Report, ReportEnergy, ReportScenario, ReportSheets, ReportTco, What};
use crate::costing::reports::{
    Asked, Sheets, compare, condition, depreciation, showback, split, utilization,
};
use crate::costing::{self, CostingError, Scope, rows_of};
use crate::fleet::Fleet;
use crate::report::document::Document;
use crate::report::energy::EnergyReport;
use crate::report::{explain, sheet_explain};
use crate::store::Access;
use gpuledger_tco::sheet::{Row, Sheet};
use gpuledger_tco::statement::{Family, GroupBy, Line};
use jiff::Timestamp;

/// Rows that are explained with rows of the ledger, at most.
const TRACED_MAX: usize = 4;

pub async fn report(report: Report) -> Result<(), Failure> {
    match report {
        Report::Energy(task) => energy_report(task).await,
        Report::Tco(task) => tco(task).await,
        Report::Sheets(task) => sheets(task).await,
        Report::Scenario(task) => scenario(&task),
    }
}

async fn energy_report(task: ReportEnergy) -> Result<(), Failure> {
    let ledger = task.ledger.open(Access::Read).await?.ledger;
    let range = task.period.hours();
    let register = energy::Register::read(&*ledger).await?;
    let rows = energy::rows(&*ledger, &register, range, &task.by).await?;
    let (from, to) = (start_of(range.from).to_string(), start_of(range.to).to_string());
    if !task.period.is_whole_hours() {
        eprintln!("note: the ledger holds whole hours; the report is from {from} to {to}");
    }
    let overflow = |error: gpuledger_units::Overflow| Failure::Runtime(format!("cannot add up: {error}"));
    let report = EnergyReport::new(from, to, task.by, rows).map_err(overflow)?;
    task.output.write(|out| report.write(task.format, out))
}

async fn tco(task: ReportTco) -> Result<(), Failure> {
    let ledger = task.ledger.open(Access::Read).await?.ledger;
    let statement =
        costing::statement_as_of(ledger.as_ref(), &task.fleet, task.period, task.by, Timestamp::now())
            .await?;
    match task.content {
        Content::Whole(format) => task.output.write(|out| format.format().write(&statement, out)),
        Content::Lines(id) => {
            let lines = explain::lines(&statement, &id);
            if lines.is_empty() {
                return Err(Failure::Usage(explain::none(&statement, &id)));
            }
            let mut scopes: Vec<Scope> = Vec::new();
            for line in &lines {
                let scope = scope_of(task.by, line);
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
            scopes.truncate(TRACED_MAX);
            let rows = rows_of(&*ledger, &task.fleet, task.period, &scopes).await?;
            task.output.write(|out| explain::write(&lines, &rows, out))
        }
    }
}

/// Whose rows a line of a statement was added up from: electricity is a node's, `energy/SITE/NODE`.
fn scope_of(by: GroupBy, line: &Line) -> Scope {
    let group = line.group.clone();
    match line.id.split('/').nth(2) {
        Some(node) if line.family == Family::Energy && line.formula_id.id.starts_with("energy.hourly") => {
            Scope::On { node: node.to_owned(), by, group }
        }
        _ => Scope::Group(by, group),
    }
}

async fn sheets(task: ReportSheets) -> Result<(), Failure> {
    let ledger = task.ledger.open(Access::Read).await?.ledger;
    let (fleet, period) = (&task.fleet, task.period);
    let asked = Asked { ledger: ledger.as_ref(), fleet, period, now: Timestamp::now() };
    let (report, title, made) = made(asked, &task.what).await?;
    let document = Document {
        report,
        title: title.to_owned(),
        from: Some(period.from().to_string()),
        to: Some(period.to().to_string()),
        period: Some(told(period, fleet)),
        currency: fleet.currency,
        sheets: made.sheets,
        notes: made.notes,
        simulated: made.simulated,
    };
    let id = match task.content {
        Content::Whole(format) => return task.output.write(|out| document.write(format, out)),
        Content::Lines(id) => id,
    };
    let found = sheet_explain::rows(&document, &id);
    if found.is_empty() {
        return Err(Failure::Usage(sheet_explain::none(&document, &id)));
    }
    let scope = |(sheet, row): &(&Sheet, &Row)| match &task.what {
        What::Utilization(by) => Some(Scope::Group(*by, row.id.clone())),
        What::Showback(_) if sheet.name == "showback" => Some(match made.owners.get(&row.id) {
            Some(owners) => Scope::Owners(row.id.clone(), owners.clone()),
            None => Scope::Group(GroupBy::Owner, row.id.clone()),
        }),
        What::Assets => Some(Scope::Gpu(row.id.clone())),
        What::Compare(_) | What::Split(_) => {
            let model = sheet.name.split_once('/').map_or(row.id.as_str(), |(_, model)| model);
            Some(Scope::Group(GroupBy::Model, model.to_owned()))
        }
        What::Showback(_) | What::Depreciation(_) => None,
    };
    let mut scopes: Vec<Scope> = found.iter().filter_map(scope).collect();
    scopes.dedup();
    scopes.truncate(TRACED_MAX);
    let rows = rows_of(ledger.as_ref(), fleet, period, &scopes).await?;
    task.output.write(|out| sheet_explain::write(&found, &rows, out))
}

/// A period in the time zone of the fleet: days, where it begins and ends at midnight.
fn told(period: gpuledger_tco::calendar::Period, fleet: &Fleet) -> String {
    let zone = &fleet.time_zone;
    let tell = |hour: gpuledger_tco::calendar::UtcHour| {
        let local = hour.start().to_zoned(zone.clone());
        let midnight = local.hour() == 0 && local.minute() == 0;
        local.strftime(if midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" }).to_string()
    };
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{} to {} ({name})", tell(period.from()), tell(period.to()))
}

async fn made(of: Asked<'_>, what: &What) -> Result<(&'static str, &'static str, Sheets), CostingError> {
    Ok(match what {
        What::Utilization(by) => ("utilization", "Utilization", utilization(of, *by).await?),
        What::Showback(options) => ("showback", "Showback", showback(of, *options).await?),
        What::Depreciation(asset) => {
            ("depreciation", "Depreciation", depreciation(of, asset.as_deref()).await?)
        }
        What::Assets => ("assets", "Condition of the hardware", condition(of).await?),
        What::Compare(options) => ("compare", "Own or rent", compare(of, options).await?),
        What::Split(seed) => ("split", "Own the base, rent the peaks", split(of, *seed).await?),
    })
}

/// A scenario; an expectation that does not hold is something that a check found.
fn scenario(task: &ReportScenario) -> Result<(), Failure> {
    let usage = |error: gpuledger_tco::TcoError| Failure::Usage(error.to_string());
    let scenario = &task.scenario;
    let document = Document {
        report: "scenario",
        title: scenario.title.clone(),
        from: None,
        to: None,
        period: None,
        currency: scenario.currency,
        sheets: scenario.sheets().map_err(usage)?,
        notes: Vec::new(),
        simulated: false,
    };
    match &task.content {
        Content::Whole(format) => task.output.write(|out| document.write(*format, out))?,
        Content::Lines(id) => {
            let found = sheet_explain::rows(&document, id);
            if found.is_empty() {
                return Err(Failure::Usage(sheet_explain::none(&document, id)));
            }
            return task.output.write(|out| sheet_explain::write(&found, &[], out));
        }
    }
    let findings = scenario.findings().map_err(usage)?;
    if findings.iter().all(|finding| finding.holds) { Ok(()) } else { Err(Failure::Found) }
}
