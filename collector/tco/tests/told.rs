//! What a statement says beside its figures: notes and the names of inputs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::asset::Asset;
use gpuledger_tco::calendar::Period;
use gpuledger_tco::evaluate;
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::usage::{Declared, GpuRow, NodeRow};
use jiff::civil::date;
use rust_decimal::Decimal;
use support::*;

#[test]
fn a_note_on_gpus_that_nobody_saw_says_how_their_time_counts() {
    let notes = |active| {
        let mut inputs = inputs(period("2024-05-17", "2024-05-18"), GroupBy::Node, usage(&["n1"], 0, &[]));
        let noon = hour("2024-05-17", 12);
        inputs.usage.nodes[0].declared = Some(Declared { gpus: 8, model: "NVIDIA H100".to_owned(), active });
        inputs.usage.node_rows.push(NodeRow {
            hour: noon,
            node: 0,
            observed_ms: HOUR_MS / 2,
            metered_ms: HOUR_MS / 2,
            counter_mj: 0,
            gap_mj: 0,
            estimated_mj: 3 * KWH,
        });
        inputs.assets.push(server("SN1", "n1", "300000"));
        let statement = evaluate(&inputs).unwrap();
        check_sums(&statement);
        let note = statement.notes.iter().find(|note| note.contains("were never seen")).unwrap().clone();
        (note, statement.hours.active)
    };
    let (note, active) = notes(true);
    assert_eq!(active, Decimal::from(4));
    assert!(note.ends_with("they count as active while their node was measured, else as unmonitored."));
    let (note, active) = notes(false);
    assert_eq!(active, Decimal::ZERO);
    assert!(note.ends_with("their time is unmonitored."), "{note}");
}

#[test]
fn what_was_depreciated_before_says_before_which_instant() {
    let name = |from: &str| {
        let usage = usage(&["n1"], 8, &[]);
        let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Node, usage);
        inputs.period = Period::new(from.parse().unwrap(), "2024-03-01T00:00:00Z".parse().unwrap()).unwrap();
        inputs.assets.push(server("SN1", "n1", "300000"));
        let statement = evaluate(&inputs).unwrap();
        let inputs = &statement.lines[0].inputs;
        inputs.iter().find(|input| input.name.starts_with("depreciated before")).unwrap().name.clone()
    };
    assert_eq!(name("2024-02-05T00:00:00Z"), "depreciated before 2024-02-05");
    assert_eq!(name("2024-02-05T12:00:00Z"), "depreciated before 2024-02-05T12:00:00Z");
}

#[test]
fn a_comparison_can_be_recomputed_from_its_inputs() {
    let (from, to) = ("2024-02-01", "2024-02-02");
    let mut inputs = inputs(period(from, to), GroupBy::Month, usage(&["n1"], 1, &["team"]));
    inputs.sites[0].tariff = Some(flat("0.50"));
    inputs.assets.push(Asset { gpus: 1, ..server("SN1", "n1", "30000") });
    inputs.prices = vec![rent("cloud", "2.95", date(2024, 1, 1))];
    let active = GpuRow { active_ms: HOUR_MS, counter_mj: KWH / 2, ..row(hour(from, 3), 0, 2) };
    inputs.usage.gpu_rows = vec![active, GpuRow { hour: hour(from, 4), ..active }];
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    let comparison = &statement.comparisons[0];
    let value = |name: &str| comparison.inputs.iter().find(|input| input.name == name).unwrap().value;
    let (in_service, owned) = (value("GPU-hours in service"), value("GPU-hours owned"));
    let (price, own, electricity) = (value("price"), value("own cost"), value("own electricity"));
    assert_eq!((in_service, owned, electricity), (dec("24"), dec("2"), dec("0.50")));
    assert_eq!(comparison.own.amount, own);
    assert_eq!(comparison.same_capacity.amount, price * in_service);
    assert_eq!(comparison.same_work.amount, price * owned);
    let even = (own - electricity) / (in_service * (price - electricity / owned));
    assert_eq!(comparison.break_even_utilization, Some(even.round_dp(6)));
    assert!(comparison.formula.contains("(own cost − own electricity)"));
}

#[test]
fn a_period_that_has_not_begun_is_not_called_unfinished() {
    let note = |as_of: &str| {
        let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Node, usage(&["n1"], 8, &[]));
        inputs.assets.push(server("SN1", "n1", "300000"));
        inputs.as_of_ms = Some(as_of.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let statement = evaluate(&inputs).unwrap();
        let note = statement.notes.iter().find(|note| note.starts_with("The period")).cloned();
        (note.unwrap_or_default(), statement.total.amount.is_zero())
    };
    let begun = "The period had not begun at 2024-01-15T00:00:00Z: nothing is counted.";
    assert_eq!(note("2024-01-15T00:00:00Z"), (begun.to_owned(), true));
    assert!(note("2024-02-10T00:00:00Z").0.starts_with("The period is not over"));
    assert_eq!(note("2024-03-01T00:00:00Z"), (String::new(), false));
}
