//! `compare` and `split`: own against rent, levers, business models, the market and the best split.

use crate::decide::market::Earned;
use crate::decide::{ModelRow, Quantiles, Split, Swing};
use crate::formulas::{self, Formula};
use crate::money::Currency;
use crate::pools::input;
use crate::sheet::{Sheet, Why};
use crate::statement::Input;
use rust_decimal::Decimal;

fn all(formula_id: Formula, inputs: Vec<Input>) -> Vec<Why> {
    vec![Why { column: String::new(), formula_id, inputs }]
}

/// One lever at a time, the largest swing first.
pub fn tornado(name: &str, swings: &[Swing], by: Decimal, currency: Currency) -> Sheet {
    let code = currency.code();
    let columns = [
        ("lever", ""),
        ("low value", ""),
        ("gain at low", code),
        ("high value", ""),
        ("gain at high", code),
        ("swing", code),
        ("decides", ""),
    ];
    let title = format!(
        "What owning {name} gains, each lever moved by {} %",
        (by.saturating_mul(Decimal::ONE_HUNDRED)).normalize()
    );
    let mut sheet = Sheet::new(&format!("tornado/{name}"), &title, currency, &columns);
    for swing in swings {
        let cells = vec![
            swing.lever.name().into(),
            crate::decimal::round(swing.low.0, 6).normalize().into(),
            currency.round(swing.low.1).into(),
            crate::decimal::round(swing.high.0, 6).normalize().into(),
            currency.round(swing.high.1).into(),
            currency.round(swing.swing).into(),
            if swing.decides { "yes" } else { "no" }.into(),
        ];
        let inputs = vec![
            input("advantage at the low value", swing.low.1, code, formulas::ADVANTAGE.id),
            input("advantage at the high value", swing.high.1, code, formulas::ADVANTAGE.id),
            input("moved by", by, "", "what-if"),
        ];
        sheet.push(swing.lever.name(), cells, all(formulas::ADVANTAGE, inputs));
    }
    sheet
}

/// The spread of the advantage of owning, with the seed that it can be found again by.
pub fn quantiles(name: &str, of: &Quantiles, by: Decimal, currency: Currency) -> Sheet {
    let code = currency.code();
    let mut sheet = Sheet::new(
        &format!("quantiles/{name}"),
        &format!("What owning {name} gains, all levers drawn at once"),
        currency,
        &[("quantile", ""), ("owning gains", code)],
    );
    for (name, value) in [("P10", of.p10), ("P50", of.p50), ("P90", of.p90)] {
        let inputs = vec![
            input("draws", Decimal::from(of.draws), "", "what-if"),
            input("seed", Decimal::from(of.seed), "", "recorded"),
            input("levers moved by at most", by, "", "what-if"),
        ];
        sheet.push(name, vec![name.into(), currency.round(value).into()], all(formulas::ADVANTAGE, inputs));
    }
    let percent = of.owning_better.saturating_mul(Decimal::ONE_HUNDRED).normalize();
    sheet.notes.push(format!("Owning is better in {percent} % of {} draws (seed {}).", of.draws, of.seed));
    sheet
}

/// The best split for the load of a model, a row a figure.
pub fn split(model: &str, split: &Split, currency: Currency) -> Sheet {
    let code = currency.code();
    let mut sheet = Sheet::new(
        &format!("split/{model}"),
        &format!("{model}: own the base, rent the peaks"),
        currency,
        &[("figure", ""), ("value", ""), ("unit", "")],
    );
    let money = |value: Decimal| Some(currency.round(value));
    let facts = || {
        vec![
            input("hours measured", Decimal::from(split.hours_measured), "hours", "ledger"),
            input("threshold", split.threshold_hours.unwrap_or_default(), "hours a year", "F ÷ (p − v)"),
            input("owned hours", split.owned_hours, "GPU-hours/year", "ledger"),
            input("rented hours", split.rented_hours, "GPU-hours/year", "ledger"),
        ]
    };
    let count = |count: u32| Some(Decimal::from(count));
    let rows = [
        ("own", "GPUs to own", count(split.own), ""),
        ("own_p10", "in the lowest tenth of drawn years", count(split.own_p10), ""),
        ("own_p90", "in the highest tenth of drawn years", count(split.own_p90), ""),
        ("peak", "highest load", count(split.peak), "GPUs"),
        (
            "threshold",
            "hours of use above which a GPU is worth owning",
            split.threshold_hours.map(|t| crate::decimal::round(t, 1)),
            "hours/year",
        ),
        (
            "owned_hours",
            "hours on own GPUs",
            Some(crate::decimal::round(split.owned_hours, 1)),
            "GPU-hours/year",
        ),
        (
            "rented_hours",
            "hours to rent",
            Some(crate::decimal::round(split.rented_hours, 1)),
            "GPU-hours/year",
        ),
        ("cost", "cost of this split", money(split.cost), code),
        ("cost_own_all", "cost of owning the peak", money(split.cost_own_all), code),
        ("cost_rent_all", "cost of renting all", money(split.cost_rent_all), code),
        ("saving", "saving against the cheaper of both", money(split.saving), code),
    ];
    for (id, label, value, unit) in rows {
        sheet.push(id, vec![label.into(), value.into(), unit.into()], all(formulas::SPLIT, facts()));
    }
    let weeks = split.hours_measured.checked_div(168).unwrap_or_default();
    sheet.notes.push(format!(
        "Drawn from {weeks} measured {}, 200 times (seed {}): between {} and {} GPUs in eight of ten years.",
        if weeks == 1 { "week" } else { "weeks" },
        split.seed,
        split.own_p10,
        split.own_p90
    ));
    if weeks < 4 {
        sheet.notes.push("Less than four weeks were measured: a season may be missing.".to_owned());
    }
    sheet
}

/// Business models on one page, the best first.
pub fn models(rows: &[ModelRow], currency: Currency) -> Sheet {
    let code = currency.code();
    let per_hour = format!("{code}/GPU-hour");
    let columns = [
        ("model", ""),
        ("upfront", code),
        ("first year", code),
        ("total", code),
        ("present value", code),
        ("per useful hour", per_hour.as_str()),
        ("over best", "%"),
    ];
    let mut sheet = Sheet::new("models", "Business models for the same work", currency, &columns);
    for row in rows {
        let cells = vec![
            row.name.as_str().into(),
            currency.round(row.upfront).into(),
            currency.round(row.first_year).into(),
            currency.round(row.total).into(),
            currency.round(row.present_value).into(),
            crate::decimal::round(row.per_useful_hour, 4).into(),
            crate::decimal::round(row.over_best.saturating_mul(Decimal::ONE_HUNDRED), 1).into(),
        ];
        let inputs = vec![
            input("upfront", row.upfront, code, &row.name),
            input("first year", row.first_year, code, &row.name),
            input("total", row.total, code, &row.name),
        ];
        sheet.push(&row.name, cells, all(formulas::LEVELISED, inputs));
        if row.too_small {
            sheet.notes.push(format!("{} cannot do the work with its GPUs.", row.name));
        }
    }
    sheet
}

/// What free hours would have earned, a row a model.
pub fn market(rows: &[Earned], currency: Currency) -> Sheet {
    let columns = [
        ("model", ""),
        ("free", "hours"),
        ("sold", "hours"),
        ("earned", currency.code()),
        ("without price", "hours"),
    ];
    let mut sheet = Sheet::new("market", "What free hours would have earned", currency, &columns);
    for row in rows {
        let cells = vec![
            row.model.as_str().into(),
            crate::decimal::round(row.free_hours, 2).into(),
            crate::decimal::round(row.sold_hours, 2).into(),
            currency.round(row.earned).into(),
            crate::decimal::round(row.unpriced_hours, 2).into(),
        ];
        let inputs = vec![
            input("free hours with a price", row.free_hours, "GPU-hours", "ledger"),
            input("sold hours", row.sold_hours, "GPU-hours", &row.sources.join("; ")),
        ];
        sheet.push(&row.model, cells, all(formulas::MARKET, inputs));
    }
    sheet
}
