//! Worked cases from published sources, each under its id in the project's collection of money cases.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::allocation::settle;
use gpuledger_tco::energy::carbon_kg;
use gpuledger_tco::facility::{Colocation, Overhead};
use gpuledger_tco::rent::break_even;
use gpuledger_tco::statement::{Family, GroupBy, Statement};
use gpuledger_tco::{evaluate, sln};
use jiff::civil::date;
use rust_decimal::Decimal;
use support::*;

fn close(got: Decimal, expected: &str, tolerance: &str) {
    assert!((got - dec(expected)).abs() <= dec(tolerance), "{got} is not {expected} ± {tolerance}");
}

fn whole(number: i64) -> Decimal {
    Decimal::from(number)
}

fn family(statement: &Statement, family: Family) -> Decimal {
    statement.lines.iter().filter(|line| line.family == family).map(|line| line.amount).sum()
}

/// GNU Emacs Calc manual, Depreciation Functions.
#[test]
fn golden_dep_sln_emacs() {
    assert_eq!(sln(whole(12_000), whole(2_000), whole(5)).unwrap(), whole(2_000));
}

/// Excel, SLN.
#[test]
fn golden_dep_sln_excel() {
    assert_eq!(sln(whole(30_000), whole(7_500), whole(10)).unwrap(), whole(2_250));
}

/// A life cut from six to five years after two: the rest is spread over the three that remain.
#[test]
fn golden_dep_change_estimate() {
    let cost = whole(300_000);
    let book_value = cost - whole(2) * sln(cost, Decimal::ZERO, whole(6)).unwrap();
    assert_eq!(book_value, whole(200_000));
    close(sln(book_value, Decimal::ZERO, whole(5 - 2)).unwrap(), "66666.67", "0.005");
}

/// Ornn research: a fleet of 10 billion over 4, 5 and 6 years.
#[test]
fn golden_dep_life_sensitivity() {
    for (life, expected) in [(4, "2500000000"), (5, "2000000000"), (6, "1666666666.67")] {
        close(sln(whole(10_000_000_000), Decimal::ZERO, whole(life)).unwrap(), expected, "1");
    }
}

/// 100.00 over three equal shares.
#[test]
fn golden_alloc_largest_remainder() {
    let third = whole(100) / whole(3);
    assert_eq!(settle(whole(100), &[third; 3], 2).unwrap(), ["33.34", "33.33", "33.33"].map(dec));
}

/// eGRID2018, US average: 947 lb/MWh, 1 lb = 0.45359237 kg.
#[test]
fn golden_carbon_location() {
    let g_per_kwh = dec("947") * dec("0.45359237");
    close(carbon_kg(whole(1_000), dec("1.25"), g_per_kwh).unwrap(), "536.93", "0.01");
}

/// Eight GPUs for 300,000 over four years, 20 % residual, 10.2 kW at 75 % load, PUE 1.3, 0.08 a kWh,
/// 196 a kW and month, 6 % of the price a year for operation: through the whole engine, for 2023.
#[test]
fn golden_tco_own_vs_rent() {
    let mut usage = usage(&["n1"], 8, &["team-a"]);
    for after in 0..365 * 24 {
        for gpu in 0..8 {
            let mut busy = row(hour("2023-01-01", after), gpu, 2);
            busy.active_ms = HOUR_MS;
            usage.gpu_rows.push(busy);
        }
    }
    // 10.2 kW × 75 % × 8760 h; a flat price does not ask when.
    usage.gpu_rows[0].counter_mj = 67_014 * KWH;
    let mut inputs = inputs(period("2023-01-01", "2024-01-01"), GroupBy::Site, usage);
    let mut asset = server("SN1", "n1", "300000");
    (asset.salvage, asset.life_months, asset.in_service) = (eur("60000"), 48, date(2023, 1, 1));
    inputs.assets.push(asset);
    inputs.sites[0].pue = dec("1.3");
    inputs.sites[0].tariff = Some(flat("0.08"));
    inputs.sites[0].colocation = Some(Colocation {
        contracted_kw: dec("10.2"),
        price_per_kw_month: eur("196"),
        power_included: false,
        source: "contract".to_owned(),
    });
    inputs.overheads.push(Overhead {
        kind: "operation".to_owned(),
        site: None,
        per_year: eur("18000"),
        source: "budget".to_owned(),
    });
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    close(statement.total.amount, "108959.86", "0.005");
    assert_eq!(family(&statement, Family::Depreciation), whole(60_000));
    close(statement.rates.per_hour_active.unwrap(), "1.554792", "0.005");

    // The source takes all of the cost for fixed.
    for (price, expected) in [("6.88", "0.225987"), ("2.95", "0.527048"), ("2.6", "0.597997")] {
        let share = break_even(statement.total.amount, statement.hours.in_service, dec(price), Decimal::ZERO);
        close(share.unwrap().unwrap(), expected, "0.000001");
    }
}

/// aiinframap.com: 1024 GPUs for five years, purchase and power.
#[test]
fn golden_dc_gpu_tco_aiinframap() {
    let cases = [
        ("30000", "0.7", "30720000", "2110000", "32830000"),
        ("35000", "0.7", "35840000", "2110000", "37950000"),
        ("40000", "1.0", "40960000", "3010000", "43970000"),
    ];
    for (price, kw, purchase, power, total) in cases {
        let mut usage = usage(&["n1"], 1, &[]);
        let mut draw = row(hour("2024-01-01", 0), 0, 0);
        draw.free_ms = 1;
        // 1024 GPUs × kW × 70 % × 5 × 8760 h.
        let kwh = whole(1024) * dec(kw) * dec("0.7") * whole(5 * 8760) * whole(3_600_000_000);
        draw.counter_mj = u64::try_from(kwh).unwrap();
        usage.gpu_rows.push(draw);
        let mut inputs = inputs(period("2024-01-01", "2029-01-01"), GroupBy::Site, usage);
        inputs.sites[0].pue = dec("1.2");
        inputs.sites[0].tariff = Some(flat("0.08"));
        let mut asset = server("CLUSTER", "n1", "0");
        (asset.gpus, asset.cost.amount) = (1024, whole(1024) * dec(price));
        inputs.assets.push(asset);
        let statement = evaluate(&inputs).unwrap();
        close(family(&statement, Family::Depreciation), purchase, "0");
        close(family(&statement, Family::Energy), power, "5100");
        close(statement.total.amount, total, "5100");
    }
}
