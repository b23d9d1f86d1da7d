//! The Grafana boards: every query of every panel returns data from a running fleet of ours, and
//! every metric that a board names is one that the collector declares.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_collector::export::families::{FAMILIES, Type};
use gpuledger_e2e::monitored::{Monitored, value};
use gpuledger_e2e::{built, net};
use gpuledger_proto::catalogue::CATALOGUE;
use serde_json::Value;

/// Costs are there after a minute at most; the rest is room for a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
const BOARDS: [&str; 2] = ["fleet.json", "cost.json"];

fn dashboards() -> Result<PathBuf> {
    Ok(built::root()?.join("dashboards"))
}

fn board(name: &str) -> Result<Value> {
    let path = dashboards()?.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Every panel that shows something, those inside rows included.
fn panels(board: &Value) -> Vec<&Value> {
    let top = list(board, "panels").iter();
    top.flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels")))
        .filter(|p| p["type"] != "row")
        .collect()
}

/// Title of the panel and query, for every query of a board.
fn queries(board: &Value) -> Vec<(String, String)> {
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let exprs: Vec<_> =
            list(panel, "targets").iter().filter_map(|t| t["expr"].as_str()).map(str::to_owned).collect();
        exprs.into_iter().map(move |expr| (title.clone(), expr))
    };
    panels(board).into_iter().flat_map(of).collect()
}

/// What Grafana does with variables before it asks.
fn substituted(expr: &str) -> String {
    let variables = [("$__rate_interval", "30s"), ("$node", ".*"), ("$currency", "EUR")];
    variables.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value))
}

#[test]
fn every_query_of_every_panel_returns_data() -> Result<()> {
    let Some(fleet) = Monitored::start()? else { return Ok(()) };
    let mut pending = Vec::new();
    for name in BOARDS {
        let queries = queries(&board(name)?);
        ensure!(queries.len() > 10, "{name} has {} queries", queries.len());
        for (title, expr) in queries {
            let expr = substituted(&expr);
            ensure!(!expr.contains('$'), "{name}, {title}: a variable is left in {expr}");
            pending.push((format!("{name}, {title}"), expr));
        }
    }
    // All together: rates need a while, and costs are computed once a minute.
    net::wait_for("data for every query", LIMIT, || {
        pending.retain(|(_, expr)| {
            !fleet.query(expr).is_ok_and(|samples| samples.iter().any(|s| value(s).is_some()))
        });
        let lines: Vec<_> = pending.iter().map(|(title, expr)| format!("{title}: {expr}")).collect();
        ensure!(lines.is_empty(), "no data for\n{}", lines.join("\n"));
        Ok(())
    })
}

/// Every series that the collector can have, those of histograms included.
fn series() -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        CATALOGUE.iter().filter_map(|m| m.prometheus).map(str::to_owned).collect();
    for family in FAMILIES {
        names.insert(family.name.to_owned());
        if family.kind == Type::Histogram {
            names.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", family.name)));
        }
    }
    names
}

#[test]
fn every_metric_of_a_board_or_rule_is_one_that_the_collector_declares() -> Result<()> {
    let known = series();
    for file in ["fleet.json", "cost.json", "rules/gpuledger.rules.yml", "rules/gpuledger.rules.test.yml"] {
        let text = std::fs::read_to_string(dashboards()?.join(file))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        for word in words.filter(|word| word.contains("gpuledger_")) {
            // A recorded series is called level:metric:operation, and a rate drops `_total`.
            let recorded = word.contains(':');
            let metric = word.split(':').find(|part| part.starts_with("gpuledger_")).unwrap_or(word);
            let rate = recorded && known.contains(&format!("{metric}_total"));
            ensure!(known.contains(metric) || rate, "{file} names {word}, which nothing exports");
        }
    }
    Ok(())
}

#[test]
fn boards_can_be_imported_anywhere_and_explain_themselves() -> Result<()> {
    for name in BOARDS {
        let board = board(name)?;
        ensure!(board.get("id").is_none_or(Value::is_null), "{name} has an id of one Grafana");
        ensure!(board["uid"].as_str().is_some_and(|uid| uid.starts_with("gpuledger-")), "{name} has no uid");
        let source = list(&board["templating"], "list").iter().find(|v| v["type"] == "datasource");
        ensure!(
            source.is_some_and(|v| v["name"] == "datasource"),
            "{name} has no variable for its data source"
        );
        let mut ids = BTreeSet::new();
        for panel in panels(&board) {
            let title = &panel["title"];
            ensure!(ids.insert(panel["id"].as_i64()), "{name}: the id of {title} is used twice");
            ensure!(
                panel["description"].as_str().is_some_and(|d| d.len() > 20),
                "{name}: {title} has no description"
            );
            ensure!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title} has no unit");
            for target in list(panel, "targets").iter().chain([panel]) {
                let uid = &target["datasource"]["uid"];
                ensure!(uid == "${datasource}", "{name}: {title} asks {uid} instead of the variable");
            }
        }
    }
    Ok(())
}
