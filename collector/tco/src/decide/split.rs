//! The best split for a load: own the base, rent the peaks.
//!
//! The n-th GPU is worth owning where the hours a year in which at least n are in use exceed F/(p − v):
//! what owning one more costs a year whether it is used or not, over what an own hour saves. Hours above
//! what is owned are rented. How sure that is comes from drawing the measured weeks again and again: where
//! another year made of the same weeks would lead to another number.

use super::dice::Dice;
use crate::calendar::{Period, UtcHour};
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, refuse};
use crate::usage::{GpuRow, Usage};
use rust_decimal::Decimal;

/// Hours of a week, which loads repeat by.
const WEEK: usize = 168;
/// Times that the weeks are drawn.
const DRAWS: usize = 200;
const HOUR_MS: u64 = 3_600_000;

/// What an hour costs both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Owning one GPU for a year, used or not.
    pub own_per_year: Decimal,
    /// An own hour in use, beyond that.
    pub own_per_hour: Decimal,
    /// Rent of an hour of the same work.
    pub rent_per_hour: Decimal,
}

/// The split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// GPUs to own.
    pub own: u32,
    /// Highest load that was measured.
    pub peak: u32,
    /// Hours of use a year above which a GPU is worth owning; `None` where none is.
    pub threshold_hours: Option<Decimal>,
    /// Cost a year: by this split, owning the peak, renting all.
    pub cost: Decimal,
    pub cost_own_all: Decimal,
    pub cost_rent_all: Decimal,
    /// Against the cheaper of the two.
    pub saving: Decimal,
    pub owned_hours: Decimal,
    pub rented_hours: Decimal,
    /// Hours that were measured; a year is 8760.
    pub hours_measured: usize,
    /// GPUs to own in the lowest and the highest tenth of drawn years.
    pub own_p10: u32,
    pub own_p90: u32,
    pub seed: u64,
}

/// GPUs in use in each hour of a period, while rows come: those that somebody owned.
#[derive(Debug, Clone)]
pub struct LoadCurve {
    from: UtcHour,
    owned_ms: Vec<u64>,
}

impl LoadCurve {
    pub fn new(period: Period) -> Self {
        let hours = usize::try_from(period.hours()).unwrap_or_default();
        Self { from: period.from(), owned_ms: vec![0; hours] }
    }

    /// Adds a row; those of hours outside the period are left out.
    pub fn add(&mut self, row: &GpuRow) {
        let position = row.hour.0.checked_sub(self.from.0).and_then(|at| usize::try_from(at).ok());
        if let Some(sum) = position.and_then(|position| self.owned_ms.get_mut(position)) {
            *sum = sum.saturating_add(row.active_ms).saturating_add(row.held_ms);
        }
    }

    /// GPUs of each hour, rounded up; only so many hours as are over.
    pub fn loads(&self, hours: usize) -> Vec<u32> {
        let whole = |ms: &u64| u32::try_from(ms.div_ceil(HOUR_MS)).unwrap_or(u32::MAX);
        self.owned_ms.iter().take(hours).map(whole).collect()
    }
}

/// GPUs in use in each hour of a period. Only rows of GPUs that `wanted` says count.
pub fn load_curve(usage: &Usage, period: Period, wanted: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut curve = LoadCurve::new(period);
    let own = usage.gpu_rows.iter().filter(|row| wanted(usize::try_from(row.gpu).unwrap_or(usize::MAX)));
    own.for_each(|row| curve.add(row));
    curve.loads(usize::MAX)
}

/// Hours in which at least n GPUs were in use, n from 1 to the peak.
fn durations(loads: &[u32]) -> Vec<u64> {
    let peak = loads.iter().max().copied().unwrap_or_default();
    let mut at_level = vec![0_u64; usize::try_from(peak).unwrap_or_default()];
    for &load in loads.iter().filter(|load| **load > 0) {
        let level = usize::try_from(load).unwrap_or_default().saturating_sub(1);
        if let Some(hours) = at_level.get_mut(level) {
            *hours = hours.saturating_add(1);
        }
    }
    let mut above = 0_u64;
    for hours in at_level.iter_mut().rev() {
        above = above.saturating_add(*hours);
        *hours = above;
    }
    at_level
}

/// How many to own, given the threshold in hours of the measured time.
fn count(durations: &[u64], threshold: Decimal) -> u32 {
    let worth = durations.partition_point(|hours| Decimal::from(*hours) > threshold);
    u32::try_from(worth).unwrap_or(u32::MAX)
}

/// The best split for the GPUs in use in each hour, one hour after the other.
pub fn best_split(loads: &[u32], prices: Prices, seed: u64) -> Result<Split, TcoError> {
    const NAME: &str = "best_split";
    check_not_negative(NAME, "own_per_year", prices.own_per_year)?;
    check_not_negative(NAME, "own_per_hour", prices.own_per_hour)?;
    check_positive(NAME, "rent_per_hour", prices.rent_per_hour)?;
    if loads.is_empty() {
        return refuse(NAME, "hours measured", &0, "at least one");
    }
    let measured = Decimal::from(loads.len());
    let a_year = div(super::way::YEAR_HOURS, measured, "a year")?;
    let margin = sub(prices.rent_per_hour, prices.own_per_hour)?;
    let threshold = if margin > Decimal::ZERO {
        Some(div(prices.own_per_year, margin, "the cost of owning")?)
    } else {
        None
    };
    // The threshold in hours of the time that was measured.
    let scaled = |hours: usize| {
        threshold.map(|t| div(mul(t, Decimal::from(hours))?, super::way::YEAR_HOURS, "a year")).transpose()
    };
    let durations = durations(loads);
    let own = scaled(loads.len())?.map_or(0, |threshold| count(&durations, threshold));
    let cost = |own: u32| cost_of(&durations, own, prices, a_year);
    let (chosen, owned_hours, rented_hours) = cost(own)?;
    let peak = u32::try_from(durations.len()).unwrap_or(u32::MAX);
    let (own_all, rent_all) = (cost(peak)?.0, cost(0)?.0);
    let (own_p10, own_p90) = drawn(loads, &scaled, seed)?;
    Ok(Split {
        own,
        peak,
        threshold_hours: threshold,
        cost: chosen,
        cost_own_all: own_all,
        cost_rent_all: rent_all,
        saving: sub(own_all.min(rent_all), chosen)?,
        owned_hours,
        rented_hours,
        hours_measured: loads.len(),
        own_p10,
        own_p90,
        seed,
    })
}

/// Cost a year of owning so many, and the hours a year that are done by own and by rented GPUs.
fn cost_of(
    durations: &[u64],
    own: u32,
    prices: Prices,
    a_year: Decimal,
) -> Result<(Decimal, Decimal, Decimal), TcoError> {
    let (mut done, mut rented) = (0_u64, 0_u64);
    for (level, hours) in durations.iter().enumerate() {
        let side = if level < usize::try_from(own).unwrap_or(usize::MAX) { &mut done } else { &mut rented };
        *side = side.saturating_add(*hours);
    }
    let (done, rented) = (mul(Decimal::from(done), a_year)?, mul(Decimal::from(rented), a_year)?);
    let fixed = mul(Decimal::from(own), prices.own_per_year)?;
    let hours = add(mul(done, prices.own_per_hour)?, mul(rented, prices.rent_per_hour)?)?;
    Ok((add(fixed, hours)?, done, rented))
}

fn drawn(
    loads: &[u32],
    scaled: &impl Fn(usize) -> Result<Option<Decimal>, TcoError>,
    seed: u64,
) -> Result<(u32, u32), TcoError> {
    let weeks: Vec<&[u32]> = loads.chunks(WEEK).collect();
    let mut dice = Dice::new(seed);
    let mut results = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let year: Vec<u32> = (0..weeks.len())
            .flat_map(|_| weeks.get(dice.position(weeks.len())).copied().unwrap_or_default())
            .copied()
            .collect();
        let threshold = scaled(year.len())?;
        results.push(threshold.map_or(0, |threshold| count(&durations(&year), threshold)));
    }
    results.sort_unstable();
    let at = |position: usize| results.get(position).copied().unwrap_or_default();
    Ok((at(DRAWS / 10), at(DRAWS.saturating_sub(1).saturating_sub(DRAWS / 10))))
}
