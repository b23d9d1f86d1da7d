//! Cases of depreciation: the inputs of each as arguments of the function that it is about.

use crate::case::{Got, list, named, number, number_or, numbers, one};
use gpuledger_tco as tco;
use gpuledger_tco::TaxConvention;
use gpuledger_tco::depreciation::{impairment_ifrs, impairment_us, revise, to_smallest_unit};
use rust_decimal::Decimal;
use serde_json::Value;

pub fn sln(given: &Value) -> Got {
    one(tco::sln(number(&given["cost"]), number(&given["salvage"]), number(&given["life"])).unwrap())
}

pub fn syd(given: &Value) -> Got {
    let [cost, salvage, life] = ["cost", "salvage", "life"].map(|name| number(&given[name]));
    list(numbers(&given["per"]).into_iter().map(|per| tco::syd(cost, salvage, life, per).unwrap()))
}

pub fn db(given: &Value) -> Got {
    let [cost, salvage, life] = ["cost", "salvage", "life"].map(|name| number(&given[name]));
    let month = number_or(&given["month"], 12);
    list(
        numbers(&given["period"])
            .into_iter()
            .map(|period| tco::db(cost, salvage, life, period, month).unwrap()),
    )
}

pub fn ddb(given: &Value) -> Got {
    let [cost, salvage] = ["cost", "salvage"].map(|name| number(&given[name]));
    list(given["cases"].as_array().unwrap().iter().map(|case| {
        let [life, period] = ["life", "period"].map(|name| number(&case[name]));
        tco::ddb(cost, salvage, life, period, number_or(&case["factor"], 2)).unwrap()
    }))
}

pub fn vdb(given: &Value) -> Got {
    let [cost, salvage] = ["cost", "salvage"].map(|name| number(&given[name]));
    list(given["cases"].as_array().unwrap().iter().map(|case| {
        let [life, start, end] = ["life", "start", "end"].map(|name| number(&case[name]));
        let no_switch = case["no_switch"].as_bool().unwrap_or(false);
        tco::vdb(cost, salvage, life, start, end, number_or(&case["factor"], 2), no_switch).unwrap()
    }))
}

fn convention(given: &Value) -> TaxConvention {
    match given["convention"].as_str() {
        Some("mid-quarter") => {
            TaxConvention::MidQuarter(given["quarter"].as_u64().and_then(|q| q.try_into().ok()).unwrap())
        }
        _ => TaxConvention::HalfYear,
    }
}

pub fn macrs_table(given: &Value) -> Got {
    let convention = convention(given);
    let years = number(&given["recovery_years"]);
    // The deductions of a basis of a hundred are the percentages.
    let deductions = tco::macrs(Decimal::ONE_HUNDRED, years, convention, Decimal::ZERO).unwrap();
    assert_eq!(deductions, tco::macrs_percentages(years, convention).unwrap());
    list(deductions)
}

pub fn macrs_whole_dollars(given: &Value) -> Got {
    let basis = number(&given["basis"]);
    let years = number(&given["recovery_years"]);
    let deductions = tco::macrs(basis, years, convention(given), Decimal::ZERO).unwrap();
    list(to_smallest_unit(&deductions, basis, 0).unwrap())
}

pub fn macrs_without_tables(given: &Value) -> Got {
    let five = Decimal::from(5);
    list(tco::macrs_without_tables(number(&given["basis"]), five, TaxConvention::HalfYear).unwrap())
}

pub fn macrs_bonus(given: &Value) -> Got {
    let [basis, years, bonus] = ["basis", "recovery_years", "bonus"].map(|name| number(&given[name]));
    list(tco::macrs(basis, years, convention(given), bonus).unwrap())
}

/// The book value that straight line left, over what remains of the new life.
pub fn change_of_estimate(given: &Value) -> Got {
    let [cost, salvage, old, elapsed, new] =
        ["cost", "salvage", "life_old", "elapsed", "life_new_total"].map(|name| number(&given[name]));
    let depreciated = elapsed * tco::sln(cost, salvage, old).unwrap();
    let revised = revise(cost, depreciated, salvage, new - elapsed).unwrap();
    named([("nbv", revised.book_value), ("new_annual", revised.per_period)])
}

pub fn life_sensitivity(given: &Value) -> Got {
    let cost = number(&given["cost"]);
    list(numbers(&given["lives"]).into_iter().map(|life| tco::sln(cost, Decimal::ZERO, life).unwrap()))
}

pub fn impairment(given: &Value) -> Got {
    let [book_value, flows, fair_value, cost, in_use] =
        ["nbv", "undiscounted_cf", "fair_value", "disposal_cost", "value_in_use"]
            .map(|name| number(&given[name]));
    let us = impairment_us(book_value, flows, fair_value).unwrap();
    let ifrs = impairment_ifrs(book_value, fair_value, cost, in_use).unwrap();
    named([
        ("us_impaired", Decimal::from(u8::from(us.impaired))),
        ("us_loss", us.loss),
        ("ifrs_recoverable", ifrs.recoverable),
        ("ifrs_loss", ifrs.loss),
    ])
}
