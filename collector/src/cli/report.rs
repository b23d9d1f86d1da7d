//! Reports: the ledger read, the result handed to a format.

use super::Failure;
use super::energy;
use super::period::start_of;
use super::resolve::{Content, ReportEnergy, ReportTco};
use crate::costing;
use crate::report::energy::EnergyReport;
use crate::report::explain;
use crate::store::Access;
use jiff::Timestamp;

pub async fn energy(task: ReportEnergy) -> Result<(), Failure> {
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

pub async fn tco(task: ReportTco) -> Result<(), Failure> {
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
            task.output.write(|out| explain::write(&lines, out))
        }
    }
}
