//! What free hours would have earned on a marketplace, day by day, at the price of the day.

use crate::calendar::{Calendar, Period, UtcHour};
use crate::decimal::{add, hours, mul, sub};
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::finance::{check_not_negative, check_share};
use crate::rent::{RentPrice, in_force, model_matches};
use crate::usage::{GpuRow, GpuUse, Usage};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// Free GPU-hours of one model on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeHours {
    pub day: Date,
    pub model: String,
    pub hours: Decimal,
}

/// Terms of the marketplace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Of the rent: 0.2 is 20 %.
    pub fee: Decimal,
    /// Share of the free hours that would find a taker.
    pub sold: Decimal,
    /// What an hour that is sold draws more than an idle one.
    pub cost_per_hour: Decimal,
}

/// What one model would have earned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earned {
    pub model: String,
    pub free_hours: Decimal,
    pub sold_hours: Decimal,
    pub earned: Decimal,
    /// Free hours of days without a price in force: they are not in the other figures.
    pub unpriced_hours: Decimal,
    /// Prices that were used, with their days and sources.
    pub sources: Vec<String>,
}

/// Free time by hour and model, while rows come.
#[derive(Debug, Clone)]
pub struct FreeTime {
    within: std::ops::Range<u32>,
    models: Vec<String>,
    /// Position of the model of each GPU.
    model_of: Vec<usize>,
    ms: BTreeMap<(u32, usize), u128>,
}

impl FreeTime {
    pub fn new(usage: &Usage, period: Period) -> Self {
        let mut models: Vec<String> = usage.gpus.iter().map(|gpu| gpu.model.clone()).collect();
        models.sort();
        models.dedup();
        let model_of = |gpu: &GpuUse| models.binary_search(&gpu.model).unwrap_or_default();
        let model_of = usage.gpus.iter().map(model_of).collect();
        Self { within: period.from().0..period.to().0, models, model_of, ms: BTreeMap::new() }
    }

    /// Adds a row; those of hours outside the period are left out.
    pub fn add(&mut self, row: &GpuRow) {
        let model = usize::try_from(row.gpu).ok().and_then(|gpu| self.model_of.get(gpu));
        if let Some(&model) = model.filter(|_| row.free_ms > 0 && self.within.contains(&row.hour.0)) {
            let sum = self.ms.entry((row.hour.0, model)).or_default();
            *sum = sum.saturating_add(row.free_ms.into());
        }
    }

    /// Free hours by day and model.
    pub fn by_day(&self, calendar: &Calendar) -> Result<Vec<FreeHours>, TcoError> {
        let mut sums: BTreeMap<(Date, usize), u128> = BTreeMap::new();
        for (&(hour, model), &ms) in &self.ms {
            let sum = sums.entry((calendar.date(UtcHour(hour).start_ms()), model)).or_default();
            *sum = sum.saturating_add(ms);
        }
        let of_day = |((day, model), ms): ((Date, usize), u128)| {
            let model = self.models.get(model).cloned().unwrap_or_default();
            Ok(FreeHours { day, model, hours: hours(ms)? })
        };
        sums.into_iter().map(of_day).collect()
    }
}

/// Free hours of a usage by day and model.
pub fn free_hours(inputs: &Inputs) -> Result<Vec<FreeHours>, TcoError> {
    let mut free = FreeTime::new(&inputs.usage, inputs.period);
    inputs.usage.gpu_rows.iter().for_each(|row| free.add(row));
    free.by_day(&inputs.calendar)
}

/// By model. Of several prices of a model the lowest in force counts: a seller is not alone.
pub fn market_value(free: &[FreeHours], prices: &[RentPrice], terms: Terms) -> Result<Vec<Earned>, TcoError> {
    check_share("market_value", "fee", terms.fee)?;
    check_share("market_value", "sold", terms.sold)?;
    check_not_negative("market_value", "cost_per_hour", terms.cost_per_hour)?;
    let kept = sub(Decimal::ONE, terms.fee)?;
    let mut by_model: BTreeMap<&str, Earned> = BTreeMap::new();
    for of_day in free {
        let earned = by_model.entry(&of_day.model).or_insert_with(|| Earned {
            model: of_day.model.clone(),
            free_hours: Decimal::ZERO,
            sold_hours: Decimal::ZERO,
            earned: Decimal::ZERO,
            unpriced_hours: Decimal::ZERO,
            sources: Vec::new(),
        });
        let Some(price) = lowest(prices, of_day) else {
            earned.unpriced_hours = add(earned.unpriced_hours, of_day.hours)?;
            continue;
        };
        let sold = mul(of_day.hours, terms.sold)?;
        let margin = sub(mul(price.per_gpu_hour, kept)?, terms.cost_per_hour)?.max(Decimal::ZERO);
        earned.free_hours = add(earned.free_hours, of_day.hours)?;
        earned.sold_hours = add(earned.sold_hours, sold)?;
        earned.earned = add(earned.earned, mul(sold, margin)?)?;
        let source = format!("{} from {}: {}", price.offer, price.effective_from, price.source);
        if !earned.sources.contains(&source) {
            earned.sources.push(source);
        }
    }
    Ok(by_model.into_values().collect())
}

fn lowest<'a>(prices: &'a [RentPrice], of_day: &FreeHours) -> Option<&'a RentPrice> {
    let mut offers: BTreeMap<(&str, crate::rent::PriceKind), Vec<&RentPrice>> = BTreeMap::new();
    for price in prices.iter().filter(|price| model_matches(&price.model, &of_day.model)) {
        offers.entry((&price.offer, price.kind)).or_default().push(price);
    }
    let current = offers.values().filter_map(|of_offer| in_force(of_offer, of_day.day));
    current.min_by(|a, b| a.per_gpu_hour.cmp(&b.per_gpu_hour).then_with(|| a.offer.cmp(&b.offer)))
}
