//! `[[business_model]]`: ways to get the same work done, side by side.
//!
//! A model is one of three kinds: hardware that is owned (in an own hall, in colocation, at a small site),
//! hardware that is leased, or hours that are rented (of a GPU cloud, of a hyperscaler).

use super::Root;
use super::error::FleetError;
use super::facts::{Facts as _, Key};
use super::section::Section;
use gpuledger_tco::decide::{Fleet, Lease, Offer, Own, Running, Way};
use rust_decimal::Decimal;

pub const KEYS: [&str; 24] = [
    "name",
    "kind",
    "gpus",
    "availability",
    "utilization",
    "goodput",
    "purchase",
    "residual",
    "tax_depreciation",
    "payment_per_month",
    "upfront",
    "fixed_per_year",
    "kw",
    "idle_kw",
    "pue",
    "price_per_kwh",
    "per_gpu_hour",
    "throughput",
    "idle",
    "support",
    "egress_per_month",
    "storage_per_month",
    "trend",
    "source",
];

/// What says something of one kind of model only.
const OWN: [Key; 3] = ["purchase", "residual", "tax_depreciation"];
const LEASE: [Key; 2] = ["payment_per_month", "upfront"];
const RENT: [Key; 7] =
    ["per_gpu_hour", "throughput", "idle", "support", "egress_per_month", "storage_per_month", "trend"];
const HARDWARE: [Key; 8] =
    ["gpus", "availability", "utilization", "fixed_per_year", "kw", "idle_kw", "pue", "price_per_kwh"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    Lease,
    Rent,
}

pub fn models(root: &Root<'_>) -> Result<Vec<(String, Way)>, FleetError> {
    let mut models: Vec<(String, Way)> = Vec::new();
    for section in root.section.list("business_model", &KEYS)? {
        let name = section.need_text("name", "\"own, colocation\"")?;
        if models.iter().any(|(known, _)| *known == name) {
            return Err(section.wrong_at("name", format!("{name:?} is used already")));
        }
        let way = way(&section, &name)?;
        way.check().map_err(|error| section.error(error.to_string()))?;
        models.push((name, way));
    }
    Ok(models)
}

fn way(section: &Section<'_>, name: &str) -> Result<Way, FleetError> {
    let kind = section.choice("kind", &[("own", Kind::Own), ("lease", Kind::Lease), ("rent", Kind::Rent)])?;
    let kind = kind.ok_or_else(|| section.missing("kind", "\"own\", \"lease\" or \"rent\""))?;
    let refuse = |keys: &[Key], wanted: &str| match keys.iter().find(|key| section.has(key)) {
        Some(key) => Err(section.wrong_at(key, format!("says nothing here; it needs kind = {wanted}"))),
        None => Ok(()),
    };
    if kind != Kind::Own {
        refuse(&OWN, "\"own\"")?;
    }
    if kind != Kind::Lease {
        refuse(&LEASE, "\"lease\"")?;
    }
    if kind == Kind::Rent {
        refuse(&HARDWARE, "\"own\" or \"lease\"")?;
        return Ok(Way::Rent(rent(section, name)?));
    }
    refuse(&RENT, "\"rent\"")?;
    let (fleet, running) = (fleet(section)?, running(section)?);
    let price = |key: Key, example: &str| section.price(key)?.ok_or_else(|| section.missing(key, example));
    if kind == Kind::Lease {
        let upfront = section.price("upfront")?.unwrap_or_default();
        let payment_per_month = price("payment_per_month", "\"52000.00\"")?;
        return Ok(Way::Lease(Lease { fleet, running, payment_per_month, upfront }));
    }
    let mut tax_depreciation = Vec::new();
    if let Some(field) = section.get("tax_depreciation") {
        for text in field.texts()? {
            tax_depreciation.push(super::cells::plain_decimal(text).map_err(|message| field.error(message))?);
        }
    }
    Ok(Way::Own(Own {
        fleet,
        running,
        purchase: price("purchase", "\"2800000.00\"")?,
        residual: section.share("residual")?.unwrap_or_default(),
        tax_depreciation,
    }))
}

fn fleet(section: &Section<'_>) -> Result<Fleet, FleetError> {
    Ok(Fleet {
        gpus: section.need_quantity("gpus", "64")?,
        availability: section.share("availability")?.unwrap_or(Decimal::ONE),
        utilization: section.share("utilization")?.ok_or_else(|| section.missing("utilization", "0.7"))?,
        goodput: section.share("goodput")?.unwrap_or(Decimal::ONE),
    })
}

fn running(section: &Section<'_>) -> Result<Running, FleetError> {
    let kw = section.need_quantity("kw", "1.2 (of a GPU in use, with its share of the host)")?;
    let idle_kw = section.quantity("idle_kw")?.unwrap_or_default();
    if idle_kw > kw {
        return Err(section.wrong_at("idle_kw", format!("{idle_kw} is more than in use, {kw}")));
    }
    Ok(Running {
        fixed_per_year: section.price("fixed_per_year")?.unwrap_or_default(),
        kw,
        idle_kw,
        pue: section
            .within("pue", (Decimal::ONE, Decimal::TEN), "1 to 10")?
            .ok_or_else(|| section.missing("pue", "1.3"))?,
        price_per_kwh: section.price("price_per_kwh")?.ok_or_else(|| {
            section
                .missing("price_per_kwh", "\"0.21\" (or \"0\" where the price of power is in fixed_per_year)")
        })?,
    })
}

fn rent(section: &Section<'_>, name: &str) -> Result<Offer, FleetError> {
    let own = section.text("source")?;
    Ok(Offer {
        name: name.to_owned(),
        per_gpu_hour: section
            .price("per_gpu_hour")?
            .ok_or_else(|| section.missing("per_gpu_hour", "\"2.95\""))?,
        throughput: section.quantity("throughput")?.unwrap_or(Decimal::ONE),
        goodput: section.share("goodput")?.unwrap_or(Decimal::ONE),
        idle: section.share("idle")?.unwrap_or_default(),
        support: section.share("support")?.unwrap_or_default(),
        egress_per_month: section.price("egress_per_month")?.unwrap_or_default(),
        storage_per_month: section.price("storage_per_month")?.unwrap_or_default(),
        trend: section.number("trend")?.unwrap_or_default(),
        source: own.map_or_else(|| section.place(), |source| format!("{source}, {}", section.place())),
    })
}
