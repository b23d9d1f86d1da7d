//! The register's entries: what was bought, for how much, since when it serves and for how long.

use crate::books::{BookMethod, Terms, terms};
use crate::decimal;
use crate::error::TcoError;
use crate::formulas::{self, Formula};
use crate::money::Money;
use jiff::civil::Date;

/// Longest useful life: 50 years.
pub const LIFE_MONTHS_MAX: u32 = 600;
/// Most GPUs of one asset.
pub const GPUS_MAX: u32 = 100_000;

/// Which GPUs an asset serves and who therefore pays for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The GPUs of one node; or, where the asset's serial is a GPU's, that GPU alone.
    Node(String),
    /// Every GPU of a site: a switch, a storage system.
    Site(String),
}

/// One thing that was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    pub serial: String,
    pub place: Place,
    /// Model of its GPUs; needed where a node has several.
    pub model: Option<String>,
    /// GPUs that came with it; 0 for what only serves GPUs of others.
    pub gpus: u32,
    /// Freight, installation and non-refundable tax included.
    pub cost: Money,
    /// What it will bring at the end of its life.
    pub salvage: Money,
    pub life_months: u32,
    /// Day from which it was available for use: depreciation and time in service begin.
    pub in_service: Date,
    /// Method, convention, and what happened to it since.
    pub terms: Terms,
    /// Where the entry stands: "fleet.toml line 12".
    pub source: String,
}

impl Asset {
    /// Refuses what no schedule can be made of.
    pub fn check(&self) -> Result<(), TcoError> {
        let wrong = |what: &str, given: String, expected| {
            Err(TcoError::Invalid { what: format!("{what} of asset {}", self.serial), given, expected })
        };
        if self.cost.amount.is_sign_negative() && !self.cost.amount.is_zero() {
            return wrong("cost", self.cost.amount.to_string(), "zero or more");
        }
        if self.salvage.currency != self.cost.currency {
            return wrong("currency of the salvage", self.salvage.currency.to_string(), "that of the cost");
        }
        if self.salvage.amount.is_sign_negative() && !self.salvage.amount.is_zero() {
            return wrong("salvage", self.salvage.amount.to_string(), "zero or more");
        }
        if self.salvage.amount > self.cost.amount {
            return wrong("salvage", self.salvage.amount.to_string(), "at most its cost");
        }
        if self.life_months == 0 || self.life_months > LIFE_MONTHS_MAX {
            return wrong("life in months", self.life_months.to_string(), "1 to 600");
        }
        if self.gpus > GPUS_MAX {
            return wrong("number of GPUs", self.gpus.to_string(), "at most 100000");
        }
        terms::check(self)
    }

    /// The formula of its method.
    pub fn formula(&self) -> Formula {
        match &self.terms.method {
            BookMethod::StraightLine => formulas::STRAIGHT_LINE,
            BookMethod::SumOfYears => formulas::SUM_OF_YEARS,
            BookMethod::Declining { .. } => formulas::DECLINING,
            BookMethod::Units(_) => formulas::UNITS,
        }
    }

    /// Its serial in the register: an asset that moved is one entry for each stay, told apart behind `@`.
    pub fn of_register(&self) -> &str {
        self.serial.split_once('@').map_or(self.serial.as_str(), |(serial, _)| serial)
    }

    /// What is depreciated over the life.
    pub fn base(&self) -> Result<rust_decimal::Decimal, TcoError> {
        decimal::sub(self.cost.amount, self.salvage.amount)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::money::Currency;
    use jiff::civil::date;
    use rust_decimal::Decimal;

    /// A server of eight GPUs for 300,000 EUR over five years.
    pub(crate) fn server(serial: &str, node: &str) -> Asset {
        Asset {
            serial: serial.to_owned(),
            place: Place::Node(node.to_owned()),
            model: None,
            gpus: 8,
            cost: Money::new(Decimal::from(300_000), Currency::EUR),
            salvage: Money::zero(Currency::EUR),
            life_months: 60,
            in_service: date(2024, 1, 1),
            terms: Terms::default(),
            source: "test".to_owned(),
        }
    }

    #[test]
    fn an_asset_without_a_schedule_is_refused_with_its_serial() {
        let change = |edit: fn(&mut Asset)| {
            let mut asset = server("SN1", "n1");
            edit(&mut asset);
            asset.check().map_err(|error| error.to_string())
        };
        assert_eq!(change(|_| ()), Ok(()));
        assert_eq!(
            change(|a| a.salvage.amount = Decimal::from(300_001)).unwrap_err(),
            "salvage of asset SN1 is 300001: expected at most its cost"
        );
        assert!(change(|a| a.life_months = 0).unwrap_err().contains("life in months of asset SN1 is 0"));
        assert!(change(|a| a.cost.amount = Decimal::from(-1)).is_err());
        assert!(change(|a| a.salvage.amount = Decimal::from(-1)).is_err());
        assert!(change(|a| a.salvage.currency = Currency::USD).is_err());
    }
}
