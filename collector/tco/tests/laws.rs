//! Laws that hold for every fleet: conservation, order independence, month split, scale.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::books::BookMethod;
use gpuledger_tco::energy::{Intensity, Missing, Series, Tariff};
use gpuledger_tco::evaluate::Inputs;
use gpuledger_tco::facility::{CapitalRate, Charge, Colocation, Key, Overhead};
use gpuledger_tco::statement::{GroupBy, Statement};
use gpuledger_tco::supply::{Demand, Tax};
use gpuledger_tco::usage::{GpuRow, NodeRow, Usage};
use gpuledger_tco::{TcoError, evaluate};
use jiff::civil::date;
use proptest::prelude::*;
use rust_decimal::Decimal;
use support::*;

const GROUPINGS: [GroupBy; 5] =
    [GroupBy::Month, GroupBy::Model, GroupBy::Node, GroupBy::Owner, GroupBy::Site];
const NODES: usize = 3;
const GPUS: u32 = 6;
/// Hours of January and February 2024.
const HOURS: u32 = 60 * 24;

fn gpu_row() -> impl Strategy<Value = GpuRow> {
    let time = 0..=HOUR_MS / 4;
    let key = (0..HOURS, 0..GPUS, 0_u32..5);
    (key, [time.clone(), time.clone(), time.clone(), time], [0..KWH, 0..KWH]).prop_map(
        |((after, gpu, owner), [active_ms, held_ms, free_ms, down_ms], [counter_mj, estimated_mj])| GpuRow {
            hour: hour("2024-01-01", after),
            gpu,
            owner,
            active_ms,
            held_ms: if owner == 0 { 0 } else { held_ms },
            free_ms: if owner == 0 { free_ms } else { 0 },
            down_ms,
            counter_mj,
            gap_mj: counter_mj / 7,
            estimated_mj,
        },
    )
}

fn node_row() -> impl Strategy<Value = NodeRow> {
    (0..HOURS, 0..u32::try_from(NODES).unwrap(), 0..=HOUR_MS, 0..5 * KWH).prop_map(
        |(after, node, metered_ms, counter_mj)| NodeRow {
            hour: hour("2024-01-01", after),
            node,
            observed_ms: HOUR_MS,
            metered_ms,
            counter_mj,
            gap_mj: 0,
            estimated_mj: 0,
        },
    )
}

/// One row a key, as the ledger has it.
fn unique(mut rows: Vec<GpuRow>, mut nodes: Vec<NodeRow>) -> (Vec<GpuRow>, Vec<NodeRow>) {
    rows.sort_by_key(|row| (row.hour, row.gpu));
    rows.dedup_by_key(|row| (row.hour, row.gpu));
    nodes.sort_by_key(|row| (row.hour, row.node));
    nodes.dedup_by_key(|row| (row.hour, row.node));
    (rows, nodes)
}

fn methods() -> impl Strategy<Value = BookMethod> {
    proptest::sample::select(vec![
        BookMethod::StraightLine,
        BookMethod::SumOfYears,
        BookMethod::Declining { factor: Decimal::TWO, switch: true },
    ])
}

fn fleet() -> impl Strategy<Value = Inputs> {
    let rows = (proptest::collection::vec(gpu_row(), 0..60), proptest::collection::vec(node_row(), 0..30));
    let money = (1_u32..5_000_000, 0_u32..100, 1_u32..70, 0_u32..1_000_000);
    let prices = proptest::collection::vec(-500_000_i64..500_000, 60 * 24);
    let terms =
        (methods(), proptest::sample::select(vec![Key::InService, Key::Owned, Key::Active, Key::Energy]));
    (rows, money, prices, terms).prop_map(
        |((rows, node_rows), (cost, salvage, life, yearly), prices, (method, key))| {
            let mut usage: Usage = usage(&["n1", "n2", "n3"], 2, &["team-a", "team-b", "team-a"]);
            (usage.gpu_rows, usage.node_rows) = unique(rows, node_rows);
            usage.nodes[2].site = 1;
            "NVIDIA L40S".clone_into(&mut usage.gpus[3].model);
            let mut inputs = inputs(period("2024-01-01", "2024-03-01"), GroupBy::Month, usage);
            inputs.sites.push(site("dc2"));
            let series = Series {
                first: hour("2024-01-01", 0),
                values: prices.into_iter().map(|price| Some(Decimal::new(price, 6))).collect(),
                source: "prices.csv".to_owned(),
            };
            inputs.sites[0].pue = dec("1.37");
            inputs.sites[0].intensity = Some(Intensity::Hourly(series.clone()));
            inputs.sites[0].tariff = Some(Tariff::Hourly { per_kwh: series, missing: Missing::Refuse });
            inputs.sites[1].tariff = Some(flat("0.2345"));
            inputs.sites[1].colocation = Some(Colocation {
                contracted_kw: dec("7.7"),
                price_per_kw_month: eur("195.94"),
                power_included: false,
                overage: None,
                source: "contract".to_owned(),
            });
            for (serial, node, day) in [("SN1", "n1", 1), ("SN2", "n3", 17)] {
                let mut asset = server(serial, node, "0");
                asset.cost.amount = Decimal::new(cost.into(), 2);
                asset.salvage.amount =
                    Decimal::new((u64::from(cost) * u64::from(salvage) / 100).try_into().unwrap(), 2);
                (asset.life_months, asset.gpus, asset.in_service) = (life, 2, date(2024, 1, day));
                asset.terms.method = method.clone();
                if !matches!(method, BookMethod::StraightLine) {
                    asset.life_months = life.div_ceil(12) * 12;
                }
                inputs.assets.push(asset);
            }
            let per_year = eur(&yearly.to_string());
            let overhead =
                |kind: &str, site: Option<&str>| Overhead::per_year(kind, site, per_year, "budget");
            inputs.overheads =
                vec![overhead("staff", None), Overhead { key, ..overhead("network", Some("dc2")) }];
            inputs.sites[1].supply.demand = Some(Demand {
                per_kw: eur("13.37"),
                windows: Vec::new(),
                zone: jiff::tz::TimeZone::UTC,
                holidays: Vec::new(),
                ratchet: Decimal::ZERO,
                metered: Vec::new(),
                source: "contract".to_owned(),
            });
            inputs.sites[1].supply.taxes =
                vec![Tax { name: "levy".to_owned(), share: dec("0.07"), source: "law".to_owned() }];
            inputs.capital_rate = Some(CapitalRate { rate: dec("0.07"), source: "finance".to_owned() });
            inputs.prices =
                vec![rent("cloud", "2.95", date(2023, 1, 1)), rent("cloud", "2.60", date(2024, 1, 20))];
            inputs.prices.push(rent("other", "3.99", date(2023, 1, 1)));
            "NVIDIA".clone_into(&mut inputs.prices[2].model);
            inputs
        },
    )
}

fn grouped(inputs: &Inputs, by: GroupBy) -> Statement {
    evaluate(&Inputs { by, ..inputs.clone() }).unwrap()
}

fn split(inputs: &Inputs, from: &str, to: &str) -> Statement {
    evaluate(&Inputs { period: period(from, to), ..inputs.clone() }).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_grouping_conserves_cost_time_and_energy(inputs in fleet()) {
        let month = grouped(&inputs, GroupBy::Month);
        for by in GROUPINGS {
            let statement = grouped(&inputs, by);
            check_sums(&statement);
            prop_assert_eq!(statement.total, month.total);
            prop_assert_eq!(statement.hours, month.hours);
            prop_assert_eq!(statement.energy_kwh, month.energy_kwh);
            prop_assert_eq!(&statement.comparisons, &month.comparisons);
        }
    }

    #[test]
    fn the_order_of_rows_changes_nothing(inputs in fleet(), seed in any::<u64>()) {
        let mut other = inputs.clone();
        other.usage.gpu_rows.sort_by_key(|row| (u64::from(row.hour.0) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        other.usage.node_rows.reverse();
        for by in GROUPINGS {
            prop_assert_eq!(grouped(&inputs, by), grouped(&other, by));
        }
    }

    #[test]
    fn two_months_sum_to_both(inputs in fleet()) {
        let whole = grouped(&inputs, GroupBy::Month);
        let parts = [split(&inputs, "2024-01-01", "2024-02-01"), split(&inputs, "2024-02-01", "2024-03-01")];
        prop_assert_eq!(parts[0].total.amount + parts[1].total.amount, whole.total.amount);
        prop_assert_eq!(parts[0].hours.in_service + parts[1].hours.in_service, whole.hours.in_service);
        let groups: Vec<_> = parts.iter().flat_map(|part| &part.groups).collect();
        for (alone, group) in groups.into_iter().zip(&whole.groups) {
            prop_assert_eq!(alone, group);
        }
    }

    #[test]
    fn time_in_service_is_that_of_the_register(inputs in fleet()) {
        let statement = grouped(&inputs, GroupBy::Node);
        prop_assert_eq!(statement.hours.in_service, Decimal::from(GPUS * HOURS));
    }

    #[test]
    fn ten_times_the_prices_is_ten_times_the_cost(inputs in fleet()) {
        let mut tenfold = inputs.clone();
        for asset in &mut tenfold.assets {
            asset.cost.amount *= Decimal::TEN;
            asset.salvage.amount *= Decimal::TEN;
        }
        for overhead in &mut tenfold.overheads {
            let Charge::PerYear(money) = &mut overhead.charge else { continue };
            money.amount *= Decimal::TEN;
        }
        for site in &mut tenfold.sites {
            match &mut site.tariff {
                Some(Tariff::Flat { per_kwh, .. }) => *per_kwh *= Decimal::TEN,
                Some(Tariff::Hourly { per_kwh, .. }) => {
                    per_kwh.values.iter_mut().flatten().for_each(|value| *value *= Decimal::TEN);
                }
                _ => {}
            }
            if let Some(contract) = &mut site.colocation {
                contract.price_per_kw_month.amount *= Decimal::TEN;
            }
            if let Some(demand) = &mut site.supply.demand {
                demand.per_kw.amount *= Decimal::TEN;
            }
        }
        let once = grouped(&inputs, GroupBy::Owner).total.amount * Decimal::TEN;
        let ten = grouped(&tenfold, GroupBy::Owner).total.amount;
        // Each family and month is rounded once, depreciation by asset and month: cents times ten.
        prop_assert!((once - ten).abs() <= Decimal::TWO, "{} {}", once, ten);
    }

    #[test]
    fn a_what_if_with_nothing_changed_is_identical(inputs in fleet(), order in any::<u64>()) {
        let mut same = inputs.clone();
        // Nor does it matter in which order things were registered.
        same.assets.rotate_left(usize::try_from(order % 2).unwrap());
        same.overheads.rotate_left(usize::try_from(order % 2).unwrap());
        prop_assert_eq!(grouped(&same, GroupBy::Owner), grouped(&inputs, GroupBy::Owner));
    }

    #[test]
    fn what_is_dearer_never_costs_less(inputs in fleet(), more in 1_i64..100_000) {
        let total = |inputs: &Inputs| grouped(inputs, GroupBy::Site).total.amount;
        let base = total(&inputs);
        let cents = Decimal::new(more, 2);
        let dearer = |edit: &dyn Fn(&mut Inputs)| {
            let mut other = inputs.clone();
            edit(&mut other);
            total(&other)
        };
        // Months of a straight line are rounded each, so that the first ones may round down where they rounded up.
        let slack = dec("0.02");
        prop_assert!(dearer(&|inputs| inputs.assets[0].cost.amount += cents) + slack >= base);
        prop_assert!(dearer(&|inputs| inputs.sites[1].tariff = Some(flat(&(dec("0.2345") + cents).to_string()))) >= base);
        prop_assert!(dearer(&|inputs| inputs.overheads[0].charge = Charge::PerYear(eur(&(dec("1000000") + cents).to_string()))) >= base);
        prop_assert!(dearer(&|inputs| inputs.capital_rate.as_mut().unwrap().rate += dec("0.01")) >= base);
    }

    #[test]
    fn an_hour_without_price_is_never_free(inputs in fleet(), lost in 0_usize..60 * 24) {
        let mut inputs = inputs;
        if let Some(Tariff::Hourly { per_kwh, .. }) = &mut inputs.sites[0].tariff {
            per_kwh.values[lost] = None;
        }
        let at = hour("2024-01-01", u32::try_from(lost).unwrap());
        let used_by_gpus = inputs.usage.gpu_rows.iter().any(|row| row.hour == at && row.gpu < 4 && row.counter_mj + row.estimated_mj > 0);
        match evaluate(&inputs) {
            Err(TcoError::MissingPrice { hour, .. }) => prop_assert_eq!(hour, at),
            other => prop_assert!(other.is_ok() && !used_by_gpus),
        }
    }
}
