//! From an instant on, the parts of a life that are left: what [`super::book`] charges from then on.

use super::Book;
use super::spread::{Begin, Left, months_left};
use super::terms::{BookMethod, Change, Event, Regime, Units, UnitsDone, wrong};
use crate::asset::Asset;
use crate::calendar::{Calendar, Month};
use crate::decimal::{Fraction, add, div, mul, round, sub, sum};
use crate::depreciation::to_smallest_unit;
use crate::error::TcoError;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Depreciation of one calendar month, or the part of it that is in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub from_ms: i64,
    pub to_ms: i64,
    /// Charged before it, since the start of service.
    pub before: Decimal,
    pub amount: Decimal,
}

/// The life of an asset in the units of its method.
fn life_of(asset: &Asset) -> Decimal {
    match &asset.terms.method {
        BookMethod::Units(units) => units.life,
        _ => Decimal::from(asset.life_months),
    }
}

/// What plans are made from; estimates change it.
pub(super) struct Writer<'a> {
    pub asset: &'a Asset,
    pub calendar: &'a Calendar,
    pub begin: Begin,
    pub measured: &'a [UnitsDone],
    pub life: Decimal,
    pub salvage: Decimal,
    /// What was applied so far, for the book without impairments.
    pub events: Vec<Event>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        asset: &'a Asset,
        calendar: &'a Calendar,
        measured: &'a [UnitsDone],
    ) -> Result<Self, TcoError> {
        let begin = Begin::of(asset.terms.convention, asset.in_service, calendar)?;
        let (life, salvage) = (life_of(asset), asset.salvage.amount);
        Ok(Self { asset, calendar, begin, measured, life, salvage, events: Vec::new() })
    }

    pub(super) fn plan(
        &self,
        from_ms: i64,
        net: Decimal,
        charged: Decimal,
        digits: u32,
    ) -> Result<Vec<Part>, TcoError> {
        if let BookMethod::Units(units) = &self.asset.terms.method {
            return self.by_use(units, from_ms, net, charged, digits);
        }
        let first = self.asset.in_service;
        let start_ms = self.calendar.day_start_ms(first)?;
        let at_start = from_ms <= start_ms;
        let month = if at_start { Month::of(first) } else { Month::of(self.calendar.date(from_ms)) };
        // A life that by its convention began before its service catches up in the first month.
        let behind = month.index().saturating_sub(self.begin.month.index());
        let left = Left {
            net,
            salvage: self.salvage,
            life_months: self.life.to_u32().ok_or(TcoError::Overflow("a life"))?,
            elapsed: if at_start { 0 } else { u32::try_from(behind.max(0)).unwrap_or_default() },
        };
        let exact = months_left(&self.asset.terms.method, left, self.begin.share)?;
        let base = round(sub(net, self.salvage)?.max(Decimal::ZERO), digits);
        if exact.is_empty() {
            // Nothing of the life is left: what is left of the value goes at once.
            return Ok(if base.is_zero() {
                Vec::new()
            } else {
                vec![Part { from_ms, to_ms: from_ms.saturating_add(1), before: charged, amount: base }]
            });
        }
        let first_month = if at_start || behind < 0 { self.begin.month } else { month };
        let rounded = match &self.asset.terms.method {
            BookMethod::StraightLine => to_smallest_unit(&exact, base, digits)?,
            // Their period is the year: amounts to date are rounded, so that years are right to the cent.
            _ => to_date(&exact, base, digits)?,
        };
        self.parts(from_ms, first_month, &rounded, charged)
    }

    /// Amounts of calendar months from `first` on, each within its month and not before `from_ms`.
    fn parts(
        &self,
        from_ms: i64,
        first: Month,
        amounts: &[Decimal],
        charged: Decimal,
    ) -> Result<Vec<Part>, TcoError> {
        let (mut parts, mut before): (Vec<Part>, _) = (Vec::with_capacity(amounts.len()), charged);
        let (mut month, mut start) = (first, self.calendar.month_start_ms(first)?);
        let last = amounts.len().saturating_sub(1);
        for (position, &amount) in amounts.iter().enumerate() {
            let next = month.plus(1)?;
            let end = self.calendar.month_start_ms(next)?;
            let share = self.begin.share;
            let to_ms = if position == last && last > 0 && share.part < share.whole {
                // The rest of the first month's part, in the proportion that it left.
                let rest = Fraction { part: share.whole.saturating_sub(share.part), whole: share.whole };
                let ms = round(rest.of(Decimal::from(end.saturating_sub(start)))?, 0);
                start.saturating_add(i64::try_from(ms).map_err(|_| TcoError::Overflow("a month"))?)
            } else {
                end
            };
            let from = start.max(from_ms);
            match parts.last_mut() {
                _ if from < to_ms => parts.push(Part { from_ms: from, to_ms, before, amount }),
                Some(part) => part.amount = add(part.amount, amount)?,
                None => parts.push(Part { from_ms, to_ms: from_ms.saturating_add(1), before, amount }),
            }
            before = add(before, amount)?;
            (month, start) = (next, end);
        }
        caught_up(parts)
    }

    /// By use: to date base·min(units, life)/life, from the units that were done when the plan begins.
    fn by_use(
        &self,
        units: &Units,
        from_ms: i64,
        net: Decimal,
        charged: Decimal,
        digits: u32,
    ) -> Result<Vec<Part>, TcoError> {
        let (mut before_plan, mut after) = (Decimal::ZERO, Vec::new());
        let mut last = i64::MIN;
        for done in units.before.iter().chain(self.measured) {
            if done.from_ms < last || done.to_ms <= done.from_ms {
                let stretch = format!("{}..{} ms", done.from_ms, done.to_ms);
                let expected =
                    "stretches that do not overlap: leave out of the register what the ledger measured";
                return wrong(self.asset, "stretch of units done", &stretch, expected);
            }
            last = done.to_ms;
            let whole = done.to_ms.saturating_sub(done.from_ms);
            let over = from_ms.clamp(done.from_ms, done.to_ms).saturating_sub(done.from_ms);
            let past = Fraction { part: over, whole }.of(done.units)?;
            before_plan = add(before_plan, past)?;
            if over < whole {
                after.push((done.from_ms.max(from_ms), done.to_ms, sub(done.units, past)?));
            }
        }
        let base = sub(net, self.salvage)?.max(Decimal::ZERO);
        let life_left = sub(self.life, before_plan)?;
        let (mut done, mut before) = (Decimal::ZERO, charged);
        let mut parts = Vec::with_capacity(after.len());
        for (from_ms, to_ms, units) in after {
            done = add(done, units)?;
            let to_date =
                if done >= life_left { base } else { div(mul(base, done)?, life_left, "the units")? };
            let total = add(charged, round(to_date, digits))?;
            parts.push(Part { from_ms, to_ms, before, amount: sub(total, before)? });
            before = total;
        }
        Ok(parts)
    }

    /// By how much the book value lies below what it would be without impairments and reversals.
    pub(super) fn reversible(&self, at_ms: i64, net: Decimal) -> Result<Decimal, TcoError> {
        let us = |event: &Event| matches!(event.what, Change::Impairment { regime: Regime::UsGaap, .. });
        if self.events.iter().any(us) {
            return Ok(Decimal::ZERO);
        }
        let mut unimpaired = self.asset.clone();
        unimpaired.terms.events = self
            .asset
            .terms
            .events
            .iter()
            .filter(|event| {
                let estimate = matches!(event.what, Change::Estimate { .. } | Change::Disposal { .. });
                estimate && self.calendar.day_start_ms(event.on).is_ok_and(|on| on <= at_ms)
            })
            .cloned()
            .collect();
        let without = Book::new(&unimpaired, self.calendar, self.measured)?.net(at_ms)?;
        Ok(sub(without, net)?.max(Decimal::ZERO))
    }
}

/// Each amount the difference of rounded amounts to date; the last one takes what is left of the total.
fn to_date(exact: &[Decimal], total: Decimal, digits: u32) -> Result<Vec<Decimal>, TcoError> {
    let (mut sum, mut before) = (Decimal::ZERO, Decimal::ZERO);
    let last = exact.len().saturating_sub(1);
    let mut amounts = Vec::with_capacity(exact.len());
    for (position, &amount) in exact.iter().enumerate() {
        sum = add(sum, amount)?;
        let to_date = if position == last { total } else { round(sum, digits).min(total) };
        amounts.push(sub(to_date, before)?);
        before = to_date;
    }
    Ok(amounts)
}

/// Amounts of spans scaled to a total, in the smallest unit.
pub(super) fn scaled(
    spans: &[(i64, i64, Decimal)],
    total: Decimal,
    charged: Decimal,
    digits: u32,
) -> Result<Vec<Part>, TcoError> {
    let planned = sum(spans.iter().map(|span| span.2))?;
    let exact = |span: &(i64, i64, Decimal)| div(mul(span.2, total)?, planned, "the plan");
    let exact = if planned.is_zero() {
        vec![Decimal::ZERO; spans.len()]
    } else {
        spans.iter().map(exact).collect::<Result<_, _>>()?
    };
    let (mut parts, mut before) = (Vec::with_capacity(spans.len()), charged);
    for (&(from_ms, to_ms, _), amount) in spans.iter().zip(to_smallest_unit(&exact, total, digits)?) {
        parts.push(Part { from_ms, to_ms, before, amount });
        before = add(before, amount)?;
    }
    Ok(parts)
}

/// A first part of no length is what the months before service would have had: the next one takes it.
fn caught_up(mut parts: Vec<Part>) -> Result<Vec<Part>, TcoError> {
    if let [early, next, ..] = parts.as_mut_slice()
        && early.to_ms == early.from_ms.saturating_add(1)
        && early.from_ms == next.from_ms
    {
        next.before = early.before;
        next.amount = add(early.amount, next.amount)?;
        parts.remove(0);
    }
    Ok(parts)
}
