//! Items of the register and what they are made of.

use super::binding::Binding;
use super::financing::Financing;
use crate::asset::{Asset, Place};
use crate::books::{Stay, Terms};
use crate::decimal::{div, sum};
use crate::error::TcoError;
use crate::money::Money;
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// Part of an item with a cost and a life of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// "gpu-tray"; empty where the item is one thing.
    pub name: String,
    pub gpus: u32,
    pub cost: Money,
    pub salvage: Money,
    pub life_months: u32,
    /// `None`: with the item.
    pub in_service: Option<Date>,
    pub terms: Terms,
}

/// One thing that was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub serial: String,
    /// Where it stands while no binding says otherwise.
    pub place: Place,
    pub model: Option<String>,
    pub purchased: Date,
    pub in_service: Date,
    /// At least one.
    pub components: Vec<Component>,
    pub financing: Financing,
    pub source: String,
}

impl Item {
    pub fn mistakes(&self) -> Vec<TcoError> {
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        let invalid = |field: &str, given: String, expected| TcoError::Invalid {
            what: format!("{field} of {} ({})", self.serial, self.source),
            given,
            expected,
        };
        if self.components.is_empty() {
            let expected =
                "at least one, with a cost: an item without parts has one component without a name";
            mistakes.push(invalid("number of components", "0".to_owned(), expected));
        }
        for component in &self.components {
            if !names.insert(component.name.as_str()) {
                let expected = "a name of its own for each component";
                mistakes.push(invalid("component", format!("{:?} twice", component.name), expected));
            }
            if component.cost.currency
                != self.components.first().map_or(component.cost.currency, |c| c.cost.currency)
            {
                let expected =
                    "one currency for all components of an item: convert them at the rate of the purchase";
                mistakes.push(invalid("currency", component.cost.currency.to_string(), expected));
            }
            if let Err(mistake) = self.asset(component).check() {
                mistakes.push(mistake);
            }
        }
        if let Err(mistake) = self.financing.check(&self.serial) {
            mistakes.push(mistake);
        }
        mistakes
    }

    /// Purchase cost of all components.
    pub fn cost(&self) -> Result<Decimal, TcoError> {
        sum(self.components.iter().map(|component| component.cost.amount))
    }

    /// Share of the item's cost that one component is: what a partial disposal goes by.
    pub fn weight(&self, component: &str) -> Result<Decimal, TcoError> {
        let own = sum(self.components.iter().filter(|c| c.name == component).map(|c| c.cost.amount))?;
        div(own, self.cost()?, "the cost of the item")
    }

    fn asset(&self, component: &Component) -> Asset {
        let serial = if component.name.is_empty() {
            self.serial.clone()
        } else {
            format!("{}/{}", self.serial, component.name)
        };
        Asset {
            serial,
            place: self.place.clone(),
            model: self.model.clone(),
            gpus: component.gpus,
            cost: component.cost,
            salvage: component.salvage,
            life_months: component.life_months,
            in_service: component.in_service.unwrap_or(self.in_service),
            terms: Terms { purchased: Some(self.purchased), ..component.terms.clone() },
            source: self.source.clone(),
        }
    }

    /// One asset for each stay, in the order of time; where the bindings leave time open, the item
    /// stands at its own place. `stays` are sorted and do not overlap.
    pub(super) fn assets_of(&self, component: &Component, stays: &[&Binding]) -> Vec<Asset> {
        let whole = self.asset(component);
        let mut cuts: Vec<(Place, Option<Date>, Option<Date>)> = Vec::new();
        let mut from = None;
        for stay in stays {
            if from.is_none_or(|from| from < stay.from) && (from.is_some() || stay.from > whole.in_service) {
                cuts.push((self.place.clone(), from, Some(stay.from)));
            }
            // What was bound before it served serves from its own day on.
            let begins = (stay.from > whole.in_service).then_some(stay.from);
            cuts.push((Place::Node(stay.node.clone()), begins, stay.to));
            match stay.to {
                Some(to) => from = Some(to),
                None => return named(&whole, cuts),
            }
        }
        cuts.push((self.place.clone(), from, None));
        named(&whole, cuts)
    }
}

/// Slices of an asset; all but a single one say where they are, so that serials stay unique.
fn named(whole: &Asset, cuts: Vec<(Place, Option<Date>, Option<Date>)>) -> Vec<Asset> {
    let single = cuts.len() == 1;
    let slice = |(place, from, to): (Place, Option<Date>, Option<Date>)| {
        let mut asset = whole.clone();
        if !single {
            let since = from.unwrap_or(whole.in_service);
            asset.serial = match &place {
                Place::Node(name) | Place::Site(name) => format!("{}@{name}/{since}", whole.serial),
            };
        }
        asset.place = place;
        asset.terms.stay = Stay { from, to };
        asset
    };
    cuts.into_iter().map(slice).collect()
}
