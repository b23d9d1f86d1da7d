//! Cases of fleets, through the whole engine where it computes them, and of power, failures and shares.

use crate::case::{Got, list, named, number, numbers};
use crate::support::*;
use gpuledger_tco::energy::carbon_kg;
use gpuledger_tco::evaluate;
use gpuledger_tco::facility::{Colocation, Overhead};
use gpuledger_tco::failures::{hours_between, yearly_rate};
use gpuledger_tco::power_bill::{billed_demand_kw, energy_cost, facility_kwh, peak_kw};
use gpuledger_tco::rent::break_even;
use gpuledger_tco::shares::{self, proportional};
use gpuledger_tco::statement::{Family, GroupBy, Statement};
use jiff::civil::date;
use rust_decimal::Decimal;
use serde_json::Value;

fn whole(number: i64) -> Decimal {
    Decimal::from(number)
}

fn text(value: &Value) -> String {
    number(value).to_string()
}

fn family(statement: &Statement, family: Family) -> Decimal {
    statement.lines.iter().filter(|line| line.family == family).map(|line| line.amount).sum()
}

fn mj(kwh: Decimal) -> u64 {
    u64::try_from((kwh * whole(3_600_000_000)).round()).unwrap()
}

/// A server of 2023 whose GPUs were all busy in every hour, through the whole engine.
pub fn own_or_rent(given: &Value) -> Got {
    let gpus = u32::try_from(given["gpus"].as_u64().unwrap()).unwrap();
    let mut usage = usage(&["n1"], gpus as usize, &["team-a"]);
    for after in 0..365 * 24 {
        for gpu in 0..gpus {
            let mut busy = row(hour("2023-01-01", after), gpu, 2);
            busy.active_ms = HOUR_MS;
            usage.gpu_rows.push(busy);
        }
    }
    let [capex, peak_kw] = ["capex", "peak_kw"].map(|name| number(&given[name]));
    // A flat price does not ask when the energy was used.
    usage.gpu_rows[0].counter_mj = mj(peak_kw * number(&given["avg_load"]) * whole(8_760));
    let mut inputs = inputs(period("2023-01-01", "2024-01-01"), GroupBy::Site, usage);
    let mut asset = server("SN1", "n1", &text(&given["capex"]));
    asset.gpus = gpus;
    asset.salvage.amount = capex * number(&given["residual"]);
    asset.life_months = u32::try_from(given["life_years"].as_u64().unwrap()).unwrap() * 12;
    asset.in_service = date(2023, 1, 1);
    inputs.assets.push(asset);
    inputs.sites[0].pue = number(&given["pue"]);
    inputs.sites[0].tariff = Some(flat(&text(&given["price_kwh"])));
    inputs.sites[0].colocation = Some(Colocation {
        contracted_kw: peak_kw,
        price_per_kw_month: eur(&text(&given["colo_per_kw_month"])),
        power_included: false,
        overage: None,
        source: "contract".to_owned(),
    });
    let operation = eur(&(capex * number(&given["opex_share"])).to_string());
    inputs.overheads.push(Overhead::per_year("operation", None, operation, "budget"));
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    // The source takes all of the cost for fixed.
    let (fixed, hours) = (statement.total.amount, statement.hours.in_service);
    let mut got = named([("annual", fixed), ("per_gpu_h_at_100", statement.rates.per_hour_active.unwrap())]);
    for (k, price) in numbers(&given["cloud_price_gpu_h"]).into_iter().enumerate() {
        let share = break_even(fixed, hours, price, Decimal::ZERO).unwrap().unwrap();
        got.insert(format!("breakeven.{k}"), share);
    }
    got
}

/// Purchase and power of a cluster over years, by model, through the whole engine.
pub fn purchase_and_power(given: &Value) -> Got {
    let mut got = Got::new();
    let gpus = u32::try_from(given["gpus"].as_u64().unwrap()).unwrap();
    let years = i64::from(u32::try_from(given["years"].as_u64().unwrap()).unwrap());
    for (model, price) in given["capex_per_gpu"].as_object().unwrap() {
        let mut usage = usage(&["n1"], 1, &[]);
        let mut draw = row(hour("2024-01-01", 0), 0, 0);
        draw.free_ms = 1;
        let kw = Decimal::from(gpus) * number(&given["tdp_kw"][model]) * number(&given["utilization"]);
        draw.counter_mj = mj(kw * whole(years * 8_760));
        usage.gpu_rows.push(draw);
        let until = format!("{}-01-01", 2024 + years);
        let mut inputs = inputs(period("2024-01-01", &until), GroupBy::Site, usage);
        inputs.sites[0].pue = number(&given["pue"]);
        inputs.sites[0].tariff = Some(flat(&text(&given["price_kwh"])));
        let mut asset = server("CLUSTER", "n1", "0");
        (asset.gpus, asset.cost.amount) = (gpus, Decimal::from(gpus) * number(price));
        inputs.assets.push(asset);
        let statement = evaluate(&inputs).unwrap();
        got.insert(format!("{model}.acq"), family(&statement, Family::Depreciation));
        got.insert(format!("{model}.power"), family(&statement, Family::Energy));
        got.insert(format!("{model}.total"), statement.total.amount);
    }
    got
}

pub fn scaled_to_node_price(given: &Value) -> Got {
    let base = given["base"].as_object().unwrap();
    let weights: Vec<Decimal> = base.values().map(number).collect();
    base.keys().cloned().zip(proportional(number(&given["node_monthly"]), &weights).unwrap()).collect()
}

pub fn failures(given: &Value) -> Got {
    let [unexpected, days, gpus, faulty, memory] =
        ["unexpected", "days", "gpus", "gpu_faults", "hbm_faults"].map(|name| number(&given[name]));
    let hours = days * whole(24);
    named([
        ("hours_between", hours_between(unexpected, hours).unwrap()),
        ("gpu_hours", gpus * hours),
        ("annual_gpu_fault_rate", yearly_rate(faulty + memory, gpus * hours).unwrap()),
        ("share_hbm", memory / unexpected),
    ])
}

/// Energy by the price of its hours and demand by the highest hour, all times the PUE.
pub fn time_of_use_and_demand(given: &Value) -> Got {
    let (days, pue) = (number(&given["days"]), number(&given["pue"]));
    let (mut off, mut peak, mut hourly) = (Decimal::ZERO, Decimal::ZERO, Vec::new());
    for stretch in given["it_kw_profile"].as_array().unwrap() {
        let (kw, hours) = (number(&stretch[0]), number(&stretch[1]));
        let of_month = facility_kwh(kw * hours * days, pue).unwrap();
        if stretch[2] == "peak" {
            peak += of_month;
        } else {
            off += of_month;
        }
        hourly.push(facility_kwh(kw, pue).unwrap());
    }
    let [off_price, peak_price] = ["off", "peak"].map(|name| number(&given["rates"][name]));
    let energy = energy_cost(&[(off, off_price), (peak, peak_price)]).unwrap();
    let demand = billed_demand_kw(peak_kw(&hourly, Decimal::ONE).unwrap(), &[], Decimal::ZERO).unwrap();
    let demand_cost = demand * number(&given["demand_per_kw_month"]);
    named([
        ("energy_off_kwh", off),
        ("energy_peak_kwh", peak),
        ("energy_cost", energy),
        ("demand_kw", demand),
        ("demand_cost", demand_cost),
        ("total", energy + demand_cost),
    ])
}

/// 1 lb = 0.45359237 kg, so that a pound per thousand kWh is 0.45359237 g per kWh.
pub fn carbon(given: &Value) -> Got {
    let g_per_kwh = number(&given["lb_per_mwh"]) * dec("0.45359237");
    named([("kg", carbon_kg(number(&given["it_kwh"]), number(&given["pue"]), g_per_kwh).unwrap())])
}

pub fn largest_remainder(given: &Value) -> Got {
    list(shares::largest_remainder(number(&given["total_cents"]), &numbers(&given["weights"]), 0).unwrap())
}
