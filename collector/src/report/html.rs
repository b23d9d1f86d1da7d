//! The statement as a page: self-contained, without scripts, made for reading and for printing.

use super::chart::{self, Axis, Bar, Part};
use super::figures::{ByFamily, ratio};
use super::number::{amount, brief, count, grouped, money, or_absent, percent, rate};
use super::{Format, family_name, group_name};
use askama::Template;
use gpuledger_tco::statement::{Comparison, Family, Group, Rates, StateHours, Statement};
use rust_decimal::Decimal;
use std::io::{self, Write};

/// Bars in one chart: what fits a page. The table below has every group.
const BARS_MAX: usize = 24;
/// Lines that the page explains one by one; beyond, a program should read the JSON.
const LINES_MAX: usize = 400;

pub struct Html;

impl Format for Html {
    fn write(&self, statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
        let page = Page::of(statement);
        out.write_all(page.render().map_err(io::Error::other)?.as_bytes())
    }
}

const fn family_color(family: Family) -> &'static str {
    match family {
        Family::Depreciation => "#1f3a5f",
        Family::CapitalCharge => "#5b7fa8",
        Family::Energy => "#d19a3d",
        Family::Colocation => "#6f9a84",
        Family::Overhead => "#a8b2bc",
    }
}

/// The five states in the order of the statement, with their colours.
const STATES: [(&str, &str); 5] = [
    ("Active", "#23695a"),
    ("Held idle", "#d19a3d"),
    ("Free", "#c3ccd4"),
    ("Down", "#a9433f"),
    ("Unmonitored", "#e6eaed"),
];
const OWN_COLOR: &str = "#1f3a5f";
const RENT_COLOR: &str = "#a8b2bc";

#[derive(Template)]
#[template(path = "statement.html")]
struct Page<'a> {
    statement: &'a Statement,
    from: &'a str,
    to: &'a str,
    total: String,
    figures: Vec<Figure>,
    costs: Section,
    uses: Section,
    rates: Grid,
    comparisons: Vec<Compared<'a>>,
    coverage: Vec<(&'static str, String)>,
    lines: Vec<Explained<'a>>,
    lines_left: usize,
}

/// One of the large figures on the cover.
struct Figure {
    name: &'static str,
    value: String,
    remark: String,
}

/// A chart and the table that it shows.
struct Section {
    legend: Vec<(&'static str, &'static str)>,
    chart: String,
    /// "the 24 largest of 310"; empty where the chart has all.
    cut: String,
    grid: Grid,
}

struct Grid {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    total: Vec<String>,
}

struct Compared<'a> {
    comparison: &'a Comparison,
    price: String,
    chart: String,
    break_even: String,
    used: String,
    verdict: String,
}

struct Explained<'a> {
    id: &'a str,
    label: &'a str,
    group: &'a str,
    amount: String,
    formula: &'a str,
    inputs: Vec<String>,
}

impl<'a> Page<'a> {
    fn of(statement: &'a Statement) -> Self {
        let day = super::table::day;
        Self {
            statement,
            from: day(&statement.from),
            to: day(&statement.to),
            total: money(statement.total),
            figures: figures(statement),
            costs: costs(statement),
            uses: uses(statement),
            rates: rates(statement),
            comparisons: statement.comparisons.iter().map(|c| compared(statement, c)).collect(),
            coverage: coverage(statement),
            lines: statement.lines.iter().take(LINES_MAX).map(explained).collect(),
            lines_left: statement.lines.len().saturating_sub(LINES_MAX),
        }
    }
}

fn figures(statement: &Statement) -> Vec<Figure> {
    let currency = statement.currency;
    let price = |value: Option<Decimal>| or_absent(value, |v| format!("{currency} {}", rate(v, currency)));
    let hours = statement.hours;
    let owned = hours.active.saturating_add(hours.held_idle);
    let share = |part: Decimal| or_absent(ratio(part, hours.in_service), percent);
    let emissions = |kg: Decimal| format!("{} kg CO₂, location-based", grouped(kg, 0));
    let unknown = || "emissions unknown: a site has no carbon intensity".to_owned();
    vec![
        Figure {
            name: "A GPU-hour in service",
            value: price(statement.rates.per_hour_in_service),
            remark: format!("{} GPU-hours", grouped(hours.in_service, 0)),
        },
        Figure {
            name: "A GPU-hour in use",
            value: price(statement.rates.per_hour_active),
            remark: format!("{} of the hours in service", share(hours.active)),
        },
        Figure {
            name: "A GPU-hour that somebody owned",
            value: price(statement.rates.per_hour_owned),
            remark: format!("{} in use or held", share(owned)),
        },
        Figure {
            name: "Energy at the servers",
            value: format!("{} kWh", grouped(statement.energy_kwh, 0)),
            remark: statement.carbon_kg.map_or_else(unknown, emissions),
        },
    ]
}

/// The groups that a chart shows, in their order, and what it says about the others.
fn charted(groups: &[Group]) -> (Vec<&Group>, String) {
    if groups.len() <= BARS_MAX {
        return (groups.iter().collect(), String::new());
    }
    let mut largest: Vec<usize> = (0..groups.len()).collect();
    largest.sort_by_key(|&at| std::cmp::Reverse(groups[at].total.amount));
    largest.truncate(BARS_MAX);
    largest.sort_unstable();
    let cut = format!("The chart shows the {BARS_MAX} largest of {}.", groups.len());
    (largest.into_iter().map(|at| &groups[at]).collect(), cut)
}

fn costs(statement: &Statement) -> Section {
    let sums = ByFamily::of(statement);
    let currency = statement.currency;
    let (groups, cut) = charted(&statement.groups);
    let part = |group: &Group, family: Family| {
        let value = sums.of_group(&group.name, family);
        let title = format!("{}: {currency} {}", family_name(family), amount(value, currency));
        Part { value, color: family_color(family), title }
    };
    let bar = |group: &&Group| Bar {
        name: group.name.clone(),
        parts: sums.families.iter().map(|&family| part(group, family)).collect(),
        figure: amount(group.total.amount, currency),
    };
    let bars: Vec<Bar> = groups.iter().map(bar).collect();
    let head = sums.families.iter().map(|&family| family_name(family).to_owned());
    let row = |group: &Group| {
        let cells = sums.families.iter().map(|&family| amount(sums.of_group(&group.name, family), currency));
        let name = std::iter::once(group.name.clone());
        name.chain(cells).chain([amount(group.total.amount, currency)]).collect()
    };
    let totals = sums.families.iter().map(|&family| amount(sums.total(family), currency));
    let name = std::iter::once(group_name(statement.by).to_owned());
    Section {
        legend: sums.families.iter().map(|&f| (family_name(f), family_color(f))).collect(),
        chart: chart::stacked(&bars, Axis::Amounts, "Cost by family"),
        cut,
        grid: Grid {
            head: name.chain(head).chain(["Total".to_owned()]).collect(),
            rows: statement.groups.iter().map(row).collect(),
            total: std::iter::once("Total".to_owned())
                .chain(totals)
                .chain([amount(statement.total.amount, currency)])
                .collect(),
        },
    }
}

const fn states(hours: &StateHours) -> [Decimal; 5] {
    [hours.active, hours.held_idle, hours.free, hours.down, hours.unmonitored]
}

fn uses(statement: &Statement) -> Section {
    let (groups, cut) = charted(&statement.groups);
    let bar = |group: &&Group| {
        let part = |((name, color), hours): ((&str, &'static str), Decimal)| {
            let value = ratio(hours, group.hours.in_service).unwrap_or_default();
            Part {
                value,
                color,
                title: format!("{name}: {} GPU-hours, {}", grouped(hours, 1), percent(value)),
            }
        };
        let used = or_absent(ratio(group.hours.active, group.hours.in_service), percent);
        Bar {
            name: group.name.clone(),
            parts: STATES.into_iter().zip(states(&group.hours)).map(part).collect(),
            figure: format!("{used} active"),
        }
    };
    let bars: Vec<Bar> = groups.iter().map(bar).collect();
    let cells = |hours: &StateHours| {
        let all = std::iter::once(hours.in_service).chain(states(hours));
        all.map(|hours| grouped(hours, 1)).collect::<Vec<_>>()
    };
    let row = |group: &Group| {
        [group.name.clone(), count(group.gpus)].into_iter().chain(cells(&group.hours)).collect()
    };
    let head =
        [group_name(statement.by), "GPUs", "In service"].into_iter().chain(STATES.map(|state| state.0));
    Section {
        legend: STATES.to_vec(),
        chart: chart::stacked(&bars, Axis::Whole, "Use of GPU-hours by state"),
        cut,
        grid: Grid {
            head: head.map(str::to_owned).collect(),
            rows: statement.groups.iter().map(row).collect(),
            total: ["Total".to_owned(), String::new()].into_iter().chain(cells(&statement.hours)).collect(),
        },
    }
}

fn rates(statement: &Statement) -> Grid {
    let price = |value: Option<Decimal>| or_absent(value, |v| rate(v, statement.currency));
    let cells = |name: &str, rates: &Rates, energy: Decimal, carbon: Option<Decimal>| {
        let prices = [rates.per_hour_in_service, rates.per_hour_active, rates.per_hour_owned].map(price);
        let energy = [grouped(energy, 1), or_absent(carbon, |c| grouped(c, 1))];
        std::iter::once(name.to_owned()).chain(prices).chain(energy).collect::<Vec<_>>()
    };
    let head = [group_name(statement.by), "In service", "Active", "Owned", "Energy, kWh", "CO₂, kg"];
    let row = |group: &Group| cells(&group.name, &group.rates, group.energy_kwh, group.carbon_kg);
    Grid {
        head: head.map(str::to_owned).to_vec(),
        rows: statement.groups.iter().map(row).collect(),
        total: cells("Total", &statement.rates, statement.energy_kwh, statement.carbon_kg),
    }
}

fn compared<'a>(statement: &Statement, comparison: &'a Comparison) -> Compared<'a> {
    let currency = statement.currency;
    let bar = |name: &str, value: Decimal, color| Bar {
        name: name.to_owned(),
        parts: vec![Part { value, color, title: format!("{currency} {}", amount(value, currency)) }],
        figure: amount(value, currency),
    };
    let bars = [
        bar("Own", comparison.own.amount, OWN_COLOR),
        bar("Rent, all hours", comparison.same_capacity.amount, RENT_COLOR),
        bar("Rent, owned hours only", comparison.same_work.amount, RENT_COLOR),
    ];
    let break_even = match comparison.break_even_utilization {
        Some(even) if even > Decimal::ONE => "above 100 %".to_owned(),
        other => or_absent(other, percent),
    };
    Compared {
        comparison,
        price: format!("{currency} {}", rate(comparison.price_per_gpu_hour, currency)),
        chart: chart::stacked(&bars, Axis::Amounts, "Own against rent"),
        break_even,
        used: or_absent(comparison.utilization, percent),
        verdict: verdict(statement, comparison),
    }
}

/// The difference in one sentence.
fn verdict(statement: &Statement, comparison: &Comparison) -> String {
    let currency = statement.currency;
    let (rent, own) = (comparison.same_work.amount, comparison.own.amount);
    let against = super::table::against_own(rent, own);
    let against = if against.is_empty() { against } else { format!(": {against}") };
    format!(
        "Renting just the hours that were owned would have cost {currency} {}{against}.",
        amount(rent, currency)
    )
}

fn coverage(statement: &Statement) -> Vec<(&'static str, String)> {
    let coverage = statement.coverage;
    vec![
        ("GPU-hours observed, of those in service", or_absent(coverage.observed_ratio, percent)),
        (
            "Energy by a counter; the rest is integrated from power",
            or_absent(coverage.counted_energy_ratio, percent),
        ),
        (
            "Energy used while nobody looked, by the counter's difference",
            or_absent(coverage.gap_energy_ratio, percent),
        ),
    ]
}

fn explained(line: &gpuledger_tco::statement::Line) -> Explained<'_> {
    let input = |input: &gpuledger_tco::statement::Input| {
        let unit = if input.unit.is_empty() { String::new() } else { format!(" {}", input.unit) };
        let source = if input.source.is_empty() { String::new() } else { format!(" ({})", input.source) };
        format!("{} {}{unit}{source}", input.name, brief(input.value))
    };
    Explained {
        id: &line.id,
        label: &line.label,
        group: &line.group,
        amount: amount(line.amount, line.currency),
        formula: &line.formula,
        inputs: line.inputs.iter().map(input).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn page(statement: &Statement) -> String {
        let mut out = Vec::new();
        Html.write(statement, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_page_needs_nothing_from_anywhere_and_runs_nothing() {
        let page = page(&sample::statement());
        for part in ["<script", "http://", "https://", "<link", "<img", "@import", "url("] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_name_from_outside_is_text_and_never_markup() {
        let mut statement = sample::statement();
        statement.groups[0].name = "<script>alert(1)</script>".into();
        statement.notes.push("<b>bold</b>".into());
        let page = page(&statement);
        assert!(!page.contains("<script") && !page.contains("<b>"));
        assert!(page.contains("Electricity of &#60;gpu-01&#62;"), "labels are escaped");
    }

    #[test]
    fn a_chart_of_many_groups_keeps_the_largest_and_says_so() {
        let mut statement = sample::statement();
        let group = statement.groups[0].clone();
        let with = |n: i64| Group {
            name: format!("node-{n:03}"),
            total: gpuledger_tco::money::Money { amount: n.into(), ..group.total },
            ..group.clone()
        };
        statement.groups = (0..60).map(with).collect();
        let (shown, cut) = charted(&statement.groups);
        assert_eq!(shown.len(), BARS_MAX);
        assert_eq!((shown[0].name.as_str(), shown[23].name.as_str()), ("node-036", "node-059"));
        assert!(page(&statement).contains(&cut) && cut.contains("24 largest of 60"));
    }
}
