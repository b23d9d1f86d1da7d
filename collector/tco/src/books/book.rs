//! The book of one asset: what was charged and what is left of its value, at every instant.
//!
//! A life is a row of parts, one a calendar month, each in the smallest unit of the currency; within a
//! part the charge runs evenly with time. The parts sum to cost − salvage exactly, the residue in the
//! last one. An event cuts the row: what lies before stays, what comes after is spread anew over what
//! is left ([`super::spread`]). Over a whole life
//!
//! cost = Σ depreciation + Σ impairments − Σ reversals + Σ book values disposed of + book value at the end.

use super::booking::{Booked, Booking};
use super::plan::{Part, Writer, scaled};
use super::terms::{Change, Event, UnitsDone, wrong};
use crate::asset::Asset;
use crate::calendar::Calendar;
use crate::decimal::{Fraction, add, mul, round, sub};
use crate::error::TcoError;
use rust_decimal::Decimal;

/// From one event to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    from_ms: i64,
    /// Charged before it.
    charged: Decimal,
    /// Book value at its start, after the event.
    net: Decimal,
    parts: Vec<Part>,
}

/// The book of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    digits: u32,
    stretches: Vec<Stretch>,
    bookings: Vec<Booking>,
}

impl Book {
    /// The book by the asset's terms. `measured` are the units that the ledger knows of, behind those
    /// of the terms; only units of production look at them.
    pub fn new(asset: &Asset, calendar: &Calendar, measured: &[UnitsDone]) -> Result<Self, TcoError> {
        asset.check()?;
        let mut writer = Writer::new(asset, calendar, measured)?;
        let mut book =
            Self { digits: asset.cost.currency.minor_digits(), stretches: Vec::new(), bookings: Vec::new() };
        let start = calendar.day_start_ms(asset.in_service)?;
        book.open(&writer, start, Decimal::ZERO, asset.cost.amount)?;
        let mut events: Vec<&Event> = asset.terms.events.iter().collect();
        events.sort_by_key(|event| event.on);
        for event in events {
            book.happens(&mut writer, event)?;
        }
        Ok(book)
    }

    /// Depreciation from the start of service to an instant, in the smallest unit.
    pub fn charged(&self, at_ms: i64) -> Result<Decimal, TcoError> {
        self.stretch(at_ms).map_or(Ok(Decimal::ZERO), |stretch| self.charged_in(stretch, at_ms))
    }

    /// Book value at an instant, after what happened at it; zero before the start of service.
    pub fn net(&self, at_ms: i64) -> Result<Decimal, TcoError> {
        match self.stretch(at_ms) {
            None => Ok(Decimal::ZERO),
            Some(stretch) => sub(stretch.net, sub(self.charged_in(stretch, at_ms)?, stretch.charged)?),
        }
    }

    /// Book value just before what happens at an instant.
    pub fn net_before(&self, at_ms: i64) -> Result<Decimal, TcoError> {
        let count = self.stretches.partition_point(|stretch| stretch.from_ms < at_ms);
        match count.checked_sub(1).and_then(|last| self.stretches.get(last)) {
            None => Ok(Decimal::ZERO),
            Some(stretch) => sub(stretch.net, sub(self.charged_in(stretch, at_ms)?, stretch.charged)?),
        }
    }

    /// What events booked beside depreciation, in the order of time.
    pub fn bookings(&self) -> &[Booking] {
        &self.bookings
    }

    /// Instant at which the last part ends.
    pub fn end_ms(&self) -> Option<i64> {
        self.stretches.last().map(|stretch| stretch.parts.last().map_or(stretch.from_ms, |part| part.to_ms))
    }

    fn stretch(&self, at_ms: i64) -> Option<&Stretch> {
        let count = self.stretches.partition_point(|stretch| stretch.from_ms <= at_ms);
        self.stretches.get(count.checked_sub(1)?)
    }

    fn charged_in(&self, stretch: &Stretch, at_ms: i64) -> Result<Decimal, TcoError> {
        let over = stretch.parts.partition_point(|part| part.to_ms <= at_ms);
        let Some(part) = stretch.parts.get(over).filter(|part| part.from_ms < at_ms) else {
            let last = over.checked_sub(1).and_then(|last| stretch.parts.get(last));
            return last.map_or(Ok(stretch.charged), |part| add(part.before, part.amount));
        };
        let elapsed = Fraction {
            part: at_ms.saturating_sub(part.from_ms),
            whole: part.to_ms.saturating_sub(part.from_ms),
        };
        Ok(round(add(part.before, elapsed.of(part.amount)?)?, self.digits))
    }

    /// Begins a stretch with the plan of what is left.
    fn open(
        &mut self,
        writer: &Writer<'_>,
        from_ms: i64,
        charged: Decimal,
        net: Decimal,
    ) -> Result<(), TcoError> {
        let parts = writer.plan(from_ms, net, charged, self.digits)?;
        self.stretches.push(Stretch { from_ms, charged, net, parts });
        Ok(())
    }

    fn happens(&mut self, writer: &mut Writer<'_>, event: &Event) -> Result<(), TcoError> {
        let asset = writer.asset;
        let at_ms = writer.calendar.day_start_ms(event.on)?;
        if self.bookings.iter().any(|booking| booking.closes) {
            return wrong(asset, "date of an event", &event.on, "a day before it was disposed of");
        }
        let (charged, net) = (self.charged(at_ms)?, self.net(at_ms)?);
        let mut book = |what, amount, net_after, closes| {
            let source = event.source.clone();
            self.bookings.push(Booking {
                on: event.on,
                at_ms,
                what,
                amount,
                net_before: net,
                net_after,
                closes,
                source,
            });
        };
        let after = match &event.what {
            Change::Estimate { life, salvage } => {
                (writer.life, writer.salvage) = (*life, *salvage);
                net
            }
            Change::Impairment { loss, regime } => {
                if *loss > net {
                    return wrong(asset, "impairment loss", loss, "at most the book value of that day");
                }
                book(Booked::Impairment(*regime), *loss, sub(net, *loss)?, false);
                sub(net, *loss)?
            }
            Change::Reversal { amount } => {
                let most = writer.reversible(at_ms, net)?;
                if *amount > most {
                    let expected =
                        "at most what brings the book value back to that without impairment (IFRS only)";
                    return wrong(asset, "reversal", amount, expected);
                }
                book(Booked::Reversal, *amount, add(net, *amount)?, false);
                add(net, *amount)?
            }
            Change::Disposal { share, proceeds, selling_cost } => {
                let gone = round(mul(net, *share)?, self.digits);
                let gain = crate::depreciation::disposal_gain(*proceeds, *selling_cost, gone)?;
                let rest = sub(net, gone)?;
                book(
                    Booked::Disposal { proceeds: *proceeds, selling_cost: *selling_cost, book_value: gone },
                    gain,
                    rest,
                    *share == Decimal::ONE,
                );
                writer.salvage = mul(writer.salvage, sub(Decimal::ONE, *share)?)?;
                return self.dispose(writer, at_ms, charged, rest);
            }
        };
        writer.events.push(event.clone());
        self.open(writer, at_ms, charged, after)
    }

    /// What is left goes on as it was planned, in proportion.
    fn dispose(
        &mut self,
        writer: &Writer<'_>,
        at_ms: i64,
        charged: Decimal,
        rest: Decimal,
    ) -> Result<(), TcoError> {
        let left = round(sub(rest, writer.salvage)?.max(Decimal::ZERO), self.digits);
        let planned: Vec<Part> =
            self.stretches.last().map(|stretch| stretch.parts.clone()).unwrap_or_default();
        let mut spans = Vec::new();
        for part in planned.iter().filter(|part| part.to_ms > at_ms) {
            let from_ms = part.from_ms.max(at_ms);
            let whole = part.to_ms.saturating_sub(part.from_ms);
            let still = Fraction { part: part.to_ms.saturating_sub(from_ms), whole };
            spans.push((from_ms, part.to_ms, still.of(part.amount)?));
        }
        let parts = if left.is_zero() { Vec::new() } else { scaled(&spans, left, charged, self.digits)? };
        self.stretches.push(Stretch { from_ms: at_ms, charged, net: rest, parts });
        Ok(())
    }
}
