//! One item from its facts: the same for `[[asset]]`, for lines of a CSV file and for the ledger.

use super::terms::{Part, disposals, event};
use super::words::{DUE, FINANCING, Paid};
use super::{Entry, Tax};
use crate::fleet::error::FleetError;
use crate::fleet::facts::Facts;
use gpuledger_tco::asset::{GPUS_MAX, Place};
use gpuledger_tco::calendar::Month;
use gpuledger_tco::finance::When;
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::register::{Component, Financing, Item};
use jiff::civil::Date;
use rust_decimal::Decimal;

/// Longest loan or lease: 50 years.
const TERM_MONTHS_MAX: u32 = 600;

/// What an item is read from.
pub struct Written<'a, F> {
    pub item: &'a F,
    /// Name and facts of each component; a single one without a name is the item itself.
    pub parts: Vec<(String, &'a F)>,
    /// `[[asset.event]]`.
    pub events: &'a [F],
}

impl<F> Written<'_, F> {
    /// True where the item's facts are those of a component too.
    fn whole(&self) -> bool {
        self.parts.iter().any(|(_, own)| std::ptr::eq(*own, self.item))
    }
}

/// What holds where an item says nothing.
pub struct Unsaid<'a> {
    /// `None` where each item must say its own.
    pub currency: Option<Currency>,
    /// `None` where each item must say where it stands.
    pub site: Option<&'a str>,
}

pub fn entry<F: Facts>(written: &Written<'_, F>, unsaid: &Unsaid<'_>) -> Result<Entry, FleetError> {
    let facts = written.item;
    let serial = facts.need_text("serial", "\"SN123\"")?;
    if serial.contains(['/', '@']) {
        let message = format!("{serial:?} has a / or an @, which tell components and stays apart");
        return Err(facts.wrong_at("serial", message));
    }
    let currency = facts.currency("currency")?.or(unsaid.currency);
    let currency = currency.ok_or_else(|| facts.missing("currency", "\"EUR\""))?;
    let purchased = facts.date("purchased")?;
    let (mut components, mut taxes) = (Vec::new(), Vec::new());
    let whole = written.whole();
    for (name, own) in &written.parts {
        let part = Part { own: *own, item: if whole { *own } else { facts } };
        let (component, tax) = component(&serial, name, &part, currency)?;
        components.push(component);
        taxes.push(tax);
    }
    events(written, &mut components, currency)?;
    let mut days = components.iter().filter_map(|component| component.in_service);
    let first = days.next().map(|first| days.fold(first, Date::min)).unwrap_or_default();
    let purchased = purchased.unwrap_or(first);
    for component in &mut components {
        component.terms.purchased = Some(purchased);
    }
    let mut item = Item {
        serial,
        place: place(facts, unsaid)?,
        model: facts.text("model")?,
        purchased,
        in_service: first,
        components,
        financing: Financing::Cash,
        source: facts.place(),
    };
    item.financing = financing(facts, &item)?;
    check(written, &item)?;
    Ok(Entry { item, tax: taxes, economy: None })
}

fn component<F: Facts>(
    serial: &str,
    name: &str,
    part: &Part<'_, F>,
    currency: Currency,
) -> Result<(Component, Option<Tax>), FleetError> {
    let own = part.own;
    let terms = part.terms()?;
    let by_units = matches!(terms.method, gpuledger_tco::books::BookMethod::Units(_));
    let in_service = part.of("in_service").date("in_service")?.ok_or_else(|| {
        own.wrong(format!(
            "{serial} has no in-service date; add in_service = 2026-01-15, the day from which it was available for use"
        ))
    })?;
    let component = Component {
        name: name.to_owned(),
        gpus: own.count("gpus", GPUS_MAX)?.unwrap_or(0),
        cost: own.need_money("cost", currency, "\"300000.00\"")?,
        salvage: own.money("salvage", currency)?.unwrap_or(Money::zero(currency)),
        life_months: part.life_months(by_units)?,
        in_service: Some(in_service),
        terms,
    };
    Ok((component, part.tax()?))
}

/// What happened to the components, in the order of time.
fn events<F: Facts>(
    written: &Written<'_, F>,
    components: &mut [Component],
    currency: Currency,
) -> Result<(), FleetError> {
    let costs: Vec<Decimal> = components.iter().map(|component| component.cost.amount).collect();
    let names: Vec<String> = components.iter().map(|component| component.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // An item with components may be sold whole; else each says it of itself.
    if !written.whole() {
        let sold = disposals(written.item, &costs, currency)?;
        components.iter_mut().zip(sold).for_each(|(component, event)| component.terms.events.push(event));
    }
    for ((_, own), component) in written.parts.iter().zip(components.iter_mut()) {
        component.terms.events.extend(disposals(*own, &[component.cost.amount], currency)?);
    }
    for facts in written.events {
        for (component, event) in components.iter_mut().zip(event(facts, &names, &costs, currency)?) {
            component.terms.events.extend(event);
        }
    }
    for component in components {
        component.terms.events.sort_by_key(|event| event.on);
    }
    Ok(())
}

fn place<F: Facts>(facts: &F, unsaid: &Unsaid<'_>) -> Result<Place, FleetError> {
    match (facts.text("node")?, facts.text("site")?) {
        (Some(_), Some(_)) => Err(facts.wrong_at("site", "give either node or site".to_owned())),
        (Some(node), None) => Ok(Place::Node(node)),
        (None, Some(site)) => Ok(Place::Site(site)),
        (None, None) => match unsaid.site {
            Some(site) => Ok(Place::Site(site.to_owned())),
            None => Err(facts.wrong("give either node or site".to_owned())),
        },
    }
}

fn financing<F: Facts>(facts: &F, item: &Item) -> Result<Financing, FleetError> {
    let paid = facts.choice("financing", &FINANCING)?.unwrap_or(Paid::Cash);
    let only = |keys: &[&'static str], wanted: &str| match keys.iter().find(|key| facts.has(key)) {
        Some(key) => Err(facts.wrong_at(key, format!("says nothing here; it needs financing = {wanted}"))),
        None => Ok(()),
    };
    if paid != Paid::Loan {
        only(&["principal"], "\"loan\"")?;
    }
    if paid != Paid::Lease {
        only(&["payment_per_month", "payment_due"], "\"lease\"")?;
    }
    if paid == Paid::Cash {
        only(&["interest_rate", "term_months", "first_month"], "\"loan\" or \"lease\"")?;
        return Ok(Financing::Cash);
    }
    let rate = facts.share("interest_rate")?.ok_or_else(|| facts.missing("interest_rate", "0.07"))?;
    let months = facts.count("term_months", TERM_MONTHS_MAX)?;
    let months = months.ok_or_else(|| facts.missing("term_months", "48"))?;
    let first = facts.month("first_month")?.unwrap_or(Month::of(item.in_service));
    if paid == Paid::Loan {
        let principal = match facts.price("principal")? {
            Some(principal) => principal,
            None => item.cost().map_err(|error| facts.wrong(error.to_string()))?,
        };
        return Ok(Financing::Loan { principal, rate, months, first });
    }
    let payment = facts.price("payment_per_month")?;
    Ok(Financing::Lease {
        payment: payment.ok_or_else(|| facts.missing("payment_per_month", "\"6200.00\""))?,
        rate,
        months,
        first,
        when: facts.choice("payment_due", &DUE)?.unwrap_or(When::End),
    })
}

/// Has the engine say what is wrong, and tells it at the component that it is of.
fn check<F: Facts>(written: &Written<'_, F>, item: &Item) -> Result<(), FleetError> {
    for (component, (_, own)) in item.components.iter().zip(&written.parts) {
        let alone = Item { components: vec![component.clone()], financing: Financing::Cash, ..item.clone() };
        if let Some(mistake) = alone.mistakes().first() {
            return Err(own.wrong(mistake.to_string()));
        }
    }
    match item.mistakes().first() {
        Some(mistake) => Err(written.item.wrong(mistake.to_string())),
        None => Ok(()),
    }
}
