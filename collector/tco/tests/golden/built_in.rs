//! Cases through the whole engine that are run without the collection too.

use crate::{built_in, fleet, time_value};
use serde_json::json;

/// A server for 300,000 over four years against renting eight GPUs.
#[test]
fn own_or_rent_breaks_even_where_it_was_computed_by_hand() {
    built_in(
        &json!({
            "capex": 300_000, "life_years": 4, "residual": 0.2, "peak_kw": 10.2, "avg_load": 0.75, "pue": 1.3,
            "price_kwh": 0.08, "colo_per_kw_month": 196, "opex_share": 0.06, "gpus": 8,
            "cloud_price_gpu_h": [6.88, 2.95, 2.6],
        }),
        &json!({
            "annual": 108_959.86, "per_gpu_h_at_100": 1.554_792, "breakeven": [0.225_987, 0.527_048, 0.597_997],
        }),
        "0.005",
        fleet::own_or_rent,
    );
}

/// Purchase of 1024 GPUs, and their power for five years.
#[test]
fn a_cluster_costs_its_purchase_and_its_power() {
    built_in(
        &json!({
            "gpus": 1024, "capex_per_gpu": {"B200": 40_000}, "tdp_kw": {"B200": 1.0}, "utilization": 0.7,
            "pue": 1.2, "price_kwh": 0.08, "years": 5,
        }),
        &json!({"B200": {"acq": 40_960_000, "power": 3_010_000, "total": 43_970_000}}),
        "5100",
        fleet::purchase_and_power,
    );
}

#[test]
fn leaving_the_cloud_pays_back_in_months() {
    built_in(
        &json!({"before": 3_200_000, "after": 1_300_000, "hardware": 700_000}),
        &json!({
            "annual_saving": 1_900_000, "payback_months_at_run_rate": 4.42, "five_year_compute_only_net": 8_800_000,
        }),
        "0.005",
        time_value::cloud_exit,
    );
}
