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
use crate::formulas;
use crate::money::Currency;
use crate::sheet::{Cell, Sheet, Why};
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

    /// The result as sheets: what was expected, the saving by offer and use, and every figure.
    pub fn sheets(&self) -> Result<Vec<Sheet>, TcoError> {
        let figures = self.figures()?;
        let mut sheets = vec![self.expected()?];
        sheets.extend(self.savings(&figures));
        sheets.push(self.all(figures));
        Ok(sheets)
    }

    fn expected(&self) -> Result<Sheet, TcoError> {
        let columns = [("expectation", ""), ("value", ""), ("at least", ""), ("at most", ""), ("holds", "")];
        let mut sheet = Sheet::new("findings", &self.claim, self.currency, &columns);
        for (number, finding) in self.findings()?.into_iter().enumerate() {
            let Finding { expectation, value, holds } = finding;
            let wanted = |name: &str, value: Option<Decimal>| {
                value.map(|value| crate::pools::input(name, value, "", "the scenario file"))
            };
            let inputs = [wanted("at least", expectation.at_least), wanted("at most", expectation.at_most)];
            let mut inputs: Vec<_> = inputs.into_iter().flatten().collect();
            inputs.extend(value.map(|value| crate::pools::input(&expectation.figure, value, "", "figures")));
            let cells = vec![
                expectation.says.into(),
                value.into(),
                expectation.at_least.into(),
                expectation.at_most.into(),
                if holds { "yes" } else { "no" }.into(),
            ];
            let why = Why { column: "holds".to_owned(), formula_id: formulas::EXPECTED, inputs };
            sheet.push(format!("{}", number.saturating_add(1)), cells, vec![why]);
        }
        sheet.notes.clone_from(&self.conclusion);
        sheet.notes.extend(
            self.facts
                .iter()
                .map(|fact| format!("Fact: {}: {} ({}, {})", fact.name, fact.value, fact.source, fact.date)),
        );
        Ok(sheet)
    }

    /// What owning saves, a row an offer and a column a share of hours in use; `None` without offers.
    fn savings(&self, figures: &[Found]) -> Option<Sheet> {
        let of = |found: &&Found| found.figure.id == "saving" && found.offer.is_some();
        let mut shares: Vec<Decimal> =
            figures.iter().filter(of).filter_map(|found| found.utilization).collect();
        shares.sort_unstable();
        shares.dedup();
        let percent = |share: Decimal| share.saturating_mul(Decimal::ONE_HUNDRED).normalize();
        let names: Vec<String> = shares.iter().map(|share| format!("at {} %", percent(*share))).collect();
        let mut columns = vec![("offer", "")];
        columns.extend(names.iter().map(|name| (name.as_str(), "% saved")));
        let title = "What owning saves of a useful hour, by share of hours in use";
        let mut sheet = Sheet::new("saving", title, self.currency, &columns);
        for offer in &self.offers {
            let found = |share: &Decimal| {
                let fits = |found: &&Found| {
                    found.utilization == Some(*share) && found.offer.as_ref() == Some(&offer.name)
                };
                figures.iter().filter(of).find(fits)
            };
            let mut cells: Vec<Cell> = vec![offer.name.as_str().into()];
            let mut why = Vec::new();
            for (share, name) in shares.iter().zip(&names) {
                let figure = found(share).map(|found| &found.figure);
                let saving = figure.and_then(|figure| figure.value);
                cells.push(saving.map(|saving| crate::decimal::round(percent(saving), 1)).into());
                why.extend(figure.map(|figure| Why {
                    column: name.clone(),
                    formula_id: figure.formula_id,
                    inputs: figure.inputs.clone(),
                }));
            }
            sheet.push(&offer.name, cells, why);
        }
        (!shares.is_empty()).then_some(sheet)
    }

    fn all(&self, figures: Vec<Found>) -> Sheet {
        let offered = figures.iter().any(|found| found.offer.is_some());
        let mut columns = vec![("figure", "")];
        if offered {
            columns.extend([("offer", ""), ("in use", "%")]);
        }
        columns.extend([("value", ""), ("unit", "")]);
        let mut sheet = Sheet::new("figures", "All figures", self.currency, &columns);
        for Found { offer, utilization, figure } in figures {
            let mut id = figure.id.clone();
            let mut cells: Vec<Cell> = vec![figure.label.as_str().into()];
            if offered {
                cells.push(offer.clone().unwrap_or_default().into());
                cells.push(utilization.map(|share| share.saturating_mul(Decimal::ONE_HUNDRED)).into());
                for part in offer.into_iter().chain(utilization.map(|share| share.to_string())) {
                    id = format!("{id}/{part}");
                }
            }
            cells.extend([figure.value.into(), Cell::from(figure.unit.as_str())]);
            let column = "value".to_owned();
            sheet.push(id, cells, vec![Why { column, formula_id: figure.formula_id, inputs: figure.inputs }]);
        }
        sheet
    }
}
