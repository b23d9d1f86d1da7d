//! The simulated fleet's register: `fleet.toml` and the hourly prices of electricity beside it.
//!
//! A template with places for what depends on the fleet: one asset for each node, in service well
//! before the history begins, and prices for every hour of the history and some days beyond. Rent
//! prices are real and begin on the day from which they are known: those that are not in force when the
//! history begins are left out, because a statement refuses a day without a price.

use crate::model::{Fleet, HOUR_MS, Product, between};
use anyhow::Context as _;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("register.toml");
/// Begins a rent price in the template.
const PRICE: &str = "[[price]]\n";
/// Hours behind the history that have prices: the quickstart goes on live.
const HOURS_BEYOND: u64 = 72;

/// Writes both files into the folder and gives the register's path.
pub fn write(fleet: &Fleet, folder: &Path) -> anyhow::Result<PathBuf> {
    let place = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    place("electricity.csv", electricity(fleet)?)?;
    let first_day = instant(fleet.from_ms)?.to_zoned(jiff::tz::TimeZone::UTC).date();
    let register = in_force(TEMPLATE, first_day)?
        .replace("{h100_assets}\n", &assets(fleet, Product::H100)?)
        .replace("{l40s_assets}\n", &assets(fleet, Product::L40s)?);
    place("fleet.toml", register)
}

/// The template without the prices that begin after a day.
fn in_force(template: &str, day: Date) -> anyhow::Result<String> {
    let mut blocks = template.split(PRICE);
    let mut kept = blocks.next().unwrap_or_default().to_owned();
    for block in blocks {
        let from = block.lines().find_map(|line| line.strip_prefix("effective_from = "));
        let from: Date = from.context("a price of the template has no day")?.trim_matches('"').parse()?;
        if from <= day {
            kept.push_str(PRICE);
            kept.push_str(block);
        }
    }
    Ok(kept)
}

fn assets(fleet: &Fleet, product: Product) -> anyhow::Result<String> {
    // (cost of one GPU with its part of the server, what it sells for, months in service)
    let (cost, salvage, age) = match product {
        Product::H100 => (42_000, 6_300, 14),
        Product::L40s => (12_500, 1_600, 7),
    };
    let gpus = fleet.gpus_per_node;
    let begun = instant(fleet.from_ms)?.to_zoned(jiff::tz::TimeZone::UTC).checked_sub(age.months())?;
    let in_service = begun.date().first_of_month();
    let mut text = String::new();
    for node in (0..fleet.nodes).filter(|&node| fleet.product(node) == product) {
        let name = fleet.node_name(node);
        let model = product.model();
        write!(
            text,
            "[[asset]]\nserial = \"{name}\"\nnode = \"{name}\"\nmodel = \"{model}\"\ngpus = {gpus}\n\
             cost = \"{}.00\"\nsalvage = \"{}.00\"\nlife_years = 5\nin_service = \"{in_service}\"\n\n",
            cost * gpus,
            salvage * gpus,
        )?;
    }
    Ok(text)
}

/// Dear in the morning and the evening, cheap at night and at noon, as markets with sun are.
fn electricity(fleet: &Fleet) -> anyhow::Result<String> {
    let mut csv = "hour_utc,usd_per_mwh\n".to_owned();
    for hour in fleet.from_ms / HOUR_MS..fleet.to_ms / HOUR_MS + HOURS_BEYOND {
        let base = match hour % 24 {
            0..=5 => 5_200,
            6..=9 | 17..=21 => 11_800,
            _ => 7_400,
        };
        let cents = between(base * 9 / 10, base * 11 / 10, fleet.seed, &[hour]);
        writeln!(csv, "{},{}.{:02}", instant(hour * HOUR_MS)?, cents / 100, cents % 100)?;
    }
    Ok(csv)
}

fn instant(ms: u64) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_millisecond(i64::try_from(ms)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_collector::fleet::Fleet as Register;

    #[test]
    fn the_collector_takes_the_register_and_finds_every_node_in_it() {
        let fleet = Fleet::ending_at(1_790_000_000_000, 30, 5, 8, 1);
        let folder = tempfile::tempdir().unwrap();
        let register = Register::load(&write(&fleet, folder.path()).unwrap()).unwrap();
        assert_eq!(register.holdings.entries.len(), 5);
        assert!((0..5).all(|node| register.site_of(&fleet.node_name(node)).is_some()));
        assert!(register.sites[0].tariff.is_some() && register.sites[0].colocation.is_some());
        assert_eq!(register.prices.len(), 3);
    }

    #[test]
    fn only_prices_in_force_when_the_history_begins_are_written_whatever_the_clock_says() {
        let prices = |from_s: u64| {
            let fleet = Fleet::ending_at((from_s + 30 * 86_400) * 1000, 30, 4, 8, 1);
            let folder = tempfile::tempdir().unwrap();
            let register = Register::load(&write(&fleet, folder.path()).unwrap()).unwrap();
            let first = Timestamp::from_second(i64::try_from(from_s).unwrap()).unwrap();
            let first = first.to_zoned(jiff::tz::TimeZone::UTC).date();
            assert!(register.prices.iter().all(|price| price.effective_from <= first), "{first}");
            register.prices.len()
        };
        // The starts of 2025, of July 2026 and of 2027.
        assert_eq!([1_735_689_600, 1_782_864_000, 1_798_761_600].map(prices), [0, 2, 3]);
    }

    #[test]
    fn every_hour_of_the_history_has_a_price_and_none_is_left_to_fill_in() {
        let fleet = Fleet::ending_at(1_790_000_000_000, 3, 4, 8, 1);
        let csv = electricity(&fleet).unwrap();
        assert_eq!(csv.lines().count() as u64, 1 + 72 + HOURS_BEYOND);
        assert!(csv.lines().nth(1).unwrap().starts_with(&instant(fleet.from_ms).unwrap().to_string()));
        assert!(!TEMPLATE.replace("{h100_assets}", "").replace("{l40s_assets}", "").contains("{h"));
    }
}
