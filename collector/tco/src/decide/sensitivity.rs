//! How much hangs on what: one lever at a time, and all together from a seed.
//!
//! Each lever is moved by a share of itself (20 % as a rule) and the case judged again by the advantage of
//! owning: present value of owning − that of renting. The part of the PUE above 1 is moved, the life by
//! whole years, and a price trend of none as if it were 10 % a year. Shares stay between 0 and 1.

use super::case::Case;
use super::dice::Dice;
use crate::decimal::{add, div, mul, round, sub};
use crate::error::TcoError;
use crate::finance::{check_share, refuse};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Most draws of one run: a hundred thousand take seconds.
pub const DRAWS_MAX: u32 = 100_000;

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lever {
    Utilization,
    Life,
    Residual,
    Electricity,
    Pue,
    RentTrend,
    CostOfCapital,
}

impl Lever {
    pub const ALL: [Self; 7] = [
        Self::Utilization,
        Self::Life,
        Self::Residual,
        Self::Electricity,
        Self::Pue,
        Self::RentTrend,
        Self::CostOfCapital,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Utilization => "utilization",
            Self::Life => "life",
            Self::Residual => "residual value",
            Self::Electricity => "electricity price",
            Self::Pue => "PUE",
            Self::RentTrend => "trend of rents",
            Self::CostOfCapital => "cost of capital",
        }
    }

    /// The case with this lever moved by a share of itself, and its value then.
    pub fn moved(self, case: &Case, by: Decimal) -> Result<(Case, Decimal), TcoError> {
        let mut moved = case.clone();
        let factor = add(Decimal::ONE, by)?;
        let share =
            |value: Decimal| Ok::<_, TcoError>(mul(value, factor)?.clamp(Decimal::ZERO, Decimal::ONE));
        let own = &mut moved.own;
        let value = match self {
            Self::Utilization => {
                own.fleet.utilization = share(own.fleet.utilization)?;
                own.fleet.utilization
            }
            Self::Residual => {
                own.residual = share(own.residual)?;
                own.residual
            }
            Self::Electricity => {
                own.running.price_per_kwh = mul(own.running.price_per_kwh, factor)?;
                own.running.price_per_kwh
            }
            Self::Pue => {
                own.running.pue = add(Decimal::ONE, mul(sub(own.running.pue, Decimal::ONE)?, factor)?)?;
                own.running.pue
            }
            Self::Life => {
                let years = round(mul(Decimal::from(case.years), by)?, 0);
                let life = add(Decimal::from(case.years), years)?.max(Decimal::ONE);
                moved.years = life.to_u32().unwrap_or(case.years).min(super::way::YEARS_MAX);
                Decimal::from(moved.years)
            }
            Self::RentTrend => {
                let size =
                    if case.offer.trend.is_zero() { Decimal::new(1, 1) } else { case.offer.trend.abs() };
                moved.offer.trend = add(case.offer.trend, mul(size, by)?)?;
                moved.offer.trend
            }
            Self::CostOfCapital => {
                moved.discount = mul(case.discount, factor)?;
                moved.discount
            }
        };
        Ok((moved, value))
    }
}

fn advantage(case: &Case) -> Result<Decimal, TcoError> {
    let (own, rent) = case.present_values()?;
    sub(own, rent)
}

/// What one lever does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swing {
    pub lever: Lever,
    /// Its value and the advantage of owning, moved down and moved up.
    pub low: (Decimal, Decimal),
    pub high: (Decimal, Decimal),
    /// Distance between both advantages.
    pub swing: Decimal,
    /// True where the sign of the advantage changes between both: the decision hangs on this lever.
    pub decides: bool,
}

/// Every lever alone, the largest swing first.
pub fn tornado(case: &Case, by: Decimal) -> Result<Vec<Swing>, TcoError> {
    check_share("tornado", "by", by)?;
    let mut swings = Vec::new();
    for lever in Lever::ALL {
        let at = |by: Decimal| -> Result<(Decimal, Decimal), TcoError> {
            let (moved, value) = lever.moved(case, by)?;
            Ok((value, advantage(&moved)?))
        };
        let (low, high) = (at(sub(Decimal::ZERO, by)?)?, at(by)?);
        let swing = sub(high.1, low.1)?.abs();
        let decides = low.1.is_sign_negative() != high.1.is_sign_negative();
        swings.push(Swing { lever, low, high, swing, decides });
    }
    swings.sort_by(|a, b| b.swing.cmp(&a.swing).then(a.lever.cmp(&b.lever)));
    Ok(swings)
}

/// The spread of the advantage of owning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantiles {
    pub p10: Decimal,
    pub p50: Decimal,
    pub p90: Decimal,
    /// Share of the draws in which owning is better.
    pub owning_better: Decimal,
    /// Recorded, so that the result can be found again.
    pub seed: u64,
    pub draws: u32,
}

/// All levers at once, each drawn between −`by` and +`by` of itself, values near its own more often.
pub fn quantiles(case: &Case, by: Decimal, draws: u32, seed: u64) -> Result<Quantiles, TcoError> {
    check_share("quantiles", "by", by)?;
    if draws == 0 || draws > DRAWS_MAX {
        return refuse("quantiles", "draws", &draws, "1 to 100000");
    }
    let mut dice = Dice::new(seed);
    let mut results = Vec::new();
    for _ in 0..draws {
        let mut sample = case.clone();
        for lever in Lever::ALL {
            let about = sub(mul(dice.triangle()?, Decimal::TWO)?, Decimal::ONE)?;
            sample = lever.moved(&sample, mul(about, by)?)?.0;
        }
        results.push(advantage(&sample)?);
    }
    results.sort_unstable();
    let better = results.iter().filter(|advantage| **advantage > Decimal::ZERO).count();
    let at = |percent: usize| -> Decimal {
        let last = results.len().saturating_sub(1);
        let position = last.saturating_mul(percent).checked_div(100).unwrap_or_default();
        results.get(position).copied().unwrap_or_default()
    };
    let owning_better = div(Decimal::from(better), Decimal::from(draws), "draws")?;
    Ok(Quantiles { p10: at(10), p50: at(50), p90: at(90), owning_better, seed, draws })
}
