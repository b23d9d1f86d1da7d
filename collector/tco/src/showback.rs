//! What each owner or cost centre pays, with idle time priced apart.
//!
//! Cost of time is split into the part in which something ran and the part that was held and idle, by
//! time; energy and everything else that is shared by use belongs to the part that ran, where there is
//! one. By allocation the holder pays for its idle time; by usage that goes to a row of its own. For whole
//! GPUs the larger of both is the allocation. Free, down and unmonitored time are rows of their own: what
//! was not measured is nobody's idle time. All rows sum to the statement's total, to the smallest unit.

use crate::allocation::{Share, allocate, settle};
use crate::concentration::{Concentration, concentration};
use crate::decimal::{add, div, from_u128, hours, kwh, mul, ratio, sub, sum};
use crate::error::TcoError;
use crate::evaluate::{Evaluation, Inputs};
use crate::facility::Key;
use crate::money::{Currency, Money};
use crate::pools::Basis;
use crate::shares::ChargeBasis;
use crate::statement::GroupBy;
use crate::view::View;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// Who pays for held idle time by usage.
pub const HELD_IDLE: &str = "(held idle)";

/// One owner, cost centre or kind of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowbackRow {
    pub name: String,
    pub active_hours: Decimal,
    pub held_idle_hours: Decimal,
    pub other_hours: Decimal,
    pub energy_kwh: Decimal,
    /// Cost of time in which something ran, its energy included; of free, down and unmonitored rows all.
    pub used: Decimal,
    pub held_idle: Decimal,
    pub total: Decimal,
    /// Of all rows; `None` where nothing cost anything.
    pub share: Option<Decimal>,
    /// Total by active hour; `None` without one.
    pub per_active_hour: Option<Decimal>,
}

/// All rows: owners by name, then those in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Showback {
    pub basis: ChargeBasis,
    pub currency: Currency,
    pub rows: Vec<ShowbackRow>,
    pub total: Money,
    /// Of owners by what they pay; `None` where nobody pays or an amount is negative.
    pub concentration: Option<Concentration>,
}

/// Computes the rows. Name the owners by their cost centres before ([`crate::centres::assign`]) to have
/// a row for each centre.
pub fn showback(inputs: &Inputs, basis: ChargeBasis) -> Result<Showback, TcoError> {
    showback_of(&Evaluation::of(inputs)?, inputs, basis)
}

/// The same of an evaluation of the inputs.
pub fn showback_of(
    evaluation: &Evaluation,
    inputs: &Inputs,
    basis: ChargeBasis,
) -> Result<Showback, TcoError> {
    let view = evaluation.view(inputs);
    let groups = view.groups(GroupBy::Owner);
    let digits = inputs.currency.minor_digits();
    let shares = allocate(view.pools, view.tally, &groups, digits)?;
    let mut rows: Vec<ShowbackRow> = groups.names.iter().map(|name| ShowbackRow::empty(name)).collect();
    let mut times: BTreeMap<usize, [u128; 4]> = BTreeMap::new();
    for (group, _, _, cell) in groups.cells(view.tally, &groups.all(), None) {
        let sums = times.entry(group).or_default();
        let other = cell.time_ms().saturating_sub(cell.active_ms).saturating_sub(cell.held_ms);
        for (sum, more) in sums.iter_mut().zip([cell.active_ms, cell.held_ms, other, cell.energy_mj]) {
            *sum = sum.saturating_add(more.into());
        }
    }
    for (group, [active, held, other, mj]) in times {
        if let Some(row) = rows.get_mut(group) {
            (row.active_hours, row.held_idle_hours) = (hours(active)?, hours(held)?);
            (row.other_hours, row.energy_kwh) = (hours(other)?, kwh(mj)?);
        }
    }
    let mut times: (Option<usize>, Times) = (None, Times::new());
    for share in &shares {
        // Shares of a pool stand together: its cells are walked once.
        if times.0 != Some(share.pool) {
            times = (Some(share.pool), times_of(&view, &groups, share.pool));
        }
        let (used, idle) = apart(&view, &times.1, share, digits)?;
        if let Some(row) = rows.get_mut(share.group) {
            row.used = add(row.used, used)?;
            row.held_idle = add(row.held_idle, idle)?;
        }
    }
    if basis == ChargeBasis::Usage {
        let idle = take_idle(&mut rows)?;
        rows.push(idle);
    }
    rows.retain(|row| !row.is_empty());
    let total = finish(&mut rows, inputs.currency)?;
    let owners: Vec<(String, Decimal)> = rows
        .iter()
        .filter(|row| !row.name.starts_with('('))
        .map(|row| (row.name.clone(), row.total))
        .collect();
    let negative = owners.iter().any(|(_, amount)| *amount < Decimal::ZERO);
    Ok(Showback {
        basis,
        currency: inputs.currency,
        rows,
        total: Money::new(total, inputs.currency).rounded(),
        concentration: if negative { None } else { concentration(&owners)? },
    })
}

impl ShowbackRow {
    fn empty(name: &str) -> Self {
        let zero = Decimal::ZERO;
        Self {
            name: name.to_owned(),
            active_hours: zero,
            held_idle_hours: zero,
            other_hours: zero,
            energy_kwh: zero,
            used: zero,
            held_idle: zero,
            total: zero,
            share: None,
            per_active_hour: None,
        }
    }

    fn is_empty(&self) -> bool {
        let nothing = [
            self.active_hours,
            self.held_idle_hours,
            self.other_hours,
            self.energy_kwh,
            self.used,
            self.held_idle,
        ];
        nothing.iter().all(Decimal::is_zero)
    }
}

/// Active and held time (ms) of each group.
type Times = BTreeMap<usize, (u128, u128)>;

fn times_of(view: &View<'_>, groups: &crate::allocation::Groups<'_>, pool: usize) -> Times {
    let mut times = Times::new();
    let Some(pool) = view.pools.get(pool) else { return times };
    for (group, _, _, cell) in groups.cells(view.tally, &pool.gpus, Some(pool.month)) {
        let (active, held) = times.entry(group).or_default();
        *active = active.saturating_add(cell.active_ms.into());
        *held = held.saturating_add(cell.held_ms.into());
    }
    times
}

/// The part of a share that was held and idle, after the part that ran.
fn apart(view: &View<'_>, times: &Times, share: &Share, digits: u32) -> Result<(Decimal, Decimal), TcoError> {
    let Some(pool) = view.pools.get(share.pool) else { return Ok((share.amount, Decimal::ZERO)) };
    let (active, held) = times.get(&share.group).copied().unwrap_or_default();
    if held == 0 {
        return Ok((share.amount, Decimal::ZERO));
    }
    let by_time = matches!(pool.basis, Basis::Hours(Key::InService | Key::Owned));
    if active > 0 && !by_time {
        return Ok((share.amount, Decimal::ZERO));
    }
    let whole = active.checked_add(held).ok_or(TcoError::Overflow("a sum of time"))?;
    let idle = div(mul(share.amount, from_u128(held)?)?, from_u128(whole)?, "time")?;
    let parts = settle(share.amount, &[sub(share.amount, idle)?, idle], digits)?;
    let [used, idle] = parts[..] else { return Ok((share.amount, Decimal::ZERO)) };
    Ok((used, idle))
}

/// By usage nobody pays for idle time but the row that shows it.
fn take_idle(rows: &mut [ShowbackRow]) -> Result<ShowbackRow, TcoError> {
    let mut idle = ShowbackRow::empty(HELD_IDLE);
    for row in rows {
        idle.held_idle = add(idle.held_idle, row.held_idle)?;
        idle.held_idle_hours = add(idle.held_idle_hours, row.held_idle_hours)?;
        (row.held_idle, row.held_idle_hours) = (Decimal::ZERO, Decimal::ZERO);
    }
    Ok(idle)
}

fn finish(rows: &mut [ShowbackRow], currency: Currency) -> Result<Decimal, TcoError> {
    for row in rows.iter_mut() {
        row.total = add(row.used, row.held_idle)?;
        // Settled amounts, written with all their places.
        for amount in [&mut row.used, &mut row.held_idle, &mut row.total] {
            *amount = Money::new(*amount, currency).rounded().amount;
        }
    }
    let total = sum(rows.iter().map(|row| row.total))?;
    for row in rows.iter_mut() {
        row.share = ratio(row.total, total)?;
        row.per_active_hour = ratio(row.total, row.active_hours)?;
    }
    rows.sort_by(|a, b| (a.name.starts_with('('), &a.name).cmp(&(b.name.starts_with('('), &b.name)));
    Ok(total)
}
