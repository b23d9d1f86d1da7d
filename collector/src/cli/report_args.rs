//! Arguments of `gpuledger report` as typed.

use super::period::Moment;
use crate::report::StatementFormat;
use crate::report::document::SheetFormat;
use crate::report::energy::{Dimension, EnergyFormat};
use clap::{Subcommand, ValueEnum};
use gpuledger_tco::decide::sensitivity::DRAWS_MAX;
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::statement::GroupBy;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Report {
    /// Total cost of ownership of a period, beside what renting would have cost
    ///
    /// Days and months begin at midnight in the fleet's time zone.
    Tco(Tco),
    /// Energy and observed time of a period, from the ledger's hour rows
    ///
    /// Days and months begin at midnight UTC. The ledger holds whole hours: a period that begins or
    /// ends within one has that hour whole.
    Energy(Energy),
    /// GPU-hours by state: active, held idle, free, down and unmonitored
    Utilization(Utilization),
    /// What each owner or cost centre pays, with idle time apart, and how much depends on few
    Showback(Showback),
    /// Book, tax and economic value of every asset side by side, and what other useful lives would mean
    #[command(
        after_help = "The months of --from and --to are whole. --asset adds the table of its lives, 3 to 7 years."
    )]
    Depreciation(Depreciation),
    /// Condition of each GPU: hours, energy, heat and errors, as far as the ledger holds them
    Assets(Assets),
    /// Own or rent: every offer of the price list, levers, spread, and business models
    Compare(Compare),
    /// How many GPUs to own for the measured load, and what free hours would have earned
    Split(Split),
    /// What holds of a claim, by the facts of a scenario file; needs neither ledger nor fleet
    #[command(after_help = "Exit code 1: an expectation of the file does not hold.")]
    Scenario(Scenario),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    Month,
    Model,
    Node,
    Owner,
    Site,
}

impl From<By> for GroupBy {
    fn from(by: By) -> Self {
        match by {
            By::Month => Self::Month,
            By::Model => Self::Model,
            By::Node => Self::Node,
            By::Owner => Self::Owner,
            By::Site => Self::Site,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Period {
    /// First instant: 2026-10, 2026-10-01 (midnight) or 2026-10-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = super::period::moment)]
    pub from: Moment,
    /// First instant after the period, in the same forms: the period ends before it
    #[arg(long, value_name = "TIME", value_parser = super::period::moment)]
    pub to: Moment,
}

#[derive(Debug, clap::Args)]
pub struct Out {
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long, requires = "out")]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct Tco {
    #[command(flatten)]
    pub period: Period,
    /// What the lines are grouped by
    #[arg(long, default_value = "month")]
    pub by: By,
    #[arg(long, default_value = "table")]
    pub format: StatementFormat,
    /// Instead of the statement, show how the lines whose id begins so came about
    #[arg(long, value_name = "ID", conflicts_with = "format")]
    pub explain: Option<String>,
    #[command(flatten)]
    pub out: Out,
}

#[derive(Debug, clap::Args)]
pub struct Energy {
    #[command(flatten)]
    pub period: Period,
    /// What the rows are grouped by, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "node,hour", value_name = "LIST")]
    pub by: Vec<Dimension>,
    #[arg(long, default_value = "table")]
    pub format: EnergyFormat,
    #[command(flatten)]
    pub out: Out,
}

/// Period, form and place of a report of sheets.
#[derive(Debug, clap::Args)]
pub struct Sheets {
    #[command(flatten)]
    pub period: Period,
    #[arg(long, default_value = "table")]
    pub format: SheetFormat,
    /// Instead of the report, show how this row came about: its id, SHEET/ID, or the beginning of either
    #[arg(long, value_name = "ID", conflicts_with = "format")]
    pub explain: Option<String>,
    #[command(flatten)]
    pub out: Out,
}

#[derive(Debug, clap::Args)]
pub struct Utilization {
    /// What the rows are grouped by
    #[arg(long, default_value = "model")]
    pub by: By,
    #[command(flatten)]
    pub sheets: Sheets,
}

/// What owners are charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Basis {
    /// What was theirs, whether it ran or not
    Allocation,
    /// What ran; held idle time is a row of its own
    Usage,
    /// The larger of both
    Larger,
}

impl From<Basis> for ChargeBasis {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::Allocation => Self::Allocation,
            Basis::Usage => Self::Usage,
            Basis::Larger => Self::Larger,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Showback {
    /// Rows are owners, even where the fleet has cost centres
    #[arg(long)]
    pub owners: bool,
    /// What owners are charged for [default: `charge_basis` of the fleet, else allocation]
    #[arg(long, value_name = "BASIS")]
    pub basis: Option<Basis>,
    #[command(flatten)]
    pub sheets: Sheets,
}

#[derive(Debug, clap::Args)]
pub struct Depreciation {
    /// Only this asset of the register
    #[arg(long, value_name = "SERIAL")]
    pub asset: Option<String>,
    #[command(flatten)]
    pub sheets: Sheets,
}

#[derive(Debug, clap::Args)]
pub struct Assets {
    #[command(flatten)]
    pub sheets: Sheets,
}

#[derive(Debug, clap::Args)]
pub struct Compare {
    /// Move the levers against this offer (the beginning of its name) instead of the cheapest
    #[arg(long, value_name = "NAME")]
    pub offer: Option<String>,
    /// Seed of what is drawn [default: that of the fleet, else 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How often all levers are drawn at once
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(DRAWS_MAX)))]
    pub draws: u32,
    #[command(flatten)]
    pub sheets: Sheets,
}

#[derive(Debug, clap::Args)]
pub struct Split {
    /// Seed of the years that are drawn from measured weeks [default: that of the fleet, else 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub sheets: Sheets,
}

#[derive(Debug, clap::Args)]
pub struct Scenario {
    /// The scenario (TOML): facts, what is compared, and what is expected of it
    pub file: PathBuf,
    #[arg(long, default_value = "table")]
    pub format: SheetFormat,
    /// Instead of the report, show how this row came about
    #[arg(long, value_name = "ID", conflicts_with = "format")]
    pub explain: Option<String>,
    /// A scenario has no period: taken, for scripts, and told that it says nothing
    #[arg(long, value_name = "TIME", value_parser = super::period::moment, hide = true)]
    pub from: Option<Moment>,
    #[arg(long, value_name = "TIME", value_parser = super::period::moment, hide = true)]
    pub to: Option<Moment>,
    #[command(flatten)]
    pub out: Out,
}
