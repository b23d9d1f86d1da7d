//! The statement: the one result that every report format prints.
//!
//! Invariants: lines are in one fixed order; the amounts of the lines of a group sum to the group's
//! total and the groups to the statement's total, to the smallest unit of the currency; every line
//! can be recomputed from its formula and inputs.

use crate::formulas::Formula;
use crate::money::{Currency, Money};
use rust_decimal::Decimal;
use serde::Serialize;

/// What the lines are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    Month,
    Model,
    Node,
    Owner,
    Site,
}

/// A family of cost, in the order of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Depreciation,
    CapitalCharge,
    Energy,
    Colocation,
    Overhead,
}

/// One quantity or price that a line was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// "cost", "energy", "PUE", …
    pub name: String,
    pub value: Decimal,
    /// "EUR", "kWh", "GPU-hours", "EUR/kWh"; empty for a pure number.
    pub unit: String,
    /// Where the value comes from: "ledger", "fleet.toml: asset SN123", "prices.csv line 4 (2024-04-25)".
    pub source: String,
}

/// One amount and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Stable name within the statement: "energy/dc1/gpu-01".
    pub id: String,
    /// The group that the line belongs to: "2026-10", "NVIDIA H100", "gpu-01", "team-a", "dc1".
    pub group: String,
    pub family: Family,
    /// For people: "Electricity of gpu-01 at dc1".
    pub label: String,
    /// In the smallest unit of the currency, already rounded.
    pub amount: Decimal,
    /// The amount before rounding.
    pub exact: Decimal,
    pub currency: Currency,
    /// Which formula it is; see [`crate::formulas`].
    pub formula_id: Formula,
    /// How the inputs make the amount, in words and signs: "energy × PUE × price".
    pub formula: String,
    pub inputs: Vec<Input>,
}

/// GPU-hours by state. The five sum to `in_service`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StateHours {
    pub in_service: Decimal,
    pub active: Decimal,
    pub held_idle: Decimal,
    pub free: Decimal,
    pub down: Decimal,
    pub unmonitored: Decimal,
}

/// The lines of one group added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub name: String,
    pub gpus: u64,
    pub hours: StateHours,
    /// Energy of GPUs and measured nodes at the wall of the node, before PUE.
    pub energy_kwh: Decimal,
    /// Location-based emissions, PUE included; `None` where a site has no intensity.
    pub carbon_kg: Option<Decimal>,
    pub total: Money,
    pub rates: Rates,
}

/// Cost of a GPU-hour; `None` where there were no such hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Rates {
    pub per_hour_in_service: Option<Decimal>,
    pub per_hour_active: Option<Decimal>,
    /// Active and held: hours that somebody owned.
    pub per_hour_owned: Option<Decimal>,
}

/// What the same capacity and the same work would have cost to rent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// "aws p5.48xlarge us-east-1, on demand".
    pub offer: String,
    pub model: String,
    /// Rent of one GPU for one hour, in the statement's currency.
    pub price_per_gpu_hour: Decimal,
    /// Day from which the price was in force, and where it was published.
    pub price_source: String,
    /// All hours in service at that price.
    pub same_capacity: Money,
    /// The hours that somebody owned at that price.
    pub same_work: Money,
    /// Own cost of the GPUs of this model in the period.
    pub own: Money,
    /// Share of hours in use above which owning is cheaper; above 1 renting always is.
    pub break_even_utilization: Option<Decimal>,
    /// Measured share of hours that somebody owned.
    pub utilization: Option<Decimal>,
    /// How the inputs make rent and break-even, in words and signs.
    pub formula: String,
    /// Hours, price and own cost, unrounded.
    pub inputs: Vec<Input>,
}

/// How much of what should have been measured was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Observed GPU-hours over GPU-hours in service; `None` without hours in service.
    pub observed_ratio: Option<Decimal>,
    /// Energy by hardware counters or meters over all energy; the rest is integrated from power.
    pub counted_energy_ratio: Option<Decimal>,
    /// Energy that was used while nobody looked, over all energy.
    pub gap_energy_ratio: Option<Decimal>,
}

/// The whole result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    pub title: String,
    /// RFC 3339, UTC; `from` is in the period, `to` is not.
    pub from: String,
    pub to: String,
    pub currency: Currency,
    pub by: GroupBy,
    pub lines: Vec<Line>,
    pub groups: Vec<Group>,
    pub hours: StateHours,
    pub energy_kwh: Decimal,
    pub carbon_kg: Option<Decimal>,
    pub total: Money,
    pub rates: Rates,
    pub coverage: Coverage,
    pub comparisons: Vec<Comparison>,
    /// What a reader must know: assumptions, warnings, prices that are old, GPUs without an asset.
    pub notes: Vec<String>,
    /// True when any reading came from a simulation.
    pub simulated: bool,
}
