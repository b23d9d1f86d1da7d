//! What this month has cost so far: a statement by node, computed in the background.

use super::families::{
    COST_CARBON, COST_COMPUTED, COST_COVERAGE, COST_ENERGY, COST_MONTH, COST_NODE_RATE, COST_RATE,
    COST_STATE, Family, RENT_BREAK_EVEN, RENT_OWN, RENT_PRICE, RENT_SAME_CAPACITY, RENT_SAME_WORK,
    RENT_UTILIZATION,
};
use super::health::Health;
use super::labels::{Block, Labels};
use super::refresh::{Failure, refresh};
use super::text::{Samples, Text};
use async_trait::async_trait;
use gpuledger_tco::statement::{self, Comparison, Rates, StateHours, Statement};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// Costs of a month move slowly, and a statement reads every hour of it.
const REFRESH: Duration = Duration::from_secs(60);

const SECONDS_PER_HOUR: Decimal = Decimal::from_parts(3_600, 0, 0, false, 0);
const JOULES_PER_KWH: Decimal = Decimal::from_parts(3_600_000, 0, 0, false, 0);
const GRAMS_PER_KILOGRAM: Decimal = Decimal::from_parts(1_000, 0, 0, false, 0);

/// Computes the statement of the current month, by node.
#[async_trait]
pub trait MonthToDate: Send + Sync + 'static {
    /// `None` where nothing is registered that costs.
    async fn statement(&self) -> Result<Option<Statement>, Failure>;
}

/// A statement and when it was computed.
#[derive(Debug)]
pub struct Costs {
    statement: Statement,
    computed: SystemTime,
}

/// `None` until there is a statement.
pub type CostsView = watch::Receiver<Option<Arc<Costs>>>;

/// Gives the view that scrapes read, and the work that keeps it fresh. It never ends.
pub fn watch_costs(
    source: Arc<dyn MonthToDate>,
    health: Arc<Health>,
) -> (CostsView, impl Future<Output = ()> + Send + 'static) {
    let (sender, view) = watch::channel(None);
    let work = async move {
        let load = || async {
            let statement = source.statement().await?;
            sender.send_replace(statement.map(|statement| Arc::new(Costs::now(statement))));
            Ok(())
        };
        refresh("costs of the month", REFRESH, load, || health.costs_failed(), &Notify::new()).await;
    };
    (view, work)
}

impl Costs {
    fn now(statement: Statement) -> Self {
        Self { statement, computed: SystemTime::now() }
    }

    /// What is of a node where the node is asked for, and the rest where what is of no node is.
    pub fn render(&self, text: &mut Text<'_>) -> io::Result<()> {
        let statement = &self.statement;
        components(text, statement)?;
        groups(text, statement)?;
        if !text.selection().takes_whole() {
            return Ok(());
        }
        let currency = statement.currency.code();
        text.family(&COST_RATE, |samples| {
            rates(samples, &Labels::new(&[("currency", currency)]), &statement.rates)
        })?;
        coverage(text, statement)?;
        comparisons(text, &statement.comparisons, currency)?;
        let since = self.computed.duration_since(UNIX_EPOCH).unwrap_or_default();
        text.family(&COST_COMPUTED, |samples| samples.integer(Block::NONE, &[], since.as_secs()))
    }
}

fn components(text: &mut Text<'_>, statement: &Statement) -> io::Result<()> {
    let selection = text.selection();
    text.family(&COST_MONTH, |samples| {
        let mut sums: BTreeMap<_, Decimal> = BTreeMap::new();
        for line in statement.lines.iter().filter(|line| selection.takes_node(&line.group)) {
            let sum = sums.entry((line.group.as_str(), line.family, line.currency)).or_default();
            // Amounts of a statement were added up before: their sum is in range.
            *sum = sum.saturating_add(line.amount);
        }
        for ((node, family, currency), amount) in sums {
            let labels = [("node", node), ("component", component(family)), ("currency", currency.code())];
            samples.decimal(&Labels::new(&labels), amount)?;
        }
        Ok(())
    })
}

fn component(family: statement::Family) -> &'static str {
    match family {
        statement::Family::Depreciation => "depreciation",
        statement::Family::CapitalCharge => "capital_charge",
        statement::Family::Energy => "energy",
        statement::Family::Colocation => "colocation",
        statement::Family::Overhead => "overhead",
    }
}

fn rates(samples: &mut Samples<'_>, labels: &Labels, rates: &Rates) -> io::Result<()> {
    for (basis, rate) in [
        ("in_service", rates.per_hour_in_service),
        ("active", rates.per_hour_active),
        ("owned", rates.per_hour_owned),
    ] {
        if let Some(rate) = rate {
            samples.decimal(&labels.with(&[("basis", basis)]), rate)?;
        }
    }
    Ok(())
}

fn groups(text: &mut Text<'_>, statement: &Statement) -> io::Result<()> {
    let groups: Vec<_> =
        statement.groups.iter().filter(|group| text.selection().takes_node(&group.name)).collect();
    let labelled = || groups.iter().map(|group| (Labels::new(&[("node", &group.name)]), group));
    text.family(&COST_NODE_RATE, |samples| {
        let currency = [("currency", statement.currency.code())];
        labelled().try_for_each(|(labels, group)| rates(samples, &labels.with(&currency), &group.rates))
    })?;
    text.family(&COST_STATE, |samples| {
        for (labels, group) in labelled() {
            for (state, hours) in by_state(&group.hours) {
                samples.decimal(&labels.with(&[("state", state)]), hours.saturating_mul(SECONDS_PER_HOUR))?;
            }
        }
        Ok(())
    })?;
    text.family(&COST_ENERGY, |samples| {
        labelled().try_for_each(|(labels, group)| {
            samples.decimal(&labels, group.energy_kwh.saturating_mul(JOULES_PER_KWH))
        })
    })?;
    text.family(&COST_CARBON, |samples| {
        let mut known = labelled().filter_map(|(labels, group)| Some((labels, group.carbon_kg?)));
        known.try_for_each(|(labels, carbon_kg)| {
            samples.decimal(&labels, carbon_kg.saturating_mul(GRAMS_PER_KILOGRAM))
        })
    })
}

/// The five states of time in service.
fn by_state(hours: &StateHours) -> [(&'static str, Decimal); 5] {
    [
        ("active", hours.active),
        ("held_idle", hours.held_idle),
        ("free", hours.free),
        ("down", hours.down),
        ("unmonitored", hours.unmonitored),
    ]
}

fn coverage(text: &mut Text<'_>, statement: &Statement) -> io::Result<()> {
    text.family(&COST_COVERAGE, |samples| {
        for (what, ratio) in [
            ("observed_time", statement.coverage.observed_ratio),
            ("counted_energy", statement.coverage.counted_energy_ratio),
            ("gap_energy", statement.coverage.gap_energy_ratio),
        ] {
            if let Some(ratio) = ratio {
                samples.decimal(&Labels::new(&[("what", what)]), ratio)?;
            }
        }
        Ok(())
    })
}

fn comparisons(text: &mut Text<'_>, comparisons: &[Comparison], currency: &str) -> io::Result<()> {
    type Amount = fn(&Comparison) -> Option<Decimal>;
    // One sample for each offer and model, and one for each model, whatever the statement repeats.
    let offers: BTreeMap<_, _> = comparisons.iter().map(|c| ((&c.model, &c.offer), c)).collect();
    let models: BTreeMap<_, _> = comparisons.iter().map(|c| (&c.model, c)).collect();
    let by_offer: [(&Family, &str, Amount); 4] = [
        (&RENT_PRICE, currency, |c| Some(c.price_per_gpu_hour)),
        (&RENT_SAME_CAPACITY, currency, |c| Some(c.same_capacity.amount)),
        (&RENT_SAME_WORK, currency, |c| Some(c.same_work.amount)),
        (&RENT_BREAK_EVEN, "", |c| c.break_even_utilization),
    ];
    for (family, currency, amount) in by_offer {
        text.family(family, |samples| {
            offers.iter().try_for_each(|((model, offer), comparison)| {
                let labels = Labels::new(&[("model", model), ("offer", offer), ("currency", currency)]);
                amount(comparison).map_or(Ok(()), |amount| samples.decimal(&labels, amount))
            })
        })?;
    }
    let by_model: [(&Family, &str, Amount); 2] =
        [(&RENT_OWN, currency, |c| Some(c.own.amount)), (&RENT_UTILIZATION, "", |c| c.utilization)];
    for (family, currency, amount) in by_model {
        text.family(family, |samples| {
            models.iter().try_for_each(|(model, comparison)| {
                let labels = Labels::new(&[("model", model), ("currency", currency)]);
                amount(comparison).map_or(Ok(()), |amount| samples.decimal(&labels, amount))
            })
        })?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{assert_lines, written};
    use super::*;
    use gpuledger_tco::money::{Currency, Money};
    use gpuledger_tco::statement::{Coverage, Family, Group, GroupBy, Line};

    fn decimal(number: &str) -> Decimal {
        number.parse().unwrap()
    }

    fn euro(amount: &str) -> Money {
        Money::new(decimal(amount), Currency::EUR)
    }

    fn line(id: &str, group: &str, family: Family, amount: &str) -> Line {
        Line {
            id: id.to_owned(),
            group: group.to_owned(),
            family,
            label: String::new(),
            amount: decimal(amount),
            exact: decimal(amount),
            currency: Currency::EUR,
            formula_id: gpuledger_tco::formulas::ENERGY,
            formula: String::new(),
            inputs: Vec::new(),
        }
    }

    fn group(name: &str) -> Group {
        let hours = StateHours { in_service: decimal("10"), active: decimal("2.5"), ..StateHours::default() };
        Group {
            name: name.to_owned(),
            gpus: 8,
            hours,
            energy_kwh: decimal("1.5"),
            carbon_kg: (name == "n1").then(|| decimal("0.6")),
            total: euro("30"),
            rates: Rates { per_hour_in_service: Some(decimal("3")), ..Rates::default() },
        }
    }

    fn comparison(offer: &str) -> Comparison {
        Comparison {
            offer: offer.to_owned(),
            model: "H100".to_owned(),
            price_per_gpu_hour: decimal("4.10"),
            price_source: String::new(),
            same_capacity: euro("41"),
            same_work: euro("10.25"),
            own: euro("30"),
            break_even_utilization: (offer == "aws").then(|| decimal("0.73")),
            utilization: Some(decimal("0.25")),
            formula: String::new(),
            inputs: Vec::new(),
        }
    }

    /// Two nodes, two offers.
    pub fn sample() -> Costs {
        let statement = Statement {
            title: String::new(),
            from: String::new(),
            to: String::new(),
            currency: Currency::EUR,
            by: GroupBy::Node,
            lines: vec![
                line("a", "n1", Family::Depreciation, "20.10"),
                line("b", "n1", Family::Energy, "4.05"),
                line("c", "n1", Family::Energy, "5.95"),
                line("d", "n2", Family::Colocation, "30"),
            ],
            groups: vec![group("n1"), group("n2")],
            hours: StateHours::default(),
            energy_kwh: decimal("3"),
            carbon_kg: None,
            total: euro("60.10"),
            rates: Rates { per_hour_in_service: Some(decimal("3.005")), ..Rates::default() },
            coverage: Coverage {
                observed_ratio: Some(decimal("0.98")),
                counted_energy_ratio: None,
                gap_energy_ratio: None,
            },
            comparisons: vec![comparison("aws"), comparison("gcp"), comparison("aws")],
            notes: Vec::new(),
            simulated: false,
        };
        Costs { statement, computed: UNIX_EPOCH + Duration::from_secs(1_795_000_000) }
    }

    #[test]
    fn a_statement_becomes_amounts_by_node_and_component() {
        let text = written(|text| sample().render(text));
        assert_lines(
            &text,
            &[
                r#"gpuledger_cost_month_to_date{node="n1",component="depreciation",currency="EUR"} 20.1"#,
                r#"gpuledger_cost_month_to_date{node="n1",component="energy",currency="EUR"} 10"#,
                r#"gpuledger_cost_month_to_date{node="n2",component="colocation",currency="EUR"} 30"#,
                r#"gpuledger_cost_per_gpu_hour{currency="EUR",basis="in_service"} 3.005"#,
                r#"gpuledger_cost_node_per_gpu_hour{node="n2",currency="EUR",basis="in_service"} 3"#,
                r#"gpuledger_cost_month_to_date_state_seconds{node="n1",state="active"} 9000"#,
                r#"gpuledger_cost_month_to_date_energy_joules{node="n1"} 5400000"#,
                r#"gpuledger_cost_month_to_date_carbon_grams{node="n1"} 600"#,
                r#"gpuledger_rent_price_per_gpu_hour{model="H100",offer="gcp",currency="EUR"} 4.1"#,
                r#"gpuledger_rent_same_work_month_to_date{model="H100",offer="aws",currency="EUR"} 10.25"#,
                r#"gpuledger_rent_break_even_utilization_ratio{model="H100",offer="aws"} 0.73"#,
                r#"gpuledger_rent_own_cost_month_to_date{model="H100",currency="EUR"} 30"#,
                r#"gpuledger_rent_utilization_ratio{model="H100"} 0.25"#,
                "gpuledger_cost_computed_timestamp_seconds 1795000000",
            ],
        );
    }

    #[test]
    fn a_figure_that_a_statement_lacks_has_no_sample() {
        let text = written(|text| sample().render(text));
        assert!(!text.contains(r#"basis="active""#) && !text.contains("counted_energy"), "{text}");
        assert!(!text.contains(r#"carbon_grams{node="n2""#), "{text}");
        assert!(!text.contains(r#"break_even_utilization_ratio{model="H100",offer="gcp""#), "{text}");
    }
}
