//! A small language for worked cases: a fleet of one site and what it did.
#![allow(dead_code, reason = "each test file uses a part of it")]

use gpuledger_tco::asset::{Asset, Place};
use gpuledger_tco::books::Terms;
use gpuledger_tco::calendar::{Calendar, Period, UtcHour};
use gpuledger_tco::energy::Tariff;
use gpuledger_tco::evaluate::Inputs;
use gpuledger_tco::facility::Site;
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::rent::{PriceKind, RentPrice};
use gpuledger_tco::statement::{GroupBy, Statement};
use gpuledger_tco::supply::Supply;
use gpuledger_tco::usage::{GpuRow, GpuUse, NodeUse, Usage};
use jiff::civil::{Date, date};
use rust_decimal::Decimal;

pub const HOUR_MS: u64 = 3_600_000;
/// Millijoules of a kWh.
pub const KWH: u64 = 3_600_000_000;

pub fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub fn eur(text: &str) -> Money {
    Money::new(dec(text), Currency::EUR)
}

pub fn period(from: &str, to: &str) -> Period {
    let at = |day: &str| format!("{day}T00:00:00Z").parse().unwrap();
    Period::new(at(from), at(to)).unwrap()
}

pub fn site(name: &str) -> Site {
    Site {
        name: name.to_owned(),
        pue: Decimal::ONE,
        tariff: None,
        intensity: None,
        colocation: None,
        supply: Supply::default(),
        source: "fleet.toml line 3".to_owned(),
    }
}

pub fn flat(per_kwh: &str) -> Tariff {
    Tariff::Flat { per_kwh: dec(per_kwh), source: "fleet.toml line 5".to_owned() }
}

/// A server of eight GPUs in service from the start of 2024.
pub fn server(serial: &str, node: &str, cost: &str) -> Asset {
    Asset {
        serial: serial.to_owned(),
        place: Place::Node(node.to_owned()),
        model: Some("H100".to_owned()),
        gpus: 8,
        cost: eur(cost),
        salvage: eur("0"),
        life_months: 60,
        in_service: date(2024, 1, 1),
        terms: Terms::default(),
        source: "fleet.toml line 9".to_owned(),
    }
}

pub fn rent(offer: &str, per_gpu_hour: &str, from: Date) -> RentPrice {
    RentPrice {
        offer: offer.to_owned(),
        kind: PriceKind::OnDemand,
        model: "H100".to_owned(),
        per_gpu_hour: dec(per_gpu_hour),
        currency: Currency::EUR,
        effective_from: from,
        fetched_at: from,
        source: "https://example.com/prices".to_owned(),
        licence: "CC0".to_owned(),
        entry: "prices.csv line 2".to_owned(),
    }
}

/// Nodes of H100s that were seen from the start of 2024 on, and nothing else.
pub fn usage(nodes: &[&str], gpus_per_node: usize, owners: &[&str]) -> Usage {
    let seen_ms = Some((start_ms(), u64::MAX / 4));
    let node = |name: &&str| NodeUse { name: (*name).to_owned(), site: 0, seen_ms, declared: None };
    let gpus = (0..nodes.len() * gpus_per_node).map(|number| GpuUse {
        uuid: format!("GPU-{number}"),
        serial: None,
        node: number / gpus_per_node,
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        seen_ms,
    });
    let fixed = ["", ""].into_iter().chain(owners.iter().copied());
    Usage {
        nodes: nodes.iter().map(node).collect(),
        gpus: gpus.collect(),
        owners: fixed.map(str::to_owned).collect(),
        ..Usage::default()
    }
}

fn start_ms() -> u64 {
    u64::from(hour("2024-01-01", 0).0) * HOUR_MS
}

/// Hour `after` the start of a day.
pub fn hour(day: &str, after: u32) -> UtcHour {
    let start = period(day, "2050-01-01").from();
    UtcHour(start.0 + after)
}

/// A row of nothing; fill in what happened.
pub fn row(hour: UtcHour, gpu: u32, owner: u32) -> GpuRow {
    GpuRow {
        hour,
        gpu,
        owner,
        active_ms: 0,
        held_ms: 0,
        free_ms: 0,
        down_ms: 0,
        counter_mj: 0,
        gap_mj: 0,
        estimated_mj: 0,
    }
}

pub fn inputs(period: Period, by: GroupBy, usage: Usage) -> Inputs {
    Inputs {
        title: "Test".to_owned(),
        period,
        as_of_ms: None,
        calendar: Calendar::utc(),
        by,
        currency: Currency::EUR,
        sites: vec![site("dc1")],
        assets: Vec::new(),
        overheads: Vec::new(),
        capital_rate: None,
        prices: Vec::new(),
        usage,
        notes: Vec::new(),
    }
}

/// Checks what holds of every statement: lines sum to groups and groups to the whole, states to time in
/// service, energies to the whole, ids are unique, and every amount is in the smallest unit.
pub fn check_sums(statement: &Statement) {
    for group in &statement.groups {
        let lines = statement.lines.iter().filter(|line| line.group == group.name);
        assert_eq!(lines.map(|line| line.amount).sum::<Decimal>(), group.total.amount, "{}", group.name);
    }
    assert_eq!(
        statement.groups.iter().map(|group| group.total.amount).sum::<Decimal>(),
        statement.total.amount
    );
    for hours in statement.groups.iter().map(|group| &group.hours).chain([&statement.hours]) {
        let states = hours.active + hours.held_idle + hours.free + hours.down + hours.unmonitored;
        assert!((states - hours.in_service).abs() < dec("0.000000000001"), "{hours:?}");
    }
    let energy: Decimal = statement.groups.iter().map(|group| group.energy_kwh).sum();
    assert!((energy - statement.energy_kwh).abs() < dec("0.000000000001"));
    for line in &statement.lines {
        assert_eq!(line.amount, line.amount.round_dp(2), "{}", line.id);
        assert!(
            (line.amount - line.exact).abs() < Decimal::ONE,
            "{}: {} {}",
            line.id,
            line.amount,
            line.exact
        );
        assert!(!line.inputs.is_empty() && !line.formula.is_empty(), "{}", line.id);
    }
    let mut ids: Vec<&str> = statement.lines.iter().map(|line| line.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), statement.lines.len(), "ids are unique");
}
