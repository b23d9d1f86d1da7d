//! From inputs to a statement. A what-if is the same call on changed inputs.

use crate::allocation::allocate;
use crate::asset::Asset;
use crate::books::Book;
use crate::calendar::{Calendar, Month, Period, Segment};
use crate::compare;
use crate::decimal::{kwh, sum};
use crate::energy;
use crate::error::TcoError;
use crate::facility::{CapitalRate, Overhead, Site};
use crate::figures::Figures;
use crate::money::Currency;
use crate::pools::{Pool, pools};
use crate::rent::RentPrice;
use crate::service::{Fleet, resolve};
use crate::statement::{GroupBy, Statement};
use crate::tally::Tally;
pub use crate::tally::{Count, Counted};
use crate::usage::Usage;
use crate::view::{View, money, rates};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// Everything that a statement is computed from.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub title: String,
    pub period: Period,
    /// Instant (ms) to which time has run, where that is before the end of the period: nothing is in
    /// service or costs anything after it.
    pub as_of_ms: Option<i64>,
    pub calendar: Calendar,
    pub by: GroupBy,
    pub currency: Currency,
    /// At least one.
    pub sites: Vec<Site>,
    pub assets: Vec<Asset>,
    pub overheads: Vec<Overhead>,
    pub capital_rate: Option<CapitalRate>,
    pub prices: Vec<RentPrice>,
    pub usage: Usage,
    /// What the caller has to say to the reader; comes before the engine's own notes.
    pub notes: Vec<String>,
}

impl Inputs {
    /// End of what is counted.
    pub fn until_ms(&self) -> i64 {
        let end = self.period.to().start_ms();
        self.as_of_ms.map_or(end, |as_of| as_of.min(end))
    }
}

/// Computes the statement from rows that are all there. Who has too many of them gives them piece by piece:
/// [`Frame`], [`Count`], [`Evaluation`].
pub fn evaluate(inputs: &Inputs) -> Result<Statement, TcoError> {
    Evaluation::of(inputs)?.statement(inputs, inputs.by)
}

/// Refuses what cannot be computed, before anything is.
fn check(inputs: &Inputs) -> Result<(), TcoError> {
    let expected = inputs.currency;
    let own = |what: String, found: Currency| {
        if found == expected { Ok(()) } else { Err(TcoError::ForeignCurrency { what, found, expected }) }
    };
    let invalid = |what: String, given: String, expected| Err(TcoError::Invalid { what, given, expected });
    if inputs.sites.is_empty() {
        return invalid("number of sites".to_owned(), "0".to_owned(), "at least one");
    }
    let mut serials = BTreeSet::new();
    for asset in &inputs.assets {
        asset.check()?;
        if !serials.insert(asset.serial.as_str()) {
            return invalid(
                format!("serial {} ({})", asset.serial, asset.source),
                "used twice".to_owned(),
                "one asset",
            );
        }
        own(format!("the cost of asset {}", asset.serial), asset.cost.currency)?;
    }
    for site in &inputs.sites {
        if site.pue < Decimal::ONE {
            return invalid(format!("PUE of site {}", site.name), site.pue.to_string(), "1 or more");
        }
        if let Some(contract) = &site.colocation {
            own(format!("the colocation of site {}", site.name), contract.price_per_kw_month.currency)?;
            if let Some(overage) = contract.overage {
                own(format!("the overage of site {}", site.name), overage.per_kwh.currency)?;
            }
        }
        site.supply.check(&site.name)?;
        site.tariff.as_ref().map_or(Ok(()), energy::Tariff::check)?;
        for money in site.supply.money() {
            own(format!("the electricity contract of site {}", site.name), money.currency)?;
        }
    }
    for overhead in &inputs.overheads {
        overhead.check()?;
        if let Some(money) = overhead.charge.money() {
            own(format!("the overhead {}", overhead.kind), money.currency)?;
        }
    }
    for price in &inputs.prices {
        own(format!("the price of {} ({})", price.offer, price.entry), price.currency)?;
        if price.per_gpu_hour <= Decimal::ZERO {
            let what = format!("price of {} ({})", price.offer, price.entry);
            return invalid(what, price.per_gpu_hour.to_string(), "more than zero");
        }
    }
    Ok(())
}

/// Which GPUs are in service when, and how the period is cut: what rows are counted into.
#[derive(Debug)]
pub struct Frame {
    fleet: Fleet,
    months: Vec<Month>,
    segments: Vec<Segment>,
}

impl Frame {
    /// Refuses inputs that no result can be computed from. Rows of GPUs are not looked at.
    pub fn new(inputs: &Inputs) -> Result<Self, TcoError> {
        check(inputs)?;
        let price_days: Vec<Date> = inputs.prices.iter().map(|price| price.effective_from).collect();
        let (months, segments) = inputs.calendar.segments(inputs.period, &price_days)?;
        Ok(Self { fleet: resolve(inputs)?, months, segments })
    }

    /// Begins to count rows.
    pub fn count<'a>(&'a self, inputs: &'a Inputs) -> Result<Count<'a>, TcoError> {
        Count::new(inputs, &self.fleet, &self.segments)
    }

    pub fn months(&self) -> &[Month] {
        &self.months
    }

    /// Model of each GPU that was seen, in the order of the usage, and of those that were only bought.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.fleet.gpus.iter().map(|gpu| gpu.model.as_str())
    }

    /// Positions of the GPUs that pay for each asset.
    pub fn gpus_of_assets(&self) -> &[Vec<usize>] {
        &self.fleet.asset_gpus
    }
}

/// Everything that is the same whatever a result is grouped by. Methods take the inputs that it is of.
#[derive(Debug)]
pub struct Evaluation {
    frame: Frame,
    tally: Tally,
    pools: Vec<Pool>,
}

impl Evaluation {
    /// From rows that are all there.
    pub fn of(inputs: &Inputs) -> Result<Self, TcoError> {
        let frame = Frame::new(inputs)?;
        let mut count = frame.count(inputs)?;
        count.add(&inputs.usage.gpu_rows)?;
        let mut counted = count.close()?;
        if !counted.peak_hours().is_empty() {
            counted.add_peak_rows(&inputs.usage.gpu_rows);
        }
        Self::new(inputs, frame, counted.finish())
    }

    /// Puts prices on what was counted.
    pub fn new(inputs: &Inputs, frame: Frame, tally: Tally) -> Result<Self, TcoError> {
        let pools = pools(inputs, &frame.fleet, &tally, &frame.months, &frame.segments)?;
        Ok(Self { frame, tally, pools })
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(crate) fn view<'a>(&'a self, inputs: &'a Inputs) -> View<'a> {
        let Self { frame: Frame { fleet, months, segments }, tally, pools } = self;
        View { inputs, fleet, tally, months, segments, pools }
    }

    /// The book of each asset, in their order, with the units that were counted.
    pub fn books(&self, inputs: &Inputs) -> Result<Vec<Book>, TcoError> {
        let Frame { fleet, months, segments } = &self.frame;
        crate::pools::books(inputs, fleet, &self.tally, months, segments)
    }

    pub fn statement(&self, inputs: &Inputs, by: GroupBy) -> Result<Statement, TcoError> {
        let view = self.view(inputs);
        let groups = view.groups(by);
        let shares = allocate(view.pools, view.tally, &groups, inputs.currency.minor_digits())?;
        let lines = view.lines(&groups, &shares)?;
        let figures = view.figures(&groups)?;
        let total = money(sum(lines.iter().map(|line| line.amount))?, inputs);
        let mut whole = Figures::default();
        for figure in &figures {
            whole.merge(figure)?;
        }
        let mut notes = inputs.notes.clone();
        let comparisons = compare::comparisons(&view, &mut notes)?;
        notes.extend(view.notes());
        let hours = whole.hours()?;
        Ok(Statement {
            title: inputs.title.clone(),
            from: inputs.period.from().to_string(),
            to: inputs.period.to().to_string(),
            currency: inputs.currency,
            by,
            groups: view.group_list(&groups, &lines, &figures)?,
            lines,
            hours,
            energy_kwh: kwh(whole.energy_mj)?,
            carbon_kg: view.carbon(&whole)?,
            total,
            rates: rates(total.amount, &hours, inputs)?,
            coverage: whole.coverage()?,
            comparisons,
            notes,
            simulated: inputs.usage.simulated,
        })
    }
}
