//! Spending before and after: leaving a cloud, as a company tells it.

use super::Found;
use crate::decide::Derived;
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{check_not_negative, payback_periods, refuse};
use crate::formulas;
use crate::money::Currency;
use crate::pools::input;
use crate::statement::Input;
use rust_decimal::Decimal;
use serde::Deserialize;

/// A saving that comes on top of the first one, later.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    pub name: String,
    pub saving_per_year: Decimal,
    /// What it takes to get it.
    pub investment: Decimal,
    /// Years of the horizon in which it is there.
    pub years: Decimal,
}

/// What was spent a year before and after, and for which investment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    pub before_per_year: Decimal,
    pub after_per_year: Decimal,
    pub investment: Decimal,
    pub years: Decimal,
    #[serde(default)]
    pub later: Vec<Later>,
}

impl Spend {
    fn check(&self, title: &str) -> Result<(), TcoError> {
        for (name, amount) in [
            ("spending before", self.before_per_year),
            ("spending after", self.after_per_year),
            ("investment", self.investment),
        ] {
            check_not_negative(title, name, amount)?;
        }
        if self.years <= Decimal::ZERO || self.years > Decimal::from(50) {
            return refuse(title, "years", &self.years, "more than 0 and at most 50");
        }
        Ok(())
    }

    pub(super) fn figures(&self, title: &str, currency: Currency) -> Result<Vec<Found>, TcoError> {
        self.check(title)?;
        let code = currency.code();
        let yearly = format!("{code}/year");
        let saving = sub(self.before_per_year, self.after_per_year)?;
        let months = payback_periods(self.investment, div(saving, Decimal::from(12), "a year")?)?;
        let net = sub(mul(saving, self.years)?, self.investment)?;
        let mut with_later = net;
        let base = || {
            vec![
                input("before", self.before_per_year, yearly.as_str(), title),
                input("after", self.after_per_year, yearly.as_str(), title),
                input("investment", self.investment, code, title),
                input("years", self.years, "", title),
            ]
        };
        let mut later_inputs: Vec<Input> = base();
        for later in &self.later {
            with_later = add(with_later, sub(mul(later.saving_per_year, later.years)?, later.investment)?)?;
            later_inputs.push(input(&later.name, later.saving_per_year, yearly.as_str(), title));
            later_inputs.push(input(format!("{}: investment", later.name), later.investment, code, title));
            later_inputs.push(input(format!("{}: years", later.name), later.years, "", title));
        }
        let share = if self.before_per_year.is_zero() {
            None
        } else {
            Some(crate::decimal::round(div(saving, self.before_per_year, "the saving")?, 4))
        };
        let months = months.map(|months| crate::decimal::round(months, 2));
        let figures = [
            Derived::new(
                "annual_saving",
                "saving a year",
                Some(saving),
                &yearly,
                formulas::SPEND_SAVING,
                base(),
            ),
            Derived::new(
                "saving",
                "saving as a share of what was spent",
                share,
                "",
                formulas::SPEND_SAVING,
                base(),
            ),
            Derived::new("payback", "cash payback", months, "months", formulas::PAYBACK, base()),
            Derived::new(
                "net",
                "saved over the years, the investment deducted",
                Some(net),
                code,
                formulas::SPEND_NET,
                base(),
            ),
            Derived::new(
                "net_with_later",
                "the same with what came later",
                Some(with_later),
                code,
                formulas::SPEND_NET,
                later_inputs,
            ),
        ];
        Ok(figures.into_iter().map(|figure| Found { offer: None, utilization: None, figure }).collect())
    }
}
