//! What owners and cost centres pay, with idle time apart.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::asset::Asset;
use gpuledger_tco::centres::{Rule, UNMATCHED, assign};
use gpuledger_tco::evaluate;
use gpuledger_tco::evaluate::Inputs;
use gpuledger_tco::shares::ChargeBasis;
use gpuledger_tco::showback::{HELD_IDLE, Showback, showback};
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::usage::GpuRow;
use proptest::prelude::*;
use rust_decimal::Decimal;
use support::*;

/// One day of four GPUs at 240.00: a runs 12 h and holds 12 h, b runs 24 h, one is free, one unseen.
fn a_day() -> Inputs {
    let from = "2024-02-01";
    let mut usage = usage(&["n1"], 4, &["ml-a", "b"]);
    for after in 0..24 {
        let at = |gpu, owner| row(hour(from, after), gpu, owner);
        let (active_ms, held_ms) = if after < 12 { (HOUR_MS, 0) } else { (0, HOUR_MS) };
        usage.gpu_rows.push(GpuRow { active_ms, held_ms, counter_mj: KWH / 2, ..at(0, 2) });
        usage.gpu_rows.push(GpuRow { active_ms: HOUR_MS, counter_mj: KWH, ..at(1, 3) });
        usage.gpu_rows.push(GpuRow { free_ms: HOUR_MS, ..at(2, 0) });
    }
    let mut inputs = inputs(period(from, "2024-02-02"), GroupBy::Owner, usage);
    inputs.sites[0].tariff = Some(flat("1"));
    // 29 days of 240.
    inputs.assets.push(Asset {
        gpus: 4,
        life_months: 1,
        in_service: jiff::civil::date(2024, 2, 1),
        ..server("SN1", "n1", "6960")
    });
    inputs
}

fn shown(showback: &Showback) -> Vec<String> {
    showback
        .rows
        .iter()
        .map(|row| format!("{} {} + {} = {}", row.name, row.used, row.held_idle, row.total))
        .collect()
}

#[test]
fn held_idle_free_and_unmonitored_time_are_priced_apart() {
    let inputs = a_day();
    let by_allocation = showback(&inputs, ChargeBasis::Allocation).unwrap();
    assert_eq!(
        shown(&by_allocation),
        [
            "b 84.00 + 0.00 = 84.00",
            "ml-a 42.00 + 30.00 = 72.00",
            "(free) 60.00 + 0.00 = 60.00",
            "(unmonitored) 60.00 + 0.00 = 60.00"
        ]
    );
    assert_eq!(by_allocation.total, evaluate(&inputs).unwrap().total);
    assert_eq!(showback(&inputs, ChargeBasis::Larger).unwrap().rows, by_allocation.rows);
    let by_usage = showback(&inputs, ChargeBasis::Usage).unwrap();
    assert_eq!(
        shown(&by_usage),
        [
            "b 84.00 + 0.00 = 84.00",
            "ml-a 42.00 + 0.00 = 42.00",
            "(free) 60.00 + 0.00 = 60.00",
            "(held idle) 0.00 + 30.00 = 30.00",
            "(unmonitored) 60.00 + 0.00 = 60.00",
        ]
    );
    assert_eq!((by_usage.total, by_usage.rows[3].name.as_str()), (by_allocation.total, HELD_IDLE));
    let two = by_allocation.concentration.unwrap();
    assert_eq!((two.largest.0.as_str(), two.top_two, two.tenants), ("b", Decimal::ONE, 2));
}

#[test]
fn cost_centres_are_rows_and_who_fits_no_rule_is_shown() {
    let mut inputs = a_day();
    let rule = Rule {
        pattern: "ml-*".to_owned(),
        centre: "research".to_owned(),
        source: "centres.csv line 2".to_owned(),
    };
    let assigned = assign(&mut inputs.usage, &[rule]).unwrap();
    assert_eq!(assigned.unmatched, ["b"]);
    let names: Vec<String> =
        showback(&inputs, ChargeBasis::Allocation).unwrap().rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(names, ["research", "(free)", UNMATCHED, "(unmonitored)"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn not_a_cent_is_lost_or_made_by_any_basis(
        rows in proptest::collection::vec((0_u32..24, 0_u32..4, 2_u32..4, 0..=HOUR_MS / 2, 0..=HOUR_MS / 2, 0..KWH), 0..40),
        cost in 0_i64..10_000_000,
    ) {
        let mut inputs = a_day();
        inputs.usage.gpu_rows = rows.into_iter().map(|(after, gpu, owner, active_ms, held_ms, counter_mj)| {
            GpuRow { active_ms, held_ms, counter_mj, ..row(hour("2024-02-01", after), gpu, owner) }
        }).collect();
        inputs.usage.gpu_rows.sort_by_key(|row| (row.hour, row.gpu));
        inputs.usage.gpu_rows.dedup_by_key(|row| (row.hour, row.gpu));
        inputs.assets[0].cost.amount = Decimal::new(cost, 2);
        let total = evaluate(&inputs).unwrap().total;
        for basis in [ChargeBasis::Allocation, ChargeBasis::Usage, ChargeBasis::Larger] {
            let showback = showback(&inputs, basis).unwrap();
            prop_assert_eq!(showback.total, total);
            prop_assert_eq!(showback.rows.iter().map(|row| row.total).sum::<Decimal>(), total.amount);
            for row in &showback.rows {
                prop_assert!(row.held_idle >= Decimal::ZERO && row.used >= Decimal::ZERO);
                prop_assert_eq!(row.total, row.total.round_dp(2));
            }
        }
    }
}
