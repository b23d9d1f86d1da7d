//! The register's text → [`Fleet`].

use super::facts::Facts as _;
use super::holdings::{Market, holdings};
use super::section::{Section, Source};
use super::site::{self, Defaults, unnamed};
use super::{Fleet, FleetError, MarketCarbon, Root};
use super::{centres, costs, models, nodes, prices, rates, renting};
use gpuledger_tco::facility::Site;
use gpuledger_tco::shares::ChargeBasis;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::path::Path;

const KEYS: [&str; 21] = [
    "currency",
    "time_zone",
    "capital_rate",
    "charge_basis",
    "prices",
    "assets",
    "bindings",
    "rates",
    "cost_centres",
    "site",
    "node",
    "asset",
    "binding",
    "overhead",
    "exchange_rate",
    "cost_centre",
    "price",
    "rent_terms",
    "comparison",
    "market",
    "business_model",
];

const BASES: [(&str, ChargeBasis); 3] =
    [("allocation", ChargeBasis::Allocation), ("usage", ChargeBasis::Usage), ("larger", ChargeBasis::Larger)];

pub fn fleet(path: &Path, text: &str) -> Result<Fleet, FleetError> {
    let name = path.display().to_string();
    let source = Source { path: &name, text };
    let table = source.parse()?;
    let section = Section::new(source, "", 0, table.get_ref(), &KEYS)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let currency = section.need("currency", "\"EUR\"")?.currency()?;
    let time_zone = match section.get("time_zone") {
        Some(field) => field.time_zone()?,
        None => TimeZone::UTC,
    };
    let (sites, market_carbon) = sites(&section, &Defaults { folder, currency, time_zone: &time_zone })?;
    let root = Root { section, folder, currency, sites };
    let rates = rates::rates(&root)?;
    let prices = prices::prices(&root, &rates)?;
    let capital_rate = costs::capital_rate(&root)?;
    let discount = capital_rate.as_ref().map_or(Decimal::ZERO, |capital| capital.rate);
    let comparison = renting::comparison(&root, discount)?;
    let market = Market { prices: &prices, rates: &rates, discount: comparison.discount };
    Ok(Fleet {
        nodes: nodes::nodes(&root)?,
        holdings: holdings(&root, &market)?,
        overheads: costs::overheads(&root, &rates)?,
        rent_terms: renting::rent_terms(&root)?,
        centres: centres::centres(&root)?,
        basis: root.section.choice("charge_basis", &BASES)?.unwrap_or_default(),
        comparison,
        market: renting::market(&root)?,
        models: models::models(&root)?,
        market_carbon,
        rates,
        capital_rate,
        currency,
        time_zone,
        sites: root.sites,
        prices,
    })
}

fn sites(
    root: &Section<'_>,
    defaults: &Defaults<'_>,
) -> Result<(Vec<Site>, Vec<Option<MarketCarbon>>), FleetError> {
    let mut sites: Vec<Site> = Vec::new();
    let mut carbon = Vec::new();
    for section in root.list("site", &site::KEYS)? {
        let (site, market) = site::site(&section, defaults)?;
        if let Some(known) = sites.iter().find(|known| known.name == site.name) {
            return Err(section.error(format!("site {:?} stands at {} already", site.name, known.source)));
        }
        sites.push(site);
        carbon.push(market);
    }
    if sites.is_empty() {
        sites.push(unnamed());
        carbon.push(None);
    }
    Ok((sites, carbon))
}

/// Every key of every table, for the test that the packaged example shows all of them.
#[cfg(test)]
pub(super) fn every_key() -> Vec<&'static str> {
    let tables = [
        &KEYS[..],
        &prices::COLUMNS,
        &rates::COLUMNS,
        &centres::COLUMNS,
        &costs::KEYS,
        &nodes::KEYS,
        &models::KEYS,
    ];
    let mut keys = tables.concat();
    keys.extend(site::every_key());
    keys.extend(super::holdings::every_key());
    keys.extend(renting::every_key());
    keys
}
