//! A month of money: 10,000 GPUs and their 7.2 million hour rows, evaluated by owner.

use criterion::Criterion;
use gpuledger_benches::cpu::{self, CpuTime};
use gpuledger_tco::asset::{Asset, Place};
use gpuledger_tco::books::Terms;
use gpuledger_tco::calendar::{Calendar, Period, UtcHour};
use gpuledger_tco::energy::Tariff;
use gpuledger_tco::evaluate::{Inputs, evaluate};
use gpuledger_tco::facility::{CapitalRate, Overhead, Site};
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::showback::showback;
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::supply::Supply;
use gpuledger_tco::usage::{GpuRow, GpuUse, NodeUse, Usage};
use jiff::civil::date;
use rust_decimal::Decimal;
use std::hint::black_box;

const NODES: usize = 1_250;
const GPUS_PER_NODE: usize = 8;
const OWNERS: u32 = 50;
const HOUR_MS: u64 = 3_600_000;
const KWH_MJ: u64 = 3_600_000_000;

fn main() -> anyhow::Result<()> {
    let mut criterion = cpu::criterion().sample_size(10).configure_from_args();
    let inputs = month()?;
    month_by(&mut criterion, &inputs, GroupBy::Owner, "month_by_owner");
    month_by(&mut criterion, &inputs, GroupBy::Model, "month_by_model");
    let mut group = criterion.benchmark_group("money");
    group.bench_function("showback", |bencher| {
        bencher.iter(|| showback(black_box(&inputs), ChargeBasis::Usage));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn month_by(criterion: &mut Criterion<CpuTime>, inputs: &Inputs, by: GroupBy, name: &str) {
    let inputs = Inputs { by, ..inputs.clone() };
    let mut group = criterion.benchmark_group("money");
    group.bench_function(name, |bencher| bencher.iter(|| evaluate(black_box(&inputs))));
    group.finish();
}

/// One site, a server an asset, a row an hour and GPU, owners that change every hour.
fn month() -> anyhow::Result<Inputs> {
    let period = Period::new("2026-09-01T00:00:00Z".parse()?, "2026-10-01T00:00:00Z".parse()?)?;
    let seen_ms = Some((u64::try_from(period.from().start_ms())?, u64::MAX / 4));
    let node = |number: usize| NodeUse { name: format!("gpu-{number:04}"), site: 0, seen_ms, declared: None };
    let gpu = |number: usize| GpuUse {
        uuid: format!("GPU-{number}"),
        serial: None,
        node: number / GPUS_PER_NODE,
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        seen_ms,
    };
    let names = (0..OWNERS).map(|owner| format!("team-{owner}"));
    let money = |amount: u32| Money::new(Decimal::from(amount), Currency::EUR);
    let asset = |number: usize| Asset {
        serial: format!("SN{number}"),
        place: Place::Node(format!("gpu-{number:04}")),
        model: None,
        gpus: 8,
        cost: money(300_000),
        salvage: money(30_000),
        life_months: 60,
        in_service: date(2025, 3, 17),
        terms: Terms::default(),
        source: "register".to_owned(),
    };
    Ok(Inputs {
        title: "Month".to_owned(),
        period,
        as_of_ms: None,
        calendar: Calendar::utc(),
        by: GroupBy::Owner,
        currency: Currency::EUR,
        sites: vec![Site {
            name: "dc1".to_owned(),
            pue: Decimal::new(13, 1),
            tariff: Some(Tariff::Flat { per_kwh: Decimal::new(18, 2), source: "tariff".to_owned() }),
            intensity: None,
            colocation: None,
            supply: Supply::default(),
            source: "register".to_owned(),
        }],
        assets: (0..NODES).map(asset).collect(),
        overheads: vec![Overhead::per_year("staff", None, money(1_000_000), "budget")],
        capital_rate: Some(CapitalRate { rate: Decimal::new(7, 2), source: "finance".to_owned() }),
        prices: Vec::new(),
        usage: Usage {
            nodes: (0..NODES).map(node).collect(),
            gpus: (0..NODES * GPUS_PER_NODE).map(gpu).collect(),
            owners: [String::new(), String::new()].into_iter().chain(names).collect(),
            gpu_rows: rows(period)?,
            ..Usage::default()
        },
        notes: Vec::new(),
    })
}

fn rows(period: Period) -> anyhow::Result<Vec<GpuRow>> {
    let mut rows = Vec::new();
    for hour in period.from().0..period.to().0 {
        for gpu in 0..u32::try_from(NODES * GPUS_PER_NODE)? {
            let owner = 2 + (gpu / 16 + hour / 24) % OWNERS;
            rows.push(GpuRow {
                hour: UtcHour(hour),
                gpu,
                owner,
                active_ms: HOUR_MS - u64::from(gpu % 7) * 100_000,
                held_ms: u64::from(gpu % 7) * 100_000,
                free_ms: 0,
                down_ms: 0,
                counter_mj: KWH_MJ / 2 + u64::from(gpu),
                gap_mj: 0,
                estimated_mj: 0,
            });
        }
    }
    Ok(rows)
}
