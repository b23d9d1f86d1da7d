//! Reports as they are carried out: defaults filled in, the fleet read, contradictions refused.

use super::Failure;
use super::args::Report as Args;
use super::output::Output;
use super::period::Period;
use super::report_args as args;
use super::resolve::LedgerAt;
use crate::config::Config;
use crate::costing::reports::{CompareOptions, Payers, ShowbackOptions};
use crate::fleet::Fleet;
use crate::report::StatementFormat;
use crate::report::document::SheetFormat;
use crate::report::energy::{Dimension, EnergyFormat};
use gpuledger_tco::scenario::Scenario;
use gpuledger_tco::statement::GroupBy;
use jiff::tz::TimeZone;
use std::path::Path;

pub enum Report {
    Energy(ReportEnergy),
    Tco(ReportTco),
    Sheets(ReportSheets),
    Scenario(ReportScenario),
}

pub struct ReportTco {
    pub ledger: LedgerAt,
    pub fleet: Fleet,
    pub period: gpuledger_tco::calendar::Period,
    pub by: GroupBy,
    pub content: Content<StatementFormat>,
    pub output: Output,
}

/// What of a report is shown.
pub enum Content<Format> {
    Whole(Format),
    /// The lines whose id begins so, one by one.
    Lines(String),
}

pub struct ReportEnergy {
    pub ledger: LedgerAt,
    pub period: Period,
    pub by: Vec<Dimension>,
    pub format: EnergyFormat,
    pub output: Output,
}

/// A report of sheets from the ledger.
pub struct ReportSheets {
    pub ledger: LedgerAt,
    pub fleet: Fleet,
    pub period: gpuledger_tco::calendar::Period,
    pub what: What,
    pub content: Content<SheetFormat>,
    pub output: Output,
}

pub enum What {
    Utilization(GroupBy),
    Showback(ShowbackOptions),
    Depreciation(Option<String>),
    Assets,
    Compare(CompareOptions),
    Split(Option<u64>),
}

pub struct ReportScenario {
    pub scenario: Scenario,
    pub content: Content<SheetFormat>,
    pub output: Output,
}

pub fn resolve(config: Config, report: Args) -> Result<Report, Failure> {
    let (what, sheets) = match report {
        Args::Energy(args) => return energy(&config, args).map(Report::Energy),
        Args::Tco(args) => return tco(config, args).map(Report::Tco),
        Args::Scenario(args) => return scenario(args),
        Args::Utilization(args) => (What::Utilization(args.by.into()), args.sheets),
        Args::Showback(args) => {
            let payers = if args.owners { Payers::Owners } else { Payers::AsRuled };
            let basis = args.basis.map(Into::into);
            (What::Showback(ShowbackOptions { payers, basis }), args.sheets)
        }
        Args::Depreciation(args) => (What::Depreciation(args.asset), args.sheets),
        Args::Assets(args) => (What::Assets, args.sheets),
        Args::Compare(args) => {
            let options = CompareOptions { offer: args.offer, seed: args.seed, draws: args.draws };
            (What::Compare(options), args.sheets)
        }
        Args::Split(args) => (What::Split(args.seed), args.sheets),
    };
    let ledger = LedgerAt::of(&config);
    // Time and condition are told without anything that was bought.
    let bare = matches!(what, What::Utilization(_) | What::Assets) && config.fleet.is_none();
    let fleet = if bare { Fleet::empty() } else { fleet(config)? };
    let period = period(&sheets.period, &fleet)?;
    let content = content(sheets.explain, sheets.format);
    let output = Output::checked(sheets.out.out, sheets.out.force)?;
    Ok(Report::Sheets(ReportSheets { ledger, fleet, period, what, content, output }))
}

fn usage(error: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

fn content<Format>(explain: Option<String>, format: Format) -> Content<Format> {
    explain.map_or(Content::Whole(format), Content::Lines)
}

/// The fleet that the command names, which reports of money need.
fn fleet(config: Config) -> Result<Fleet, Failure> {
    let path = config.fleet.ok_or_else(|| {
        usage(
            &"no fleet is named, so nothing has a cost: give --fleet FILE, or fleet = \"FILE\" in the configuration",
        )
    })?;
    Fleet::load(&path).map_err(|error| usage(&error))
}

/// A period in the time zone of the fleet.
fn period(args: &args::Period, fleet: &Fleet) -> Result<gpuledger_tco::calendar::Period, Failure> {
    let zone = &fleet.time_zone;
    let period = Period::new(args.from.at(zone)?, args.to.at(zone)?)?;
    gpuledger_tco::calendar::Period::new(period.from, period.to).map_err(|error| usage(&error))
}

fn energy(config: &Config, args: args::Energy) -> Result<ReportEnergy, Failure> {
    let mut by = Vec::new();
    for dimension in args.by {
        if by.contains(&dimension) {
            return Err(Failure::Usage("--by names the same thing twice".to_owned()));
        }
        by.push(dimension);
    }
    let times =
        by.iter().filter(|d| matches!(d, Dimension::Hour | Dimension::Day | Dimension::Month)).count();
    if times > 1 {
        return Err(Failure::Usage("--by takes one of hour, day and month".to_owned()));
    }
    Ok(ReportEnergy {
        ledger: LedgerAt::of(config),
        period: Period::new(args.period.from.at(&TimeZone::UTC)?, args.period.to.at(&TimeZone::UTC)?)?,
        by,
        format: args.format,
        output: Output::checked(args.out.out, args.out.force)?,
    })
}

fn tco(config: Config, args: args::Tco) -> Result<ReportTco, Failure> {
    let ledger = LedgerAt::of(&config);
    let fleet = fleet(config)?;
    let period = period(&args.period, &fleet)?;
    let content = content(args.explain, args.format);
    let output = Output::checked(args.out.out, args.out.force)?;
    Ok(ReportTco { ledger, fleet, period, by: args.by.into(), content, output })
}

/// Reads and checks a scenario file.
pub fn scenario(args: args::Scenario) -> Result<Report, Failure> {
    if args.from.is_some() || args.to.is_some() {
        eprintln!("note: a scenario has no period; --from and --to say nothing here");
    }
    let scenario = read_scenario(&args.file)?;
    let content = content(args.explain, args.format);
    let output = Output::checked(args.out.out, args.out.force)?;
    Ok(Report::Scenario(ReportScenario { scenario, content, output }))
}

fn read_scenario(path: &Path) -> Result<Scenario, Failure> {
    let text = crate::fleet::read_file(path).map_err(|error| usage(&error))?;
    toml::from_str(&text).map_err(|error| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map_or(1, |b| b.matches('\n').count() + 1);
        Failure::Usage(format!("{}:{line}: {}", path.display(), error.message()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_with_a_mistake_is_refused_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        std::fs::write(&path, "title = \"t\"\nclaim = \"c\"\ncurrency = \"USD\"\nutilisation = []\n")
            .unwrap();
        let Err(Failure::Usage(told)) = read_scenario(&path) else { panic!("accepted") };
        assert!(told.contains("s.toml:4: unknown field `utilisation`"), "{told}");
    }
}
