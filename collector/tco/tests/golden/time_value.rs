//! Cases of the time value of money.

use crate::case::{Got, list, named, number, number_or, numbers, one};
use gpuledger_tco as tco;
use gpuledger_tco::When;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value;

pub fn npv_numpy(given: &Value) -> Got {
    one(tco::npv_at_start(number(&given["rate"]), &numbers(&given["flows"])).unwrap())
}

pub fn npv_excel(given: &Value) -> Got {
    list(given["cases"].as_array().unwrap().iter().map(|case| {
        let later = tco::npv(number(&case["rate"]), &numbers(&case["flows"])).unwrap();
        number_or(&case["initial"], 0) + later
    }))
}

/// The rate nearest to zero, as numpy-financial takes; where it is the only one, also without a guess.
pub fn irr(given: &Value) -> Got {
    list(given["cases"].as_array().unwrap().iter().map(|flows| {
        let flows = numbers(flows);
        let nearest = tco::irr(&flows, Some(Decimal::ZERO)).unwrap();
        if let Ok(only) = tco::irr(&flows, None) {
            assert_eq!(only, nearest);
        }
        nearest
    }))
}

fn dates(given: &Value) -> Vec<Date> {
    given["dates"].as_array().unwrap().iter().map(|date| date.as_str().unwrap().parse().unwrap()).collect()
}

pub fn xirr(given: &Value) -> Got {
    one(tco::xirr(&numbers(&given["flows"]), &dates(given), None).unwrap())
}

pub fn xnpv(given: &Value) -> Got {
    one(tco::xnpv(number(&given["rate"]), &numbers(&given["flows"]), &dates(given)).unwrap())
}

pub fn pmt(given: &Value) -> Got {
    let [rate, nper, pv] = ["rate", "nper", "pv"].map(|name| number(&given[name]));
    one(tco::pmt(rate, nper, pv, number_or(&given["fv"], 0), When::End).unwrap())
}

pub fn pmt_end_and_begin(given: &Value) -> Got {
    let [rate, nper, pv] = ["rate", "nper", "pv"].map(|name| number(&given[name]));
    list(numbers(&given["when"]).into_iter().map(|when| {
        tco::pmt(rate, nper, pv, number_or(&given["fv"], 0), When::try_from(when).unwrap()).unwrap()
    }))
}

pub fn fv_pv_nper(given: &Value) -> Got {
    let of = |function: &str, name: &str| number_or(&given[function][name], 0);
    let [rate, nper, pmt, pv] = ["rate", "nper", "pmt", "pv"].map(|name| of("fv", name));
    let future = tco::fv(rate, nper, pmt, pv, When::End).unwrap();
    let [rate, nper, pmt, fv] = ["rate", "nper", "pmt", "fv"].map(|name| of("pv", name));
    let present = tco::pv(rate, nper, pmt, fv, When::End).unwrap();
    let [rate, pmt, pv, fv] = ["rate", "pmt", "pv", "fv"].map(|name| of("nper", name));
    list([future, present, tco::nper(rate, pmt, pv, fv, When::End).unwrap()])
}

pub fn wacc(given: &Value) -> Got {
    let [equity, debt, of_equity, of_debt, tax] =
        ["E", "D", "re", "rd", "t"].map(|name| number(&given[name]));
    one(tco::wacc(equity, debt, of_equity, of_debt, tax).unwrap())
}

/// What is saved a year, when it has paid for the hardware, and what five years leave.
pub fn cloud_exit(given: &Value) -> Got {
    let [before, after, hardware] = ["before", "after", "hardware"].map(|name| number(&given[name]));
    let saving = before - after;
    let payback = tco::payback_periods(hardware, saving / Decimal::from(12)).unwrap().unwrap();
    let mut flows = vec![-hardware];
    flows.extend([saving; 5]);
    named([
        ("annual_saving", saving),
        ("payback_months_at_run_rate", payback),
        ("five_year_compute_only_net", tco::npv_at_start(Decimal::ZERO, &flows).unwrap()),
    ])
}

pub fn total_of_months(given: &Value) -> Got {
    let (months, none) = (number(&given["months"]), Decimal::ZERO);
    let total = |amount: Decimal| tco::fv(none, months, -amount, none, When::End).unwrap();
    list(numbers(&given["monthly"]).into_iter().map(total))
}

/// Each against the first.
pub fn relative(given: &Value) -> Got {
    let amounts = numbers(&given["monthly"]);
    list(amounts.iter().map(|&amount| tco::decimal::ratio(amount, amounts[0]).unwrap().unwrap()))
}
