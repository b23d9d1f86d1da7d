//! Assets by other methods, and what happens to them, through the whole engine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::asset::Asset;
use gpuledger_tco::books::{BookMethod, Change, Event, Regime, Unit, Units};
use gpuledger_tco::evaluate;
use gpuledger_tco::evaluate::Inputs;
use gpuledger_tco::exchange::{Rate, Rates, localise};
use gpuledger_tco::facility::CapitalRate;
use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::register::{Binding, Register};
use gpuledger_tco::statement::{GroupBy, Statement};
use gpuledger_tco::usage::GpuRow;
use jiff::civil::{Date, date};
use rust_decimal::Decimal;
use support::*;

fn one_server(from: &str, to: &str, edit: impl Fn(&mut Asset)) -> Inputs {
    let mut inputs = inputs(period(from, to), GroupBy::Node, usage(&["n1"], 8, &["team"]));
    let mut asset = server("SN1", "n1", "300000");
    edit(&mut asset);
    inputs.assets.push(asset);
    inputs
}

fn event(on: Date, what: Change) -> Event {
    Event { on, what, source: "minutes".to_owned() }
}

fn line(statement: &Statement, id: &str) -> (&'static str, Decimal) {
    let line = statement.lines.iter().find(|line| line.id == id);
    line.map_or(("", Decimal::ZERO), |line| (line.formula_id.id, line.amount))
}

#[test]
fn a_line_names_the_formula_of_its_method() {
    let of = |method: BookMethod| {
        let inputs = one_server("2024-02-01", "2024-03-01", |asset| asset.terms.method = method.clone());
        let statement = evaluate(&inputs).unwrap();
        check_sums(&statement);
        line(&statement, "depreciation/SN1/n1")
    };
    assert_eq!(of(BookMethod::StraightLine), ("depreciation.straight_line", dec("5000.00")));
    assert_eq!(of(BookMethod::SumOfYears), ("depreciation.sum_of_years", dec("8333.34")));
    let double = BookMethod::Declining { factor: Decimal::TWO, switch: true };
    assert_eq!(of(double), ("depreciation.declining", dec("10000.00")));
}

#[test]
fn units_of_production_follow_the_ledger_and_a_month_without_use_costs_nothing() {
    let units = Units { unit: Unit::GpuHours, life: dec("30000"), before: Vec::new() };
    let of = |from: &str, to: &str| {
        let mut inputs = one_server(from, to, |asset| asset.terms.method = BookMethod::Units(units.clone()));
        for after in 0..100 {
            let at = hour("2024-02-01", after);
            if at >= inputs.period.from() && at < inputs.period.to() {
                inputs.usage.gpu_rows.push(GpuRow { active_ms: HOUR_MS, ..row(at, 0, 2) });
            }
        }
        let statement = evaluate(&inputs).unwrap();
        check_sums(&statement);
        line(&statement, "depreciation/SN1/n1")
    };
    assert_eq!(of("2024-02-01", "2024-03-01"), ("depreciation.units_of_production", dec("1000.00")));
    assert_eq!(of("2024-03-01", "2024-04-01"), ("", Decimal::ZERO));
    assert_eq!(of("2024-01-01", "2024-04-01").1, dec("1000.00"));
}

#[test]
fn impairment_and_disposal_are_lines_and_the_life_costs_what_was_paid_less_what_it_brought() {
    let mut inputs = one_server("2024-01-01", "2030-01-01", |asset| {
        asset.terms.events = vec![
            event(date(2025, 1, 1), Change::Impairment { loss: dec("40000"), regime: Regime::UsGaap }),
            event(
                date(2026, 7, 10),
                Change::Disposal { share: dec("0.125"), proceeds: dec("5000"), selling_cost: dec("250") },
            ),
            event(
                date(2027, 3, 17),
                Change::Disposal { share: Decimal::ONE, proceeds: dec("60000"), selling_cost: dec("1000") },
            ),
        ];
    });
    inputs.capital_rate = Some(CapitalRate { rate: Decimal::ZERO, source: "none".to_owned() });
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(line(&statement, "depreciation/SN1/impairment/n1"), ("book.impairment", dec("40000.00")));
    assert_eq!(line(&statement, "depreciation/SN1/disposal/n1").0, "book.disposal");
    assert_eq!(statement.total.amount, dec("300000") - dec("4750") - dec("59000"));
    // Sold at the start of 17 March 2027: 1,171 days.
    assert_eq!(statement.hours.in_service, dec("224832"));
}

#[test]
fn a_server_that_moved_is_paid_by_each_node_for_its_time() {
    let item = gpuledger_tco::register::Item {
        serial: "SN1".to_owned(),
        place: gpuledger_tco::asset::Place::Node("n1".to_owned()),
        model: Some("H100".to_owned()),
        purchased: date(2023, 12, 1),
        in_service: date(2024, 1, 1),
        components: vec![gpuledger_tco::register::Component {
            name: String::new(),
            gpus: 0,
            cost: eur("300000"),
            salvage: eur("0"),
            life_months: 60,
            in_service: None,
            terms: gpuledger_tco::books::Terms::default(),
        }],
        financing: gpuledger_tco::register::Financing::Cash,
        source: "fleet.toml line 9".to_owned(),
    };
    let moved = Binding {
        serial: "SN1".to_owned(),
        node: "n2".to_owned(),
        slot: None,
        from: date(2024, 4, 11),
        to: None,
        source: "bindings.csv line 2".to_owned(),
    };
    let register = Register { items: vec![item], bindings: vec![moved] };
    let of = |from: &str, to: &str| {
        let mut inputs = inputs(period(from, to), GroupBy::Node, usage(&["n1", "n2"], 1, &[]));
        inputs.assets = register.assets().unwrap();
        let statement = evaluate(&inputs).unwrap();
        check_sums(&statement);
        let of = |name: &str| {
            statement
                .groups
                .iter()
                .find(|group| group.name == name)
                .map_or(Decimal::ZERO, |group| group.total.amount)
        };
        (of("n1"), of("n2"))
    };
    assert_eq!(of("2024-03-01", "2024-04-01"), (dec("5000.00"), dec("0.00")));
    assert_eq!(of("2024-04-01", "2024-05-01"), (dec("1666.67"), dec("3333.33")));
    assert_eq!(of("2024-05-01", "2024-06-01"), (dec("0.00"), dec("5000.00")));
}

#[test]
fn a_foreign_asset_is_converted_at_the_rate_of_its_purchase_and_says_so() {
    let mut inputs = one_server("2024-02-01", "2024-03-01", |asset| {
        asset.cost = Money::new(dec("300000"), Currency::USD);
        asset.salvage = Money::zero(Currency::USD);
    });
    assert!(evaluate(&inputs).is_err(), "currencies never mix by themselves");
    let rate = |value: &str, on| Rate {
        from: Currency::USD,
        to: Currency::EUR,
        rate: dec(value),
        on,
        source: "ECB".to_owned(),
    };
    let rates = Rates::new([rate("0.9", date(2023, 12, 29)), rate("0.8", date(2024, 2, 1))]).unwrap();
    inputs = localise(&inputs, &rates, date(2024, 2, 1)).unwrap();
    let statement = evaluate(&inputs).unwrap();
    assert_eq!(statement.total.amount, dec("4500.00"));
    let cost = statement.lines[0].inputs.iter().find(|input| input.name == "cost").unwrap();
    assert_eq!(cost.source, "fleet.toml line 9: 300000 USD at 0.9 EUR of 2023-12-29 (ECB)");
    let none = localise(
        &one_server("2024-02-01", "2024-03-01", |asset| {
            asset.cost.currency = Currency::USD;
            asset.salvage.currency = Currency::USD;
        }),
        &Rates::default(),
        date(2024, 2, 1),
    );
    assert!(none.unwrap_err().to_string().contains("no rate from USD to EUR is known on 2024-01-01"));
}
