//! `split`: how many GPUs of each model to own for the load that was measured, how many hours to rent, and
//! what free hours would have earned.

use super::super::CostingError;
use super::super::count::{Counted, count_with};
use super::case::{PRICE_KEY, offers};
use super::{Asked, Sheets};
use gpuledger_tco::TcoError;
use gpuledger_tco::decide::measured::{Measured, measured_of};
use gpuledger_tco::decide::{FreeTime, LoadCurve, Offer, best_split, market_value};
use gpuledger_tco::service::NO_GPU;
use gpuledger_tco::sheets;
use gpuledger_tco::usage::Usage;
use std::collections::BTreeMap;

/// Load of each model and free time, while rows come.
struct Loads {
    curves: BTreeMap<String, LoadCurve>,
    model_of: Vec<String>,
    free: FreeTime,
}

/// The best split.
pub async fn split(of: Asked<'_>, seed: Option<u64>) -> Result<Sheets, CostingError> {
    const NAME: &str = "report split";
    let missing = |what: String| CostingError::Missing { report: NAME, what, key: PRICE_KEY };
    if of.fleet.prices.is_empty() {
        return Err(missing("rent prices".to_owned()));
    }
    let begin = |usage: &Usage| {
        let model_of: Vec<String> = usage.gpus.iter().map(|gpu| gpu.model.clone()).collect();
        let curves = model_of.iter().map(|model| (model.clone(), LoadCurve::new(of.period))).collect();
        Loads { curves, model_of, free: FreeTime::new(usage, of.period) }
    };
    let add = |loads: &mut Loads, row: &gpuledger_tco::usage::GpuRow| {
        let model = usize::try_from(row.gpu).ok().and_then(|gpu| loads.model_of.get(gpu));
        if let Some(curve) = model.and_then(|model| loads.curves.get_mut(model)) {
            curve.add(row);
        }
        loads.free.add(row);
    };
    let (counted, loads) = count_with(of.ledger, of.fleet, of.period, Some(of.now), begin, add).await?;
    let mut sheets = Sheets { simulated: counted.inputs.usage.simulated, ..Sheets::default() };
    let seed = seed.unwrap_or(of.fleet.comparison.seed);
    for model in measured_of(&counted.evaluation, &counted.inputs)?.iter().filter(|m| m.model != NO_GPU) {
        let Some(curve) = loads.curves.get(&model.model) else { continue };
        of_model(of, &counted, model, curve, seed, &mut sheets)?;
    }
    if sheets.sheets.is_empty() {
        return Err(missing(format!("a rent price for a model in use ({})", sheets.notes.join(" "))));
    }
    market(of, &counted, &loads.free, &mut sheets)?;
    sheets.checked()
}

fn of_model(
    of: Asked<'_>,
    counted: &Counted,
    measured: &Measured,
    curve: &LoadCurve,
    seed: u64,
    sheets: &mut Sheets,
) -> Result<(), CostingError> {
    let model = &measured.model;
    let mut hourly: Vec<_> = offers(of, counted, model)?
        .into_iter()
        .map(|offer| Ok::<(_, Offer), TcoError>((offer.per_useful_hour()?, offer)))
        .collect::<Result<_, _>>()?;
    hourly.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
    let Some((rent, offer)) = hourly.first() else {
        sheets.notes.push(format!("{model} is not split: no rent price in force matches it."));
        return Ok(());
    };
    let Some(prices) = measured.prices(*rent) else {
        sheets.notes.push(format!("{model} is not split: nobody owned an hour of it in the period."));
        return Ok(());
    };
    if measured.purchase.is_zero() {
        sheets.notes.push(format!(
            "No asset of the register was bought for {model}: owning it seems to cost next to nothing."
        ));
    }
    let found = best_split(&curve.loads(hours_counted(counted)), prices, seed)?;
    let currency = counted.inputs.currency;
    let mut sheet = sheets::split(model, &found, currency);
    let facts = [
        (
            "owning one GPU for a year",
            prices.own_per_year,
            format!("{currency}/GPU and year"),
            "report tco --by model",
        ),
        (
            "an own hour in use",
            prices.own_per_hour,
            format!("{currency}/GPU-hour"),
            "electricity of report tco",
        ),
        (
            "rent of a useful hour",
            prices.rent_per_hour,
            format!("{currency}/GPU-hour"),
            offer.source.as_str(),
        ),
    ];
    for why in sheet.rows.iter_mut().flat_map(|row| &mut row.why) {
        why.inputs.extend(facts.iter().map(|(name, value, unit, source)| gpuledger_tco::statement::Input {
            name: (*name).to_owned(),
            value: *value,
            unit: unit.clone(),
            source: (*source).to_owned(),
        }));
    }
    sheet.notes.push(format!(
        "Rented from {}, the cheapest for the same work; owned are {} GPUs now.",
        offer.name, measured.gpus
    ));
    sheets.sheets.push(sheet);
    Ok(())
}

/// Hours of the period that are over.
fn hours_counted(counted: &Counted) -> usize {
    let ms = counted.inputs.until_ms() - counted.inputs.period.from().start_ms();
    usize::try_from(ms / 3_600_000).unwrap_or_default()
}

fn market(
    of: Asked<'_>,
    counted: &Counted,
    free: &FreeTime,
    sheets: &mut Sheets,
) -> Result<(), CostingError> {
    let Some(terms) = of.fleet.market else {
        sheets.notes.push(
            "What free hours would have earned is not told: add [market] with fee, sold and cost_per_hour to \
             the register."
                .to_owned(),
        );
        return Ok(());
    };
    let free = free.by_day(&counted.inputs.calendar)?;
    let earned = market_value(&free, &counted.inputs.prices, terms)?;
    let mut sheet = sheets::market(&earned, counted.inputs.currency);
    sheet.notes.push(format!(
        "At the lowest price of the day; {} % of the free hours sold, {} % fee, {} an hour for what a sold hour \
         draws more.",
        (terms.sold * rust_decimal::Decimal::ONE_HUNDRED).normalize(),
        (terms.fee * rust_decimal::Decimal::ONE_HUNDRED).normalize(),
        terms.cost_per_hour.normalize()
    ));
    sheets.sheets.push(sheet);
    Ok(())
}
