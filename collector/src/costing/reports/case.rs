//! The case of one model: owning as it was measured, against the offers of the price list.

use super::super::CostingError;
use super::super::count::Counted;
use super::Asked;
use gpuledger_tco::TcoError;
use gpuledger_tco::books::tax_books;
use gpuledger_tco::decide::measured::Measured;
use gpuledger_tco::decide::{Case, Fleet, Offer, Own, Running};
use gpuledger_tco::rent::{PriceKind, RentPrice, in_force, model_matches};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

const YEAR_HOURS: Decimal = Decimal::from_parts(8_760, 0, 0, false, 0);

pub(super) const PRICE_KEY: &str =
    "[[price]] with offer, kind, model, per_gpu_hour, effective_from and source, or prices = \"prices.csv\"";

/// Offers for a model that are in force at the end of what is counted, by name and kind.
pub(super) fn offers(of: Asked<'_>, counted: &Counted, model: &str) -> Result<Vec<Offer>, TcoError> {
    let inputs = &counted.inputs;
    let day = inputs.calendar.date(inputs.until_ms().saturating_sub(1));
    let mut by_name: BTreeMap<(&str, PriceKind), Vec<&RentPrice>> = BTreeMap::new();
    for price in of.fleet.prices.iter().filter(|price| model_matches(&price.model, model)) {
        by_name.entry((&price.offer, price.kind)).or_default().push(price);
    }
    let current = by_name.values().filter_map(|prices| in_force(prices, day));
    current.map(|price| of.fleet.offer(price)).collect()
}

/// Owning a model as the ledger has it; what it does not say is what the register assumes.
pub(super) struct Owning {
    pub own: Own,
    pub notes: Vec<String>,
}

impl Owning {
    /// `None` where the model was never in service or nothing was bought for it, which a note says.
    pub(super) fn of(
        of: Asked<'_>,
        counted: &Counted,
        measured: &Measured,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>, CostingError> {
        let model = &measured.model;
        if measured.hours_in_service.is_zero() || measured.gpus == 0 {
            return Ok(None);
        }
        let pue = match known_pue(measured) {
            Ok(pue) => pue,
            Err(unknown) => {
                notes.push(format!("{model} is not compared: {unknown}."));
                return Ok(None);
            }
        };
        let said = &of.fleet.comparison;
        let Some(kw) = said.kw.or(measured.kw_owned) else {
            notes.push(format!(
                "{model} is not compared: nobody owned an hour of it, so that it is not known what it draws; \
                 say it in [comparison]: kw."
            ));
            return Ok(None);
        };
        let mut own_notes = Vec::new();
        let idle_kw = said.idle_kw.or(measured.kw_free).unwrap_or_else(|| {
            own_notes.push(format!(
                "{model} had no free hour: it is taken to draw {} kW when idle, as in use, unless [comparison] \
                 says idle_kw.",
                kw.round_dp(3)
            ));
            kw
        });
        let gpus = Decimal::from(measured.gpus);
        let facility = measured.energy_kwh.saturating_mul(pue);
        let yearly = ratio(measured.fixed_cash, measured.hours_in_service).saturating_mul(YEAR_HOURS);
        let utilization = said.utilization.unwrap_or_else(|| {
            let used = ratio(measured.hours_owned, measured.hours_observed);
            own_notes.push(format!(
                "{model}: in use is what somebody owned, {} % of the observed time.",
                (used * Decimal::ONE_HUNDRED).round_dp(1)
            ));
            ratio(used, said.availability).min(Decimal::ONE)
        });
        let own = Own {
            fleet: Fleet { gpus, availability: said.availability, utilization, goodput: said.goodput },
            running: Running {
                fixed_per_year: yearly.saturating_mul(gpus),
                kw,
                idle_kw: idle_kw.min(kw),
                pue,
                price_per_kwh: ratio(measured.electricity, facility),
            },
            purchase: measured.purchase,
            residual: said.residual.unwrap_or_else(|| ratio(measured.salvage, measured.purchase)),
            tax_depreciation: deductions(of, counted, measured)?,
        };
        Ok(Some(Self { own, notes: own_notes }))
    }

    pub(super) fn case(&self, of: Asked<'_>, counted: &Counted, model: &str, offer: Offer) -> Case {
        let said = &of.fleet.comparison;
        let source = format!("ledger, lines of report tco --by model; assumed: {}", said.source);
        Case {
            name: model.to_owned(),
            currency: counted.inputs.currency,
            own: self.own.clone(),
            offer,
            years: said.years,
            discount: said.discount,
            tax_rate: said.tax_rate,
            source,
        }
    }
}

/// PUE of the energy that was measured, or why what was measured is not enough to judge by: hours that nobody
/// looked at are no idle hours, and energy that nobody measured does not cost nothing.
fn known_pue(measured: &Measured) -> Result<Decimal, &'static str> {
    if measured.purchase.is_zero() {
        return Err("no asset of the register was bought for it");
    }
    if measured.hours_observed.is_zero() {
        return Err("nobody looked at an hour of it, so that it is not known how much it is used");
    }
    let pue =
        measured.pue.ok_or("no energy of it was measured, so that it is not known what its kWh cost")?;
    Ok(pue.max(Decimal::ONE))
}

fn ratio(part: Decimal, whole: Decimal) -> Decimal {
    part.checked_div(whole).unwrap_or_default()
}

/// Tax deductions by year of service of what was bought for a model; what has no tax book has none.
fn deductions(of: Asked<'_>, counted: &Counted, measured: &Measured) -> Result<Vec<Decimal>, TcoError> {
    let currency = counted.inputs.currency;
    let assets = counted.holdings.tax_assets(&of.fleet.rates, currency)?;
    let books = tax_books(&assets, currency.minor_digits())?;
    let mut years: Vec<Decimal> = Vec::new();
    for (asset, book) in assets.iter().zip(books) {
        let Some((_, share)) = measured.assets.iter().find(|(serial, _)| *serial == asset.serial) else {
            continue;
        };
        for (year, (_, deduction)) in book.years.iter().enumerate() {
            if years.len() <= year {
                years.push(Decimal::ZERO);
            }
            if let Some(sum) = years.get_mut(year) {
                *sum = sum.saturating_add(deduction.saturating_mul(*share));
            }
        }
    }
    Ok(years)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            model: "H100".to_owned(),
            gpus: 8,
            hours_in_service: Decimal::from(5_840),
            hours_observed: Decimal::from(5_000),
            hours_active: Decimal::from(4_000),
            hours_owned: Decimal::from(4_500),
            utilization: None,
            fixed: Decimal::ZERO,
            electricity: Decimal::from(400),
            fixed_cash: Decimal::ZERO,
            energy_kwh: Decimal::from(4_000),
            pue: Some(Decimal::new(13, 1)),
            kw_owned: None,
            kw_free: None,
            purchase: Decimal::from(280_000),
            salvage: Decimal::ZERO,
            assets: Vec::new(),
            fixed_per_gpu_year: None,
            per_owned_hour: None,
        }
    }

    #[test]
    fn what_was_not_measured_is_no_ground_to_judge_by() {
        assert_eq!(known_pue(&measured()), Ok(Decimal::new(13, 1)));
        let unseen = Measured { hours_observed: Decimal::ZERO, hours_owned: Decimal::ZERO, ..measured() };
        assert!(known_pue(&unseen).unwrap_err().contains("not known how much it is used"));
        let unmetered = Measured { energy_kwh: Decimal::ZERO, pue: None, ..measured() };
        assert!(known_pue(&unmetered).unwrap_err().contains("not known what its kWh cost"));
    }
}
