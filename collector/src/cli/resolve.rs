//! Arguments to tasks: defaults filled in, files named, contradictions refused. Nothing is opened
//! here but configuration.

use super::Failure;
use super::args::{self, Args, Command};
use super::output::Output;
use super::period::Period;
use crate::import::Mapping;
use crate::import::mapping::{NodeSource, Quantity};
use crate::report::energy::{Dimension, EnergyFormat};
use gpuledger_proto::ids::NodeName;
use std::path::PathBuf;

/// What there is to do.
pub enum Task {
    ImportTelemetry(ImportTelemetry),
    ReportEnergy(ReportEnergy),
}

pub struct ImportTelemetry {
    pub ledger: PathBuf,
    pub file: PathBuf,
    pub mapping: Mapping,
}

pub struct ReportEnergy {
    pub ledger: PathBuf,
    pub period: Period,
    pub by: Vec<Dimension>,
    pub format: EnergyFormat,
    pub output: Output,
}

/// The files that several commands need.
struct Places {
    ledger: Option<PathBuf>,
}

impl Places {
    fn ledger(self) -> Result<PathBuf, Failure> {
        self.ledger.ok_or_else(|| {
            Failure::Usage("no ledger is named: give --ledger FILE, or a --config that names one".to_owned())
        })
    }
}

pub fn task(args: Args) -> Result<Task, Failure> {
    let places = Places { ledger: args.ledger };
    match args.command {
        Command::Import(args::Import::Telemetry(telemetry)) => import_telemetry(places, *telemetry),
        Command::Report(args::Report::Energy(energy)) => report_energy(places, energy),
        _ => Err(Failure::Usage("not wired yet".to_owned())),
    }
}

fn import_telemetry(places: Places, args: args::Telemetry) -> Result<Task, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let node = match (args.node_column, args.node) {
        (Some(column), _) => NodeSource::Column(column),
        (None, Some(name)) => NodeSource::Always(NodeName::new(&name).map_err(|e| usage(&e))?),
        (None, None) => return Err(Failure::Usage("give --node-column or --node".to_owned())),
    };
    let quantity = match (args.power_column, args.energy_column, args.energy_unit) {
        (Some(column), _, _) => Quantity::Power { column, unit: args.power_unit },
        (None, Some(column), Some(unit)) => Quantity::Energy { column, unit },
        _ => {
            return Err(Failure::Usage(
                "give --power-column, or --energy-column with --energy-unit".to_owned(),
            ));
        }
    };
    let mapping = Mapping {
        node,
        gpu_column: args.gpu_column,
        gpu_model: args.gpu_model,
        time_column: args.time_column,
        time_unit: args.time_unit,
        quantity,
        filters: args.filters,
        longest_gap_ms: args.longest_gap,
    };
    let mapping = mapping.checked().map_err(|e| usage(&e))?;
    Ok(Task::ImportTelemetry(ImportTelemetry { ledger: places.ledger()?, file: args.file, mapping }))
}

fn report_energy(places: Places, args: args::Energy) -> Result<Task, Failure> {
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
    Ok(Task::ReportEnergy(ReportEnergy {
        ledger: places.ledger()?,
        period: Period::new(args.period.from, args.period.to)?,
        by,
        format: args.format,
        output: Output::checked(args.out.out, args.out.force)?,
    }))
}
