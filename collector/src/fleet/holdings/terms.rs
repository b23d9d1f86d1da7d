//! Book and tax terms of a component: method, convention, what happened to it, and its tax class.

use super::Tax;
use super::words::{CONVENTIONS, METHODS, Method, TAX_CLASSES, UNITS};
use crate::fleet::error::FleetError;
use crate::fleet::facts::{Facts, Key};
use gpuledger_tco::books::terms::{Change, Event, Regime, Terms, Units};
use gpuledger_tco::books::{BookMethod, Property};
use gpuledger_tco::depreciation::Convention;
use gpuledger_tco::money::Currency;
use gpuledger_tco::shares::largest_remainder;
use rust_decimal::Decimal;

pub const EVENT_KEYS: [&str; 13] = [
    "on",
    "kind",
    "component",
    "life_months",
    "life_years",
    "life_units",
    "salvage",
    "loss",
    "regime",
    "amount",
    "share",
    "proceeds",
    "selling_cost",
];

const LIFE_YEARS_MAX: u32 = 50;

/// A component's own facts, and those of its item for what it does not say.
pub struct Part<'a, F> {
    pub own: &'a F,
    pub item: &'a F,
}

impl<'a, F: Facts> Part<'a, F> {
    /// Whoever says it.
    pub fn of(&self, key: Key) -> &'a F {
        if self.own.has(key) { self.own } else { self.item }
    }

    /// Useful life in months; by units nothing needs be said.
    pub fn life_months(&self, by_units: bool) -> Result<u32, FleetError> {
        let says = |facts: &F| facts.has("life_months") || facts.has("life_years");
        let facts = if says(self.own) { self.own } else { self.item };
        if by_units && !says(facts) {
            return Ok(gpuledger_tco::asset::LIFE_MONTHS_MAX);
        }
        life(facts)?.ok_or_else(|| self.own.missing("life_months", "60"))
    }

    /// When it was bought is the item's to say.
    pub fn terms(&self) -> Result<Terms, FleetError> {
        let convention = self.of("convention").choice("convention", &CONVENTIONS)?;
        Ok(Terms {
            method: self.method()?,
            convention: convention.unwrap_or(Convention::ActualDays),
            ..Terms::default()
        })
    }

    fn method(&self) -> Result<BookMethod, FleetError> {
        let facts = self.of("method");
        let method = facts.choice("method", &METHODS)?.unwrap_or(Method::StraightLine);
        let only = |key: Key, wanted: &[Method]| {
            if self.own.has(key) && !wanted.contains(&method) {
                let names: Vec<&str> =
                    METHODS.iter().filter(|(_, of)| wanted.contains(of)).map(|(name, _)| *name).collect();
                return Err(self
                    .own
                    .wrong_at(key, format!("says nothing here; it needs method = {:?}", names.join(", "))));
            }
            Ok(())
        };
        only("declining_factor", &[Method::Declining])?;
        only("switch_to_straight_line", &[Method::Declining, Method::DoubleDeclining])?;
        only("unit", &[Method::Units])?;
        only("life_units", &[Method::Units])?;
        let switch = |unsaid| {
            let key = "switch_to_straight_line";
            Ok::<_, FleetError>(self.of(key).flag(key)?.unwrap_or(unsaid))
        };
        Ok(match method {
            Method::StraightLine => BookMethod::StraightLine,
            Method::SumOfYears => BookMethod::SumOfYears,
            Method::DoubleDeclining => BookMethod::Declining { factor: Decimal::TWO, switch: switch(true)? },
            Method::Declining => {
                let key = "declining_factor";
                let factor = self.of(key).number(key)?.ok_or_else(|| facts.missing(key, "1.5"))?;
                BookMethod::Declining { factor, switch: switch(false)? }
            }
            Method::Units => {
                let unit = self.of("unit").choice("unit", &UNITS)?;
                let life = self.of("life_units").quantity("life_units")?;
                BookMethod::Units(Units {
                    unit: unit.ok_or_else(|| facts.missing("unit", "\"gpu_hours\""))?,
                    life: life.ok_or_else(|| facts.missing("life_units", "350000"))?,
                    before: Vec::new(),
                })
            }
        })
    }

    pub fn tax(&self) -> Result<Option<Tax>, FleetError> {
        let facts = self.of("tax_class");
        let Some(mut property) = facts.choice("tax_class", &TAX_CLASSES)? else {
            for key in ["bonus", "tax_life_years"] {
                if self.own.has(key) {
                    return Err(self.own.wrong_at(key, "says nothing without tax_class".to_owned()));
                }
            }
            return Ok(None);
        };
        let key = "tax_life_years";
        if let Some(own) = self.of(key).count(key, LIFE_YEARS_MAX)? {
            match &mut property {
                Property::MidMonth { years } if own > 0 => *years = own,
                Property::MidMonth { .. } => {
                    return Err(self.of(key).wrong_at(key, "expected 1 to 50 years".to_owned()));
                }
                Property::Macrs { .. } => {
                    return Err(self.of(key).wrong_at(key, "the class says the years already".to_owned()));
                }
            }
        }
        Ok(Some(Tax { property, bonus: self.of("bonus").share("bonus")?.unwrap_or_default() }))
    }
}

/// A life by months or years.
pub fn life<F: Facts>(facts: &F) -> Result<Option<u32>, FleetError> {
    let months = facts.count("life_months", u32::MAX)?;
    match (months, facts.count("life_years", LIFE_YEARS_MAX)?) {
        (Some(_), Some(_)) => {
            let message = "life_months and life_years say the same thing: leave one out";
            Err(facts.wrong_at("life_years", message.to_owned()))
        }
        (months, years) => Ok(months.or(years.map(|years| years.saturating_mul(12)))),
    }
}

/// The whole of an item's disposal, `disposed` and what it brought: part by part by cost.
pub fn disposals<F: Facts>(
    facts: &F,
    costs: &[Decimal],
    currency: Currency,
) -> Result<Vec<Event>, FleetError> {
    let Some(on) = facts.date("disposed")? else {
        for key in ["proceeds", "selling_cost"] {
            if facts.has(key) {
                return Err(
                    facts.wrong_at(key, "says nothing without disposed, the day of the sale".to_owned())
                );
            }
        }
        return Ok(Vec::new());
    };
    let change = Change::Disposal {
        share: Decimal::ONE,
        proceeds: facts.price("proceeds")?.unwrap_or_default(),
        selling_cost: facts.price("selling_cost")?.unwrap_or_default(),
    };
    let events = split(&Event { on, what: change, source: facts.place() }, costs, currency);
    events.map_err(|message| facts.wrong_at("disposed", message))
}

/// An event of a whole item, for each of its components by cost. Only a disposal can be split: an
/// estimate or an impairment is of one component.
fn split(event: &Event, costs: &[Decimal], currency: Currency) -> Result<Vec<Event>, String> {
    if costs.len() < 2 {
        return Ok(vec![event.clone()]);
    }
    let Change::Disposal { share, proceeds, selling_cost } = event.what else {
        return Err("names no component, and the asset has several: add component = \"…\"".to_owned());
    };
    let digits = currency.minor_digits();
    let parts = |amount| largest_remainder(amount, costs, digits).map_err(|error| error.to_string());
    let (proceeds, selling_costs) = (parts(proceeds)?, parts(selling_cost)?);
    let each = |(proceeds, selling_cost)| Event {
        what: Change::Disposal { share, proceeds, selling_cost },
        ..event.clone()
    };
    Ok(proceeds.into_iter().zip(selling_costs).map(each).collect())
}

/// One `[[asset.event]]`: for each component, in their order, what it is to it.
pub fn event<F: Facts>(
    facts: &F,
    names: &[&str],
    costs: &[Decimal],
    currency: Currency,
) -> Result<Vec<Option<Event>>, FleetError> {
    let on = facts.need_date("on", "2028-01-01")?;
    let event = Event { on, what: change(facts)?, source: facts.place() };
    let Some(name) = facts.text("component")? else {
        let events = split(&event, costs, currency).map_err(|message| facts.wrong_at("kind", message))?;
        return Ok(events.into_iter().map(Some).collect());
    };
    if !names.contains(&name.as_str()) {
        let message = format!("there is no component {name:?}; the components are {}", names.join(", "));
        return Err(facts.wrong_at("component", message));
    }
    Ok(names.iter().map(|of| (*of == name).then(|| event.clone())).collect())
}

fn change<F: Facts>(facts: &F) -> Result<Change, FleetError> {
    const KINDS: [(&str, u8); 4] = [("estimate", 0), ("impairment", 1), ("reversal", 2), ("disposal", 3)];
    const REGIMES: [(&str, Regime); 2] = [("us_gaap", Regime::UsGaap), ("ifrs", Regime::Ifrs)];
    let kind = facts.choice("kind", &KINDS)?.ok_or_else(|| facts.missing("kind", "\"estimate\""))?;
    let needed = |key: Key, example: &str| facts.price(key)?.ok_or_else(|| facts.missing(key, example));
    Ok(match kind {
        0 => {
            let life = match facts.quantity("life_units")? {
                Some(units) => units,
                None => Decimal::from(life(facts)?.ok_or_else(|| facts.missing("life_months", "72"))?),
            };
            Change::Estimate { life, salvage: needed("salvage", "\"20000.00\"")? }
        }
        1 => Change::Impairment {
            loss: needed("loss", "\"15000.00\"")?,
            regime: facts
                .choice("regime", &REGIMES)?
                .ok_or_else(|| facts.missing("regime", "\"ifrs\" or \"us_gaap\""))?,
        },
        2 => Change::Reversal { amount: needed("amount", "\"5000.00\"")? },
        _ => Change::Disposal {
            share: facts.share("share")?.unwrap_or(Decimal::ONE),
            proceeds: facts.price("proceeds")?.unwrap_or_default(),
            selling_cost: facts.price("selling_cost")?.unwrap_or_default(),
        },
    })
}
