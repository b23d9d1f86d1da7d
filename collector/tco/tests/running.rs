//! Running costs through the whole engine: time of use, demand, taxes, PUE by hour, overheads by key.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod support;

use gpuledger_tco::calendar::Month;
use gpuledger_tco::energy::{Contract, Intensity, Series, Tariff};
use gpuledger_tco::evaluate;
use gpuledger_tco::evaluate::Inputs;
use gpuledger_tco::facility::{Charge, Colocation, Key, Overage, Overhead};
use gpuledger_tco::statement::{Family, GroupBy, Statement};
use gpuledger_tco::supply::{Demand, Tax};
use gpuledger_tco::time_of_use::{Band, Days, TimeOfUse, Window};
use gpuledger_tco::usage::GpuRow;
use jiff::civil::date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use support::*;

/// Four days of two GPUs of two teams: `a` draws 1 kWh in each hour, `b` 3 kWh at noon only.
fn two_teams(from: &str, to: &str, by: GroupBy) -> Inputs {
    let period = period(from, to);
    let mut usage = usage(&["n1"], 2, &["a", "b"]);
    for after in 0..period.hours() {
        let active = GpuRow { active_ms: HOUR_MS, counter_mj: KWH, ..row(hour(from, after), 0, 2) };
        usage.gpu_rows.push(active);
        if after % 24 == 12 {
            let noon = GpuRow { gpu: 1, owner: 3, counter_mj: 3 * KWH, ..active };
            usage.gpu_rows.push(noon);
        }
    }
    inputs(period, by, usage)
}

fn amounts(statement: &Statement) -> Vec<String> {
    statement.lines.iter().map(|line| format!("{} {} {}", line.id, line.group, line.amount)).collect()
}

fn time_of_use(zone: &str) -> TimeOfUse {
    let band = |name: &str, hours: (i8, i8), price: &str| Band {
        name: name.to_owned(),
        season: None,
        window: Window { days: Days::ALL, from_hour: hours.0, to_hour: hours.1 },
        per_kwh: dec(price),
    };
    TimeOfUse {
        zone: TimeZone::get(zone).unwrap(),
        seasons: Vec::new(),
        holidays: Vec::new(),
        bands: vec![band("night", (0, 12), "0.10"), band("day", (12, 24), "0.20")],
        source: "tariff.toml".to_owned(),
    }
}

#[test]
fn time_of_use_is_that_of_the_site_also_when_clocks_change() {
    // 31 March 2024 in Berlin has 23 hours: eleven of night, twelve of day.
    let mut inputs = two_teams("2024-03-30", "2024-04-01", GroupBy::Site);
    inputs.usage.gpu_rows.retain(|row| row.gpu == 0);
    let berlin =
        |day: &str| format!("{day}T00:00[Europe/Berlin]").parse::<jiff::Zoned>().unwrap().timestamp();
    inputs.period = gpuledger_tco::calendar::Period::new(berlin("2024-03-31"), berlin("2024-04-01")).unwrap();
    inputs.sites[0].tariff = Some(Tariff::TimeOfUse(Box::new(time_of_use("Europe/Berlin"))));
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    assert_eq!(statement.energy_kwh, dec("23"));
    assert_eq!(statement.total.amount, dec("3.50"));
}

#[test]
fn contracts_follow_each_other_without_gap_or_overlap() {
    let contract = |from: &str, to: Option<&str>, price: &str| Contract {
        from: hour(from, 0),
        to: to.map(|to| hour(to, 0)),
        tariff: flat(price),
    };
    let mut inputs = two_teams("2024-05-17", "2024-05-19", GroupBy::Site);
    let mut of = |contracts| {
        inputs.sites[0].tariff = Some(Tariff::Contracts(contracts));
        evaluate(&inputs)
    };
    let old = contract("2024-01-01", Some("2024-05-18"), "1");
    let statement = of(vec![old.clone(), contract("2024-05-18", None, "2")]).unwrap();
    assert_eq!(statement.total.amount, dec("81.00"), "27 kWh of each day");
    let gap = of(vec![old.clone(), contract("2024-05-19", None, "2")]).unwrap_err().to_string();
    assert!(
        gap.contains("expected the hour in which the contract before it ends: no gap and no overlap"),
        "{gap}"
    );
    assert!(of(vec![contract("2024-01-01", None, "1"), contract("2024-05-18", None, "2")]).is_err());
    let ended = of(vec![old]).unwrap_err().to_string();
    assert!(ended.contains("used electricity at 2024-05-18T00:00:00Z"), "{ended}");
}

fn demand(ratchet: &str) -> Demand {
    Demand {
        per_kw: eur("15"),
        windows: Vec::new(),
        zone: TimeZone::UTC,
        holidays: Vec::new(),
        ratchet: dec(ratchet),
        metered: Vec::new(),
        source: "tariff.toml line 9".to_owned(),
    }
}

#[test]
fn demand_is_paid_by_whoever_drew_in_the_peak_hour() {
    let mut inputs = two_teams("2024-02-01", "2024-03-01", GroupBy::Owner);
    inputs.sites[0].pue = dec("1.25");
    inputs.sites[0].supply.demand = Some(demand("0"));
    inputs.sites[0].supply.taxes =
        vec![Tax { name: "levy".to_owned(), share: dec("0.1"), source: "law".to_owned() }];
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    // Peak 4 kWh × 1.25 = 5 kW; three quarters of it are b's, although a uses ten times the energy.
    assert_eq!(
        amounts(&statement),
        [
            "energy/dc1/demand/a a 18.75",
            "energy/dc1/demand/tax/a a 1.88",
            "energy/dc1/n1/a a 0.00",
            "energy/dc1/demand/b b 56.25",
            "energy/dc1/demand/tax/b b 5.62",
            "energy/dc1/n1/b b 0.00",
        ]
    );
    let line = &statement.lines[0];
    assert_eq!(line.formula_id.id, "energy.demand");
    let value = |name: &str| line.inputs.iter().find(|input| input.name == name).unwrap();
    assert_eq!(value("highest power in 2024-02").value, dec("5"));
    assert_eq!(value("highest power in 2024-02").source, "ledger: highest hourly mean, 2024-02-01T12:00:00Z");
    assert_eq!(value("load in the peak hour of a in 2024-02").value, dec("1"));
}

#[test]
fn a_ratchet_and_the_meter_of_the_utility_stand_above_the_ledger() {
    let of = |demand: Demand| {
        let mut inputs = two_teams("2024-02-01", "2024-03-01", GroupBy::Site);
        inputs.sites[0].supply.demand = Some(demand);
        evaluate(&inputs).unwrap().total.amount
    };
    assert_eq!(of(demand("0.8")), dec("60.00"));
    let january = (Month { year: 2024, month: 1 }, dec("10"));
    assert_eq!(of(Demand { metered: vec![january], ..demand("0.8") }), dec("120.00"));
    let february = (Month { year: 2024, month: 2 }, dec("5"));
    assert_eq!(of(Demand { metered: vec![february], ..demand("0.8") }), dec("75.00"));
    let nights = Window { days: Days::ALL, from_hour: 0, to_hour: 6 };
    assert_eq!(of(Demand { windows: vec![nights], ..demand("0") }), dec("15.00"));
}

#[test]
fn a_pue_by_hour_is_in_price_and_emissions() {
    let from = "2024-05-17";
    let mut inputs = two_teams(from, "2024-05-18", GroupBy::Site);
    inputs.usage.gpu_rows.retain(|row| row.gpu == 0 && row.hour < hour(from, 3));
    let series = |values: [Option<&str>; 2]| Series {
        first: hour(from, 0),
        values: values.map(|value| value.map(dec)).to_vec(),
        source: "pue.csv".to_owned(),
    };
    inputs.sites[0].pue = dec("1.5");
    inputs.sites[0].tariff = Some(flat("1"));
    inputs.sites[0].intensity = Some(Intensity::Flat { g_per_kwh: dec("1000"), source: "grid".to_owned() });
    inputs.sites[0].supply.pue = Some(series([Some("1.1"), None]));
    let statement = evaluate(&inputs).unwrap();
    // 1.1 and twice the site's own 1.5.
    assert_eq!((statement.total.amount, statement.carbon_kg), (dec("4.10"), Some(dec("4.1"))));
    assert_eq!(statement.lines[0].formula_id.id, "energy.hourly_pue_series");
    let note = "23 hours have no PUE in the series of dc1: they take the site's own, 1.5.";
    assert!(statement.notes.iter().any(|said| said == note), "{:?}", statement.notes);
    inputs.sites[0].supply.pue = Some(series([Some("0.9"), None]));
    assert!(evaluate(&inputs).unwrap_err().to_string().starts_with("PUE of site dc1 is 0.9"));
}

#[test]
fn energy_above_what_a_contract_includes_is_paid_by_energy() {
    let mut inputs = two_teams("2024-02-01", "2024-03-01", GroupBy::Owner);
    inputs.sites[0].colocation = Some(Colocation {
        contracted_kw: dec("5"),
        price_per_kw_month: eur("100"),
        power_included: true,
        overage: Some(Overage { included_kwh_per_month: dec("683"), per_kwh: eur("0.5") }),
        source: "contract".to_owned(),
    });
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    // 29 days of 27 kWh are 783; 100 kWh too many.
    let overage: Decimal =
        statement.lines.iter().filter(|line| line.id.contains("overage")).map(|l| l.amount).sum();
    assert_eq!(overage, dec("50.00"));
}

#[test]
fn overheads_come_by_month_gpu_cost_and_failures_and_only_while_they_are_owed() {
    let overhead =
        |kind: &str, charge| Overhead { charge, ..Overhead::per_year(kind, None, eur("0"), "budget") };
    let mut inputs = two_teams("2024-02-01", "2024-03-01", GroupBy::Site);
    inputs.assets.push(gpuledger_tco::asset::Asset { gpus: 2, ..server("SN1", "n1", "36600") });
    inputs.overheads = vec![
        overhead("network", Charge::PerMonth(eur("290"))),
        overhead("software", Charge::PerGpuYear(eur("366"))),
        overhead("support", Charge::ShareOfCost(dec("0.1"))),
        overhead("spares", Charge::Failures { per_gpu_year: dec("0.05"), cost: eur("7320") }),
        Overhead {
            from: Some(date(2024, 2, 11)),
            to: Some(date(2024, 2, 21)),
            ..overhead("staff", Charge::PerMonth(eur("290")))
        },
    ];
    let statement = evaluate(&inputs).unwrap();
    check_sums(&statement);
    let of = |kind: &str| {
        let line =
            statement.lines.iter().find(|line| line.id.starts_with(&format!("overhead/{kind}"))).unwrap();
        (line.formula_id.id, line.amount)
    };
    assert_eq!(of("network"), ("overhead.per_month", dec("290.00")));
    // 29 of 366 days, two GPUs.
    assert_eq!(of("software"), ("overhead.per_gpu_year", dec("58.00")));
    assert_eq!(of("support"), ("overhead.share_of_cost", dec("290.00")));
    assert_eq!(of("spares"), ("overhead.spares", dec("58.00")));
    assert_eq!(of("staff"), ("overhead.per_month", dec("100.00")));
    inputs.overheads[2].charge = Charge::ShareOfCost(dec("1.1"));
    let error = evaluate(&inputs).unwrap_err().to_string();
    assert_eq!(error, "share of cost of overhead support (budget) is 1.1: expected 0 to 1 (100 %)");
}

#[test]
fn a_shared_cost_is_shared_by_its_key() {
    let shares = |key| {
        let mut inputs = two_teams("2024-02-01", "2024-03-01", GroupBy::Owner);
        inputs.overheads = vec![Overhead { key, ..Overhead::per_year("staff", None, eur("3660"), "budget") }];
        let statement = evaluate(&inputs).unwrap();
        check_sums(&statement);
        let total = |name: &str| {
            statement.groups.iter().find(|group| group.name == name).map(|group| group.total.amount)
        };
        [total("a"), total("b"), total("(unmonitored)")].map(Option::unwrap_or_default)
    };
    // a has 24 of 48 GPU-hours a day, b one, nobody looked at 23.
    assert_eq!(shares(Key::InService), ["145.00", "6.04", "138.96"].map(dec));
    assert_eq!(shares(Key::Active), ["278.40", "11.60", "0"].map(dec));
    assert_eq!(shares(Key::Owned), shares(Key::Active));
    assert_eq!(shares(Key::Energy), ["257.78", "32.22", "0"].map(dec));
}

#[test]
fn months_with_demand_and_fixed_amounts_sum_to_both() {
    let of = |from: &str, to: &str| {
        let mut inputs = two_teams(from, to, GroupBy::Month);
        inputs.sites[0].tariff = Some(flat("0.1"));
        inputs.sites[0].supply.demand = Some(demand("0"));
        inputs.sites[0].supply.fixed_per_month = Some((eur("99.99"), "tariff".to_owned()));
        let statement = evaluate(&inputs).unwrap();
        check_sums(&statement);
        statement
            .lines
            .iter()
            .filter(|line| line.family == Family::Energy)
            .map(|line| line.amount)
            .sum::<Decimal>()
    };
    assert_eq!(
        of("2024-01-01", "2024-02-01") + of("2024-02-01", "2024-03-01"),
        of("2024-01-01", "2024-03-01")
    );
}
