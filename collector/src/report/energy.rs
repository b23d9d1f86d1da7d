//! Energy and observed time by node, GPU, model or owner, and by hour, day or month.
//!
//! Rows come in the order of their keys as they were asked for. Where rows are of nodes, `source`
//! says whose energy it is: the node's own meter, its power readings, or the sum of its GPUs.

use super::columns::{Align, Table};
use super::number;
use gpuledger_units::{Millijoules, Millis, Overflow};
use serde::Serialize;
use std::io::{self, Write};

/// What rows are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    Node,
    Gpu,
    Model,
    Owner,
    Hour,
    Day,
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EnergyFormat {
    Table,
    Json,
    Csv,
}

/// Where an energy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The counter of a meter on the whole node.
    NodeCounter,
    /// Power readings of the whole node, integrated.
    NodePower,
    /// The GPUs' own counters.
    GpuCounter,
    /// Power readings of GPUs, integrated.
    GpuPower,
    /// More than one of these.
    Mixed,
}

impl Source {
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeCounter => "node_counter",
            Self::NodePower => "node_power",
            Self::GpuCounter => "gpu_counter",
            Self::GpuPower => "gpu_power",
            Self::Mixed => "mixed",
        }
    }

    /// The source of a sum.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Mixed }
    }
}

/// One row. The fields that were asked for with `--by` are there, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnergyRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// As the driver names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// RFC 3339, UTC: when the hour, day or month begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    pub energy_mj: Millijoules,
    pub observed_ms: Millis,
    pub source: Source,
}

impl EnergyRow {
    pub fn key(&self, dimension: Dimension) -> &str {
        let key = match dimension {
            Dimension::Node => &self.node,
            Dimension::Gpu => &self.gpu,
            Dimension::Model => &self.model,
            Dimension::Owner => &self.owner,
            Dimension::Hour => &self.hour,
            Dimension::Day => &self.day,
            Dimension::Month => &self.month,
        };
        key.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnergyReport {
    /// RFC 3339, UTC; `from` is in the period, `to` is not.
    pub from: String,
    pub to: String,
    pub by: Vec<Dimension>,
    pub rows: Vec<EnergyRow>,
    pub total: EnergyTotal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EnergyTotal {
    pub energy_mj: Millijoules,
    pub observed_ms: Millis,
}

impl EnergyReport {
    pub fn new(from: String, to: String, by: Vec<Dimension>, rows: Vec<EnergyRow>) -> Result<Self, Overflow> {
        let mut total = EnergyTotal::default();
        for row in &rows {
            total.energy_mj.add(row.energy_mj)?;
            total.observed_ms.add(row.observed_ms)?;
        }
        Ok(Self { from, to, by, rows, total })
    }

    pub fn write(&self, format: EnergyFormat, out: &mut dyn Write) -> io::Result<()> {
        match format {
            EnergyFormat::Json => super::json::document(self, out),
            EnergyFormat::Csv => self.csv(out),
            EnergyFormat::Table => self.table(out),
        }
    }

    fn header(&self) -> impl Iterator<Item = &'static str> {
        self.by.iter().map(|dimension| match dimension {
            Dimension::Node => "node",
            Dimension::Gpu => "gpu",
            Dimension::Model => "model",
            Dimension::Owner => "owner",
            Dimension::Hour => "hour",
            Dimension::Day => "day",
            Dimension::Month => "month",
        })
    }

    fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(self.header().chain(["energy_mj", "observed_ms", "source"]))?;
        for row in &self.rows {
            let numbers = [row.energy_mj.0.to_string(), row.observed_ms.0.to_string()];
            let keys = self.by.iter().map(|&dimension| row.key(dimension));
            csv.write_record(keys.chain(numbers.iter().map(String::as_str)).chain([row.source.name()]))?;
        }
        csv.flush()
    }

    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Energy from {} to {}", self.from, self.to)?;
        if self.rows.is_empty() {
            return writeln!(out, "The ledger holds nothing in this period.");
        }
        writeln!(out)?;
        let keys = self.header().map(|name| (name, Align::Left));
        let numbers = [("kWh", Align::Right), ("observed hours", Align::Right), ("source", Align::Left)];
        let mut table = Table::new(&keys.chain(numbers).collect::<Vec<_>>());
        let figures = |energy, observed: Millis| {
            let hours = number::hours(observed.0, 3);
            [number::grouped(number::kwh(energy, 6), 6), number::grouped(hours, 3)]
        };
        for row in &self.rows {
            let keys = self.by.iter().map(|&dimension| row.key(dimension).to_owned());
            let figures = figures(row.energy_mj, row.observed_ms);
            table.rows.push(keys.chain(figures).chain([row.source.name().to_owned()]).collect());
        }
        let mut keys = vec![String::new(); self.by.len()];
        if let Some(first) = keys.first_mut() {
            "total".clone_into(first);
        }
        let figures = figures(self.total.energy_mj, self.total.observed_ms);
        table.total = Some(keys.into_iter().chain(figures).chain([String::new()]).collect());
        table.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> EnergyReport {
        let row = |node: &str, energy: u64| EnergyRow {
            node: Some(node.into()),
            gpu: None,
            model: None,
            owner: None,
            hour: Some("2024-05-17T15:00:00Z".into()),
            day: None,
            month: None,
            energy_mj: Millijoules(energy),
            observed_ms: Millis(3_600_000),
            source: Source::NodePower,
        };
        let rows = vec![row("0", 3_600_000_000_000), row("gpu-long-name", 1_800)];
        let by = vec![Dimension::Node, Dimension::Hour];
        EnergyReport::new("2024-05-17T15:00:00Z".into(), "2024-05-17T16:00:00Z".into(), by, rows).unwrap()
    }

    fn text(format: EnergyFormat) -> String {
        let mut out = Vec::new();
        report().write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_rows_have_the_asked_keys_and_whole_numbers() {
        let json: serde_json::Value = serde_json::from_str(&text(EnergyFormat::Json)).unwrap();
        let row = &json["rows"][0];
        assert_eq!(row["node"], "0");
        assert_eq!(row["hour"], "2024-05-17T15:00:00Z");
        assert_eq!(row["energy_mj"], 3_600_000_000_000u64);
        assert_eq!(row["observed_ms"], 3_600_000);
        assert!(row.get("gpu").is_none());
        assert_eq!(json["total"]["energy_mj"], 3_600_000_001_800u64);
    }

    #[test]
    fn csv_has_one_header_and_one_line_a_row() {
        assert_eq!(
            text(EnergyFormat::Csv),
            "node,hour,energy_mj,observed_ms,source\n\
             0,2024-05-17T15:00:00Z,3600000000000,3600000,node_power\n\
             gpu-long-name,2024-05-17T15:00:00Z,1800,3600000,node_power\n"
        );
    }

    #[test]
    fn the_table_aligns_points_and_ends_with_the_total() {
        let text = text(EnergyFormat::Table);
        let point = |line: &str| line.find('.').unwrap();
        let rows: Vec<&str> =
            text.lines().filter(|line| line.contains("kWh") || line.contains(".0")).collect();
        assert_eq!(point(rows[1]), point(rows[2]), "{text}");
        assert!(text.lines().last().unwrap().starts_with("total"), "{text}");
        assert!(text.contains("1,000.000001"), "{text}");
    }
}
