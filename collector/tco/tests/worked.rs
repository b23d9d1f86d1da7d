//! Worked cases through the whole engine: who pays what, and why.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::TcoError;
use gpuledger_tco::asset::Place;
use gpuledger_tco::calendar::UtcHour;
use gpuledger_tco::energy::{Intensity, Missing, Series, Tariff};
use gpuledger_tco::evaluate;
use gpuledger_tco::facility::{Colocation, Overhead};
use gpuledger_tco::statement::{Family, GroupBy, Statement};
use gpuledger_tco::usage::{Declared, NOBODY, NodeRow, NodeUse, UNKNOWN, Usage};
use jiff::civil::date;
use rust_decimal::Decimal;
use support::*;

fn totals(statement: &Statement) -> Vec<String> {
    statement.groups.iter().map(|group| format!("{} {}", group.name, group.total.amount)).collect()
}

fn family(statement: &Statement, family: Family) -> Decimal {
    statement.lines.iter().filter(|line| line.family == family).map(|line| line.amount).sum()
}

/// One GPU for four hours: an hour of work, one held idle, one free, one nobody looked at.
fn four_hours() -> Usage {
    let mut usage = usage(&["n1"], 1, &["team-a"]);
    let day = "2024-02-10";
    let mut work = row(hour(day, 0), 0, 2);
    (work.active_ms, work.counter_mj) = (HOUR_MS, KWH);
    let mut held = row(hour(day, 1), 0, 2);
    (held.held_ms, held.counter_mj) = (HOUR_MS, KWH / 2);
    let mut free = row(hour(day, 2), 0, NOBODY);
    (free.free_ms, free.counter_mj, free.gap_mj) = (HOUR_MS, KWH / 2, KWH / 4);
    usage.gpu_rows = vec![work, held, free];
    usage
}

fn four_hour_inputs(by: GroupBy) -> gpuledger_tco::Inputs {
    let at = |text: &str| text.parse().unwrap();
    let period = gpuledger_tco::calendar::Period::new(at("2024-02-10T00:00:00Z"), at("2024-02-10T04:00:00Z"));
    let mut inputs = inputs(period.unwrap(), by, four_hours());
    inputs.sites[0].tariff = Some(flat("0.20"));
    inputs.sites[0].pue = dec("1.5");
    // 0.10 for each of the 8784 hours of 2024.
    inputs.overheads.push(Overhead::per_year("staff", None, eur("878.40"), "budget"));
    inputs
}

#[test]
fn the_holder_pays_for_idle_time_and_the_rest_is_shown_apart() {
    let statement = evaluate(&four_hour_inputs(GroupBy::Owner)).unwrap();
    check_sums(&statement);
    // team-a: 1.5 kWh × 1.5 × 0.20 + 2 h × 0.10. Free: 0.25 kWh + 1 h; the gap's 0.25 kWh is unmonitored.
    assert_eq!(totals(&statement), ["team-a 0.65", "(free) 0.18", "(unmonitored) 0.17"]);
    assert_eq!(statement.total.amount, dec("1.00"));
    let energy = statement.lines.iter().find(|line| line.id == "energy/dc1/n1/team-a").unwrap();
    assert_eq!(energy.formula, "energy × PUE × price of the hour, for each month, of the group");
    let value = |name: &str| energy.inputs.iter().find(|input| input.name == name).unwrap().value;
    let product = value("energy in 2024-02") * value("PUE") * value("mean price in 2024-02");
    assert_eq!((product, energy.exact), (dec("0.45"), dec("0.45")));
    let staff = statement.lines.iter().find(|line| line.id == "overhead/staff/team-a").unwrap();
    let hours: Vec<String> =
        staff.inputs.iter().map(|i| format!("{}: {} {}", i.name, i.value.round_dp(6), i.unit)).collect();
    assert_eq!(
        hours[2..],
        ["GPU-hours of team-a in 2024-02: 2 GPU-hours", "GPU-hours in service in 2024-02: 4 GPU-hours"]
    );
}

#[test]
fn rates_are_per_hour_in_service_active_and_owned() {
    let statement = evaluate(&four_hour_inputs(GroupBy::Node)).unwrap();
    let rates = statement.rates;
    assert_eq!(rates.per_hour_in_service, Some(dec("0.25")));
    assert_eq!(rates.per_hour_active, Some(Decimal::ONE));
    assert_eq!(rates.per_hour_owned, Some(dec("0.5")));
    assert_eq!(statement.coverage.observed_ratio, Some(dec("0.75")));
    assert_eq!(statement.coverage.gap_energy_ratio, Some(dec("0.125")));
    assert_eq!(statement.coverage.counted_energy_ratio, Some(Decimal::ONE));
}

#[test]
fn a_month_without_use_costs_what_stands_there() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Owner, usage(&["n1"], 8, &[]));
    inputs.assets.push(server("SN1", "n1", "300000"));
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(totals(&statement), ["(unmonitored) 5000.00"]);
    assert_eq!(statement.hours.unmonitored, Decimal::from(8 * 29 * 24));
    assert_eq!(statement.rates.per_hour_active, None);
    assert_eq!(statement.coverage.observed_ratio, Some(Decimal::ZERO));
}

#[test]
fn a_period_before_anything_was_bought_is_empty() {
    let mut inputs = inputs(period("2020-02-01", "2020-03-01"), GroupBy::Month, usage(&["n1"], 8, &[]));
    inputs.assets.push(server("SN1", "n1", "300000"));
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert!(statement.lines.is_empty() && statement.groups.is_empty());
    assert_eq!(statement.total.amount, Decimal::ZERO);
    assert_eq!(statement.coverage.observed_ratio, None);
}

#[test]
fn gpus_that_an_asset_brought_and_nobody_saw_are_unmonitored() {
    let mut inputs = inputs(period("2024-02-01", "2024-02-02"), GroupBy::Node, usage(&["n1"], 6, &[]));
    inputs.assets.push(server("SN1", "n1", "300000"));
    inputs.assets.push(server("SN2", "n2", "300000"));
    let statement = evaluate(&inputs).unwrap();
    assert_eq!(statement.groups.iter().map(|g| g.gpus).collect::<Vec<_>>(), [8, 8]);
    assert!(
        statement.notes.iter().any(|note| note.starts_with("2 of 8 GPUs of asset SN1 at n1 were never seen"))
    );
    assert!(statement.notes.iter().any(|note| note.starts_with("8 of 8 GPUs of asset SN2")));
}

#[test]
fn a_gpu_without_asset_counts_from_when_it_was_seen_and_is_named() {
    let mut usage = usage(&["n1"], 2, &[]);
    let from = u64::from(hour("2024-02-01", 6).0) * HOUR_MS;
    usage.gpus[0].seen_ms = Some((from, from + HOUR_MS));
    // Gone since January: not in service any more.
    usage.gpus[1].seen_ms = Some((0, from - 10 * HOUR_MS));
    let statement = evaluate(&inputs(period("2024-02-01", "2024-02-02"), GroupBy::Node, usage)).unwrap();
    assert_eq!(statement.hours.in_service, Decimal::from(18));
    assert!(
        statement.notes.iter().any(|note| note.starts_with("1 GPUs of n1 have no asset")),
        "{:?}",
        statement.notes
    );
}

#[test]
fn a_serial_of_a_gpu_binds_its_asset_to_that_gpu_alone() {
    let mut usage = usage(&["n1"], 2, &[]);
    usage.gpus[1].serial = Some("165".to_owned());
    usage.gpus[1].model = "NVIDIA L40S".to_owned();
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Model, usage);
    let mut asset = server("165", "n1", "6000");
    (asset.gpus, asset.model) = (1, None);
    inputs.assets.push(asset);
    let mut rest = server("SN1", "n1", "60000");
    (rest.gpus, rest.model) = (1, None);
    inputs.assets.push(rest);
    assert_eq!(totals(&evaluate(&inputs).unwrap()), ["NVIDIA H100 80GB HBM3 1000.00", "NVIDIA L40S 100.00"]);
}

#[test]
fn an_asset_of_a_site_is_shared_by_all_its_gpus() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Node, usage(&["n1", "n2"], 1, &[]));
    let mut switch = server("SWITCH", "", "6000");
    (switch.place, switch.gpus) = (Place::Site("dc1".to_owned()), 0);
    inputs.assets.push(switch.clone());
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(totals(&statement), ["n1 50.00", "n2 50.00"]);
    switch.place = Place::Site("dc9".to_owned());
    inputs.assets = vec![switch];
    assert!(matches!(evaluate(&inputs), Err(TcoError::UnknownSite { .. })));
}

#[test]
fn a_site_without_nodes_still_costs() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Owner, Usage::default());
    inputs.sites[0].colocation = Some(Colocation {
        contracted_kw: dec("10"),
        price_per_kw_month: eur("196"),
        power_included: true,
        overage: None,
        source: "contract".to_owned(),
    });
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(totals(&statement), ["(unmonitored) 1960.00"]);
}

#[test]
fn power_included_in_colocation_is_shown_and_not_paid_twice() {
    let mut inputs = four_hour_inputs(GroupBy::Node);
    inputs.sites[0].colocation = Some(Colocation {
        contracted_kw: dec("1"),
        price_per_kw_month: eur("696"),
        power_included: true,
        overage: None,
        source: "contract".to_owned(),
    });
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(family(&statement, Family::Energy), Decimal::ZERO);
    // 4 of the 696 hours of February 2024.
    assert_eq!(family(&statement, Family::Colocation), Decimal::from(4));
    assert_eq!(statement.energy_kwh, Decimal::TWO);
}

fn hourly(values: &[Option<&str>], missing: Missing) -> Tariff {
    let values = values.iter().map(|value| value.map(dec)).collect();
    let per_kwh = Series { first: hour("2024-02-10", 0), values, source: "prices.csv".to_owned() };
    Tariff::Hourly { per_kwh, missing }
}

#[test]
fn each_hour_has_its_price_also_below_zero() {
    let mut inputs = four_hour_inputs(GroupBy::Node);
    inputs.sites[0].tariff = Some(hourly(&[Some("0.10"), Some("-0.50"), Some("0.30")], Missing::Refuse));
    // (1 × 0.10 − 0.5 × 0.50 + 0.5 × 0.30) × 1.5 = 0.
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(family(&statement, Family::Energy), Decimal::ZERO);
    inputs.by = GroupBy::Owner;
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    let owner = statement.lines.iter().find(|line| line.id == "energy/dc1/n1/team-a").unwrap();
    assert_eq!(owner.exact, dec("-0.225"));
}

#[test]
fn an_hour_without_a_price_is_named_or_filled() {
    let mut inputs = four_hour_inputs(GroupBy::Node);
    inputs.sites[0].tariff = Some(hourly(&[Some("0.10"), None, Some("0.30")], Missing::Refuse));
    let error = evaluate(&inputs).unwrap_err().to_string();
    assert!(
        error.starts_with("site dc1 used electricity at 2024-02-10T01:00:00Z but prices.csv has no price"),
        "{error}"
    );
    inputs.sites[0].tariff = Some(hourly(&[Some("0.10"), None, Some("0.30")], Missing::Previous));
    // (1 × 0.10 + 0.5 × 0.10 + 0.5 × 0.30) × 1.5.
    assert_eq!(family(&evaluate(&inputs).unwrap(), Family::Energy), dec("0.45"));
    inputs.sites[0].tariff = Some(hourly(&[Some("0.10")], Missing::Price(dec("1"))));
    assert_eq!(family(&evaluate(&inputs).unwrap(), Family::Energy), dec("1.65"));
}

#[test]
fn emissions_are_stated_only_when_every_hour_is_known() {
    let mut inputs = four_hour_inputs(GroupBy::Node);
    let series = |values: &[Option<&str>]| {
        let values = values.iter().map(|value| value.map(dec)).collect();
        Some(Intensity::Hourly(Series { first: hour("2024-02-10", 0), values, source: "co2.csv".to_owned() }))
    };
    inputs.sites[0].intensity = series(&[Some("100"), Some("200"), Some("400")]);
    // (1 × 100 + 0.5 × 200 + 0.5 × 400) × 1.5 g.
    assert_eq!(evaluate(&inputs).unwrap().carbon_kg, Some(dec("0.6")));
    inputs.sites[0].intensity = series(&[Some("100"), None, Some("400")]);
    let statement = evaluate(&inputs).unwrap();
    assert_eq!(statement.carbon_kg, None);
    assert!(statement.notes.contains(
        &"Emissions are not stated: co2.csv has no carbon intensity for 2024-02-10T01:00:00Z.".to_owned()
    ));
}

/// A metered node: its meter's energy replaces the sum of its GPUs.
#[test]
fn the_rest_of_a_metered_host_is_shared_by_observed_time() {
    let mut inputs = four_hour_inputs(GroupBy::Owner);
    for after in 0..3 {
        inputs.usage.node_rows.push(NodeRow {
            hour: hour("2024-02-10", after),
            node: 0,
            observed_ms: HOUR_MS,
            metered_ms: HOUR_MS,
            counter_mj: 2 * KWH,
            gap_mj: if after == 2 { KWH / 4 } else { 0 },
            estimated_mj: 0,
        });
    }
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(statement.energy_kwh, Decimal::from(6));
    // 4 kWh of the host: two thirds to team-a's two hours, one to the free hour.
    let energy: Vec<Decimal> = statement.groups.iter().map(|group| group.energy_kwh.round_dp(6)).collect();
    assert_eq!(energy, ["4.166667", "1.583333", "0.25"].map(dec));
}

/// History of whole nodes: power of the node, and nothing of its GPUs.
fn power_only(active: bool) -> gpuledger_tco::Inputs {
    let start = u64::from(hour("2024-05-17", 12).0) * HOUR_MS;
    let seen_ms = Some((start, start + HOUR_MS));
    let declared = Some(Declared { gpus: 8, model: "NVIDIA H100".to_owned(), active });
    let usage = Usage {
        nodes: vec![NodeUse { name: "n1".to_owned(), site: 0, seen_ms, declared }],
        node_rows: vec![NodeRow {
            hour: UtcHour(u32::try_from(start / HOUR_MS).unwrap()),
            node: 0,
            observed_ms: HOUR_MS / 2,
            metered_ms: HOUR_MS / 2,
            counter_mj: 0,
            gap_mj: 0,
            estimated_mj: 3 * KWH,
        }],
        ..Usage::default()
    };
    let mut inputs = inputs(period("2024-05-17", "2024-05-18"), GroupBy::Model, usage);
    inputs.sites[0].tariff = Some(flat("0.10"));
    inputs.prices = vec![rent("cloud", "12.29", date(2024, 4, 25))];
    inputs
}

#[test]
fn a_node_of_which_only_the_power_is_known_has_the_gpus_that_the_register_declares() {
    let statement = evaluate(&power_only(true)).unwrap();
    check_sums(&statement);
    assert_eq!(statement.total.amount, dec("0.30"));
    assert_eq!(statement.hours.active, Decimal::from(4));
    assert_eq!(statement.hours.in_service, Decimal::from(8 * 12));
    // Half a node-hour at 8 × 12.29.
    assert_eq!(statement.comparisons[0].same_work.amount, dec("49.16"));
    assert_eq!(statement.coverage.counted_energy_ratio, Some(Decimal::ZERO));
    let unknown = evaluate(&power_only(false)).unwrap();
    assert_eq!((unknown.hours.active, unknown.hours.unmonitored), (Decimal::ZERO, Decimal::from(8 * 12)));
    assert_eq!(unknown.total.amount, dec("0.30"));
}

#[test]
fn a_price_cut_counts_from_its_day() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Model, usage(&["n1"], 1, &[]));
    inputs.prices = vec![rent("cloud", "10", date(2024, 1, 1)), rent("cloud", "5", date(2024, 2, 11))];
    let statement = evaluate(&inputs).unwrap();
    let comparison = &statement.comparisons[0];
    // Ten days at 10 and nineteen at 5.
    assert_eq!(comparison.same_capacity.amount, Decimal::from(24 * (100 + 95)));
    assert!(comparison.price_source.contains("10 in force from 2024-01-01"), "{}", comparison.price_source);
    assert!(comparison.price_source.contains("5 in force from 2024-02-11"));
    assert_eq!(comparison.price_per_gpu_hour, dec("6.724138"));
}

#[test]
fn no_price_in_force_is_an_error_unless_another_offer_has_one() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Model, usage(&["n1"], 1, &[]));
    inputs.prices = vec![rent("late", "10", date(2024, 2, 2))];
    let error = evaluate(&inputs).unwrap_err().to_string();
    assert!(
        error.contains("H100") && error.contains("2024-02-01") && error.contains("2024-02-02"),
        "{error}"
    );
    inputs.prices.push(rent("early", "9", date(2024, 1, 15)));
    let statement = evaluate(&inputs).unwrap();
    assert_eq!(statement.comparisons.len(), 1);
    assert!(statement.notes.iter().any(|note| note.starts_with("late is not compared")));
}

#[test]
fn an_old_price_is_used_and_noted() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Model, usage(&["n1"], 1, &[]));
    inputs.prices = vec![rent("cloud", "10", date(2024, 1, 31))];
    let old = |inputs: &gpuledger_tco::Inputs| {
        evaluate(inputs).unwrap().notes.iter().any(|note| note.contains("was fetched on"))
    };
    assert!(!old(&inputs), "30 days are not old");
    inputs.prices[0].fetched_at = date(2024, 1, 30);
    assert!(old(&inputs));
}

#[test]
fn break_even_takes_energy_for_variable_and_the_rest_for_fixed() {
    let mut inputs = four_hour_inputs(GroupBy::Model);
    inputs.prices = vec![rent("cloud", "0.60", date(2024, 1, 1))];
    let comparison = evaluate(&inputs).unwrap().comparisons.remove(0);
    // Fixed 0.40, variable 0.60 ÷ 2 h owned = 0.30: 0.40 ÷ (4 × 0.30).
    assert_eq!(comparison.break_even_utilization, Some(dec("0.333333")));
    assert_eq!(comparison.utilization, Some(dec("0.5")));
    assert_eq!((comparison.same_capacity.amount, comparison.same_work.amount), (dec("2.40"), dec("1.20")));
}

#[test]
fn two_currencies_never_mix() {
    let mut inputs = four_hour_inputs(GroupBy::Model);
    inputs.prices = vec![rent("cloud", "0.60", date(2024, 1, 1))];
    inputs.prices[0].currency = gpuledger_tco::money::Currency::USD;
    let error = evaluate(&inputs).unwrap_err().to_string();
    assert_eq!(
        error,
        "the price of cloud (prices.csv line 2) is in USD and the statement in EUR: give it in EUR"
    );
}

#[test]
fn active_time_of_nobody_belongs_to_somebody_unknown() {
    let mut inputs = four_hour_inputs(GroupBy::Owner);
    inputs.usage.gpu_rows[0].owner = NOBODY;
    inputs.usage.gpu_rows[1].owner = UNKNOWN;
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(totals(&statement), ["(free) 0.18", "(unknown) 0.65", "(unmonitored) 0.17"]);
}

#[test]
fn a_row_that_points_nowhere_is_refused() {
    let mut inputs = four_hour_inputs(GroupBy::Owner);
    inputs.usage.gpu_rows[0].gpu = 7;
    assert!(matches!(evaluate(&inputs), Err(TcoError::UnknownRow { what: "GPU", number: 7, .. })));
}

#[test]
fn a_period_that_is_not_over_counts_to_now() {
    let mut inputs = inputs(period("2024-02-01", "2024-04-01"), GroupBy::Month, usage(&["n1"], 8, &[]));
    inputs.assets.push(server("SN1", "n1", "300000"));
    inputs.sites[0].tariff = Some(flat("1"));
    for after in [0, 12] {
        let mut later = row(hour("2024-02-15", after), 0, 2);
        (later.active_ms, later.counter_mj) = (HOUR_MS, KWH);
        inputs.usage.gpu_rows.push(later);
    }
    // Half of the 29 days of February, and half an hour.
    let now = hour("2024-02-15", 12).start_ms();
    inputs.as_of_ms = Some(now);
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(statement.hours.in_service, Decimal::from(8 * 348));
    assert_eq!(family(&statement, Family::Depreciation), Decimal::from(2_500));
    assert_eq!(family(&statement, Family::Energy), Decimal::ONE, "the later row is in the future");
    assert!(
        statement.notes[0]
            .starts_with("The period is not over: time, energy and cost are counted to 2024-02-15T12")
    );
}

#[test]
fn a_year_of_months_in_a_half_hour_zone_costs_the_yearly_amount() {
    let india = gpuledger_tco::calendar::Calendar::new(jiff::tz::TimeZone::get("Asia/Kolkata").unwrap());
    let mut whole = inputs(period("2023-01-01", "2024-01-01"), GroupBy::Month, usage(&["n1"], 1, &[]));
    whole.calendar = india;
    whole.overheads = four_hour_inputs(GroupBy::Month).overheads;
    let at = |text: &str| text.parse().unwrap();
    // The year begins at 18:30 UTC, so its rows begin at 19:00.
    whole.period =
        gpuledger_tco::calendar::Period::new(at("2022-12-31T19:00:00Z"), at("2023-12-31T19:00:00Z")).unwrap();
    let statement = evaluate(&whole).unwrap();
    check_sums(&statement);
    assert_eq!(statement.groups.len(), 12);
    assert_eq!(statement.total.amount, dec("878.40"));
}

#[test]
fn a_serial_that_stands_twice_is_refused() {
    let mut inputs = inputs(period("2024-02-01", "2024-03-01"), GroupBy::Node, usage(&["n1"], 8, &[]));
    inputs.assets = vec![server("SN1", "n1", "1"), server("SN1", "n2", "1")];
    let error = evaluate(&inputs).unwrap_err().to_string();
    assert_eq!(error, "serial SN1 (fleet.toml line 9) is used twice: expected one asset");
}
