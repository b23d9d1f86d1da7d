//! `depreciation`: three books of every asset side by side, and what other useful lives would have meant.

use super::super::CostingError;
use super::super::count::{Counted, count};
use super::{Asked, Sheets};
use gpuledger_tco::asset::Asset;
use gpuledger_tco::books::economic::{Economy, values};
use gpuledger_tco::books::life::YEARS;
use gpuledger_tco::books::{Book, BookMethod, TaxBook, life_table, side_by_side, tax_books};
use gpuledger_tco::calendar::{HOUR_MS, Month};
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::sheets::{self, AssetSums, LivesOf};
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::{Inputs, TcoError};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

const HOURS_PER_YEAR: Decimal = Decimal::from_parts(8_760, 0, 0, false, 0);

/// All assets, or the one of the register that is named, with the table of its lives.
pub async fn depreciation(of: Asked<'_>, only: Option<&str>) -> Result<Sheets, CostingError> {
    let counted = count(of.ledger, of.fleet, of.period, Some(of.now)).await?;
    let Counted { inputs, evaluation, holdings } = &counted;
    let wanted = |asset: &Asset| only.is_none_or(|name| asset.serial == name || asset.of_register() == name);
    if inputs.assets.is_empty() {
        let what = "what was bought".to_owned();
        return Err(CostingError::Missing { report: "report depreciation", what, key: ASSET_KEY });
    }
    if let Some(given) = only.filter(|_| !inputs.assets.iter().any(wanted)) {
        let known = inputs.assets.iter().take(12).map(Asset::of_register).collect::<Vec<_>>().join(", ");
        return Err(CostingError::Unknown { what: "asset", given: given.to_owned(), known });
    }
    let months = evaluation.frame().months();
    let (Some(&first), Some(&last)) = (months.first(), months.last()) else {
        return Ok(Sheets::default());
    };
    let digits = inputs.currency.minor_digits();
    let tax = tax_of(&counted, of)?;
    let books = evaluation.books(inputs)?;
    let statement = evaluation.statement(inputs, GroupBy::Model)?;
    let (mut sums, mut lives) = (Vec::new(), Lives::default());
    let whole = once_each(&inputs.assets);
    let chosen = whole.iter().filter(|(position, _)| inputs.assets.get(*position).is_some_and(wanted));
    for (asset, book) in chosen.filter_map(|(position, asset)| Some((asset, books.get(*position)?))) {
        let economy = economy_of(&counted, of, asset)?;
        let values = economy.map(|economy| values_from(&economy, first)).transpose()?.unwrap_or_default();
        let tax = tax.get(&asset.serial);
        let rows = side_by_side(book, tax, &values, &inputs.calendar, (first, last), digits)?;
        lives.add(&counted, asset, book, (first, last))?;
        sums.push(AssetSums { asset, rows });
    }
    // Books go by whole months: hours of a part of one say nothing about them.
    let whole = is_whole(inputs, first, last)?;
    let observed = statement.hours.in_service.saturating_sub(statement.hours.unmonitored);
    // Of hours that nobody looked at it is not known whether they were active.
    let in_use = statement.hours.active.checked_div(observed);
    let active = in_use.filter(|_| whole).map(|_| statement.hours.active);
    let mut sheets = vec![sheets::register_of(&sums, inputs.currency)?];
    sheets.push(sheets::lives_of(&lives.rows(), active, inputs.currency)?);
    if only.is_some() {
        for AssetSums { asset, .. } in &sums {
            // Without hours nothing is told per hour.
            let hours = in_use.unwrap_or_default() * HOURS_PER_YEAR * Decimal::from(asset.gpus);
            sheets.push(sheets::lives(asset, &life_table(asset, &inputs.calendar, YEARS, hours)?));
        }
    }
    sheets.push(sheets::books(&sums, inputs.currency)?);
    let mut notes = statement.notes;
    if tax.is_empty() {
        notes.push("No tax book is kept: add tax to an [[asset]] of the register.".to_owned());
    }
    if holdings.entries.iter().all(|entry| entry.economy.is_none()) {
        notes.push("No economic value is known: add economic to an [[asset]] of the register.".to_owned());
    }
    Sheets { sheets, notes, simulated: inputs.usage.simulated, ..Sheets::default() }.checked()
}

/// Whether a period is made of whole months that are over.
fn is_whole(inputs: &Inputs, first: Month, last: Month) -> Result<bool, TcoError> {
    let calendar = &inputs.calendar;
    let within = |ms: i64, start: i64| (start..start + HOUR_MS).contains(&ms);
    Ok(within(inputs.period.from().start_ms(), calendar.month_start_ms(first)?)
        && within(inputs.until_ms(), calendar.month_start_ms(last.plus(1)?)?))
}

/// Each asset once, under its serial of the register: one that moved is an asset of the engine for each stay,
/// with the same book.
fn once_each(assets: &[Asset]) -> Vec<(usize, Asset)> {
    let mut known: BTreeMap<&str, (usize, &Asset)> = BTreeMap::new();
    for (position, asset) in assets.iter().enumerate() {
        known.entry(asset.of_register()).or_insert((position, asset));
    }
    let mut once: Vec<(usize, Asset)> = known
        .into_iter()
        .map(|(serial, (position, asset))| (position, Asset { serial: serial.to_owned(), ..asset.clone() }))
        .collect();
    once.sort_by_key(|(position, _)| *position);
    once
}

pub(super) const ASSET_KEY: &str =
    "[[asset]] with serial, node, gpus, cost, life_years and in_service, or assets = \"assets.csv\"";

/// The tax book of each component of the register, by its serial.
fn tax_of(counted: &Counted, of: Asked<'_>) -> Result<BTreeMap<String, TaxBook>, TcoError> {
    let currency = counted.inputs.currency;
    let assets = counted.holdings.tax_assets(&of.fleet.rates, currency)?;
    let books = tax_books(&assets, currency.minor_digits())?;
    Ok(assets.into_iter().map(|asset| asset.serial).zip(books).collect())
}

/// The part of an item's economy that one of its components is, in the currency of the report.
fn economy_of(counted: &Counted, of: Asked<'_>, asset: &Asset) -> Result<Option<Economy>, TcoError> {
    let Some((entry, component)) = counted.holdings.of_asset(asset) else { return Ok(None) };
    let Some(economy) = &entry.economy else { return Ok(None) };
    let weight = entry.item.weight(&component.name)?;
    let (from, to): (Currency, Currency) = (component.cost.currency, counted.inputs.currency);
    let rate = of.fleet.rates.convert(Money::new(Decimal::ONE, from), to, entry.item.purchased)?.rate;
    let part = weight * rate;
    let mut own = economy.clone();
    own.cash_cost_per_month *= part;
    own.resale *= part;
    own.gpus *= weight;
    for (_, rent) in &mut own.rent.known {
        *rent *= rate;
    }
    Ok(Some(own))
}

/// Values from a month on, or from the first one of which the rent is known.
fn values_from(economy: &Economy, first: Month) -> Result<Vec<(Month, Decimal)>, TcoError> {
    let known = economy.rent.known.first().map_or(first, |(month, _)| *month);
    let first = first.max(known);
    if first > economy.last_month { Ok(Vec::new()) } else { values(economy, first) }
}

/// Depreciation and book value of all assets, by useful life.
#[derive(Default)]
struct Lives(BTreeMap<Option<u32>, (Decimal, Decimal)>);

impl Lives {
    fn add(
        &mut self,
        counted: &Counted,
        asset: &Asset,
        book: &Book,
        (first, last): (Month, Month),
    ) -> Result<(), TcoError> {
        let calendar = &counted.inputs.calendar;
        let (from, to) = (calendar.month_start_ms(first)?, calendar.month_start_ms(last.plus(1)?)?);
        let mut put = |years: Option<u32>, book: &Book| -> Result<(), TcoError> {
            let (depreciation, value) = self.0.entry(years).or_default();
            *depreciation += book.charged(to)? - book.charged(from)?;
            *value += book.net_before(to)?;
            Ok(())
        };
        put(None, book)?;
        for years in YEARS {
            if matches!(asset.terms.method, BookMethod::Units(_)) {
                // A life by use has no years.
                put(Some(years), book)?;
                continue;
            }
            let mut what_if = asset.clone();
            what_if.life_months = years * 12;
            what_if.terms.events.clear();
            put(Some(years), &Book::new(&what_if, calendar, &[])?)?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<LivesOf> {
        let row = |(years, (depreciation, book_value)): (&Option<u32>, &(Decimal, Decimal))| LivesOf {
            years: *years,
            depreciation: *depreciation,
            book_value: *book_value,
        };
        self.0.iter().map(row).collect()
    }
}
