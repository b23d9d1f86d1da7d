//! What electricity costs in a month: node by node, by the price of each hour.

use super::{Basis, Pool, Stretch, input};
use crate::calendar::Segment;
use crate::decimal::{kwh, mul, ratio};
use crate::energy;
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::formulas;
use crate::service::Fleet;
use crate::statement::Family;
use crate::tally::{Tally, plus, plus_signed};
use rust_decimal::Decimal;

pub(super) fn electricity(
    inputs: &Inputs,
    fleet: &Fleet,
    tally: &Tally,
    segments: &[Segment],
    node: usize,
    stretch: Stretch,
) -> Result<Option<Pool>, TcoError> {
    let Some(node) = fleet.nodes.get(node) else { return Ok(None) };
    let Some(site) = inputs.sites.get(node.site) else { return Ok(None) };
    let (mut mj, mut priced) = (0, 0);
    for (position, _) in segments.iter().enumerate().filter(|(_, segment)| segment.month == stretch.position)
    {
        for &gpu in &node.gpus {
            for (_, cell) in tally.cells(position, gpu) {
                plus(&mut mj, cell.energy_mj)?;
                plus_signed(&mut priced, cell.priced)?;
            }
        }
    }
    if mj == 0 {
        return Ok(None);
    }
    let month = stretch.month;
    let (unit, energy) = (inputs.currency.code(), kwh(mj.into())?);
    let paid = site.tariff.is_some() && !site.power_included();
    let (mut facts, mut of_month) =
        (Vec::new(), vec![input(format!("energy in {month}"), energy, "kWh", "ledger")]);
    let (formula, factor) = if paid {
        match &site.supply.pue {
            // The price of an hour has its PUE in it.
            Some(series) => facts.push(input("PUE where the series has none", site.pue, "", &series.source)),
            None => facts.push(input("PUE", site.pue, "", &site.source)),
        }
        let mean = ratio(energy::amount(priced)?, energy)?.unwrap_or_default();
        let source = site.tariff.as_ref().map(energy::Tariff::source).unwrap_or_default();
        of_month.push(input(format!("mean price in {month}"), mean, format!("{unit}/kWh"), source));
        (
            if site.supply.pue.is_some() { formulas::ENERGY_PUE_SERIES } else { formulas::ENERGY },
            site.pue_factor(),
        )
    } else if site.power_included() {
        (formulas::ENERGY_INCLUDED, Decimal::ZERO)
    } else {
        (formulas::ENERGY_UNPRICED, Decimal::ZERO)
    };
    Ok(Some(Pool {
        family: Family::Energy,
        item: format!("{}/{}", site.name, node.name),
        label: format!("Electricity of {} at {}", node.name, site.name),
        formula,
        month: stretch.position,
        amount: mul(energy::amount(priced)?, factor)?,
        basis: Basis::Energy(factor),
        gpus: node.gpus.clone(),
        facts,
        of_month,
    }))
}
