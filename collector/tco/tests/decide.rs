//! Decisions from what the ledger measured.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::asset::Asset;
use gpuledger_tco::decide::market::{Terms, free_hours};
use gpuledger_tco::decide::measured::measured;
use gpuledger_tco::decide::{Offer, best_split, load_curve, market_value};
use gpuledger_tco::evaluate;
use gpuledger_tco::evaluate::Inputs;
use gpuledger_tco::exchange::{Rate, Rates, in_currency};
use gpuledger_tco::money::Currency;
use gpuledger_tco::sheets;
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::usage::GpuRow;
use jiff::civil::date;
use rust_decimal::Decimal;
use support::*;

/// Five weeks of four GPUs: one always in use, two more at noon, the fourth never.
fn five_weeks() -> Inputs {
    let (from, to) = ("2024-01-01", "2024-02-05");
    let mut usage = usage(&["n1"], 4, &["team"]);
    for after in 0..35 * 24 {
        for gpu in 0..4 {
            let used = gpu == 0 || gpu < 3 && after % 24 == 12;
            let at = row(hour(from, after), gpu, if used { 2 } else { 0 });
            let of = |ms: bool| if ms { HOUR_MS } else { 0 };
            usage.gpu_rows.push(GpuRow {
                active_ms: of(used),
                free_ms: of(!used),
                counter_mj: if used { KWH } else { 0 },
                ..at
            });
        }
    }
    let mut inputs = inputs(period(from, to), GroupBy::Model, usage);
    inputs.sites[0].tariff = Some(flat("0.10"));
    inputs.assets.push(Asset { gpus: 4, ..server("SN1", "n1", "175200") });
    inputs.prices.push(rent("cloud", "3.00", date(2023, 12, 20)));
    inputs
}

#[test]
fn the_measured_load_says_how_many_to_own() {
    let inputs = five_weeks();
    let model = &measured(&inputs).unwrap()[0];
    assert_eq!((model.gpus, model.hours_owned, model.per_owned_hour), (4, dec("910"), Some(dec("0.10"))));
    let year = model.fixed_per_gpu_year.unwrap();
    assert!(
        (year - dec("8700")).abs() < dec("200"),
        "{year}: 175,200 over five years and four GPUs, by months"
    );
    let loads = load_curve(&inputs.usage, inputs.period, |_| true);
    let offer = Offer::of_price(&inputs.prices[0]);
    let split = best_split(&loads, model.prices(offer.per_useful_hour().unwrap()).unwrap(), 5).unwrap();
    assert_eq!((split.own, split.peak, split.hours_measured), (1, 3, 840));
    assert!(split.saving > Decimal::ZERO && split.cost < split.cost_own_all);
    let sheet = sheets::split("H100", &split, inputs.currency);
    sheet.check().unwrap();
    assert!(offer.source.contains("in force from 2023-12-20"));
}

#[test]
fn free_hours_of_the_ledger_would_have_earned_the_market_price() {
    let inputs = five_weeks();
    let free = free_hours(&inputs).unwrap();
    assert_eq!(free.len(), 35);
    let terms = Terms { fee: dec("0.2"), sold: Decimal::ONE, cost_per_hour: dec("0.1") };
    let earned = market_value(&free, &inputs.prices, terms).unwrap();
    // 3 × 840 hours less two at each noon; 3.00 × 0.8 − 0.1 each.
    assert_eq!((earned[0].sold_hours, earned[0].earned), (dec("2450"), dec("5635")));
    sheets::market(&earned, inputs.currency).check().unwrap();
}

#[test]
fn a_statement_in_another_currency_shows_its_rate_and_still_adds_up() {
    let inputs = Inputs { by: GroupBy::Owner, ..five_weeks() };
    let statement = evaluate(&inputs).unwrap();
    let rate = Rate {
        from: Currency::EUR,
        to: Currency::USD,
        rate: dec("1.0837"),
        on: date(2024, 2, 2),
        source: "ECB".to_owned(),
    };
    let rates = Rates::new([rate]).unwrap();
    let other = in_currency(&statement, &rates, Currency::USD, date(2024, 2, 5)).unwrap();
    check_sums(&other);
    assert_eq!(other.currency, Currency::USD);
    assert_eq!(other.total.amount, (statement.total.amount * dec("1.0837")).round_dp(2));
    assert!(other.notes[0].contains("EUR at 1.0837 USD of 2024-02-02 (ECB)"), "{:?}", other.notes);
    assert!(other.lines[0].inputs.iter().any(|input| input.name == "rate" && input.value == dec("1.0837")));
    assert_eq!(in_currency(&statement, &rates, Currency::EUR, date(2024, 2, 5)).unwrap(), statement);
    let missing = in_currency(&statement, &rates, Currency::USD, date(2024, 2, 1)).unwrap_err().to_string();
    assert!(missing.contains("no rate from EUR to USD is known on 2024-02-01"), "{missing}");
}

#[test]
fn use_and_condition_of_each_gpu_are_sheets() {
    let inputs = five_weeks();
    let utilization = sheets::utilization(&evaluate(&inputs).unwrap()).unwrap();
    utilization.check().unwrap();
    let gpu = sheets::Condition {
        uuid: "GPU-0".to_owned(),
        active_hours: dec("840"),
        powered_hours: dec("840"),
        ..sheets::Condition::default()
    };
    let condition = sheets::condition(&[gpu], inputs.currency).unwrap();
    condition.check().unwrap();
    let cell = |column: usize| serde_json::to_value(&condition.rows[0].cells[column]).unwrap();
    assert_eq!((cell(0), cell(6)), ("GPU-0".into(), "840".into()));
    assert_eq!((cell(10), condition.absent.as_str()), (serde_json::Value::Null, "unknown"));
    let told = |what: &str| condition.notes.iter().any(|note| note.starts_with(what));
    assert!(told("Heat: unknown of every GPU") && told("Fatal errors: unknown"), "{:?}", condition.notes);
}
