//! Rent prices kept in a file of ours, which the register names under `prices`.
//!
//! New prices are added to what the file has. A price that did not change since the last one of its offer
//! is no new price: the day on which it was last seen moves on. Two different prices of one offer from one
//! day are refused with both places, unless the new one is to replace the old one.

use crate::fleet::FleetError;
use crate::fleet::pattern::Pattern;
use crate::fleet::prices::distinct;
use gpuledger_tco::rent::{PriceKind, RentPrice, model_matches};
use std::collections::BTreeMap;

/// Columns of the file, in the order in which they are written.
const COLUMNS: [&str; 9] = [
    "offer",
    "kind",
    "model",
    "per_gpu_hour",
    "currency",
    "effective_from",
    "fetched_at",
    "source",
    "licence",
];

/// Which prices are wanted; none of a kind of condition is all.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Words of the model: "H100".
    pub models: Vec<String>,
    /// Names of offers, with `*` for any letters.
    pub offers: Vec<String>,
    pub kinds: Vec<PriceKind>,
}

impl Wanted {
    pub fn has(&self, price: &RentPrice) -> bool {
        let any = |list: &[String], fits: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|text| fits(text))
        };
        any(&self.models, &|model| model_matches(model, &price.model))
            && any(&self.offers, &|offer| Pattern::new(offer).fits(&price.offer))
            && (self.kinds.is_empty() || self.kinds.contains(&price.kind))
    }
}

/// What became of new prices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    pub prices: Vec<RentPrice>,
    pub added: u64,
    /// As before.
    pub unchanged: u64,
    pub replaced: u64,
}

/// Adds prices to those that are known.
pub fn merge(known: Vec<RentPrice>, mut new: Vec<RentPrice>, replace: bool) -> Result<Merged, FleetError> {
    distinct(&known)?;
    distinct(&new)?;
    new.sort_by_key(|price| price.effective_from);
    let mut merged = Merged::default();
    let mut by_offer: BTreeMap<(String, PriceKind, String), Vec<RentPrice>> = BTreeMap::new();
    for price in known {
        by_offer.entry(key(&price)).or_default().push(price);
    }
    for price in new {
        let of_offer = by_offer.entry(key(&price)).or_default();
        of_offer.sort_by_key(|known| known.effective_from);
        let (day, amount) = (price.effective_from, (price.per_gpu_hour, price.currency));
        let same = |known: &RentPrice| (known.per_gpu_hour, known.currency) == amount;
        let before = of_offer.iter_mut().rev().find(|known| known.effective_from <= day);
        match before {
            Some(before) if same(before) => {
                before.fetched_at = before.fetched_at.max(price.fetched_at);
                merged.unchanged += 1;
            }
            Some(before) if before.effective_from == day => {
                if !replace {
                    let message = format!(
                        "{} costs {} {} from {day} here and {} {} at {}: leave one out, or replace it with --replace",
                        price.offer,
                        price.per_gpu_hour,
                        price.currency,
                        before.per_gpu_hour,
                        before.currency,
                        before.entry
                    );
                    return Err(FleetError::new(price.entry.replace(" line ", ":"), message));
                }
                *before = price;
                merged.replaced += 1;
            }
            _ => {
                of_offer.push(price);
                merged.added += 1;
            }
        }
    }
    merged.prices = by_offer.into_values().flatten().collect();
    merged.prices.sort_by(|a, b| {
        (&a.offer, a.kind, &a.model, a.effective_from).cmp(&(&b.offer, b.kind, &b.model, b.effective_from))
    });
    Ok(merged)
}

fn key(price: &RentPrice) -> (String, PriceKind, String) {
    (price.offer.clone(), price.kind, price.model.clone())
}

/// The file.
pub fn write(prices: &[RentPrice]) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS)?;
    for price in prices {
        let (amount, from, fetched) =
            (price.per_gpu_hour.to_string(), price.effective_from.to_string(), price.fetched_at.to_string());
        out.write_record([
            price.offer.as_str(),
            price.kind.name(),
            &price.model,
            &amount,
            price.currency.code(),
            &from,
            &fetched,
            &price.source,
            &price.licence,
        ])?;
    }
    out.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::prices::read_prices;
    use gpuledger_tco::money::Currency;
    use jiff::civil::{Date, date};
    use rust_decimal::Decimal;
    use std::path::Path;

    fn price(cents: i64, from: Date) -> RentPrice {
        RentPrice {
            offer: "aws p5, with a comma".to_owned(),
            kind: PriceKind::OnDemand,
            model: "H100".to_owned(),
            per_gpu_hour: Decimal::new(cents, 2),
            currency: Currency::USD,
            effective_from: from,
            fetched_at: from,
            source: "a \"list\"".to_owned(),
            licence: String::new(),
            entry: format!("new.csv line {}", from.day()),
        }
    }

    #[test]
    fn a_price_that_did_not_change_is_seen_again_and_one_that_did_is_added() {
        let known = vec![price(1229, date(2024, 4, 1))];
        let new = vec![price(688, date(2025, 6, 1)), price(1229, date(2025, 5, 1))];
        let merged = merge(known, new, false).unwrap();
        assert_eq!((merged.added, merged.unchanged), (1, 1));
        let days: Vec<_> = merged.prices.iter().map(|p| (p.effective_from, p.fetched_at)).collect();
        assert_eq!(days, [(date(2024, 4, 1), date(2025, 5, 1)), (date(2025, 6, 1), date(2025, 6, 1))]);
        let again = merge(merged.prices.clone(), merged.prices.clone(), false).unwrap();
        assert_eq!((again.added, again.unchanged, again.prices), (0, 2, merged.prices));
    }

    #[test]
    fn another_price_of_the_same_day_is_refused_unless_it_replaces() {
        let (known, new) = (vec![price(1229, date(2024, 4, 1))], vec![price(1300, date(2024, 4, 1))]);
        let message = merge(known.clone(), new.clone(), false).unwrap_err().to_string();
        assert_eq!(
            message,
            "new.csv:1: aws p5, with a comma costs 13.00 USD from 2024-04-01 here and 12.29 USD at new.csv line 1: \
             leave one out, or replace it with --replace"
        );
        let merged = merge(known, new, true).unwrap();
        assert_eq!((merged.replaced, merged.prices[0].per_gpu_hour), (1, Decimal::new(1300, 2)));
    }

    #[test]
    fn the_file_is_read_again_as_it_was_written() {
        let prices = merge(Vec::new(), vec![price(1229, date(2024, 4, 1))], false).unwrap().prices;
        let text = String::from_utf8(write(&prices).unwrap()).unwrap();
        let mut again = read_prices(Path::new("p.csv"), &text).unwrap();
        again[0].entry.clone_from(&prices[0].entry);
        assert_eq!(again, prices);
    }

    #[test]
    fn only_what_is_wanted_is_taken() {
        let price = price(1, date(2024, 4, 1));
        let wanted = |models: &[&str], offers: &[&str], kinds: &[PriceKind]| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            Wanted { models: texts(models), offers: texts(offers), kinds: kinds.to_vec() }.has(&price)
        };
        assert!(wanted(&[], &[], &[]) && wanted(&["A100", "H100"], &["aws *"], &[PriceKind::OnDemand]));
        assert!(
            !wanted(&["A100"], &[], &[])
                && !wanted(&[], &["gcp *"], &[])
                && !wanted(&[], &[], &[PriceKind::Spot])
        );
    }

    /// The price of an H100 instance over three years of a real price list, snapshot by snapshot: on each
    /// day of the reference the one that was in force, also where the list had not begun.
    #[test]
    fn the_history_of_a_real_list_has_the_price_in_force_on_each_day() {
        use crate::import::catalog::{self, Unsaid};
        use gpuledger_tco::rent::in_force;
        use std::fmt::Write as _;
        use std::io::Read as _;
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/cloud_gpu_prices"));
        let Ok(file) = std::fs::File::open(folder.join("aws_gpu_2022_2024.csv.gz")) else {
            println!("skipped: ../shared/data/cloud_gpu_prices is absent");
            return;
        };
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        let mut list =
            "Cloud,PriceDate,Region,InstanceType,AcceleratorName,AcceleratorCount,Price,Source\n".to_owned();
        for line in text.lines().skip(1) {
            // generated_utc, commit, region, instance_type, gpu_model, gpu_count, price
            let cells: Vec<&str> = line.split(',').collect();
            let [day, commit, region, instance, model, gpus, price] = cells[..] else { panic!("{line}") };
            let day = &day[..10];
            writeln!(list, "aws,{day},{region},{instance},{model},{gpus},{price},{commit}").unwrap();
        }
        let catalog = catalog::read(Path::new("aws.csv"), &list, &Unsaid::default()).unwrap();
        let merged = merge(Vec::new(), catalog.prices, false).unwrap();
        assert!(merged.unchanged > merged.added, "most snapshots say the same as the one before");
        let reference = std::fs::read_to_string(folder.join("reference.json")).unwrap();
        let reference: serde_json::Value = serde_json::from_str(&reference).unwrap();
        let mut found = 0;
        for (day, prices) in reference["in_effect"].as_object().unwrap() {
            for (offer, gpus) in [
                ("aws p5.48xlarge us-east-1", 8),
                ("aws p4d.24xlarge us-east-1", 8),
                ("aws g5.xlarge us-east-1", 1),
            ] {
                let of: Vec<&RentPrice> = merged.prices.iter().filter(|price| price.offer == offer).collect();
                let price = in_force(&of, day.parse().unwrap()).map(|p| p.per_gpu_hour * Decimal::from(gpus));
                let expected =
                    prices[offer].get(1).map(|price| price.to_string().parse::<Decimal>().unwrap());
                assert_eq!(price.map(|p| p.normalize()), expected.map(|p| p.normalize()), "{offer} on {day}");
                found += 1;
            }
        }
        assert!(found >= 12, "{found}");
    }
}
