//! A statement that tests of formats share: two months, every family, a comparison, awkward names.

use gpuledger_tco::money::{Currency, Money};
use gpuledger_tco::statement::{
    Comparison, Coverage, Family, Group, GroupBy, Input, Line, Rates, StateHours, Statement,
};
use rust_decimal::Decimal;

pub fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn line(group: &str, family: Family, label: &str, amount: &str) -> Line {
    let input = |name: &str, value: &str, unit: &str, source: &str| Input {
        name: name.into(),
        value: d(value),
        unit: unit.into(),
        source: source.into(),
    };
    Line {
        id: format!("{}/dc1/{group}", super::family_name(family).to_lowercase().replace(' ', "-")),
        group: group.into(),
        family,
        label: label.into(),
        amount: d(amount),
        exact: d(amount),
        currency: Currency::EUR,
        formula_id: gpuledger_tco::formulas::ENERGY,
        formula: "quantity × price".into(),
        inputs: vec![
            input("quantity", "18234.5612", "kWh", "ledger"),
            input("price", "0.1871", "EUR/kWh", "fleet.toml: site dc1"),
        ],
    }
}

fn group(name: &str, scale: u32, total: &str) -> Group {
    let hours = |text: &str| d(text) * Decimal::from(scale);
    Group {
        name: name.into(),
        gpus: 32,
        hours: StateHours {
            in_service: hours("11904"),
            active: hours("7320.4"),
            held_idle: hours("1833.6"),
            free: hours("2106"),
            down: hours("192"),
            unmonitored: hours("452"),
        },
        energy_kwh: d("18234.5612"),
        carbon_kg: Some(d("6321.9")),
        total: Money::new(d(total), Currency::EUR),
        rates: Rates {
            per_hour_in_service: Some(d("2.13981")),
            per_hour_active: Some(d("3.4797")),
            per_hour_owned: Some(d("2.7827")),
        },
    }
}

/// Lines that sum to their groups and groups that sum to the total.
pub fn statement() -> Statement {
    let months = [
        ("2026-09", ["17204.12", "3120.50", "3411.09", "-250.00", "1986.65"]),
        ("2026-10", ["17204.13", "3120.49", "3290.31", "1200.00", "1986.65"]),
    ];
    let mut lines = Vec::new();
    let mut groups = Vec::new();
    for (month, amounts) in months {
        let labels = [
            "Straight-line depreciation of 4 servers",
            "Capital charge on the mean book value",
            "Electricity of <gpu-01> & others at dc1",
            "Colocation, 42 kW committed",
            "Staff and spares",
        ];
        let total: Decimal = amounts.iter().map(|a| d(a)).sum();
        for ((family, label), amount) in super::FAMILIES.into_iter().zip(labels).zip(amounts) {
            lines.push(line(month, family, label, amount));
        }
        groups.push(group(month, 1, &total.to_string()));
    }
    let total: Decimal = groups.iter().map(|g| g.total.amount).sum();
    Statement {
        title: "GPU cost statement".into(),
        from: "2026-09-01T00:00:00Z".into(),
        to: "2026-11-01T00:00:00Z".into(),
        currency: Currency::EUR,
        by: GroupBy::Month,
        lines,
        hours: group("", 2, "0").hours,
        groups,
        energy_kwh: d("36469.1224"),
        carbon_kg: Some(d("12643.8")),
        total: Money::new(total, Currency::EUR),
        rates: group("", 1, "0").rates,
        coverage: Coverage {
            observed_ratio: Some(d("0.96203")),
            counted_energy_ratio: Some(d("0.9991")),
            gap_energy_ratio: Some(d("0.0123")),
        },
        comparisons: vec![comparison()],
        notes: vec![
            "The price of aws p5.48xlarge is 143 days old: a comparison with today's price may differ."
                .into(),
            "2 GPUs were seen that no asset names: their energy is in the statement, their depreciation is \
             not. Register them with import assets or in fleet.toml."
                .into(),
        ],
        simulated: true,
    }
}

fn comparison() -> Comparison {
    let eur = |text: &str| Money::new(d(text), Currency::EUR);
    Comparison {
        offer: "aws p5.48xlarge us-east-1, on demand".into(),
        model: "NVIDIA H100 80GB HBM3".into(),
        price_per_gpu_hour: d("6.34"),
        price_source: "in force from 2026-06-11, prices.csv line 12; 1 USD = 0.921 EUR".into(),
        same_capacity: eur("150942.72"),
        same_work: eur("116072.72"),
        own: eur("52273.94"),
        break_even_utilization: Some(d("0.3464")),
        utilization: Some(d("0.7690")),
        formula: "same capacity = price × GPU-hours in service".into(),
        inputs: Vec::new(),
    }
}
