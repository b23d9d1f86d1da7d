//! Scenarios: a claim, the facts it rests on, and what holds of it, and when.
//!
//! A scenario file says everything that a result needs: facts with source and date, the spending before
//! and after ([`Spend`]) or hardware against offers ([`Owning`], [`Offered`]), the values that are varied,
//! and what is expected. The same file gives the same result; [`Scenario::sheets`] prints it, and
//! [`Scenario::findings`] says of each expectation whether it holds. Amounts and shares are written as
//! text ("0.08"), so that no float comes between.

mod owning;
mod spend;
#[cfg(test)]
mod tests;

pub use owning::{Offered, Owning};
pub use spend::{Later, Spend};

use crate::decide::Derived;
use crate::error::TcoError;
use crate::finance::refuse;
use crate::money::Currency;
use crate::sheet::Sheet;
use rust_decimal::Decimal;
use serde::Deserialize;

/// One number that the scenario rests on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    pub name: String,
    pub value: String,
    pub source: String,
    /// Day or month on which it was so: "2025-06".
    pub date: String,
}

/// What the scenario says of a figure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Id of the figure: "saving", `annual_saving`, `break_even`.
    pub figure: String,
    pub offer: Option<String>,
    pub utilization: Option<Decimal>,
    pub at_least: Option<Decimal>,
    pub at_most: Option<Decimal>,
    /// What that means, for people.
    pub says: String,
}

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub title: String,
    pub claim: String,
    pub currency: Currency,
    #[serde(default, rename = "fact")]
    pub facts: Vec<Fact>,
    pub spend: Option<Spend>,
    pub own: Option<Owning>,
    #[serde(default, rename = "offer")]
    pub offers: Vec<Offered>,
    /// Shares of hours in use for which owning is compared; its own where none is given.
    #[serde(default)]
    pub utilization: Vec<Decimal>,
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expectation>,
    /// What holds, what does not, and when.
    #[serde(default)]
    pub conclusion: Vec<String>,
}

/// A figure of a scenario: of which offer, at which use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub offer: Option<String>,
    pub utilization: Option<Decimal>,
    pub figure: Derived,
}

/// Whether an expectation holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub expectation: Expectation,
    pub value: Option<Decimal>,
    pub holds: bool,
}

impl Scenario {
    /// Every figure.
    pub fn figures(&self) -> Result<Vec<Found>, TcoError> {
        match (&self.spend, &self.own) {
            (Some(spend), None) => spend.figures(&self.title, self.currency),
            (None, Some(own)) => own.figures(self),
            _ => refuse(
                &format!("scenario {:?}", self.title),
                "kind",
                "neither or both",
                "either [spend] or [own] with [[offer]]",
            ),
        }
    }

    /// What became of each expectation.
    pub fn findings(&self) -> Result<Vec<Finding>, TcoError> {
        let figures = self.figures()?;
        let find = |expectation: &Expectation| {
            let fits = |found: &&Found| {
                found.figure.id == expectation.figure
                    && (expectation.offer.is_none() || found.offer == expectation.offer)
                    && (expectation.utilization.is_none() || found.utilization == expectation.utilization)
            };
            let Some(found) = figures.iter().find(fits) else {
                let mut given = expectation.figure.clone();
                for part in [expectation.offer.clone(), expectation.utilization.map(|u| u.to_string())]
                    .into_iter()
                    .flatten()
                {
                    given = format!("{given} of {part}");
                }
                let expected = "the id of a figure, the name of an offer and a utilization of the scenario";
                return refuse(&format!("scenario {:?}", self.title), "expectation", &given, expected);
            };
            let value = found.figure.value;
            let holds = value.is_some_and(|value| {
                expectation.at_least.is_none_or(|least| value >= least)
                    && expectation.at_most.is_none_or(|most| value <= most)
            });
            Ok(Finding { expectation: expectation.clone(), value, holds })
        };
        self.expectations.iter().map(find).collect()
    }

    /// The result as sheets: the figures, and what was expected of them.
    pub fn sheets(&self) -> Result<Vec<Sheet>, TcoError> {
        let mut figures = Sheet::of_figures("scenario", &self.title, self.currency, &[]);
        for found in self.figures()? {
            let mut one = Sheet::of_figures("", "", self.currency, &[found.figure]);
            for mut row in one.rows.drain(..) {
                for part in [found.offer.clone(), found.utilization.map(|share| share.to_string())]
                    .into_iter()
                    .flatten()
                {
                    row.id = format!("{}/{part}", row.id);
                }
                figures.rows.push(row);
            }
        }
        figures.notes = vec![format!("Claim: {}", self.claim)];
        figures.notes.extend(
            self.facts
                .iter()
                .map(|fact| format!("{}: {} ({}, {})", fact.name, fact.value, fact.source, fact.date)),
        );
        let columns = [("expectation", ""), ("value", ""), ("at least", ""), ("at most", ""), ("holds", "")];
        let mut findings = Sheet::new("findings", &self.claim, self.currency, &columns);
        for (number, finding) in self.findings()?.into_iter().enumerate() {
            let Finding { expectation, value, holds } = finding;
            let cells = vec![
                expectation.says.into(),
                value.into(),
                expectation.at_least.into(),
                expectation.at_most.into(),
                if holds { "yes" } else { "no" }.into(),
            ];
            findings.push(format!("{}", number.saturating_add(1)), cells, Vec::new());
        }
        findings.notes.clone_from(&self.conclusion);
        Ok(vec![figures, findings])
    }
}
