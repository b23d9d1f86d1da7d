//! Arguments to tasks: defaults filled in, files named, contradictions refused. Nothing is opened
//! here but configuration.

use super::Failure;
use super::args::{self, Args, Command};
use super::ca::{Issue, Whose};
use super::import_args;
use super::register::{ExportAssets, ImportAssets};
use super::report_task::{self, Report};
use crate::config::{Config, DEFAULT_FILE, Overrides};
use crate::import::Mapping;
use crate::import::mapping::{NodeSource, Quantity};
use crate::store::{self, Access, Location, LocationError, Opened, StoreError};
use gpuledger_archive::GcOptions;
use gpuledger_proto::ids::NodeName;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The ledger that a command works with.
pub struct LedgerAt {
    pub location: Location,
    /// Where its closed days are, where the configuration says so.
    archive: Option<String>,
}

impl LedgerAt {
    pub fn of(config: &Config) -> Self {
        Self { location: config.ledger.clone(), archive: config.archive.location.clone() }
    }

    pub async fn open(&self, access: Access) -> Result<Opened, StoreError> {
        store::open(&self.location, self.archive.as_deref(), access).await
    }
}

/// What there is to do.
pub enum Task {
    Serve(Box<Config>),
    CheckConfig(Box<Config>),
    CheckFleet(PathBuf),
    ImportTelemetry(ImportTelemetry),
    ImportAssets(ImportAssets),
    ImportPrices(Box<import_args::Prices>),
    ImportRates(import_args::Rates),
    ImportCentres(import_args::Centres),
    ExportAssets(Box<ExportAssets>),
    Report(Box<Report>),
    /// The ledger to check.
    Verify(LedgerAt),
    /// The ledger to copy, and the file to write.
    Backup(LedgerAt, PathBuf),
    Migrate(Migrate),
    Gc(Gc),
    /// The folder of the new CA.
    CaInit {
        out: PathBuf,
        force: bool,
    },
    CaIssue(Issue),
}

pub struct Migrate {
    pub from: LedgerAt,
    pub to: Location,
    /// Where the new ledger's closed days go.
    pub archive: Option<String>,
}

pub struct Gc {
    pub ledger: LedgerAt,
    pub options: GcOptions,
}

pub struct ImportTelemetry {
    pub ledger: LedgerAt,
    pub file: PathBuf,
    pub mapping: Mapping,
}

pub fn task(args: Args) -> Result<Task, Failure> {
    // Certificates are made where there is no collector.
    let command = match args.command {
        Command::Ca(command) => return ca_task(command),
        // A scenario says everything itself.
        Command::Report(args::Report::Scenario(scenario)) => {
            return Ok(Task::Report(Box::new(report_task::scenario(scenario)?)));
        }
        command => command,
    };
    // Whoever checks a fleet where no collector is configured has no certificates either.
    if let (Command::CheckConfig, None, Some(fleet)) = (&command, &args.config, &args.fleet)
        && !Path::new(DEFAULT_FILE).exists()
    {
        return Ok(Task::CheckFleet(fleet.clone()));
    }
    let ledger = args.ledger.map(|text| location("--ledger", text)).transpose()?;
    let overrides = Overrides { ledger, fleet: args.fleet };
    let config = Config::load(args.config.as_deref(), &overrides);
    let config = config.map_err(|error| Failure::Usage(error.to_string()))?;
    match command {
        Command::Serve => Ok(Task::Serve(Box::new(config))),
        Command::CheckConfig => Ok(Task::CheckConfig(Box::new(config))),
        Command::Import(args::Import::Telemetry(telemetry)) => import_telemetry(&config, *telemetry),
        Command::Report(report) => {
            report_task::resolve(config, report).map(|report| Task::Report(Box::new(report)))
        }
        Command::Import(args::Import::Assets(args)) => {
            let locale = args.written.locale()?;
            Ok(Task::ImportAssets(ImportAssets { ledger: LedgerAt::of(&config), file: args.file, locale }))
        }
        Command::Import(args::Import::Prices(args)) => Ok(Task::ImportPrices(args)),
        Command::Import(args::Import::Rates(args)) => Ok(Task::ImportRates(args)),
        Command::Import(args::Import::Centres(args)) => Ok(Task::ImportCentres(args)),
        Command::Export(args::Export::Assets(args)) => {
            Ok(Task::ExportAssets(Box::new(ExportAssets::of(&config, args)?)))
        }
        Command::Verify => Ok(Task::Verify(LedgerAt::of(&config))),
        Command::Backup { out } => Ok(Task::Backup(LedgerAt::of(&config), out)),
        Command::Migrate(args) => {
            let (from, to) = (LedgerAt::of(&config), location("--to", args.to)?);
            Ok(Task::Migrate(Migrate { from, to, archive: args.archive }))
        }
        Command::Gc(args) => {
            let options =
                GcOptions { grace_ms: args.grace, unknown: !args.keep_unknown, dry_run: args.dry_run };
            Ok(Task::Gc(Gc { ledger: LedgerAt::of(&config), options }))
        }
        Command::Ca(command) => ca_task(command),
    }
}

fn ca_task(command: args::Ca) -> Result<Task, Failure> {
    let args = match command {
        args::Ca::Init { out, force } => return Ok(Task::CaInit { out, force }),
        args::Ca::Issue(args) => args,
    };
    let whose = match args.node {
        Some(name) => Whose::Node(NodeName::new(&name).map_err(|error| Failure::Usage(error.to_string()))?),
        None => Whose::Collector(args.collector),
    };
    let out = args.out.unwrap_or_else(|| args.ca.join(whose.folder()));
    Ok(Task::CaIssue(Issue { whose, days: args.days, ca: args.ca, out, force: args.force }))
}

fn location(flag: &str, text: OsString) -> Result<Location, Failure> {
    // A path need not be text; an address is.
    let text = match text.into_string() {
        Ok(text) => text,
        Err(path) => return Ok(Location::File(path.into())),
    };
    text.parse().map_err(|error: LocationError| Failure::Usage(format!("{flag}: {error}")))
}

fn import_telemetry(config: &Config, args: args::Telemetry) -> Result<Task, Failure> {
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
    Ok(Task::ImportTelemetry(ImportTelemetry { ledger: LedgerAt::of(config), file: args.file, mapping }))
}
