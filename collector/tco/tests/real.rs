//! Real data through the engine, against figures that were computed independently from the same rows:
//! jobs of a cluster as allocations, measured power at hourly prices, list prices across their changes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::concentration::concentration;
use gpuledger_tco::energy::{Missing, Series, Tariff};
use gpuledger_tco::evaluate;
use gpuledger_tco::money::Currency;
use gpuledger_tco::rent::{PriceKind, RentPrice, in_force};
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::showback::showback;
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::usage::{GpuRow, GpuUse, NodeRow, NodeUse, Usage};
use jiff::civil::{Date, DateTime};
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use support::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name)
}

/// The rows of a CSV file, by column; `None`, and a line that says so, where it is absent.
fn rows(name: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let Ok(bytes) = std::fs::read(path(name)) else {
        println!("skipped: ../shared/data/{name} is not there");
        return None;
    };
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    Some(reader.deserialize().map(Result::unwrap).collect())
}

fn reference(folder: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(&format!("{folder}/reference.json"))).unwrap()).unwrap()
}

/// A number of a reference file as it is written.
fn number(value: &Value) -> Decimal {
    value.to_string().parse().unwrap()
}

fn near(got: Decimal, expected: Decimal, tolerance: &str) {
    assert!((got - expected).abs() <= dec(tolerance), "{got}, expected {expected} ± {tolerance}");
}

/// GPU-time (ms) of each tenant and UTC hour, from jobs of so many GPUs from their start on.
fn by_hour(jobs: &[BTreeMap<String, String>]) -> BTreeMap<(String, u32), u64> {
    let mut sums = BTreeMap::new();
    for job in jobs {
        let start: DateTime = job["timestamp"].parse().unwrap();
        let start = start.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond();
        let seconds: Decimal = job["duration"].parse().unwrap();
        let gpus: u64 = job["num_gpus"].parse().unwrap();
        let mut at = u64::try_from(start).unwrap();
        let end = at + u64::try_from(seconds * Decimal::ONE_THOUSAND).unwrap();
        while at < end {
            let hour = at / HOUR_MS;
            let until = ((hour + 1) * HOUR_MS).min(end);
            *sums.entry((job["cluster"].clone(), u32::try_from(hour).unwrap())).or_default() +=
                (until - at) * gpus;
            at = until;
        }
    }
    sums
}

/// A fleet in which each tenant has a node with as many GPUs as it ever used at once.
fn allocations(sums: &BTreeMap<(String, u32), u64>) -> Usage {
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for ((tenant, _), ms) in sums {
        let gpus = most.entry(tenant).or_default();
        *gpus = (*gpus).max(ms.div_ceil(HOUR_MS));
    }
    let mut of = usage(&[], 0, &most.keys().copied().collect::<Vec<_>>());
    let mut first = BTreeMap::new();
    for (number, (tenant, gpus)) in most.iter().enumerate() {
        let seen_ms = Some((1_504_224_000_000, u64::MAX / 4));
        of.nodes.push(NodeUse { name: (*tenant).to_owned(), site: 0, seen_ms, declared: None });
        first.insert(*tenant, (of.gpus.len(), number));
        for gpu in 0..*gpus {
            let uuid = format!("GPU-{tenant}-{gpu}");
            of.gpus.push(GpuUse { uuid, serial: None, node: number, model: "P100".to_owned(), seen_ms });
        }
    }
    for ((tenant, hour), ms) in sums {
        let (gpu, number) = first[tenant.as_str()];
        for (position, from) in (0..*ms).step_by(usize::try_from(HOUR_MS).unwrap()).enumerate() {
            let gpu = u32::try_from(gpu + position).unwrap();
            let owner = u32::try_from(number + 2).unwrap();
            let active_ms = (ms - from).min(HOUR_MS);
            of.gpu_rows
                .push(GpuRow { active_ms, ..row(gpuledger_tco::calendar::UtcHour(*hour), gpu, owner) });
        }
    }
    of
}

#[test]
fn philly_jobs_give_each_tenant_its_gpu_hours_and_its_share_of_the_cost() {
    let Some(jobs) = rows("gpu_jobs_philly/philly_2017_09_10.csv.gz") else { return };
    let reference = reference("gpu_jobs_philly");
    let sums = by_hour(&jobs);
    let mut inputs = inputs(period("2017-09-01", "2018-01-01"), GroupBy::Owner, allocations(&sums));
    inputs.overheads.push(gpuledger_tco::facility::Overhead {
        key: gpuledger_tco::facility::Key::Active,
        ..gpuledger_tco::facility::Overhead::per_year("cluster", None, eur("1000000"), "budget")
    });
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    near(statement.hours.active, number(&reference["philly"]["gpu_hours"]), "0.0001");
    let tenants = reference["philly"]["by_vc"].as_object().unwrap();
    assert_eq!(statement.groups.iter().filter(|group| !group.name.starts_with('(')).count(), tenants.len());
    for (name, expected) in tenants {
        let group = statement.groups.iter().find(|group| group.name == *name).unwrap();
        near(group.hours.active, number(&expected["gpu_hours"]), "0.0001");
    }
    let rows = showback(&inputs, ChargeBasis::Allocation).unwrap();
    assert_eq!(rows.total, statement.total);
    // The two largest tenants by hours, as computed from the reference: 42.9 %.
    let hours: Vec<(String, Decimal)> =
        tenants.iter().map(|(name, of)| (name.clone(), number(&of["gpu_hours"]))).collect();
    let expected = concentration(&hours).unwrap().unwrap();
    let owners = rows.rows.iter().filter(|row| !row.name.starts_with('('));
    let seen: Vec<(String, Decimal)> = owners.map(|row| (row.name.clone(), row.active_hours)).collect();
    let seen = concentration(&seen).unwrap().unwrap();
    assert_eq!(seen.largest.0, expected.largest.0);
    near(seen.hhi, expected.hhi, "0.000001");
    near(expected.top_two, dec("0.4292"), "0.0001");
}

/// Energy of each node and hour from power readings: trapezoids, cut where an hour begins.
fn energy_by_hour(readings: &[(u64, u64)], into: &mut BTreeMap<u64, Decimal>) {
    for pair in readings.windows(2) {
        let ((from, from_w), (to, to_w)) = (pair[0], pair[1]);
        let power = |at: u64| {
            let part = Decimal::from(at - from) / Decimal::from((to - from).max(1));
            Decimal::from(from_w) + (Decimal::from(to_w) - Decimal::from(from_w)) * part
        };
        let mut at = from;
        while at < to {
            let until = ((at / HOUR_MS + 1) * HOUR_MS).min(to);
            // W × ms is mJ.
            let mj = (power(at) + power(until)) / Decimal::TWO * Decimal::from(until - at);
            *into.entry(at / HOUR_MS).or_default() += mj;
            at = until;
        }
    }
}

#[test]
fn measured_power_of_llama_runs_costs_what_the_market_asked_in_their_hours() {
    let (Some(readings), Some(prices)) =
        (rows("mlperf_h100_power/llama2_8node_ac.csv.gz"), rows("electricity_hourly/DE-LU_2024-05.csv"))
    else {
        return;
    };
    let hour_of =
        |text: &str| text.replace('Z', ":00Z").parse::<jiff::Timestamp>().unwrap().as_second() / 3600;
    let price = |row: &BTreeMap<String, String>| {
        row["price_per_mwh"].parse::<Decimal>().ok().map(|mwh| mwh / Decimal::ONE_THOUSAND)
    };
    let series = Series {
        first: gpuledger_tco::calendar::UtcHour(u32::try_from(hour_of(&prices[0]["hour_utc"])).unwrap()),
        values: prices.iter().map(price).collect(),
        source: "DE-LU_2024-05.csv".to_owned(),
    };
    let mut nodes: BTreeMap<(&str, &str), Vec<(u64, u64)>> = BTreeMap::new();
    for row in &readings {
        let reading = (row["t_ms"].parse().unwrap(), row["power_w"].parse().unwrap());
        nodes.entry((&row["run"], &row["node"])).or_default().push(reading);
    }
    let reference = reference("electricity_hourly");
    let mut compared = 0;
    for (name, expected) in reference["cross_mlperf"].as_object().unwrap() {
        let Some(run) = name.strip_suffix("@DE-LU").filter(|run| nodes.keys().any(|(of, _)| of == run))
        else {
            continue;
        };
        let mut inputs = inputs(period("2024-05-01", "2024-06-01"), GroupBy::Site, usage(&["n"], 1, &[]));
        inputs.sites[0].tariff = Some(Tariff::Hourly { per_kwh: series.clone(), missing: Missing::Refuse });
        let mut hours = BTreeMap::new();
        for (_, readings) in nodes.iter().filter(|((of, _), _)| of == &run) {
            energy_by_hour(readings, &mut hours);
        }
        for (hour, mj) in hours {
            inputs.usage.node_rows.push(NodeRow {
                hour: gpuledger_tco::calendar::UtcHour(u32::try_from(hour).unwrap()),
                node: 0,
                observed_ms: HOUR_MS,
                metered_ms: HOUR_MS,
                counter_mj: 0,
                gap_mj: 0,
                estimated_mj: u64::try_from(mj.round()).unwrap(),
            });
        }
        let statement = evaluate(&inputs).unwrap();
        near(statement.energy_kwh, number(&expected["energy_kwh"]), "0.000001");
        near(statement.lines[0].exact, number(&expected["cost"]), "0.00001");
        compared += 1;
    }
    assert!(compared >= 5, "{compared}");
}

/// Prices of one machine in one region, as offers of the price list.
fn offers(
    rows: &[BTreeMap<String, String>],
    columns: [&str; 5],
    machine: &str,
    region: &str,
) -> Vec<RentPrice> {
    let [day, of, place, gpus, price] = columns;
    let own = rows.iter().filter(|row| row[of] == machine && row[place] == region && !row[price].is_empty());
    own.map(|row| {
        let day: Date = row[day][..10].parse().unwrap();
        let gpus: Decimal = row[gpus].parse().unwrap_or(Decimal::ONE);
        RentPrice {
            offer: format!("{machine} {region}"),
            kind: PriceKind::OnDemand,
            model: "H100".to_owned(),
            per_gpu_hour: row[price].parse::<Decimal>().unwrap() / gpus,
            currency: Currency::EUR,
            effective_from: day,
            fetched_at: day,
            source: "price history".to_owned(),
            licence: "Apache-2.0".to_owned(),
            entry: "cloud_gpu_prices".to_owned(),
        }
    })
    .collect()
}

#[test]
fn the_price_of_a_day_is_the_newest_one_published_by_then() {
    let Some(aws) = rows("cloud_gpu_prices/aws_gpu_2022_2024.csv.gz") else { return };
    let columns = ["generated_utc", "instance_type", "region", "gpu_count_by_hand", "usd_per_hour_ondemand"];
    let reference = reference("cloud_gpu_prices");
    let mut compared = 0;
    for (day, of_day) in reference["in_effect"].as_object().unwrap() {
        for (name, expected) in of_day.as_object().unwrap() {
            let words: Vec<&str> = name.split(' ').collect();
            let ["aws", machine, region] = words[..] else { continue };
            let prices = offers(&aws, columns, machine, region);
            let gpus = if machine == "g5.xlarge" { Decimal::ONE } else { Decimal::from(8) };
            let found = in_force(&prices.iter().collect::<Vec<_>>(), day.parse().unwrap());
            match expected {
                Value::Null => assert!(found.is_none(), "{name} on {day}"),
                other => {
                    let found = found.unwrap();
                    assert_eq!(
                        found.effective_from.to_string(),
                        other[0].as_str().unwrap(),
                        "{name} on {day}"
                    );
                    near(found.per_gpu_hour * gpus, number(&other[1]), "0.0000001");
                }
            }
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
}

#[test]
fn a_month_across_a_price_change_is_rented_at_both_prices() {
    let Some(gcp) = rows("cloud_gpu_prices/gcp_gpu_machines_2022_2024.csv.gz") else { return };
    let columns = ["snapshot_date", "machine_type", "region", "gpu_count", "usd_per_hour"];
    let machines: std::collections::BTreeSet<(&str, &str)> =
        gcp.iter().map(|row| (row["machine_type"].as_str(), row["region"].as_str())).collect();
    let changed = machines.into_iter().find_map(|(machine, region)| {
        let prices = offers(&gcp, columns, machine, region);
        let change = prices
            .windows(2)
            .find(|pair| pair[0].per_gpu_hour != pair[1].per_gpu_hour && pair[1].effective_from.day() > 1)?;
        Some((change[0].clone(), change[1].clone()))
    });
    let (before, after) = changed.unwrap();
    let first = after.effective_from.first_of_month();
    let next = first.saturating_add(jiff::Span::new().months(1));
    let mut inputs =
        inputs(period(&first.to_string(), &next.to_string()), GroupBy::Month, usage(&["n1"], 1, &[]));
    inputs.usage.gpus[0].seen_ms = Some((0, u64::MAX / 4));
    inputs.prices = vec![before.clone(), after.clone()];
    let comparison = &evaluate(&inputs).unwrap().comparisons[0];
    let days = Decimal::from(i32::from(after.effective_from.day()) - 1);
    let rest = Decimal::from(first.days_in_month()) - days;
    let expected = (days * before.per_gpu_hour + rest * after.per_gpu_hour) * Decimal::from(24);
    near(comparison.same_capacity.amount, expected.round_dp(2), "0.01");
    assert_ne!(before.per_gpu_hour, after.per_gpu_hour);
}
