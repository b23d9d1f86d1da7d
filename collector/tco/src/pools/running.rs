//! What runs on whatever is used: colocation and overheads.

use super::{Basis, Pool, Stretch, input};
use crate::calendar::Segment;
use crate::decimal::{Fraction, add, from_u128, hours, kwh, mul, round, sub};
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::facility::{Charge, Colocation, Key, Overhead, portion, year_of, year_share};
use crate::formulas::{self, Formula};
use crate::money::Money;
use crate::service::{Fleet, site_position};
use crate::statement::{Family, Input};
use crate::tally::{Tally, plus};
use rust_decimal::Decimal;

/// What the costs beside hardware are computed from.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub inputs: &'a Inputs,
    pub fleet: &'a Fleet,
    pub tally: &'a Tally,
    pub segments: &'a [Segment],
}

/// An amount and what it was made of.
struct Owed {
    formula: Formula,
    amount: Decimal,
    facts: Vec<Input>,
    of_month: Vec<Input>,
}

impl Running<'_> {
    pub(super) fn colocation(&self, stretch: Stretch) -> Result<Vec<Pool>, TcoError> {
        let mut pools = Vec::new();
        for (position, site) in self.inputs.sites.iter().enumerate() {
            let Some(contract) = &site.colocation else { continue };
            let price = contract.price_per_kw_month;
            let per_month = Money::new(mul(contract.contracted_kw, price.amount)?, price.currency);
            let (amount, months) = self.of_month(per_month, stretch)?;
            let unit = format!("{}/kW-month", price.currency);
            let pool = Pool {
                family: Family::Colocation,
                item: site.name.clone(),
                label: format!("Colocation at {}", site.name),
                formula: formulas::COLOCATION,
                month: stretch.position,
                amount,
                basis: Basis::Hours(Key::InService),
                gpus: self.fleet.of_site(position),
                facts: vec![
                    input("contracted power", contract.contracted_kw, "kW", &contract.source),
                    input("price", price.amount, unit, &contract.source),
                ],
                of_month: vec![input(
                    format!("time in {}", stretch.month),
                    months.value()?,
                    "months",
                    "calendar",
                )],
            };
            let overage = self.overage(position, contract, months, &pool, stretch)?;
            pools.push(pool);
            pools.extend(overage);
        }
        Ok(pools)
    }

    /// Energy above what the price includes: of the month's part, since the contract counts by month.
    fn overage(
        &self,
        site: usize,
        contract: &Colocation,
        months: Fraction,
        base: &Pool,
        stretch: Stretch,
    ) -> Result<Option<Pool>, TcoError> {
        let (Some(overage), Some(of)) = (contract.overage, self.inputs.sites.get(site)) else {
            return Ok(None);
        };
        let mut mj = 0;
        for (position, _) in self.segments.iter().enumerate().filter(|(_, s)| s.month == stretch.position) {
            for (_, cell) in base.gpus.iter().flat_map(|&gpu| self.tally.cells(position, gpu)) {
                plus(&mut mj, cell.energy_mj)?;
            }
        }
        let energy = mul(kwh(mj.into())?, of.pue)?;
        let included = months.of(overage.included_kwh_per_month)?;
        let over = sub(energy, included)?;
        if over <= Decimal::ZERO {
            return Ok(None);
        }
        let month = stretch.month;
        Ok(Some(Pool {
            item: format!("{}/overage", base.item),
            label: format!("Energy above what is included at {}", base.item),
            formula: formulas::COLOCATION_OVERAGE,
            amount: mul(over, overage.per_kwh.amount)?,
            basis: Basis::EnergyUsed,
            facts: vec![input(
                "price of overage",
                overage.per_kwh.amount,
                format!("{}/kWh", overage.per_kwh.currency),
                &contract.source,
            )],
            of_month: vec![
                input(format!("energy of the facility in {month}"), energy, "kWh", "ledger × PUE"),
                input(format!("included in {month}"), included, "kWh", &contract.source),
            ],
            ..base.clone()
        }))
    }

    pub(super) fn overheads(&self, stretch: Stretch) -> Result<Vec<Pool>, TcoError> {
        let mut pools = Vec::new();
        for overhead in &self.inputs.overheads {
            let gpus = match &overhead.site {
                Some(site) => {
                    let what = format!("overhead {}", overhead.kind);
                    self.fleet.of_site(site_position(&self.inputs.sites, &what, site)?)
                }
                None => (0..self.fleet.gpus.len()).collect(),
            };
            let Some(owed) = self.owed(overhead, stretch)? else { continue };
            let Owed { formula, amount, facts, of_month } = self.amount(overhead, &gpus, owed)?;
            let item = match &overhead.site {
                Some(site) => format!("{site}/{}", overhead.kind),
                None => overhead.kind.clone(),
            };
            let label = match &overhead.site {
                Some(site) => format!("{} at {site}", overhead.kind),
                None => overhead.kind.clone(),
            };
            let basis = match overhead.key {
                Key::Energy => Basis::EnergyUsed,
                key => Basis::Hours(key),
            };
            let family = Family::Overhead;
            pools.push(Pool {
                family,
                item,
                label,
                formula,
                month: stretch.position,
                amount,
                basis,
                gpus,
                facts,
                of_month,
            });
        }
        Ok(pools)
    }

    /// The part of a stretch in which an overhead is owed.
    fn owed(&self, overhead: &Overhead, stretch: Stretch) -> Result<Option<Stretch>, TcoError> {
        let day_ms = |day| self.inputs.calendar.day_start_ms(day);
        let from_ms =
            overhead.from.map(day_ms).transpose()?.map_or(stretch.from_ms, |at| at.max(stretch.from_ms));
        let to_ms = overhead.to.map(day_ms).transpose()?.map_or(stretch.to_ms, |at| at.min(stretch.to_ms));
        Ok((from_ms < to_ms).then_some(Stretch { from_ms, to_ms, ..stretch }))
    }

    fn amount(&self, overhead: &Overhead, gpus: &[usize], stretch: Stretch) -> Result<Owed, TcoError> {
        let (calendar, month, source) = (&self.inputs.calendar, stretch.month, overhead.source.as_str());
        let years = year_share(calendar, stretch.from_ms, stretch.to_ms)?;
        let time = |of: Fraction, unit: &str| {
            Ok::<_, TcoError>(input(format!("time in {month}"), of.value()?, unit, "calendar"))
        };
        Ok(match overhead.charge {
            Charge::PerYear(money) => Owed {
                formula: formulas::OVERHEAD_YEAR,
                amount: portion(money, year_of(calendar, stretch.from_ms)?, stretch.from_ms, stretch.to_ms)?,
                facts: vec![input("yearly amount", money.amount, format!("{}/year", money.currency), source)],
                of_month: vec![time(years, "years")?],
            },
            Charge::PerMonth(money) => {
                let (amount, months) = self.of_month(money, stretch)?;
                let facts =
                    vec![input("monthly amount", money.amount, format!("{}/month", money.currency), source)];
                Owed {
                    formula: formulas::OVERHEAD_MONTH,
                    amount,
                    facts,
                    of_month: vec![time(months, "months")?],
                }
            }
            Charge::PerGpuYear(money) => {
                let facts =
                    vec![input("amount a GPU", money.amount, format!("{}/GPU-year", money.currency), source)];
                self.by_gpu(formulas::OVERHEAD_GPU, money.amount, facts, gpus, stretch)?
            }
            Charge::Failures { per_gpu_year, cost } => {
                let facts = vec![
                    input("failures", per_gpu_year, "a GPU and year", source),
                    input("cost of one", cost.amount, cost.currency.code(), source),
                ];
                self.by_gpu(formulas::SPARES, mul(per_gpu_year, cost.amount)?, facts, gpus, stretch)?
            }
            Charge::ShareOfCost(share) => {
                let mut amount = Decimal::ZERO;
                let mut cost = Decimal::ZERO;
                for (asset, served) in self.inputs.assets.iter().zip(&self.fleet.asset_gpus) {
                    let start = calendar.day_start_ms(asset.in_service)?.max(stretch.from_ms);
                    let end = asset.terms.ends().map(|day| calendar.day_start_ms(day)).transpose()?;
                    let end = end.map_or(stretch.to_ms, |end| end.min(stretch.to_ms));
                    if start >= end || !served.iter().any(|gpu| gpus.contains(gpu)) {
                        continue;
                    }
                    let year = Money::new(mul(asset.cost.amount, share)?, asset.cost.currency);
                    amount = add(amount, portion(year, year_of(calendar, start)?, start, end)?)?;
                    cost = add(cost, asset.cost.amount)?;
                }
                Owed {
                    formula: formulas::OVERHEAD_COST,
                    amount,
                    facts: vec![input("share of cost", share, "per year", source)],
                    of_month: vec![
                        input(
                            format!("cost in service in {month}"),
                            cost,
                            self.inputs.currency.code(),
                            "register",
                        ),
                        time(years, "years")?,
                    ],
                }
            }
        })
    }

    /// An amount a GPU and year, by the time that GPUs were in service.
    fn by_gpu(
        &self,
        formula: Formula,
        per_year: Decimal,
        facts: Vec<Input>,
        gpus: &[usize],
        stretch: Stretch,
    ) -> Result<Owed, TcoError> {
        let mut ms: u128 = 0;
        for (_, service) in gpus.iter().filter_map(|&gpu| Some((gpu, self.fleet.gpus.get(gpu)?.service_ms?)))
        {
            let span = service.1.min(stretch.to_ms).saturating_sub(service.0.max(stretch.from_ms));
            ms = ms.saturating_add(u128::try_from(span).unwrap_or_default());
        }
        let (start, end) = year_of(&self.inputs.calendar, stretch.from_ms)?;
        let year = Decimal::from(end.saturating_sub(start));
        let exact = crate::decimal::div(mul(per_year, from_u128(ms)?)?, year, "a year")?;
        let name = |what: &str| format!("{what} in {}", stretch.month);
        let year_hours = u128::try_from(end.saturating_sub(start)).unwrap_or_default();
        Ok(Owed {
            formula,
            amount: round(exact, self.inputs.currency.minor_digits()),
            facts,
            of_month: vec![
                input(name("GPU-hours in service"), hours(ms)?, "GPU-hours", "register"),
                input(name("hours of the year"), hours(year_hours)?, "hours", "calendar"),
            ],
        })
    }
}
