//! Own hardware against offers, at several shares of hours in use.

use super::{Found, Scenario};
use crate::decide::way::{Fleet, Offer, Own, Running};
use crate::decide::{Case, Derived, judge};
use crate::decimal::{div, sub};
use crate::error::TcoError;
use crate::finance::refuse;
use crate::formulas;
use crate::pools::input;
use rust_decimal::Decimal;
use serde::Deserialize;

const fn one() -> Decimal {
    Decimal::ONE
}

/// Hardware, as a scenario file writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owning {
    pub gpus: Decimal,
    #[serde(default = "one")]
    pub availability: Decimal,
    pub utilization: Decimal,
    #[serde(default = "one")]
    pub goodput: Decimal,
    pub purchase: Decimal,
    pub residual: Decimal,
    pub years: u32,
    pub fixed_per_year: Decimal,
    pub kw: Decimal,
    pub idle_kw: Decimal,
    pub pue: Decimal,
    pub price_per_kwh: Decimal,
    pub discount: Decimal,
    #[serde(default)]
    pub tax_rate: Decimal,
    #[serde(default)]
    pub tax_depreciation: Vec<Decimal>,
    pub source: String,
}

/// An offer, as a scenario file writes it; what it leaves out is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    pub name: String,
    pub per_gpu_hour: Decimal,
    #[serde(default = "one")]
    pub throughput: Decimal,
    #[serde(default = "one")]
    pub goodput: Decimal,
    #[serde(default)]
    pub idle: Decimal,
    #[serde(default)]
    pub support: Decimal,
    #[serde(default)]
    pub egress_per_month: Decimal,
    #[serde(default)]
    pub storage_per_month: Decimal,
    #[serde(default)]
    pub trend: Decimal,
    pub source: String,
}

impl Offered {
    fn offer(&self) -> Offer {
        Offer {
            name: self.name.clone(),
            per_gpu_hour: self.per_gpu_hour,
            throughput: self.throughput,
            goodput: self.goodput,
            idle: self.idle,
            support: self.support,
            egress_per_month: self.egress_per_month,
            storage_per_month: self.storage_per_month,
            trend: self.trend,
            source: self.source.clone(),
        }
    }
}

impl Owning {
    /// The case against one offer at one share of hours in use.
    pub fn case(&self, scenario: &Scenario, offer: &Offered, utilization: Decimal) -> Case {
        let fleet =
            Fleet { gpus: self.gpus, availability: self.availability, utilization, goodput: self.goodput };
        let running = Running {
            fixed_per_year: self.fixed_per_year,
            kw: self.kw,
            idle_kw: self.idle_kw,
            pue: self.pue,
            price_per_kwh: self.price_per_kwh,
        };
        Case {
            name: scenario.title.clone(),
            currency: scenario.currency,
            own: Own {
                fleet,
                running,
                purchase: self.purchase,
                residual: self.residual,
                tax_depreciation: self.tax_depreciation.clone(),
            },
            offer: offer.offer(),
            years: self.years,
            discount: self.discount,
            tax_rate: self.tax_rate,
            source: self.source.clone(),
        }
    }

    pub(super) fn figures(&self, scenario: &Scenario) -> Result<Vec<Found>, TcoError> {
        if scenario.offers.is_empty() {
            return refuse(
                &format!("scenario {:?}", scenario.title),
                "number of offers",
                &0,
                "at least one [[offer]]",
            );
        }
        let own = [self.utilization];
        let utilizations: &[Decimal] =
            if scenario.utilization.is_empty() { &own } else { &scenario.utilization };
        let mut figures = Vec::new();
        for offer in &scenario.offers {
            for &utilization in utilizations {
                let verdict = judge(&self.case(scenario, offer, utilization))?;
                let both = [verdict.value("levelised_own"), verdict.value("levelised_rent")];
                let saving = match both {
                    [Some(own), Some(rent)] if !rent.is_zero() => {
                        Some(sub(Decimal::ONE, div(own, rent, "a cost")?)?)
                    }
                    _ => None,
                };
                let unit = format!("{}/useful GPU-hour", scenario.currency);
                let value = |value: Option<Decimal>| value.unwrap_or_default();
                let inputs = vec![
                    input("levelised cost of owning", value(both[0]), unit.as_str(), &self.source),
                    input("levelised cost of renting", value(both[1]), unit.as_str(), &offer.source),
                ];
                let saving = saving.map(|saving| crate::decimal::round(saving, 4));
                let label = "saving of a useful hour by owning";
                let saving = Derived::new("saving", label, saving, "", formulas::SAVING, inputs);
                for figure in std::iter::once(saving).chain(verdict.figures) {
                    figures.push(Found {
                        offer: Some(offer.name.clone()),
                        utilization: Some(utilization),
                        figure,
                    });
                }
            }
        }
        Ok(figures)
    }
}
