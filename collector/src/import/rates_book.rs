//! Exchange rates kept in a file of ours, which the register names under `rates`.
//!
//! They come from files of the same columns, or from the table of reference rates that the European
//! Central Bank publishes: a row a day, a column a currency, what one euro is of each; `N/A` where there
//! was none.

use crate::fleet::FleetError;
use crate::fleet::cells::Table;
use crate::fleet::facts::Facts as _;
use crate::fleet::rates::{COLUMNS, checked};
use gpuledger_tco::exchange::Rate;
use gpuledger_tco::money::Currency;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::path::Path;

/// What a rate is called where the user says nothing.
const ECB: &str = "ECB euro reference rate";

/// Rates of the ECB's table, of these currencies; of all where none is named.
pub fn read_ecb(
    path: &Path,
    text: &str,
    wanted: &[Currency],
    source: Option<&str>,
) -> Result<Vec<Rate>, FleetError> {
    let table = Table::read(path, text)?;
    table.column("Date")?;
    for currency in wanted {
        table.column(currency.code())?;
    }
    let codes: Vec<Currency> = table.names().filter_map(|name| Currency::new(name).ok()).collect();
    let codes: Vec<Currency> =
        codes.into_iter().filter(|code| wanted.is_empty() || wanted.contains(code)).collect();
    let mut rates = Vec::new();
    for row in table.rows() {
        let Some(on) = row.date("Date")? else { return Err(row.cell_error("Date", "is empty")) };
        for &to in &codes {
            let Some(text) = row.get(to.code()).filter(|text| *text != "N/A") else { continue };
            let rate = crate::fleet::cells::plain_decimal(text)
                .ok()
                .filter(|rate| *rate > Decimal::ZERO)
                .ok_or_else(|| {
                    row.cell_error(
                        to.code(),
                        format!("{text:?} is not a rate; expected one such as 1.0842, or N/A"),
                    )
                })?;
            let source = format!("{}, {}", source.unwrap_or(ECB), row.place());
            rates.push(Rate { from: Currency::EUR, to, rate, on, source });
        }
    }
    Ok(rates)
}

/// What is known with what is new, by pair and day, and how many are new. Two rates of one pair and day
/// must be the same.
pub fn merge(known: Vec<Rate>, new: Vec<Rate>) -> Result<(Vec<Rate>, usize), FleetError> {
    let before = known.len();
    let all: Vec<Rate> = known.into_iter().chain(new).collect();
    checked(&all)?;
    let mut rates = BTreeMap::new();
    for rate in all {
        rates.entry((rate.from, rate.to, rate.on)).or_insert(rate);
    }
    let rates: Vec<Rate> = rates.into_values().collect();
    let added = rates.len().saturating_sub(before);
    Ok((rates, added))
}

/// The file.
pub fn write(rates: &[Rate]) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS)?;
    for rate in rates {
        let (value, on) = (rate.rate.to_string(), rate.on.to_string());
        // Where it stood before is not where it stands now.
        let source = rate.source.rsplit_once(", ").map_or(rate.source.as_str(), |(source, _)| source);
        out.write_record([rate.from.code(), rate.to.code(), &value, &on, source])?;
    }
    out.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rates::read_rates;

    const TABLE: &str = "Date,USD,JPY,BGN,\n2026-01-16,1.1617,183.5,N/A,\n2026-01-15,1.1624,184.1,1.9558,\n";

    #[test]
    fn a_table_of_the_central_bank_becomes_rates_of_the_wanted_currencies() {
        let path = Path::new("eurofxref-hist.csv");
        let usd = Currency::USD;
        let rates = read_ecb(path, TABLE, &[usd], None).unwrap();
        assert_eq!(rates.len(), 2);
        assert_eq!(rates[0].source, "ECB euro reference rate, eurofxref-hist.csv line 2");
        assert_eq!(read_ecb(path, TABLE, &[], None).unwrap().len(), 5);
        let gbp = Currency::new("GBP").unwrap();
        let message = read_ecb(path, TABLE, &[gbp], None).unwrap_err().to_string();
        assert!(message.starts_with("eurofxref-hist.csv:1: has no column \"GBP\""), "{message}");
        let message = read_ecb(path, &TABLE.replace("1.1617", "1,16"), &[], None).unwrap_err().to_string();
        assert!(message.starts_with("eurofxref-hist.csv:2: has 6 cells; expected 5"), "{message}");
        let message = read_ecb(path, &TABLE.replace("1.1617", "n.a."), &[], None).unwrap_err().to_string();
        assert!(message.contains("eurofxref-hist.csv:2: column USD: \"n.a.\" is not a rate"), "{message}");
    }

    #[test]
    fn rates_are_added_once_and_survive_their_file() {
        let new = read_ecb(Path::new("ecb.csv"), TABLE, &[], None).unwrap();
        let (rates, added) = merge(Vec::new(), new.clone()).unwrap();
        assert_eq!(added, 5);
        let text = String::from_utf8(write(&rates).unwrap()).unwrap();
        assert!(text.contains("EUR,USD,1.1624,2026-01-15,ECB euro reference rate\n"), "{text}");
        let known = read_rates(Path::new("rates.csv"), &text).unwrap();
        let (again, added) = merge(known.clone(), new).unwrap();
        assert_eq!((again.len(), added), (5, 0));
        let other = read_ecb(Path::new("ecb.csv"), &TABLE.replace("1.1624", "1.17"), &[], None).unwrap();
        let message = merge(known, other).unwrap_err().to_string();
        assert!(
            message.starts_with("ecb.csv:3: EUR to USD of 2026-01-15 is 1.17, and 1.1624 at rates.csv:"),
            "{message}"
        );
    }
}
