//! Assets from CSV, for `gpuledger import assets`. Columns, in any order:
//!
//! | column | |
//! |---|---|
//! | `serial` | identifies the asset; an import replaces what the ledger holds under it |
//! | `node` or `site` | which GPUs it serves |
//! | `model` | of its GPUs; may be empty |
//! | `gpus` | GPUs that came with it; empty is 0 |
//! | `cost`, `salvage`, `currency` | plain numbers with a point; salvage empty is 0 |
//! | `life_months` or `life_years` | useful life |
//! | `in_service` | day from which it was available for use |
//!
//! The file is read and checked whole before the first asset is stored, and all are stored at once.
//! The ledger keeps each as a JSON document of the same fields.

use super::cells::{Row, Table};
use super::error::FleetError;
use gpuledger_tco::asset::{Asset, Place};
use gpuledger_tco::books::Terms;
use gpuledger_tco::money::{Currency, Money};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Facts of an asset: columns of a file, and keys of `[[asset]]` in the register.
pub(super) const COLUMNS: [&str; 11] = [
    "serial",
    "node",
    "site",
    "model",
    "gpus",
    "cost",
    "currency",
    "salvage",
    "life_months",
    "life_years",
    "in_service",
];

/// Every asset of a file, checked.
pub fn read_assets(path: &Path, text: &str) -> Result<Vec<Asset>, FleetError> {
    let table = Table::read(path, text)?;
    table.only(&COLUMNS)?;
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let mut assets = Vec::new();
    for row in table.rows() {
        let asset = asset(&row)?;
        if let Some(line) = lines.insert(asset.serial.clone(), row.line) {
            let message = format!("{:?} stands in line {line} already", asset.serial);
            return Err(row.cell_error("serial", message));
        }
        assets.push(asset);
    }
    if assets.is_empty() {
        return Err(FleetError::new(table.path, "has a header and no assets"));
    }
    Ok(assets)
}

fn asset(row: &Row<'_>) -> Result<Asset, FleetError> {
    let currency = row.need("currency")?;
    let currency = Currency::new(currency).map_err(|error| row.cell_error("currency", error.to_string()))?;
    row.need("cost")?;
    let place = match (row.get("node"), row.get("site")) {
        (Some(node), None) => Place::Node(node.to_owned()),
        (None, Some(site)) => Place::Site(site.to_owned()),
        _ => return Err(row.error("give either node or site")),
    };
    let life_months = match (row.count("life_months")?, row.count("life_years")?) {
        (Some(months), None) => months,
        (None, Some(years)) => years.saturating_mul(12),
        _ => return Err(row.error("give either life_months or life_years")),
    };
    if row.get("in_service").is_none() {
        return Err(row.error("has no in_service date: give the day from which it was available for use"));
    }
    let asset = Asset {
        serial: row.need("serial")?.to_owned(),
        place,
        model: row.get("model").map(str::to_owned),
        gpus: row.count("gpus")?.unwrap_or(0),
        cost: Money::new(row.decimal("cost")?.unwrap_or_default(), currency),
        salvage: Money::new(row.decimal("salvage")?.unwrap_or_default(), currency),
        life_months,
        in_service: row.date("in_service")?,
        terms: Terms::default(),
        source: row.place(),
    };
    asset.check().map_err(|error| row.error(error.to_string()))?;
    Ok(asset)
}

/// An asset as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    serial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    gpus: u32,
    cost: Decimal,
    salvage: Decimal,
    currency: Currency,
    life_months: u32,
    in_service: Date,
    source: String,
}

/// The document of an asset.
pub fn to_document(asset: &Asset) -> Result<String, FleetError> {
    let (node, site) = match asset.place.clone() {
        Place::Node(node) => (Some(node), None),
        Place::Site(site) => (None, Some(site)),
    };
    let document = Document {
        serial: asset.serial.clone(),
        node,
        site,
        model: asset.model.clone(),
        gpus: asset.gpus,
        cost: asset.cost.amount,
        salvage: asset.salvage.amount,
        currency: asset.cost.currency,
        life_months: asset.life_months,
        in_service: asset.in_service,
        source: asset.source.clone(),
    };
    serde_json::to_string(&document)
        .map_err(|error| FleetError::new(asset.source.clone(), format!("cannot be stored: {error}")))
}

/// The asset of a document, checked again: it may be of another version.
pub fn from_document(serial: &str, document: &str) -> Result<Asset, FleetError> {
    let place = format!("ledger: asset {serial}");
    let fail = |message: String| FleetError::new(place.clone(), message);
    let document: Document = serde_json::from_str(document)
        .map_err(|error| fail(format!("cannot be read ({error}); import it again")))?;
    let asset = Asset {
        serial: document.serial,
        place: match (document.node, document.site) {
            (Some(node), None) => Place::Node(node),
            (None, Some(site)) => Place::Site(site),
            _ => return Err(fail("has neither a node nor a site; import it again".to_owned())),
        },
        model: document.model,
        gpus: document.gpus,
        cost: Money::new(document.cost, document.currency),
        salvage: Money::new(document.salvage, document.currency),
        life_months: document.life_months,
        in_service: document.in_service,
        terms: Terms::default(),
        source: document.source,
    };
    asset.check().map_err(|error| fail(error.to_string()))?;
    Ok(asset)
}
