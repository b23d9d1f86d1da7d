//! `compare`: own or rent, model by model: every offer, the levers, the spread, and business models.

use super::super::CostingError;
use super::super::count::{Counted, count};
use super::case::{Owning, PRICE_KEY, offers};
use super::depreciation::ASSET_KEY;
use super::{Asked, Sheets};
use gpuledger_tco::decide::measured::measured_of;
use gpuledger_tco::decide::{Case, Verdict, Way, compare_models, judge, quantiles, tornado};
use gpuledger_tco::service::NO_GPU;
use gpuledger_tco::sheets;
use rust_decimal::Decimal;

/// By how much levers are moved: a fifth of themselves.
const MOVED: Decimal = Decimal::from_parts(2, 0, 0, false, 1);

#[derive(Debug, Clone, Default)]
pub struct CompareOptions {
    /// Beginning of the name of the offer that levers are moved against; the cheapest for the same work.
    pub offer: Option<String>,
    /// Instead of the register's.
    pub seed: Option<u64>,
    pub draws: u32,
}

/// The cases of one model.
type Judged = Vec<(Case, Verdict)>;

/// Own or rent.
pub async fn compare(of: Asked<'_>, options: &CompareOptions) -> Result<Sheets, CostingError> {
    const NAME: &str = "report compare";
    if of.fleet.prices.is_empty() {
        let what = "rent prices".to_owned();
        return Err(CostingError::Missing { report: NAME, what, key: PRICE_KEY });
    }
    let counted = count(of.ledger, of.fleet, of.period, Some(of.now)).await?;
    let mut sheets = Sheets { simulated: counted.inputs.usage.simulated, ..Sheets::default() };
    let mut all: Vec<Judged> = Vec::new();
    let (mut bought, mut priced) = (false, false);
    for model in measured_of(&counted.evaluation, &counted.inputs)? {
        if model.model == NO_GPU {
            continue;
        }
        let Some(owning) = Owning::of(of, &counted, &model, &mut sheets.notes)? else { continue };
        bought = true;
        let offers = offers(of, &counted, &model.model)?;
        if offers.is_empty() {
            sheets.notes.push(format!("{} is not compared: no rent price in force matches it.", model.model));
            continue;
        }
        priced = true;
        let mut judged = Judged::new();
        for offer in offers {
            let case = owning.case(of, &counted, &model.model, offer);
            let verdict = judge(&case)?;
            judged.push((case, verdict));
        }
        judged.sort_by_key(|(case, verdict)| (verdict.value("levelised_rent"), case.offer.name.clone()));
        of_model(of, options, &model.model, &judged, &mut sheets)?;
        sheets.notes.extend(owning.notes);
        all.push(judged);
    }
    let missing = |what: &str, key| {
        let notes = sheets.notes.join(" ");
        CostingError::Missing { report: NAME, what: format!("{what} ({notes})"), key }
    };
    if !bought {
        return Err(missing("what was bought, and hours in use of it", ASSET_KEY));
    }
    if !priced {
        return Err(missing("a rent price for the models in service", PRICE_KEY));
    }
    business_models(of, &counted, &all, &mut sheets)?;
    let said = &of.fleet.comparison;
    sheets.notes.push(format!(
        "Assumed: {} years, {} % a year, {} % tax ({}); [comparison] of the register says otherwise.",
        said.years,
        (said.discount * Decimal::ONE_HUNDRED).normalize(),
        (said.tax_rate * Decimal::ONE_HUNDRED).normalize(),
        said.source
    ));
    sheets
        .notes
        .push("Owning is judged from its purchase on, not from today. Offers are ordered by what a useful hour of the \
             same work costs. Not tax advice.".to_owned());
    sheets.checked()
}

fn of_model(
    of: Asked<'_>,
    options: &CompareOptions,
    model: &str,
    judged: &[(Case, Verdict)],
    sheets: &mut Sheets,
) -> Result<(), CostingError> {
    let chosen = match &options.offer {
        None => judged.first(),
        Some(name) => judged.iter().find(|(case, _)| case.offer.name.starts_with(name.as_str())),
    };
    if let Some((case, verdict)) = judged.first() {
        sheets.sheets.push(sheets::offers(model, judged)?);
        sheets.sheets.push(sheets::owning(model, case, verdict));
    }
    let Some((case, _)) = chosen else {
        let known: Vec<&str> = judged.iter().map(|(case, _)| case.offer.name.as_str()).collect();
        let given = options.offer.clone().unwrap_or_default();
        return Err(CostingError::Unknown { what: "offer", given, known: known.join("; ") });
    };
    let seed = options.seed.unwrap_or(of.fleet.comparison.seed);
    let currency = case.currency;
    let mut levers = sheets::tornado(model, &tornado(case, MOVED)?, MOVED, currency);
    let spread = quantiles(case, MOVED, options.draws, seed)?;
    let mut spread = sheets::quantiles(model, &spread, MOVED, currency);
    for sheet in [&mut levers, &mut spread] {
        sheet.notes.push(format!("Held against {}.", case.offer.name));
    }
    sheets.sheets.extend([levers, spread]);
    Ok(())
}

/// Ways to do the work of the model that does most, on one page: as it is owned, every offer, and those of
/// the register.
fn business_models(
    of: Asked<'_>,
    counted: &Counted,
    all: &[Judged],
    sheets: &mut Sheets,
) -> Result<(), CostingError> {
    let work = |judged: &&Judged| {
        judged.first().and_then(|(case, _)| case.work().ok()).map(|work| work.useful_hours)
    };
    let Some(judged) = all.iter().max_by_key(work) else { return Ok(()) };
    let Some((first, _)) = judged.first() else { return Ok(()) };
    let mut ways = vec![("own, as measured".to_owned(), Way::Own(first.own.clone()))];
    ways.extend(judged.iter().map(|(case, _)| (case.offer.name.clone(), Way::Rent(case.offer.clone()))));
    ways.extend(of.fleet.models.iter().cloned());
    let work = first.work()?;
    let mut page = sheets::models(&compare_models(&ways, &work)?, counted.inputs.currency);
    page.notes.push(format!(
        "The work is that of {}: {} useful GPU-hours a year.",
        first.name,
        work.useful_hours.round_dp(0)
    ));
    if of.fleet.models.is_empty() {
        page.notes.push(
            "Colocation, lease or a small site appear with a [[business_model]] of the register.".to_owned(),
        );
    }
    sheets.sheets.push(page);
    Ok(())
}
