//! Price lists of clouds by instance: the columns of the catalog of `SkyPilot`, alone (`skypilot`) or with
//! `Cloud`, `PriceDate`, `Source` and `SourceLicence` beside them (`list`).
//!
//! One row is an instance in a region: `InstanceType`, `AcceleratorName`, `AcceleratorCount`, `Price` and
//! `SpotPrice` an hour of the whole instance in USD, `Region`, `AvailabilityZone`. Other columns are not
//! read. Rows without an accelerator, an instance or a price are counted and left out; where zones of a
//! region have the same price, the region has it once.

use crate::fleet::FleetError;
use crate::fleet::cells::{Row, Table};
use crate::fleet::facts::Facts as _;
use crate::fleet::locale::Locale;
use gpuledger_tco::money::Currency;
use gpuledger_tco::rent::{PriceKind, RentPrice};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::path::Path;

/// Names in catalogs whose words a driver does not report as they stand. Plain A100 and V100 are those
/// with the smaller memory: without it their price would be that of the larger ones too.
const MODELS: [(&str, &str); 6] = [
    ("A100", "A100 40GB"),
    ("V100", "V100 16GB"),
    ("H100-MEGA", "H100"),
    ("H100-MEGA-80GB", "H100 80GB"),
    ("RTXPRO6000", "RTX PRO 6000"),
    ("RTX6000-Ada", "RTX 6000 Ada"),
];

/// What a catalog does not say of itself.
#[derive(Debug, Clone, Default)]
pub struct Unsaid {
    pub cloud: Option<String>,
    pub effective_from: Option<Date>,
    pub source: Option<String>,
    pub licence: Option<String>,
}

/// The prices of a catalog, by offer.
#[derive(Debug)]
pub struct Catalog {
    pub prices: Vec<RentPrice>,
    /// Rows of machines without GPUs, and of GPUs without a machine.
    pub no_gpu_instance: u64,
    /// Rows without any price.
    pub unpriced: u64,
}

pub fn read(path: &Path, text: &str, unsaid: &Unsaid) -> Result<Catalog, FleetError> {
    let table = Table::read_as(path, text, Locale::ISO)?;
    for column in ["InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region"] {
        table.column(column)?;
    }
    let (mut no_gpu_instance, mut unpriced) = (0, 0);
    let mut found: BTreeMap<(String, PriceKind, String, Date), RentPrice> = BTreeMap::new();
    for row in table.rows() {
        let (Some(instance), Some(accelerator)) = (row.get("InstanceType"), row.get("AcceleratorName"))
        else {
            no_gpu_instance += 1;
            continue;
        };
        let prices = of_row(&row, instance, accelerator, unsaid)?;
        unpriced += u64::from(prices.is_empty());
        for price in prices {
            let key = (price.offer.clone(), price.kind, price.model.clone(), price.effective_from);
            match found.get(&key) {
                Some(first) if first.per_gpu_hour != price.per_gpu_hour => {
                    let message = format!(
                        "{} costs {} a GPU-hour here and {} at {}: leave one out",
                        price.offer, price.per_gpu_hour, first.per_gpu_hour, first.entry
                    );
                    return Err(row.error(message));
                }
                Some(_) => {}
                None => {
                    found.insert(key, price);
                }
            }
        }
    }
    let prices = found.into_values().collect();
    Ok(Catalog { prices, no_gpu_instance, unpriced })
}

/// On demand and spot of one row, as far as they have a price.
fn of_row(
    row: &Row<'_>,
    instance: &str,
    accelerator: &str,
    unsaid: &Unsaid,
) -> Result<Vec<RentPrice>, FleetError> {
    let text = |column, own: &Option<String>, option: &str| {
        let found = row.get(column).map(str::to_owned).or_else(|| own.clone());
        found.ok_or_else(|| row.error(format!("has no {column}: name it with {option}")))
    };
    let gpus = row.number("AcceleratorCount")?.filter(|gpus| *gpus > Decimal::ZERO);
    let gpus = gpus.ok_or_else(|| row.cell_error("AcceleratorCount", "expected a number above zero"))?;
    let cloud = text("Cloud", &unsaid.cloud, "--cloud")?;
    let Some(effective_from) = row.date("PriceDate")?.or(unsaid.effective_from) else {
        return Err(row.error("has no PriceDate: name the day of the list with --effective-from"));
    };
    let (source, region) = (text("Source", &unsaid.source, "--source")?, row.need("Region")?);
    let licence = row.get("SourceLicence").map(str::to_owned).or_else(|| unsaid.licence.clone());
    let model = MODELS.iter().find(|(name, _)| *name == accelerator).map_or(accelerator, |(_, words)| words);
    // Spot prices are those of a zone.
    let places = [
        ("Price", PriceKind::OnDemand, region),
        ("SpotPrice", PriceKind::Spot, row.get("AvailabilityZone").unwrap_or(region)),
    ];
    let mut prices = Vec::new();
    for (column, kind, place) in places {
        let Some(price) = row.price(column)?.filter(|price| !price.is_zero()) else { continue };
        let per_gpu_hour =
            price.checked_div(gpus).ok_or_else(|| row.cell_error(column, "is out of range"))?;
        prices.push(RentPrice {
            offer: format!("{cloud} {instance} {place}"),
            kind,
            model: model.to_owned(),
            per_gpu_hour: per_gpu_hour.round_dp(PLACES).normalize(),
            currency: Currency::USD,
            effective_from,
            fetched_at: effective_from,
            source: source.clone(),
            licence: licence.clone().unwrap_or_default(),
            entry: row.place(),
        });
    }
    Ok(prices)
}

/// Places after the point of a price: catalogs have six for the instance.
const PLACES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const CATALOG: &str = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice,AvailabilityZone\n\
        p5.48xlarge,H100,8.0,192,2048,98.32,us-east-1,\"{'Gpus': [{'Name': 'H100'}]}\",20.5,us-east-1a\n\
        p5.48xlarge,H100,8.0,192,2048,98.32,us-east-1,,21.5,us-east-1b\n\
        m6i.large,,,2,8,0.096,us-east-1,,0.03,us-east-1a\n\
        p4d.24xlarge,A100,8,96,1152,32.7726,us-east-1,,,us-east-1a\n\
        p4de.24xlarge,A100-80GB,8,96,1152,,us-east-1,,,us-east-1a\n";

    fn unsaid() -> Unsaid {
        let text = |text: &str| Some(text.to_owned());
        Unsaid {
            cloud: text("aws"),
            effective_from: Some(date(2026, 7, 1)),
            source: text("skypilot-catalog v8"),
            licence: text("Apache-2.0"),
        }
    }

    fn of(text: &str, unsaid: &Unsaid) -> Result<Catalog, FleetError> {
        read(Path::new("aws.csv"), text, unsaid)
    }

    #[test]
    fn an_instance_costs_once_a_region_on_demand_and_by_zone_on_the_spot_market() {
        let catalog = of(CATALOG, &unsaid()).unwrap();
        let prices: Vec<String> = catalog
            .prices
            .iter()
            .map(|p| format!("{}, {}: {} {}", p.offer, p.kind.name(), p.model, p.per_gpu_hour))
            .collect();
        assert_eq!(
            prices,
            [
                "aws p4d.24xlarge us-east-1, on_demand: A100 40GB 4.096575",
                "aws p5.48xlarge us-east-1, on_demand: H100 12.29",
                "aws p5.48xlarge us-east-1a, spot: H100 2.5625",
                "aws p5.48xlarge us-east-1b, spot: H100 2.6875",
            ]
        );
        assert_eq!((catalog.no_gpu_instance, catalog.unpriced), (1, 1));
        assert_eq!(catalog.prices[0].entry, "aws.csv line 5");
    }

    #[test]
    fn what_a_catalog_does_not_say_must_be_said() {
        for (change, option) in [
            (Unsaid { cloud: None, ..unsaid() }, "--cloud"),
            (Unsaid { effective_from: None, ..unsaid() }, "--effective-from"),
            (Unsaid { source: None, ..unsaid() }, "--source"),
        ] {
            let message = of(CATALOG, &change).unwrap_err().to_string();
            assert!(message.starts_with("aws.csv:2: has no ") && message.contains(option), "{message}");
        }
    }

    #[test]
    fn each_mistake_in_a_catalog_names_line_and_column() {
        for (from, to, expected) in [
            (
                "98.32,us-east-1,,21.5",
                "98.33,us-east-1,,21.5",
                "aws.csv:3: aws p5.48xlarge us-east-1 costs 12.29125 a GPU-hour here and 12.29 at aws.csv line 2",
            ),
            (
                "H100,8.0,192,2048,98.32",
                "H100,8.0,192,2048,$98",
                "aws.csv:2: column Price: \"$98\" is not a number",
            ),
            ("H100,8.0,192,2048,98.32", "H100,8.0,192,2048,-9", "aws.csv:2: column Price: -9 is negative"),
            ("A100,8,", "A100,0,", "aws.csv:5: column AcceleratorCount: expected a number above zero"),
            ("AcceleratorCount", "Count", "aws.csv:1: has no column \"AcceleratorCount\""),
        ] {
            let message = of(&CATALOG.replacen(from, to, 1), &unsaid()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        }
    }

    #[test]
    fn every_row_of_a_real_list_has_its_price_by_gpu() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/money/gpu_prices_list.csv"));
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: ../shared/money/gpu_prices_list.csv is absent");
            return;
        };
        let catalog = read(path, &text, &Unsaid::default()).unwrap();
        let of = |offer: &str, kind| {
            let price = catalog.prices.iter().find(|p| p.offer == offer && p.kind == kind).unwrap();
            (price.per_gpu_hour.to_string(), price.model.as_str(), price.effective_from)
        };
        assert_eq!(
            of("aws p5.48xlarge us-east-1", PriceKind::OnDemand),
            ("6.88".to_owned(), "H100", date(2026, 7, 20))
        );
        // 741 rows, all on demand; those of one cloud have spot prices too.
        let on_demand = catalog.prices.iter().filter(|p| p.kind == PriceKind::OnDemand).count();
        assert_eq!((on_demand, catalog.prices.len() - on_demand), (741, 248));
        assert!(catalog.prices.iter().all(|p| p.licence == "Apache-2.0" && p.currency == Currency::USD));
    }
}
