//! What renting would have cost, offer by offer, against the own cost of the same GPU model.

use crate::allocation::allocate;
use crate::decimal::{add, hours, mul, ratio, round, sum};
use crate::error::TcoError;
use crate::money::Money;
use crate::pools::input;
use crate::rent::{PRICE_AGE_DAYS_MAX, PriceKind, RentPrice, break_even, in_force, model_matches};
use crate::service::NO_GPU;
use crate::statement::{Comparison, Family, GroupBy, Input};
use crate::tally::Holder;
use crate::view::View;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// What one model cost and did.
struct Own {
    cost: Decimal,
    energy_cost: Decimal,
    /// In service and owned by somebody, ms by segment.
    segments: Vec<(u128, u128)>,
}

/// Every offer against every model that it matches, by model and offer.
pub(crate) fn comparisons(view: &View<'_>, notes: &mut Vec<String>) -> Result<Vec<Comparison>, TcoError> {
    if view.inputs.prices.is_empty() {
        return Ok(Vec::new());
    }
    let mut comparisons = Vec::new();
    for (model, own) in own_by_model(view)? {
        let mut offers: BTreeMap<(&str, PriceKind), Vec<&RentPrice>> = BTreeMap::new();
        for price in view.inputs.prices.iter().filter(|price| model_matches(&price.model, &model)) {
            offers.entry((&price.offer, price.kind)).or_default().push(price);
        }
        if offers.is_empty() {
            notes.push(format!("No rent price matches {model}: it is not compared."));
        }
        let mut late = Vec::new();
        let mut any = false;
        for ((offer, kind), prices) in offers {
            match priced(view, &own, &prices)? {
                Priced::Whole(rent) => {
                    any = true;
                    comparisons.push(comparison(
                        view,
                        &model,
                        &own,
                        &format!("{offer}, {}", kind.label()),
                        &rent,
                    )?);
                }
                Priced::Nothing(day, earliest) => late.push((offer, day, earliest)),
            }
        }
        for (offer, day, earliest) in late {
            if !any {
                return Err(TcoError::NoRentPrice { model, day, earliest });
            }
            notes.push(format!(
                "{offer} is not compared: its first price is of {earliest}, none is in force on {day}."
            ));
        }
    }
    note_old_prices(view, notes);
    Ok(comparisons)
}

fn own_by_model(view: &View<'_>) -> Result<Vec<(String, Own)>, TcoError> {
    let groups = view.groups(GroupBy::Model);
    let shares = allocate(view.pools, view.tally, &groups, view.inputs.currency.minor_digits())?;
    let mut own: Vec<Own> = Vec::new();
    for group in 0..groups.names.len() {
        let of_group = || shares.iter().filter(move |share| share.group == group);
        let family = |pool: usize| view.pools.get(pool).map(|pool| pool.family);
        let energy = of_group().filter(|share| family(share.pool) == Some(Family::Energy));
        own.push(Own {
            cost: sum(of_group().map(|share| share.amount))?,
            energy_cost: sum(energy.map(|share| share.amount))?,
            segments: vec![(0, 0); view.segments.len()],
        });
    }
    for segment in 0..view.segments.len() {
        for gpu in groups.all() {
            for (holder, cell) in view.tally.cells(segment, gpu) {
                let group = groups.of(segment, gpu, *holder);
                let slot = own.get_mut(group).and_then(|own| own.segments.get_mut(segment));
                let Some((in_service, owned)) = slot else { continue };
                *in_service = in_service.saturating_add(cell.time_ms().into());
                if matches!(holder, Holder::Owner(_)) {
                    *owned = owned.saturating_add(cell.time_ms().into());
                }
            }
        }
    }
    let used = |own: &Own| own.segments.iter().any(|(in_service, _)| *in_service > 0);
    Ok(groups.names.into_iter().zip(own).filter(|(name, own)| name != NO_GPU && used(own)).collect())
}

/// The rent of one offer.
struct Rent {
    capacity: Decimal,
    work: Decimal,
    in_service: Decimal,
    owned: Decimal,
    source: String,
}

enum Priced {
    Whole(Rent),
    /// First day without a price, and the day of the first price.
    Nothing(jiff::civil::Date, jiff::civil::Date),
}

fn priced(view: &View<'_>, own: &Own, prices: &[&RentPrice]) -> Result<Priced, TcoError> {
    let mut rent = Rent {
        capacity: Decimal::ZERO,
        work: Decimal::ZERO,
        in_service: Decimal::ZERO,
        owned: Decimal::ZERO,
        source: String::new(),
    };
    let mut used: Vec<&RentPrice> = Vec::new();
    for (segment, &(in_service, owned)) in view.segments.iter().zip(&own.segments) {
        if in_service == 0 {
            continue;
        }
        let day = view.inputs.calendar.date(segment.from.start_ms());
        let Some(price) = in_force(prices, day) else {
            let earliest = prices.iter().map(|price| price.effective_from).min().unwrap_or(day);
            return Ok(Priced::Nothing(day, earliest));
        };
        if !used.contains(&price) {
            used.push(price);
        }
        let (in_service, owned) = (hours(in_service)?, hours(owned)?);
        rent.in_service = add(rent.in_service, in_service)?;
        rent.owned = add(rent.owned, owned)?;
        rent.capacity = add(rent.capacity, mul(in_service, price.per_gpu_hour)?)?;
        rent.work = add(rent.work, mul(owned, price.per_gpu_hour)?)?;
    }
    let name = |price: &&RentPrice| {
        format!(
            "{} in force from {}: {}, fetched {} ({})",
            price.per_gpu_hour.normalize(),
            price.effective_from,
            price.source,
            price.fetched_at,
            price.entry
        )
    };
    rent.source = used.iter().map(name).collect::<Vec<_>>().join("; ");
    Ok(Priced::Whole(rent))
}

/// Places after the point of an hourly price and of a ratio.
const RATIO_DIGITS: u32 = 6;

/// How a comparison's inputs make its results.
const FORMULA: &str = "same capacity = price × GPU-hours in service; same work = price × GPU-hours owned; \
break-even = (own cost − own electricity) ÷ (GPU-hours in service × (price − own electricity ÷ GPU-hours owned))";

fn comparison(
    view: &View<'_>,
    model: &str,
    own: &Own,
    offer: &str,
    rent: &Rent,
) -> Result<Comparison, TcoError> {
    let money = |amount| Money::new(amount, view.inputs.currency);
    let code = view.inputs.currency.code();
    let price = ratio(rent.capacity, rent.in_service)?.unwrap_or_default();
    let fixed = crate::decimal::sub(own.cost, own.energy_cost)?;
    // Without an hour in use nothing is known of what such an hour draws.
    let even = match ratio(own.energy_cost, rent.owned)? {
        Some(variable) => break_even(fixed, rent.in_service, price, variable)?,
        None => None,
    };
    Ok(Comparison {
        offer: offer.to_owned(),
        model: model.to_owned(),
        price_per_gpu_hour: round(price, RATIO_DIGITS).normalize(),
        price_source: rent.source.clone(),
        same_capacity: money(rent.capacity).rounded(),
        same_work: money(rent.work).rounded(),
        own: money(own.cost).rounded(),
        break_even_utilization: even.map(|even| round(even, RATIO_DIGITS)),
        utilization: ratio(rent.owned, rent.in_service)?.map(|share| round(share, RATIO_DIGITS)),
        formula: FORMULA.to_owned(),
        inputs: vec![
            hours_input("GPU-hours in service", rent.in_service),
            hours_input("GPU-hours owned", rent.owned),
            input("price", price, format!("{code}/GPU-hour"), &rent.source),
            input("own cost", own.cost, code, "lines of the statement, by model"),
            input("own electricity", own.energy_cost, code, "lines of the statement, by model"),
        ],
    })
}

fn hours_input(name: &str, hours: Decimal) -> Input {
    input(name, hours, "GPU-hours", "ledger and register")
}

fn note_old_prices(view: &View<'_>, notes: &mut Vec<String>) {
    let end = view.inputs.calendar.date(view.inputs.until_ms());
    let mut newest: BTreeMap<(&str, PriceKind), &RentPrice> = BTreeMap::new();
    for price in &view.inputs.prices {
        let known = newest.entry((&price.offer, price.kind)).or_insert(price);
        if price.fetched_at > known.fetched_at {
            *known = price;
        }
    }
    for ((offer, kind), price) in newest {
        let age = end.since(price.fetched_at).map_or(0, |age| age.get_days());
        if age > PRICE_AGE_DAYS_MAX {
            notes.push(format!(
                "The price of {offer}, {}, was fetched on {}, {age} days before the end of what is counted.",
                kind.label(),
                price.fetched_at
            ));
        }
    }
}
