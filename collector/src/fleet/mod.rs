//! The register file (`--fleet fleet.toml`): what was bought, where it stands and what that costs.
//!
//! `collector/packaging/fleet.toml` shows every key with its meaning. Rules of the file:
//! - money is a text in quotes, so that no cent passes through a binary fraction;
//! - unknown keys are refused; every mistake is told with file, line and how to mend it;
//! - files that it names (hourly prices, rent prices) are found relative to its own folder.
//!
//! [`Fleet::load`] reads it all; nothing is opened later.

pub(crate) mod cells;
pub mod centres;
mod costs;
mod error;
pub(crate) mod facts;
pub mod holdings;
mod hourly_csv;
pub mod locale;
mod market_carbon;
mod models;
mod nodes;
pub(crate) mod pattern;
pub mod prices;
pub mod rates;
mod read;
mod renting;
mod section;
mod site;
#[cfg(test)]
mod tests;

pub use error::FleetError;
pub use holdings::{Entry, Holdings};
pub use market_carbon::{CarbonContract, MarketCarbon};
pub use renting::{Comparison, RentTerms};

use gpuledger_tco::centres::Rule;
use gpuledger_tco::decide::{Way, market};
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::facility::{CapitalRate, Overhead, Site};
use gpuledger_tco::money::Currency;
use gpuledger_tco::rent::RentPrice;
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::usage::Declared;
use jiff::tz::TimeZone;
use pattern::Pattern;
use rust_decimal::Decimal;
use section::{Field, Section};
use std::path::{Path, PathBuf};

/// Largest file that is read: a year of hourly prices is below one MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The register as it was checked.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub currency: Currency,
    /// Zone of the months and days of statements.
    pub time_zone: TimeZone,
    pub capital_rate: Option<CapitalRate>,
    /// At least one.
    pub sites: Vec<Site>,
    pub nodes: Vec<NodeRule>,
    /// What the file alone says was bought; [`Holdings::join`] adds what the ledger keeps.
    pub holdings: Holdings,
    pub overheads: Vec<Overhead>,
    /// In their own currencies.
    pub prices: Vec<RentPrice>,
    pub rent_terms: Vec<RentTerms>,
    /// Dated exchange rates.
    pub rates: Rates,
    /// Which cost centre pays for which owner; empty where owners pay themselves.
    pub centres: Vec<Rule>,
    /// What owners are charged for.
    pub basis: ChargeBasis,
    /// Market-based emissions of each site, in the order of the sites.
    pub market_carbon: Vec<Option<MarketCarbon>>,
    pub comparison: Comparison,
    /// Terms on which free hours would have been sold.
    pub market: Option<market::Terms>,
    /// Business models to compare, by name.
    pub models: Vec<(String, Way)>,
}

/// The register file while it is read: what other parts refer to.
struct Root<'a> {
    section: Section<'a>,
    folder: &'a Path,
    currency: Currency,
    /// At least one.
    sites: Vec<Site>,
}

impl<'a> Root<'a> {
    /// The files that a key names, relative to the register's folder.
    fn files(&self, key: &'static str) -> Result<Vec<(PathBuf, Field<'a>)>, FleetError> {
        let Some(field) = self.section.get(key) else { return Ok(Vec::new()) };
        Ok(field.texts()?.into_iter().map(|name| (self.folder.join(name), field.clone())).collect())
    }

    /// Position of the site that a table names; the only site where it names none.
    fn site_of(&self, section: &Section<'_>) -> Result<usize, FleetError> {
        let names = || self.sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>().join(", ");
        match section.get("site") {
            Some(field) => {
                let name = field.text()?;
                let unknown = || field.error(format!("there is no site {name:?}; the sites are {}", names()));
                self.sites.iter().position(|site| site.name == name).ok_or_else(unknown)
            }
            None if self.sites.len() == 1 => Ok(0),
            None => Err(section.error(format!("site is missing; the sites are {}", names()))),
        }
    }
}

/// What the register says of the nodes whose name fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRule {
    pub(crate) name: Pattern,
    /// Position in the list of sites.
    pub site: usize,
    pub declared: Option<Declared>,
}

impl Fleet {
    /// Reads and checks a register and every file that it names.
    pub fn load(path: &Path) -> Result<Self, FleetError> {
        read::fleet(path, &read_file(path)?)
    }

    /// A register with nothing in it: time is counted, nothing has a cost.
    pub fn empty() -> Self {
        Self {
            currency: Currency::EUR,
            time_zone: TimeZone::UTC,
            capital_rate: None,
            sites: vec![site::unnamed()],
            nodes: Vec::new(),
            holdings: Holdings::default(),
            overheads: Vec::new(),
            prices: Vec::new(),
            rent_terms: Vec::new(),
            rates: Rates::default(),
            centres: Vec::new(),
            basis: ChargeBasis::default(),
            market_carbon: vec![None],
            comparison: Comparison::unsaid(Decimal::ZERO),
            market: None,
            models: Vec::new(),
        }
    }

    /// The first rule that a node's name fits.
    pub fn rule(&self, node: &str) -> Option<&NodeRule> {
        self.nodes.iter().find(|rule| rule.name.fits(node))
    }

    /// Site of a node: that of its rule, or the only one; `None` where several sites leave it open.
    pub fn site_of(&self, node: &str) -> Option<usize> {
        self.rule(node).map(|rule| rule.site).or((self.sites.len() == 1).then_some(0))
    }
}

/// The text of a file of the register.
pub fn read_file(path: &Path) -> Result<String, FleetError> {
    let place = path.display().to_string();
    let fail = |message: String| FleetError::new(place.clone(), message);
    let size = std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {error}")))?.len();
    if size > FILE_BYTES_MAX {
        return Err(fail(format!("has {size} bytes; expected at most {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    // Spreadsheets begin their files with a byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
