//! Arguments of what is brought in and out of the register, as typed.

use super::Failure;
use super::report_args::Out;
use crate::fleet::locale::{self, DateOrder, Locale};
use clap::{Subcommand, ValueEnum};
use gpuledger_tco::money::Currency;
use gpuledger_tco::rent::PriceKind;
use jiff::civil::Date;
use std::path::PathBuf;

pub const ASSETS_NOTES: &str = "\
One line is one asset, or one component of it: lines of one serial are one asset, each with a name under \
component. The columns are the keys of [[asset]] in the fleet: serial, component, node or site, model, \
currency, purchased, gpus, cost, salvage, life_months or life_years, in_service, method, convention, \
tax_class, bonus, disposed, proceeds, financing, … Columns that are not needed may be left out.

Numbers and days are read as --locale says, and never guessed; 2026-01-15 is understood in every locale. \
The whole file is checked before anything is stored. An asset that is there already is replaced.

Examples:
    gpuledger --ledger ledger.db import assets assets.csv
    gpuledger --ledger ledger.db import assets Anlagen.csv --locale de-DE
    gpuledger --ledger ledger.db import assets assets.txt --delimiter tab --dates dmy";

pub const PRICES_NOTES: &str = "\
The prices are added to a file of ours, which the fleet names: prices = \"prices.csv\". A price that did not \
change is not added again: the day on which it was seen moves on. The file is replaced whole or not at all.

Formats:
    list      columns Cloud, InstanceType, AcceleratorName, AcceleratorCount, Price, SpotPrice,
              Region, PriceDate, Source, SourceLicence (USD an hour of the instance)
    skypilot  the same without Cloud, PriceDate, Source and SourceLicence: name them here
    toml      [[price]] tables with the keys of the fleet
    csv       a file of ours

Examples:
    gpuledger import prices list.csv --format list --model H100 --model H200 --into prices.csv
    gpuledger import prices vms.csv --format skypilot --cloud aws --effective-from 2026-07-20 \\
        --source \"skypilot-catalog v8\" --licence Apache-2.0 --into prices.csv";

pub const RATES_NOTES: &str = "\
The rates are added to a file of ours, which the fleet names: rates = \"rates.csv\". Two different rates of \
one pair and day are refused. The file is replaced whole or not at all.

Formats:
    ecb  the table of reference rates of the European Central Bank (eurofxref-hist.csv)
    csv  columns from, to, rate, date, source

Example:
    gpuledger import rates eurofxref-hist.csv --format ecb --currency USD --currency GBP --into rates.csv";

pub const CENTRES_NOTES: &str = "\
Owners and who pays for them become a file of ours, which the fleet names: cost_centres = \"centres.csv\". \
An owner may have * for any letters. The file is replaced whole or not at all.

Example:
    gpuledger import centres staff.csv --owner-column login --centre-column \"Cost center\" --into centres.csv";

/// How a file writes cells, numbers and days.
#[derive(Debug, clap::Args)]
pub struct Written {
    /// How the file writes: iso, en-US, en-GB, de-DE, de-CH, fr-FR, sv-SE, ja-JP
    #[arg(long, value_name = "NAME", default_value = "iso", value_parser = Locale::named)]
    locale: Locale,
    /// Between cells, where it is not the locale's: one character, or tab
    #[arg(long, value_name = "SIGN", value_parser = delimiter)]
    delimiter: Option<char>,
    /// Before the fraction of a number, where it is not the locale's
    #[arg(long, value_name = "SIGN")]
    decimal: Option<DecimalSign>,
    /// Order of days as 03/04/2026, where it is not the locale's
    #[arg(long, value_name = "ORDER")]
    dates: Option<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecimalSign {
    Point,
    Comma,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Ymd,
    Dmy,
    Mdy,
}

impl Written {
    pub fn locale(&self) -> Result<Locale, Failure> {
        let mut locale = self.locale;
        if let Some(sign) = self.decimal {
            locale = locale.with_decimal(if sign == DecimalSign::Point { '.' } else { ',' });
        }
        if let Some(delimiter) = self.delimiter {
            locale.delimiter = delimiter;
        }
        if let Some(order) = self.dates {
            let order = match order {
                Order::Ymd => DateOrder::Ymd,
                Order::Dmy => DateOrder::Dmy,
                Order::Mdy => DateOrder::Mdy,
            };
            locale = locale.with_dates(order);
        }
        if locale.delimiter == locale.decimal {
            let message =
                format!("{:?} is between cells and in numbers: name another --delimiter", locale.decimal);
            return Err(Failure::Usage(message));
        }
        Ok(locale)
    }
}

fn delimiter(text: &str) -> Result<char, String> {
    let mut signs = text.chars();
    match (text, signs.next(), signs.next()) {
        ("tab", ..) => Ok('\t'),
        (_, Some(sign), None) if sign.is_ascii() && !sign.is_alphanumeric() && sign != '"' => Ok(sign),
        _ => Err("expected one character such as ';', or tab".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
pub struct Assets {
    /// One line an asset, or a component; the header names the columns
    pub file: PathBuf,
    #[command(flatten)]
    pub written: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PricesFormat {
    List,
    Skypilot,
    Toml,
    Csv,
}

#[derive(Debug, clap::Args)]
pub struct Prices {
    /// The price list
    pub file: PathBuf,
    #[arg(long, value_name = "FORMAT")]
    pub format: PricesFormat,
    /// File of ours that gets the prices; it need not exist
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,
    /// Whose list it is, where it does not say: aws
    #[arg(long, value_name = "NAME")]
    pub cloud: Option<String>,
    /// Day from which the prices hold, where the list has none: 2026-07-20
    #[arg(long, value_name = "DAY")]
    pub effective_from: Option<Date>,
    /// Where it was published, where the list does not say
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Licence of the source, where the list does not say
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
    /// Only GPUs of this model, such as H100; several may be named
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// Only offers whose name fits, such as "aws * us-east-1"; several may be named
    #[arg(long = "offer", value_name = "PATTERN")]
    pub offers: Vec<String>,
    /// Only prices of this kind, such as spot; several may be named
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    pub kinds: Vec<PriceKind>,
    /// Where an offer has another price from the same day, take the new one
    #[arg(long)]
    pub replace: bool,
}

fn kind(text: &str) -> Result<PriceKind, String> {
    crate::fleet::prices::kind_of(text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RatesFormat {
    Ecb,
    Csv,
}

#[derive(Debug, clap::Args)]
pub struct Rates {
    /// The rates
    pub file: PathBuf,
    #[arg(long, value_name = "FORMAT")]
    pub format: RatesFormat,
    /// File of ours that gets the rates; it need not exist
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,
    /// Only rates of this currency; several may be named
    #[arg(long = "currency", value_name = "CODE", value_parser = locale::currency)]
    pub currencies: Vec<Currency>,
    /// What the rates are called [default: that of the file, or "ECB euro reference rate"]
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Centres {
    /// Owners and their cost centres
    pub file: PathBuf,
    /// Column with the owner
    #[arg(long, value_name = "COLUMN", default_value = "owner")]
    pub owner_column: String,
    /// Column with the cost centre
    #[arg(long, value_name = "COLUMN", default_value = "centre")]
    pub centre_column: String,
    /// File of ours that gets them
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,
    /// Replace that file
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub written: Written,
}

/// What leaves the register in the form in which it came.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// Assets of the ledger and of the fleet, as a CSV file that import assets reads
    Assets(ExportAssets),
}

#[derive(Debug, clap::Args)]
pub struct ExportAssets {
    #[command(flatten)]
    pub written: Written,
    #[command(flatten)]
    pub out: Out,
}

#[cfg(test)]
mod tests {
    use super::super::args::{Args, Command};
    use super::*;
    use clap::Parser as _;

    fn locale(options: &[&str]) -> Result<Locale, Failure> {
        let all = [&["gpuledger", "export", "assets"], options].concat();
        match Args::try_parse_from(all).map_err(|error| Failure::Usage(error.to_string()))?.command {
            Command::Export(Export::Assets(assets)) => assets.written.locale(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_change_what_a_locale_says() {
        let german = locale(&["--locale", "de-DE"]).unwrap();
        assert_eq!((german.delimiter, german.decimal), (';', ','));
        let changed =
            locale(&["--locale", "de-DE", "--delimiter", "tab", "--decimal", "point", "--dates", "mdy"])
                .unwrap();
        assert_eq!((changed.delimiter, changed.decimal, changed.dates), ('\t', '.', Some(DateOrder::Mdy)));
        assert_eq!(changed.date("04/03/2026"), Ok(jiff::civil::date(2026, 4, 3)));
    }

    #[test]
    fn what_cannot_be_a_locale_is_refused() {
        for (options, expected) in [
            (&["--decimal", "comma"][..], "',' is between cells and in numbers: name another --delimiter"),
            (&["--locale", "de"], "expected iso, en-US"),
            (&["--delimiter", "ab"], "expected one character"),
            (&["--dates", "ddmm"], "possible values: ymd, dmy, mdy"),
        ] {
            let message = locale(options).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
