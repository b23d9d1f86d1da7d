//! What comes into the register from files of others, and goes out again: assets into the ledger, prices,
//! rates and cost centres into files that the fleet names. Each file is read and checked whole, and what
//! is written is there whole or not at all.

use super::Failure;
use super::import_args::{self, Centres, Prices, PricesFormat, Rates, RatesFormat};
use super::output::{Output, READABLE, to_file};
use super::resolve::LedgerAt;
use crate::config::Config;
use crate::costing::{self, ImportAssetsError};
use crate::fleet::cells::Table;
use crate::fleet::locale::Locale;
use crate::fleet::{Fleet, FleetError, centres, holdings, prices, rates, read_file};
use crate::import::price_book::{self, Wanted};
use crate::import::{catalog, rates_book};
use crate::report::number::{count, grouped};
use crate::store::Access;
use gpuledger_tco::rent::{PRICE_AGE_DAYS_MAX, RentPrice};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that assets come from.
pub struct ImportAssets {
    pub ledger: LedgerAt,
    pub file: PathBuf,
    pub locale: Locale,
}

pub struct ExportAssets {
    pub ledger: LedgerAt,
    pub fleet: Option<Fleet>,
    pub locale: Locale,
    pub output: Output,
}

impl ExportAssets {
    pub fn of(config: &Config, args: import_args::ExportAssets) -> Result<Self, Failure> {
        let fleet = config.fleet.as_deref().map(Fleet::load).transpose();
        Ok(Self {
            ledger: LedgerAt::of(config),
            fleet: fleet.map_err(|error| Failure::Usage(error.to_string()))?,
            locale: args.written.locale()?,
            output: Output::checked(args.out.out, args.out.force)?,
        })
    }
}

fn refused(error: &FleetError) -> Failure {
    Failure::Usage(format!("{error}\nNothing was imported."))
}

/// The refusal of a file that may be written in another way than was said.
fn misread(error: &FleetError, locale: &Locale) -> Failure {
    Failure::Usage(format!(
        "{error}\nThe file was read as {} ({}); --locale, --delimiter, --decimal and --dates say otherwise.\n\
         Nothing was imported.",
        locale.name,
        locale.described()
    ))
}

/// All of a file's assets into the ledger, or none.
pub async fn import_assets(task: ImportAssets) -> Result<(), Failure> {
    // A file that is wrong must not leave a new, empty ledger behind.
    let text = read_file(&task.file).map_err(|error| refused(&error))?;
    let entries = holdings::read_assets(&task.file, &text, task.locale)
        .map_err(|error| misread(&error, &task.locale))?;
    let ledger = task.ledger.open(Access::Write).await?.ledger;
    costing::import_assets(ledger.as_ref(), &entries).await.map_err(|error| match error {
        ImportAssetsError::File(error) => refused(&error),
        ImportAssetsError::Ledger(error) => error.into(),
    })?;
    let mut out = io::stdout().lock();
    let assets = grouped(entries.len().into(), 0);
    writeln!(
        out,
        "{}: {assets} assets are in the register of {}.",
        task.file.display(),
        task.ledger.location
    )?;
    Ok(out.flush()?)
}

/// Everything that was bought, as `import assets` reads it.
pub async fn export_assets(task: ExportAssets) -> Result<(), Failure> {
    let ledger = task.ledger.open(Access::Read).await?.ledger;
    let fleet = task.fleet.unwrap_or_else(Fleet::empty);
    let held = costing::holdings(ledger.as_ref(), &fleet).await?;
    let text = holdings::write_assets(&held.entries, &task.locale)
        .map_err(|error| Failure::Runtime(format!("cannot write the assets: {error}")))?;
    task.output.write(|out| out.write_all(text.as_bytes()))?;
    let left: Vec<String> = held.entries.iter().filter_map(holdings::unwritten).collect();
    if !left.is_empty() {
        writeln!(io::stderr(), "note: only the fleet file can hold: {}", left.join(", "))?;
    }
    if !held.bindings.is_empty() {
        writeln!(
            io::stderr(),
            "note: where assets stood when ({} bindings) stays in the fleet file",
            held.bindings.len()
        )?;
    }
    Ok(())
}

/// What a file of ours holds already; nothing where there is none.
fn known<T>(
    path: &Path,
    read: impl Fn(&Path, &str) -> Result<Vec<T>, FleetError>,
) -> Result<Vec<T>, Failure> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = read_file(path).map_err(|error| refused(&error))?;
    read(path, &text).map_err(|error| refused(&error))
}

fn store(path: &Path, bytes: Result<Vec<u8>, csv::Error>) -> Result<(), Failure> {
    let bytes =
        bytes.map_err(|error| Failure::Runtime(format!("cannot write {}: {error}", path.display())))?;
    to_file(path, true, READABLE, |out| out.write_all(&bytes))
}

/// The prices of a file, and what of it is left out.
fn read_list(task: &Prices) -> Result<(Vec<RentPrice>, String), Failure> {
    let said = [
        ("--cloud", task.cloud.is_some()),
        ("--effective-from", task.effective_from.is_some()),
        ("--source", task.source.is_some()),
        ("--licence", task.licence.is_some()),
    ];
    let catalog = matches!(task.format, PricesFormat::List | PricesFormat::Skypilot);
    if let Some((option, _)) = said.iter().find(|(_, said)| *said && !catalog) {
        return Err(Failure::Usage(format!("{option} says nothing here: such a file says it itself")));
    }
    let text = read_file(&task.file).map_err(|error| refused(&error))?;
    let prices = match task.format {
        PricesFormat::Toml => prices::read_prices_toml(&task.file, &text),
        PricesFormat::Csv => prices::read_prices(&task.file, &text),
        PricesFormat::List | PricesFormat::Skypilot => {
            let unsaid = catalog::Unsaid {
                cloud: task.cloud.clone(),
                effective_from: task.effective_from,
                source: task.source.clone(),
                licence: task.licence.clone(),
            };
            let catalog = catalog::read(&task.file, &text, &unsaid).map_err(|error| refused(&error))?;
            let left_out = format!(
                "; {} rows without a GPU or an instance and {} without a price are left out",
                count(catalog.no_gpu_instance),
                count(catalog.unpriced)
            );
            return Ok((catalog.prices, left_out));
        }
    };
    Ok((prices.map_err(|error| refused(&error))?, String::new()))
}

/// Prices into a file of ours.
pub fn import_prices(task: Prices) -> Result<(), Failure> {
    let (mut new, left_out) = read_list(&task)?;
    let found = new.len();
    let wanted = Wanted { models: task.models, offers: task.offers, kinds: task.kinds };
    new.retain(|price| wanted.has(price));
    if new.is_empty() {
        let message = format!(
            "{}: none of its {found} prices is wanted: check --model, --offer and --kind\nNothing was imported.",
            task.file.display()
        );
        return Err(Failure::Usage(message));
    }
    let latest = new.iter().map(|price| price.fetched_at).max();
    let merged = price_book::merge(known(&task.into, prices::read_prices)?, new, task.replace)
        .map_err(|error| refused(&error))?;
    store(&task.into, price_book::write(&merged.prices))?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {found} prices{left_out}.\n{}: {} new, {} unchanged, {} replaced; {} in all.",
        task.file.display(),
        task.into.display(),
        count(merged.added),
        count(merged.unchanged),
        count(merged.replaced),
        grouped(merged.prices.len().into(), 0)
    )?;
    warn_old(latest)?;
    Ok(out.flush()?)
}

/// Says of prices that they are old.
fn warn_old(latest: Option<Date>) -> io::Result<()> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let Some(latest) = latest else { return Ok(()) };
    let days = latest.until(today).map_or(0, |span| span.get_days());
    if days <= PRICE_AGE_DAYS_MAX {
        return Ok(());
    }
    writeln!(
        io::stderr(),
        "warning: the latest of these prices is of {latest}, {days} days ago: rents move by the month"
    )
}

/// Exchange rates into a file of ours.
pub fn import_rates(task: &Rates) -> Result<(), Failure> {
    if task.source.is_some() && task.format == RatesFormat::Csv {
        return Err(Failure::Usage("--source says nothing here: such a file says it itself".to_owned()));
    }
    let text = read_file(&task.file).map_err(|error| refused(&error))?;
    let new = match task.format {
        RatesFormat::Ecb => rates_book::read_ecb(&task.file, &text, &task.currencies, task.source.as_deref()),
        RatesFormat::Csv => rates::read_rates(&task.file, &text),
    };
    let mut new = new.map_err(|error| refused(&error))?;
    new.retain(|rate| {
        task.currencies.is_empty() || [rate.from, rate.to].iter().any(|code| task.currencies.contains(code))
    });
    let found = new.len();
    let known = known(&task.into, rates::read_rates)?;
    let (rates, added) = rates_book::merge(known, new).map_err(|error| refused(&error))?;
    store(&task.into, rates_book::write(&rates))?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {} rates.\n{}: {} new; {} in all.",
        task.file.display(),
        grouped(found.into(), 0),
        task.into.display(),
        grouped(added.into(), 0),
        grouped(rates.len().into(), 0)
    )?;
    Ok(out.flush()?)
}

/// Owners and their cost centres into a file of ours.
pub fn import_centres(task: &Centres) -> Result<(), Failure> {
    let locale = task.written.locale()?;
    if task.into.exists() && !task.force {
        let message =
            format!("{} exists already: name another --into, or --force to replace it", task.into.display());
        return Err(Failure::Usage(message));
    }
    let text = read_file(&task.file).map_err(|error| refused(&error))?;
    let table = Table::read_as(&task.file, &text, locale).map_err(|error| misread(&error, &locale))?;
    let rules = centres::mapping(&table, &task.owner_column, &task.centre_column);
    let rules = rules.map_err(|error| misread(&error, &locale))?;
    let mut out = csv::Writer::from_writer(Vec::new());
    let written = (|| {
        out.write_record(centres::COLUMNS)?;
        for rule in &rules {
            out.write_record([&rule.pattern, &rule.centre])?;
        }
        out.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    })();
    store(&task.into, written)?;
    let mut out = io::stdout().lock();
    let owners = grouped(rules.len().into(), 0);
    writeln!(out, "{}: {owners} owners have a cost centre in {}.", task.file.display(), task.into.display())?;
    Ok(out.flush()?)
}
