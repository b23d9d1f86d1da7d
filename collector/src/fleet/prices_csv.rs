//! Rent prices from CSV. Columns, in any order:
//!
//! | column | |
//! |---|---|
//! | `offer` | name of what is rented: `aws p5.48xlarge us-east-1` |
//! | `kind` | `on_demand`, `spot`, `1_year`, `3_years`, `capacity_block` or `market_index` |
//! | `model` | words of the GPU's model: `H100` |
//! | `per_gpu_hour` | price of one GPU for one hour; or `per_hour` and `gpus`: of an instance with that many |
//! | `currency` | ISO 4217 |
//! | `effective_from` | day from which the price was in force |
//! | `fetched_at` | day on which it was read; as `effective_from` where empty |
//! | `source` | where it was published |
//! | `licence` | of the source; may be empty |

use super::cells::{Row, Table};
use super::error::FleetError;
use gpuledger_tco::money::Currency;
use gpuledger_tco::rent::{PriceKind, RentPrice};
use rust_decimal::Decimal;

/// Facts of an offer: columns of a file, and keys of `[[price]]` in the register.
pub(super) const COLUMNS: [&str; 11] = [
    "offer",
    "kind",
    "model",
    "per_gpu_hour",
    "per_hour",
    "gpus",
    "currency",
    "effective_from",
    "fetched_at",
    "source",
    "licence",
];

pub fn prices(table: &Table) -> Result<Vec<RentPrice>, FleetError> {
    table.only(&COLUMNS)?;
    table.rows().map(|row| price(&row)).collect()
}

fn price(row: &Row<'_>) -> Result<RentPrice, FleetError> {
    let kind = row.need("kind")?;
    let currency = row.need("currency")?;
    let effective_from = row.date("effective_from")?;
    Ok(RentPrice {
        offer: row.need("offer")?.to_owned(),
        kind: kind_of(kind).map_err(|message| row.cell_error("kind", message))?,
        model: row.need("model")?.to_owned(),
        per_gpu_hour: per_gpu_hour(row)?,
        currency: Currency::new(currency).map_err(|error| row.cell_error("currency", error.to_string()))?,
        effective_from,
        fetched_at: if row.get("fetched_at").is_some() { row.date("fetched_at")? } else { effective_from },
        source: row.need("source")?.to_owned(),
        licence: row.get("licence").unwrap_or_default().to_owned(),
        entry: row.place(),
    })
}

fn per_gpu_hour(row: &Row<'_>) -> Result<Decimal, FleetError> {
    let (gpu, instance) = (row.decimal("per_gpu_hour")?, row.decimal("per_hour")?);
    let (column, price) = match (gpu, instance) {
        (Some(price), None) => ("per_gpu_hour", Some(price)),
        (None, Some(price)) => {
            let gpus = row.count("gpus")?.filter(|gpus| *gpus > 0);
            let gpus = gpus.ok_or_else(|| row.cell_error("gpus", "how many GPUs does per_hour pay for?"))?;
            ("per_hour", price.checked_div(Decimal::from(gpus)))
        }
        _ => return Err(row.error("give either per_gpu_hour, or per_hour and gpus")),
    };
    let price = price.filter(|price| *price > Decimal::ZERO);
    price.ok_or_else(|| row.cell_error(column, "expected a price above zero"))
}

/// A kind by its name in files.
pub fn kind_of(text: &str) -> Result<PriceKind, String> {
    PriceKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
        let names: Vec<&str> = PriceKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("{text:?} is not a kind of price; expected {}", names.join(", "))
    })
}
