//! The register's text → [`Fleet`].

use super::assets_csv;
use super::error::FleetError;
use super::pattern::Pattern;
use super::prices_csv;
use super::section::{Section, Source};
use super::site::{self, Defaults, unnamed};
use super::{Comparison, Fleet, Holdings, NodeRule};
use gpuledger_tco::asset::{Asset, GPUS_MAX, LIFE_MONTHS_MAX, Place};
use gpuledger_tco::books::Terms;
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::facility::{CapitalRate, Charge, Key, Overhead, Site};
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::rent::RentPrice;
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::usage::Declared;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::DeTable;

const KEYS: [&str; 10] = [
    "currency",
    "time_zone",
    "capital_rate",
    "prices",
    "assets",
    "site",
    "node",
    "asset",
    "overhead",
    "price",
];
const NODE_KEYS: [&str; 5] = ["name", "site", "gpus", "model", "power_only"];
const OVERHEAD_KEYS: [&str; 3] = ["kind", "site", "per_year"];

pub fn fleet(path: &Path, text: &str) -> Result<Fleet, FleetError> {
    let name = path.display().to_string();
    let source = Source { path: &name, text };
    let table = DeTable::parse(text).map_err(|error| {
        source.error(error.span().map_or(1, |span| source.line(span.start)), error.message())
    })?;
    let root = Section::new(source, "", 0, table.get_ref(), &KEYS)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let currency = root.need("currency", "\"EUR\"")?.currency()?;
    let time_zone = match root.get("time_zone") {
        Some(field) => field.time_zone()?,
        None => TimeZone::UTC,
    };
    let defaults = Defaults { folder, currency, time_zone: &time_zone };
    let sites = sites(&root, &defaults)?;
    let mut prices = Vec::new();
    if let Some(field) = root.get("prices") {
        prices = prices_csv::prices(&site::table(&field, folder)?)?;
    }
    for section in root.list("price", &prices_csv::COLUMNS)? {
        prices.push(price(&section, currency)?);
    }
    check_prices(&prices, currency)?;
    let capital_rate = capital_rate(&root)?;
    Ok(Fleet {
        nodes: nodes(&root, &sites)?,
        holdings: Holdings::default(),
        assets: assets(&root, &sites, &defaults)?,
        overheads: overheads(&root, &sites, currency)?,
        rent_terms: Vec::new(),
        rates: Rates::default(),
        centres: Vec::new(),
        basis: ChargeBasis::default(),
        market_carbon: vec![None; sites.len()],
        comparison: Comparison::unsaid(capital_rate.as_ref().map_or(Decimal::ZERO, |capital| capital.rate)),
        market: None,
        models: Vec::new(),
        capital_rate,
        currency,
        time_zone,
        sites,
        prices,
    })
}

fn sites(root: &Section<'_>, defaults: &Defaults<'_>) -> Result<Vec<Site>, FleetError> {
    let mut sites: Vec<Site> = Vec::new();
    for section in root.list("site", &site::KEYS)? {
        let site = site::site(&section, defaults)?;
        if let Some(known) = sites.iter().find(|known| known.name == site.name) {
            return Err(section.error(format!("site {:?} stands at {} already", site.name, known.source)));
        }
        sites.push(site);
    }
    if sites.is_empty() {
        sites.push(unnamed());
    }
    Ok(sites)
}

/// Position of the site that a table names; the only site where it names none.
fn site_of(section: &Section<'_>, sites: &[Site]) -> Result<usize, FleetError> {
    let names = || sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>();
    match section.get("site") {
        Some(field) => {
            let name = field.text()?;
            let unknown =
                || field.error(format!("there is no site {name:?}; the sites are {}", names().join(", ")));
            sites.iter().position(|site| site.name == name).ok_or_else(unknown)
        }
        None if sites.len() == 1 => Ok(0),
        None => Err(section.error(format!("site is missing; the sites are {}", names().join(", ")))),
    }
}

fn nodes(root: &Section<'_>, sites: &[Site]) -> Result<Vec<NodeRule>, FleetError> {
    let rule = |section: Section<'_>| {
        let gpus = section.get("gpus").map(|field| field.count(GPUS_MAX)).transpose()?;
        let power_only = section.get("power_only");
        let active = match &power_only {
            Some(field) => match field.text()? {
                "active" => true,
                "unmonitored" => false,
                other => {
                    return Err(field.error(format!("{other:?}; expected \"active\" or \"unmonitored\"")));
                }
            },
            None => false,
        };
        let declared = match gpus {
            Some(gpus) => {
                let model =
                    section.need("model", "\"NVIDIA H100\" (the model of its GPUs)")?.text()?.to_owned();
                Some(Declared { gpus, model, active })
            }
            None if power_only.is_some() => return Err(section.error("power_only says nothing without gpus")),
            None => None,
        };
        let name = Pattern::new(section.need("name", "\"gpu-*\"")?.text()?);
        Ok(NodeRule { name, site: site_of(&section, sites)?, declared })
    };
    root.list("node", &NODE_KEYS)?.into_iter().map(rule).collect()
}

fn assets(root: &Section<'_>, sites: &[Site], defaults: &Defaults<'_>) -> Result<Vec<Asset>, FleetError> {
    let mut assets = Vec::new();
    if let Some(field) = root.get("assets") {
        let path = defaults.folder.join(field.text()?);
        let text = super::read_file(&path).map_err(|error| field.error(error.to_string()))?;
        assets = assets_csv::read_assets(&path, &text)?;
    }
    for section in root.list("asset", &assets_csv::COLUMNS)? {
        assets.push(asset(&section, sites, defaults.currency)?);
    }
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for asset in &assets {
        let place = asset.source.replace(" line ", ":");
        if let Some(first) = known.insert(&asset.serial, &asset.source) {
            let message =
                format!("asset {:?} stands at {first} already: a serial is one asset", asset.serial);
            return Err(FleetError::new(place, message));
        }
        if asset.cost.currency != defaults.currency {
            let (own, other) = (asset.cost.currency, defaults.currency);
            return Err(FleetError::new(
                place,
                format!("asset {} costs {own}; give it in {other}", asset.serial),
            ));
        }
        if let Place::Site(name) = &asset.place
            && !sites.iter().any(|site| site.name == *name)
        {
            return Err(FleetError::new(place, format!("there is no site {name:?}")));
        }
    }
    Ok(assets)
}

fn asset(section: &Section<'_>, sites: &[Site], currency: Currency) -> Result<Asset, FleetError> {
    let serial = section.need("serial", "\"SN123\"")?.text()?.to_owned();
    let own = match section.get("currency") {
        Some(field) => field.currency()?,
        None => currency,
    };
    let life = section.only_one(["life_months", "life_years"], "life_months = 60")?;
    let months = life.count(if life.key == "life_years" { LIFE_MONTHS_MAX / 12 } else { LIFE_MONTHS_MAX })?;
    let in_service = section.get("in_service").ok_or_else(|| {
        section.error(format!(
            "{serial} has no in-service date; add in_service = \"2026-01-15\", the day from which it was available"
        ))
    })?;
    let place = match (section.get("node"), section.get("site")) {
        (Some(_), Some(site)) => return Err(site.error("give either node or site")),
        (Some(node), None) => Place::Node(node.text()?.to_owned()),
        (None, _) => Place::Site(sites[site_of(section, sites)?].name.clone()),
    };
    let asset = Asset {
        serial,
        place,
        model: section.get("model").map(|field| field.text().map(str::to_owned)).transpose()?,
        gpus: section.get("gpus").map(|field| field.count(GPUS_MAX)).transpose()?.unwrap_or(0),
        cost: section.need("cost", "\"300000.00\"")?.money(own)?,
        salvage: match section.get("salvage") {
            Some(field) => field.money(own)?,
            None => Money::zero(own),
        },
        life_months: if life.key == "life_years" { months * 12 } else { months },
        in_service: in_service.date()?,
        terms: Terms::default(),
        source: section.place(),
    };
    asset.check().map_err(|error| section.error(error.to_string()))?;
    Ok(asset)
}

fn overheads(root: &Section<'_>, sites: &[Site], currency: Currency) -> Result<Vec<Overhead>, FleetError> {
    let mut overheads: Vec<Overhead> = Vec::new();
    for section in root.list("overhead", &OVERHEAD_KEYS)? {
        let overhead = Overhead {
            kind: section.need("kind", "\"staff\"")?.text()?.to_owned(),
            site: match section.get("site") {
                Some(_) => Some(sites[site_of(&section, sites)?].name.clone()),
                None => None,
            },
            charge: Charge::PerYear(section.need("per_year", "\"90000.00\"")?.money(currency)?),
            key: Key::default(),
            from: None,
            to: None,
            source: section.place(),
        };
        let same = |known: &&Overhead| known.kind == overhead.kind && known.site == overhead.site;
        if let Some(known) = overheads.iter().find(same) {
            return Err(section.error(format!("{:?} stands at {} already", overhead.kind, known.source)));
        }
        overheads.push(overhead);
    }
    Ok(overheads)
}

fn capital_rate(root: &Section<'_>) -> Result<Option<CapitalRate>, FleetError> {
    let Some(field) = root.get("capital_rate") else { return Ok(None) };
    let rate = field.decimal()?;
    if rate < Decimal::ZERO || rate >= Decimal::ONE {
        let message =
            format!("{rate} is out of range; expected a share a year from 0 to below 1, such as \"0.06\"");
        return Err(field.error(message));
    }
    Ok(Some(CapitalRate { rate, source: field.place() }))
}

fn price(section: &Section<'_>, currency: Currency) -> Result<RentPrice, FleetError> {
    let field = section.only_one(["per_gpu_hour", "per_hour"], "per_gpu_hour = \"2.95\"")?;
    let gpus = section.get("gpus").map(|field| field.count(GPUS_MAX)).transpose()?;
    let price = match (field.key, gpus) {
        ("per_hour", Some(gpus)) if gpus > 0 => field.amount()?.checked_div(Decimal::from(gpus)),
        ("per_hour", _) => return Err(field.error("add gpus, the number of GPUs that it pays for")),
        _ => Some(field.amount()?),
    };
    let price = price.filter(|price| *price > Decimal::ZERO);
    let kind = section.need("kind", "\"on_demand\"")?;
    let effective_from = section.need("effective_from", "\"2026-07-20\"")?.date()?;
    Ok(RentPrice {
        offer: section.need("offer", "\"aws p5.48xlarge us-east-1\"")?.text()?.to_owned(),
        kind: prices_csv::kind_of(kind.text()?).map_err(|message| kind.error(message))?,
        model: section.need("model", "\"H100\"")?.text()?.to_owned(),
        per_gpu_hour: price.ok_or_else(|| field.error("expected a price above zero"))?,
        currency: match section.get("currency") {
            Some(field) => field.currency()?,
            None => currency,
        },
        effective_from,
        fetched_at: match section.get("fetched_at") {
            Some(field) => field.date()?,
            None => effective_from,
        },
        source: section.need("source", "\"https://…\"")?.text()?.to_owned(),
        licence: section
            .get("licence")
            .map(|field| field.text().map(str::to_owned))
            .transpose()?
            .unwrap_or_default(),
        entry: section.place(),
    })
}

fn check_prices(prices: &[RentPrice], currency: Currency) -> Result<(), FleetError> {
    let mut known = BTreeMap::new();
    for price in prices {
        let place = price.entry.replace(" line ", ":");
        if price.currency != currency {
            let message = format!(
                "the price of {} is in {} and the register in {currency}: convert it, and say so in its source",
                price.offer, price.currency
            );
            return Err(FleetError::new(place, message));
        }
        let key = (&price.offer, price.kind, &price.model, price.effective_from);
        if let Some(first) = known.insert(key, &price.entry) {
            let message =
                format!("{} has a price from {} at {first} already", price.offer, price.effective_from);
            return Err(FleetError::new(place, message));
        }
    }
    Ok(())
}
