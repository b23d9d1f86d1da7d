//! `compare`: what owning costs, and every offer beside it.

use crate::decide::{Case, Derived, Verdict};
use crate::error::TcoError;
use crate::sheet::{Cell, Sheet, Why};
use rust_decimal::Decimal;

/// What owning the GPUs of a model means, a row a figure: what is the same whatever it is held against.
pub fn owning(model: &str, case: &Case, verdict: &Verdict) -> Sheet {
    let name = format!("own/{model}");
    let title = format!("What owning {model} costs, over {} years", case.years);
    let own = ["own_cash", "npv_own", "levelised_own"];
    let figures: Vec<Derived> =
        verdict.figures.iter().filter(|figure| own.contains(&figure.id.as_str())).cloned().collect();
    Sheet::of_figures(&name, &title, case.currency, &figures)
}

/// Every offer against owning, a row an offer.
pub fn offers(model: &str, judged: &[(Case, Verdict)]) -> Result<Sheet, TcoError> {
    let Some((first, _)) = judged.first() else {
        return crate::finance::refuse("the comparison", "number of offers", &0, "at least one");
    };
    let code = first.currency.code();
    let hourly = format!("{code}/hour");
    let yearly = format!("{code}/year");
    let columns = [
        ("offer", ""),
        ("price", hourly.as_str()),
        ("levelised", hourly.as_str()),
        ("same work", yearly.as_str()),
        ("same capacity", yearly.as_str()),
        ("break-even", "% in use"),
        ("payback", "months"),
        ("NPV of rent", code),
        ("owning gains", code),
        ("IRR", "%/year"),
    ];
    let title = format!("{model}: own or rent");
    let mut sheet = Sheet::new(&format!("offers/{model}"), &title, first.currency, &columns);
    for (case, verdict) in judged {
        let value = |id: &str| verdict.value(id);
        let percent = |id: &str| -> Cell {
            value(id).map(|share| crate::decimal::round(share.saturating_mul(Decimal::ONE_HUNDRED), 1)).into()
        };
        let four = |value: Decimal| crate::decimal::round(value, 4);
        let cells = vec![
            case.offer.name.as_str().into(),
            four(case.offer.per_gpu_hour).into(),
            value("levelised_rent").map(four).into(),
            value("same_work").into(),
            value("same_capacity").into(),
            percent("break_even"),
            value("payback").map(|months| crate::decimal::round(months, 1)).into(),
            value("npv_rent").into(),
            value("advantage").into(),
            percent("irr"),
        ];
        let of = [
            ("levelised", "levelised_rent"),
            ("same work", "same_work"),
            ("same capacity", "same_capacity"),
            ("break-even", "break_even"),
            ("payback", "payback"),
            ("NPV of rent", "npv_rent"),
            ("owning gains", "advantage"),
            ("IRR", "irr"),
        ];
        let why = of.iter().filter_map(|(column, id)| {
            let figure = verdict.figures.iter().find(|figure| figure.id == *id)?;
            Some(Why {
                column: (*column).to_owned(),
                formula_id: figure.formula_id,
                inputs: figure.inputs.clone(),
            })
        });
        sheet.push(&case.offer.name, cells, why.collect());
        sheet.notes.extend(verdict.notes.iter().map(|note| format!("{}: {note}", case.offer.name)));
    }
    if judged.iter().any(|(_, verdict)| verdict.value("break_even").is_some_and(|even| even > Decimal::ONE)) {
        sheet.notes.push("A break-even above 100 % means that renting is cheaper at any use.".to_owned());
    }
    Ok(sheet)
}
