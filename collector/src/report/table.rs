//! The statement as text: what it cost, how GPUs were used, what an hour cost, what renting would
//! have cost, how much was measured. At most [`WIDTH`] columns.

use super::columns::{Align, Table as Columns, wrap};
use super::figures::{ByFamily, ratio};
use super::number::{ABSENT, amount, count, grouped, money, or_absent, percent, rate};
use super::{Format, family_name, group_name};
use gpuledger_tco::statement::{Comparison, GroupBy, StateHours, Statement};
use rust_decimal::Decimal;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// What fits a terminal and a page.
const WIDTH: usize = 100;
/// Names are shortened rather than lines broken, but not below this.
const NAME_WIDTH_MIN: usize = 14;

pub struct Table;

impl Format for Table {
    fn write(&self, statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
        head(statement, out)?;
        costs(statement, out)?;
        hours(statement, out)?;
        rates(statement, out)?;
        comparisons(statement, out)?;
        coverage(statement, out)?;
        notes(statement, out)
    }
}

fn head(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    if statement.simulated {
        writeln!(out, "*** SIMULATED DATA: these GPUs do not exist ***\n")?;
    }
    writeln!(out, "{}", statement.title)?;
    writeln!(out, "{}\n", "═".repeat(statement.title.chars().count().min(WIDTH)))?;
    writeln!(out, "Period       {} to {} (UTC), end not included", day(&statement.from), day(&statement.to))?;
    writeln!(out, "Total cost   {}", money(statement.total))?;
    writeln!(out, "Energy       {} kWh at the servers", grouped(statement.energy_kwh, 1))?;
    if let Some(carbon) = statement.carbon_kg {
        writeln!(out, "Emissions    {} kg CO2, location-based, site losses included", grouped(carbon, 1))?;
    }
    writeln!(out)
}

/// A midnight as its date, anything else as it is.
pub fn day(instant: &str) -> &str {
    instant.strip_suffix("T00:00:00Z").unwrap_or(instant)
}

fn costs(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    let digits = statement.currency.minor_digits();
    writeln!(out, "WHAT IT COST, in {}", statement.currency)?;
    let [exact, whole] = [digits, 0].map(|places| fitted(cost_table(statement, places), statement.by));
    if exact.width() > WIDTH && whole.width() <= WIDTH {
        whole.write(out)?;
        writeln!(
            out,
            "Rounded to whole {}, each figure for itself: other formats have all places.",
            statement.currency
        )?;
    } else {
        exact.write(out)?;
    }
    writeln!(out)
}

fn cost_table(statement: &Statement, places: u32) -> Columns {
    let sums = ByFamily::of(statement);
    let families = sums.families.iter().map(|&family| (family_name(family), Align::Right));
    let heads = std::iter::once((group_name(statement.by), Align::Left)).chain(families);
    let mut table = Columns::new(&heads.chain([("Total", Align::Right)]).collect::<Vec<_>>());
    for group in &statement.groups {
        let of_group = |&family| grouped(sums.of_group(&group.name, family), places);
        let cells = sums.families.iter().map(of_group);
        let name = std::iter::once(group.name.clone());
        table.rows.push(name.chain(cells).chain([grouped(group.total.amount, places)]).collect());
    }
    let totals = sums.families.iter().map(|&family| grouped(sums.total(family), places));
    let last = std::iter::once("Total".to_owned()).chain(totals);
    table.total = Some(last.chain([grouped(statement.total.amount, places)]).collect());
    table
}

/// The table with its names shortened so that it fits, in a way that tells them apart.
fn fitted(mut table: Columns, by: GroupBy) -> Columns {
    let over = table.width().saturating_sub(WIDTH);
    if over == 0 {
        return table;
    }
    let names: Vec<String> = table.rows.iter().filter_map(|row| row.first().cloned()).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let room = longest.saturating_sub(over).max(NAME_WIDTH_MIN);
    let different = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    let apart = |shorten: Shorten| {
        let short: Vec<String> = names.iter().map(|name| shorten(name, room)).collect();
        (different(&short) == different(&names)).then_some(short)
    };
    // The end of a model's name says more than its maker.
    let (first, second): (Shorten, Shorten) =
        if by == GroupBy::Model { (ending, shortened) } else { (shortened, ending) };
    let short = apart(first).or_else(|| apart(second)).unwrap_or_else(|| names.clone());
    for (name, short) in table.rows.iter_mut().filter_map(|row| row.first_mut()).zip(short) {
        *name = short;
    }
    table
}

/// Makes a name fit so many columns.
type Shorten = fn(&str, usize) -> String;

/// A name with its beginning left out.
pub fn ending(name: &str, room: usize) -> String {
    let letters = name.chars().count();
    if letters <= room {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(letters - room + 1)).collect()
}

/// A name with its middle left out: beginnings and ends tell names apart.
pub fn shortened(name: &str, room: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= room {
        return name.to_owned();
    }
    let tail = room / 3;
    let head = room - tail - 1;
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

fn hours(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "HOW THE GPUS WERE USED, in GPU-hours")?;
    let heads = ["GPUs", "In service", "Active", "Held idle", "Free", "Down", "Unmonitored"];
    let heads = heads.map(|head| (head, Align::Right));
    let name = std::iter::once((group_name(statement.by), Align::Left));
    let mut table = Columns::new(&name.chain(heads).collect::<Vec<_>>());
    let states = |h: &StateHours| [h.in_service, h.active, h.held_idle, h.free, h.down, h.unmonitored];
    for group in &statement.groups {
        let cells = states(&group.hours).map(|hours| grouped(hours, 1));
        table.rows.push([group.name.clone(), count(group.gpus)].into_iter().chain(cells).collect());
    }
    let all = statement.hours;
    let sums = states(&all).map(|hours| grouped(hours, 1));
    let shares = states(&all).map(|hours| or_absent(ratio(hours, all.in_service), percent));
    table.rows.push(["Total".to_owned(), String::new()].into_iter().chain(sums).collect());
    table.total = Some(["Share".to_owned(), String::new()].into_iter().chain(shares).collect());
    fitted(table, statement.by).write(out)?;
    writeln!(out, "Held idle: somebody owned the GPU and nothing ran. Free: nobody owned it.\n")
}

fn rates(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "WHAT ONE GPU-HOUR COST, in {}, and the energy", statement.currency)?;
    let heads = ["In service", "Active", "Owned", "kWh", "kg CO2"].map(|head| (head, Align::Right));
    let name = std::iter::once((group_name(statement.by), Align::Left));
    let mut table = Columns::new(&name.chain(heads).collect::<Vec<_>>());
    let price = |value: Option<Decimal>| or_absent(value, |v| rate(v, statement.currency));
    let line = |name: &str, rates: &gpuledger_tco::statement::Rates, energy, carbon| {
        let rates = [rates.per_hour_in_service, rates.per_hour_active, rates.per_hour_owned].map(price);
        let energy = [grouped(energy, 1), or_absent(carbon, |c| grouped(c, 1))];
        std::iter::once(name.to_owned()).chain(rates).chain(energy).collect::<Vec<_>>()
    };
    for group in &statement.groups {
        table.rows.push(line(&group.name, &group.rates, group.energy_kwh, group.carbon_kg));
    }
    table.total = Some(line("Total", &statement.rates, statement.energy_kwh, statement.carbon_kg));
    fitted(table, statement.by).write(out)?;
    writeln!(
        out,
        "The whole cost over the hours in service, in use, and owned by somebody (in use or held).\n"
    )
}

fn comparisons(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    if statement.comparisons.is_empty() {
        return Ok(());
    }
    writeln!(out, "OWN OR RENT, in {}", statement.currency)?;
    for comparison in &statement.comparisons {
        compare(statement, comparison, out)?;
    }
    writeln!(out)
}

fn compare(statement: &Statement, comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let currency = statement.currency;
    let price = rate(comparison.price_per_gpu_hour, currency);
    for line in wrap(&format!("{}, instead of {}", comparison.offer, comparison.model), WIDTH) {
        writeln!(out, "{line}")?;
    }
    for line in wrap(&format!("{price} a GPU-hour; {}", comparison.price_source), WIDTH - 2) {
        writeln!(out, "  {line}")?;
    }
    let against = |rent: Decimal| against_own(rent, comparison.own.amount);
    let line = |what: &str, value: Decimal, remark: String| {
        format!("  {what:<36}{:>16}   {remark}", amount(value, currency)).trim_end().to_owned()
    };
    let (capacity, work) = (comparison.same_capacity.amount, comparison.same_work.amount);
    writeln!(out, "{}", line("Own cost of these GPUs", comparison.own.amount, String::new()))?;
    writeln!(out, "{}", line("Rent, every hour in service", capacity, against(capacity)))?;
    writeln!(out, "{}", line("Rent, only the hours that were owned", work, against(work)))?;
    let used = or_absent(comparison.utilization, percent);
    let even = match comparison.break_even_utilization {
        Some(even) if even > Decimal::ONE => "above 100 %: renting is cheaper at any use".to_owned(),
        other => or_absent(other, percent),
    };
    writeln!(out, "  Owning pays above a use of           {even:>16}   measured: {used}")
}

/// Rent beside the own cost, in the words that fit the size of the difference.
pub fn against_own(rent: Decimal, own: Decimal) -> String {
    let Some(times) = ratio(rent, own).filter(|_| own > Decimal::ZERO) else { return String::new() };
    if times >= Decimal::TWO {
        return format!("{} times the own cost", grouped(times, 1));
    }
    let difference = times.saturating_sub(Decimal::ONE);
    let word = if difference.is_sign_negative() { "cheaper" } else { "dearer" };
    format!("{} {word} than owning", percent(difference.abs()))
}

fn coverage(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    let coverage = statement.coverage;
    writeln!(out, "HOW MUCH WAS MEASURED")?;
    let line = |what: &str, ratio: Option<Decimal>| format!("  {what:<62}{:>8}", or_absent(ratio, percent));
    writeln!(out, "{}", line("GPU-hours observed, of those in service", coverage.observed_ratio))?;
    writeln!(
        out,
        "{}",
        line("Energy by a counter, the rest integrated from power", coverage.counted_energy_ratio)
    )?;
    writeln!(
        out,
        "{}",
        line("Energy used while nobody looked, by the counter's difference", coverage.gap_energy_ratio)
    )?;
    if coverage.observed_ratio.is_none() {
        writeln!(out, "  {ABSENT} means: nothing of that kind in the period")?;
    }
    writeln!(out)
}

fn notes(statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
    if !statement.notes.is_empty() {
        writeln!(out, "NOTES")?;
    }
    for note in &statement.notes {
        for (position, line) in wrap(note, WIDTH - 2).iter().enumerate() {
            writeln!(out, "{}{line}", if position == 0 { "- " } else { "  " })?;
        }
    }
    writeln!(out, "Each amount with its formula and inputs: --explain ID, or --format json, csv or html.")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn text(statement: &Statement) -> String {
        let mut out = Vec::new();
        Table.write(statement, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_line_is_wider_than_a_page_even_with_large_amounts_and_long_names() {
        let mut statement = sample::statement();
        let name = "NVIDIA GB300 NVL72 Grace Blackwell Ultra Superchip, liquid cooled";
        for line in &mut statement.lines {
            line.amount *= Decimal::from(10_000);
            line.group = name.into();
        }
        for group in &mut statement.groups {
            group.name = name.into();
            group.total.amount *= Decimal::from(10_000);
        }
        statement.total.amount *= Decimal::from(10_000);
        for statement in [sample::statement(), statement] {
            let text = text(&statement);
            let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= WIDTH, "{widest}");
        }
    }

    #[test]
    fn the_table_has_totals_shares_and_the_comparison() {
        let text = text(&sample::statement());
        for part in [
            "Total cost   EUR 52,273.94",
            "Total       34,408.25",
            "61.5 %",
            "2.9 times the own cost",
            "34.6 %   measured: 76.9 %",
            "−250.00",
            "- The price of aws p5.48xlarge is 143 days old",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn long_names_cost_no_cents_and_stay_apart() {
        let mut statement = sample::statement();
        let name = |number| format!("Simulated NVIDIA H{number} 80GB HBM3");
        for (number, group) in (100..).zip(&mut statement.groups) {
            for line in statement.lines.iter_mut().filter(|line| line.group == group.name) {
                line.group = name(number);
            }
            group.name = name(number);
        }
        let text = text(&statement);
        let costs = text.split("WHAT IT COST").nth(1).unwrap().split("HOW THE GPUS").next().unwrap();
        assert!(costs.contains(&amount(statement.total.amount, statement.currency)), "{costs}");
        let names: BTreeSet<&str> = costs.lines().filter_map(|line| line.split("  ").next()).collect();
        let short = names.iter().filter(|name| name.contains('…')).count();
        assert_eq!(short, statement.groups.len(), "{costs}");
    }

    #[test]
    fn figures_without_their_cents_say_so() {
        let costs = |zeros: u32| {
            let mut statement = sample::statement();
            for line in &mut statement.lines {
                line.amount *= Decimal::from(10_u64.pow(zeros));
            }
            let text = text(&statement);
            text.split("HOW THE GPUS").next().unwrap().to_owned()
        };
        assert!(!costs(0).contains("Rounded"));
        let rounded = (1..12).map(costs).find(|text| text.contains("Rounded to whole EUR")).unwrap();
        assert!(!rounded.split("WHAT IT COST").nth(1).unwrap().contains(".00"), "{rounded}");
    }

    #[test]
    fn a_difference_is_told_in_percent_or_as_a_multiple() {
        let told = |rent: i64, own: i64| against_own(rent.into(), own.into());
        assert_eq!(told(90, 100), "10.0 % cheaper than owning");
        assert_eq!(told(150, 100), "50.0 % dearer than owning");
        assert_eq!(told(300, 100), "3.0 times the own cost");
        assert_eq!(told(300, 0), "", "nothing to compare with");
    }

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("rack-01-gpu-server-17", 14), "rack-01-g…r-17");
        assert_eq!(shortened("gpu-01", 14), "gpu-01");
    }
}
