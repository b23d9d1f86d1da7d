//! What assets cost in a month: depreciation, what events booked beside it, and the charge on the money
//! that is bound in them.

use super::{Basis, Pool, Stretch, input};
use crate::asset::Asset;
use crate::books::{Book, BookMethod, Booked, Change, Unit, UnitsDone};
use crate::calendar::{Calendar, Segment};
use crate::decimal::{hours, kwh, sub};
use crate::error::TcoError;
use crate::facility::{CapitalRate, Key, capital_charge};
use crate::formulas::{self, Formula};
use crate::statement::{Family, Input};
use crate::tally::{Tally, plus};
use rust_decimal::Decimal;

/// An asset, its book, and the GPUs that pay for it.
#[derive(Clone, Copy)]
pub(super) struct OfAsset<'a> {
    pub asset: &'a Asset,
    pub book: &'a Book,
    pub gpus: &'a [usize],
    pub calendar: &'a Calendar,
}

impl OfAsset<'_> {
    /// The part of a stretch in which the asset stands here; `None` where there is none.
    pub(super) fn stay(&self, stretch: Stretch) -> Result<Option<Stretch>, TcoError> {
        let stay = self.asset.terms.stay;
        let at = |day: Option<jiff::civil::Date>| day.map(|day| self.calendar.day_start_ms(day)).transpose();
        let from_ms = at(stay.from)?.map_or(stretch.from_ms, |from| from.max(stretch.from_ms));
        let to_ms = at(stay.to)?.map_or(stretch.to_ms, |to| to.min(stretch.to_ms));
        Ok((from_ms < to_ms).then_some(Stretch { from_ms, to_ms, ..stretch }))
    }

    fn pool(&self, family: Family, stretch: Stretch, formula: Formula, amount: Decimal) -> Pool {
        Pool {
            family,
            item: self.asset.serial.clone(),
            label: String::new(),
            formula,
            month: stretch.position,
            amount,
            basis: Basis::Hours(Key::InService),
            gpus: self.gpus.to_vec(),
            facts: Vec::new(),
            of_month: Vec::new(),
        }
    }

    pub(super) fn depreciation(&self, stretch: Stretch) -> Result<Option<Pool>, TcoError> {
        let asset = self.asset;
        let before = self.book.charged(stretch.from_ms)?;
        let amount = sub(self.book.charged(stretch.to_ms)?, before)?;
        if amount.is_zero() {
            return Ok(None);
        }
        let (unit, source) = (asset.cost.currency.code(), asset.source.as_str());
        let in_service = format!("{source}, in service {}", asset.in_service);
        let started = start_name(self.calendar, stretch)?;
        Ok(Some(Pool {
            label: format!("Depreciation of {}", asset.serial),
            facts: self.facts(stretch)?,
            of_month: vec![
                input(format!("depreciation in {}", stretch.month), amount, unit, &in_service),
                input(format!("depreciated before {started}"), before, unit, source),
            ],
            ..self.pool(Family::Depreciation, stretch, self.formula(stretch)?, amount)
        }))
    }

    fn formula(&self, stretch: Stretch) -> Result<Formula, TcoError> {
        for event in &self.asset.terms.events {
            let changed = !matches!(event.what, Change::Disposal { .. });
            if changed && self.calendar.day_start_ms(event.on)? < stretch.to_ms {
                return Ok(formulas::ANEW);
            }
        }
        Ok(self.asset.formula())
    }

    /// Cost, salvage, life and factor, and every change of them up to the end of the stretch.
    fn facts(&self, stretch: Stretch) -> Result<Vec<Input>, TcoError> {
        let asset = self.asset;
        let (unit, source) = (asset.cost.currency.code(), asset.source.as_str());
        let mut facts = vec![
            input("cost", asset.cost.amount, unit, source),
            input("salvage", asset.salvage.amount, unit, source),
        ];
        let of_life = match &asset.terms.method {
            BookMethod::Units(units) => {
                facts.push(input("life", units.life, units.unit.name(), source));
                units.unit.name()
            }
            method => {
                facts.push(input("life", Decimal::from(asset.life_months), "months", source));
                if let BookMethod::Declining { factor, .. } = method {
                    facts.push(input("factor", *factor, "", source));
                }
                "months"
            }
        };
        for event in &asset.terms.events {
            if self.calendar.day_start_ms(event.on)? >= stretch.to_ms {
                continue;
            }
            let mut fact = |name: &str, value, unit: &str| {
                facts.push(input(format!("{name} from {}", event.on), value, unit, &event.source));
            };
            match &event.what {
                Change::Estimate { life, salvage } => {
                    fact("life", *life, of_life);
                    fact("salvage", *salvage, unit);
                }
                Change::Impairment { loss, .. } => fact("impairment", *loss, unit),
                Change::Reversal { amount } => fact("reversal", *amount, unit),
                Change::Disposal { share, .. } => fact("share disposed of", *share, ""),
            }
        }
        Ok(facts)
    }

    /// Impairments, reversals and disposals of the stretch.
    pub(super) fn booked(&self, stretch: Stretch) -> Result<Vec<Pool>, TcoError> {
        let asset = self.asset;
        let unit = asset.cost.currency.code();
        let within = (stretch.from_ms..stretch.to_ms).clone();
        let mut pools = Vec::new();
        for booking in self.book.bookings().iter().filter(|booking| within.contains(&booking.at_ms)) {
            let (formula, mut inputs) = match booking.what {
                Booked::Impairment(_) | Booked::Reversal => {
                    let name = format!("{} on {}", booking.name(), booking.on);
                    (formulas::IMPAIRMENT, vec![input(name, booking.amount, unit, &booking.source)])
                }
                Booked::Disposal { proceeds, selling_cost, book_value } => {
                    let of = |name: &str, value| {
                        input(format!("{name} on {}", booking.on), value, unit, &booking.source)
                    };
                    let parts = [
                        ("proceeds", proceeds),
                        ("selling cost", selling_cost),
                        ("book value disposed of", book_value),
                    ];
                    (formulas::DISPOSAL, parts.into_iter().map(|(name, value)| of(name, value)).collect())
                }
            };
            inputs.push(input(
                format!("book value before {}", booking.on),
                booking.net_before,
                unit,
                &asset.source,
            ));
            let what = formula.id.rsplit('.').next().unwrap_or_default();
            pools.push(Pool {
                item: format!("{}/{what}", asset.serial),
                label: format!("{} of {}", capital_letter(booking.name()), asset.serial),
                of_month: inputs,
                ..self.pool(Family::Depreciation, stretch, formula, booking.cost()?)
            });
        }
        Ok(pools)
    }

    pub(super) fn capital(&self, rate: &CapitalRate, stretch: Stretch) -> Result<Option<Pool>, TcoError> {
        let asset = self.asset;
        let charge =
            capital_charge(self.book, asset, rate.rate, self.calendar, (stretch.from_ms, stretch.to_ms))?;
        let Some(charge) = charge.filter(|charge| !charge.amount.is_zero()) else { return Ok(None) };
        let (unit, month) = (asset.cost.currency.code(), stretch.month);
        let average = charge.average_book_value;
        Ok(Some(Pool {
            label: format!("Capital charge on {}", asset.serial),
            facts: vec![input("rate", rate.rate, "per year", &rate.source)],
            of_month: vec![
                input(format!("average net book value in {month}"), average, unit, &asset.source),
                input(format!("time in {month}"), charge.years.value()?, "years", "calendar"),
            ],
            ..self.pool(Family::CapitalCharge, stretch, formulas::CAPITAL_CHARGE, charge.amount)
        }))
    }
}

fn capital_letter(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The day on which a stretch begins; with the time, where it is not midnight of the calendar's zone.
fn start_name(calendar: &Calendar, stretch: Stretch) -> Result<String, TcoError> {
    let day = calendar.date(stretch.from_ms);
    if calendar.day_start_ms(day)? == stretch.from_ms {
        return Ok(day.to_string());
    }
    jiff::Timestamp::from_millisecond(stretch.from_ms)
        .map(|instant| instant.to_string())
        .map_err(|_| TcoError::Overflow("an instant"))
}

/// What the ledger measured of the units that an asset depreciates by, stretch by stretch.
pub(super) fn measured_units(
    asset: &Asset,
    gpus: &[usize],
    tally: &Tally,
    segments: &[Segment],
    stretches: &[Stretch],
) -> Result<Vec<UnitsDone>, TcoError> {
    let BookMethod::Units(units) = &asset.terms.method else { return Ok(Vec::new()) };
    let mut done = Vec::new();
    for stretch in stretches {
        let (mut active_ms, mut energy_mj) = (0, 0);
        for (position, _) in
            segments.iter().enumerate().filter(|(_, segment)| segment.month == stretch.position)
        {
            for (_, cell) in gpus.iter().flat_map(|&gpu| tally.cells(position, gpu)) {
                plus(&mut active_ms, cell.active_ms)?;
                plus(&mut energy_mj, cell.energy_mj)?;
            }
        }
        let units = match units.unit {
            Unit::GpuHours => hours(active_ms.into())?,
            Unit::Kwh => kwh(energy_mj.into())?,
        };
        done.push(UnitsDone { from_ms: stretch.from_ms, to_ms: stretch.to_ms, units });
    }
    Ok(done)
}
