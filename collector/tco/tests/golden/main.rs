//! The project's collection of worked money cases, `../shared/money/golden.json`, read in place: one test
//! for each id, under its name. Where the collection is absent each says so and skips; what it shows is
//! then still shown by the unit tests of the functions and by `built_in`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod built_in;
mod case;
mod depreciation;
mod fleet;
#[path = "../support/mod.rs"]
mod support;
mod time_value;

use case::{Case, Got};

/// A test for each id: its name is `golden_` and the id with `_` for `-`.
macro_rules! golden {
    ($($name:ident $id:literal $function:path;)*) => {
        $(#[test]
        fn $name() {
            Case::check($id, $function);
        })*

        /// Every id that has a test, and the name of that test.
        const TESTS: &[(&str, &str)] = &[$(($id, stringify!($name))),*];
    };
}

golden! {
    golden_dep_sln_emacs "dep-sln-emacs" depreciation::sln;
    golden_dep_sln_excel "dep-sln-excel" depreciation::sln;
    golden_dep_syd_excel "dep-syd-excel" depreciation::syd;
    golden_dep_db_excel "dep-db-excel" depreciation::db;
    golden_dep_ddb_excel "dep-ddb-excel" depreciation::ddb;
    golden_dep_vdb_excel "dep-vdb-excel" depreciation::vdb;
    golden_macrs_hy_3yr "macrs-hy-3yr" depreciation::macrs_table;
    golden_macrs_hy_5yr "macrs-hy-5yr" depreciation::macrs_table;
    golden_macrs_hy_7yr "macrs-hy-7yr" depreciation::macrs_table;
    golden_macrs_mq1_3yr "macrs-mq1-3yr" depreciation::macrs_table;
    golden_macrs_mq1_5yr "macrs-mq1-5yr" depreciation::macrs_table;
    golden_macrs_mq1_7yr "macrs-mq1-7yr" depreciation::macrs_table;
    golden_macrs_mq2_3yr "macrs-mq2-3yr" depreciation::macrs_table;
    golden_macrs_mq2_5yr "macrs-mq2-5yr" depreciation::macrs_table;
    golden_macrs_mq2_7yr "macrs-mq2-7yr" depreciation::macrs_table;
    golden_macrs_mq3_3yr "macrs-mq3-3yr" depreciation::macrs_table;
    golden_macrs_mq3_5yr "macrs-mq3-5yr" depreciation::macrs_table;
    golden_macrs_mq3_7yr "macrs-mq3-7yr" depreciation::macrs_table;
    golden_macrs_mq4_3yr "macrs-mq4-3yr" depreciation::macrs_table;
    golden_macrs_mq4_5yr "macrs-mq4-5yr" depreciation::macrs_table;
    golden_macrs_mq4_7yr "macrs-mq4-7yr" depreciation::macrs_table;
    golden_macrs_pub946_furniture "macrs-pub946-furniture" depreciation::macrs_whole_dollars;
    golden_macrs_pub946_notables "macrs-pub946-notables" depreciation::macrs_without_tables;
    golden_tax_bonus_100 "tax-bonus-100" depreciation::macrs_bonus;
    golden_tax_bonus_40 "tax-bonus-40" depreciation::macrs_bonus;
    golden_dep_change_estimate "dep-change-estimate" depreciation::change_of_estimate;
    golden_dep_life_sensitivity "dep-life-sensitivity" depreciation::life_sensitivity;
    golden_impairment_asc360 "impairment-asc360" depreciation::impairment;
    golden_tvm_npv_numpy "tvm-npv-numpy" time_value::npv_numpy;
    golden_tvm_npv_excel "tvm-npv-excel" time_value::npv_excel;
    golden_tvm_irr_numpy "tvm-irr-numpy" time_value::irr;
    golden_tvm_xirr_excel "tvm-xirr-excel" time_value::xirr;
    golden_tvm_xnpv_excel "tvm-xnpv-excel" time_value::xnpv;
    golden_tvm_pmt_numpy "tvm-pmt-numpy" time_value::pmt;
    golden_tvm_pmt_excel "tvm-pmt-excel" time_value::pmt_end_and_begin;
    golden_tvm_fv_pv_nper "tvm-fv-pv-nper" time_value::fv_pv_nper;
    golden_wacc "wacc" time_value::wacc;
    golden_dc_37signals "dc-37signals" time_value::cloud_exit;
    golden_dc_clustermax_total "dc-clustermax-total" time_value::total_of_months;
    golden_dc_clustermax_relative "dc-clustermax-relative" time_value::relative;
    golden_dc_gpu_tco_aiinframap "dc-gpu-tco-aiinframap" fleet::purchase_and_power;
    golden_dc_opencost_ratio "dc-opencost-ratio" fleet::scaled_to_node_price;
    golden_dc_llama3_failures "dc-llama3-failures" fleet::failures;
    golden_power_tou_demand "power-tou-demand" fleet::time_of_use_and_demand;
    golden_tco_own_vs_rent "tco-own-vs-rent" fleet::own_or_rent;
    golden_carbon_location "carbon-location" fleet::carbon;
    golden_alloc_largest_remainder "alloc-largest-remainder" fleet::largest_remainder;
}

#[test]
fn golden_every_id_of_the_collection_has_a_test_under_its_name() {
    for (id, name) in TESTS {
        assert_eq!(*name, format!("golden_{}", id.replace('-', "_")));
    }
    let Some(cases) = case::collection() else { return };
    let known = |id: &str| TESTS.iter().any(|(of, _)| *of == id);
    let without: Vec<&str> = cases.iter().map(|case| case.id.as_str()).filter(|id| !known(id)).collect();
    assert!(without.is_empty(), "no test for {without:?}: add a line to `golden!`");
    let gone: Vec<_> = TESTS.iter().filter(|(id, _)| !cases.iter().any(|case| case.id == *id)).collect();
    assert!(gone.is_empty(), "not in the collection: {gone:?}");
}

/// What is given and expected, without the collection.
fn built_in(
    inputs: &serde_json::Value,
    expected: &serde_json::Value,
    tolerance: &str,
    of: fn(&serde_json::Value) -> Got,
) {
    let case = Case {
        id: "built in".to_owned(),
        inputs: inputs.clone(),
        expected: expected.clone(),
        tolerance: tolerance.parse().unwrap(),
    };
    case.compare(of);
}
