//! What the columns of a file mean.

use super::ImportError;
use gpuledger_proto::ids::NodeName;
use std::fmt::Write as _;

/// Unit of the time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TimeUnit {
    /// Milliseconds since 1970-01-01 UTC.
    Ms,
    /// Seconds since 1970-01-01 UTC, with a fraction if there is one.
    S,
    /// Microseconds since 1970-01-01 UTC.
    Us,
    /// Nanoseconds since 1970-01-01 UTC.
    Ns,
    /// Text with an offset: 2024-05-17T15:00:00Z.
    Rfc3339,
}

/// Unit of a power column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PowerUnit {
    #[value(name = "W")]
    W,
    #[value(name = "mW")]
    Mw,
    #[value(name = "kW")]
    Kw,
}

/// Unit of a column that counts energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EnergyUnit {
    #[value(name = "J")]
    J,
    #[value(name = "mJ")]
    Mj,
    #[value(name = "Wh")]
    Wh,
    #[value(name = "kWh")]
    Kwh,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// Power at the moment of the row: integrated by the trapezoid rule.
    Power { column: String, unit: PowerUnit },
    /// A counter that rises until it is reset: differenced.
    Energy { column: String, unit: EnergyUnit },
}

impl Quantity {
    pub fn column(&self) -> &str {
        match self {
            Self::Power { column, .. } | Self::Energy { column, .. } => column,
        }
    }
}

/// Where the name of a row's node comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeSource {
    Column(String),
    Always(NodeName),
}

/// Which columns hold what; checked against the file's header when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub node: NodeSource,
    /// Column with the GPU's UUID; without it the readings are of whole nodes.
    pub gpu_column: Option<String>,
    /// Model to register GPUs with that the ledger does not know yet.
    pub gpu_model: Option<String>,
    pub time_column: String,
    pub time_unit: TimeUnit,
    pub quantity: Quantity,
    /// Rows count only where each of these columns has exactly this text.
    pub filters: Vec<(String, String)>,
    /// Longest time between two readings that is still counted as observed.
    pub longest_gap_ms: u64,
}

/// The largest holes in the power logs of real benchmark runs are 22 s; a minute bridges them and
/// leaves an outage an outage.
pub const LONGEST_GAP_MS_DEFAULT: u64 = 60_000;
/// A day: beyond it, two readings say nothing about what lies between them.
pub const LONGEST_GAP_MS_MAX: u64 = 86_400_000;

impl Mapping {
    /// Parses one `--where COL=VALUE`.
    pub fn filter(text: &str) -> Result<(String, String), String> {
        match text.split_once('=') {
            Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
            _ => Err(format!("expected COLUMN=VALUE, got {text:?}")),
        }
    }

    /// Refuses a longest gap that makes no sense.
    pub fn checked(self) -> Result<Self, ImportError> {
        if self.longest_gap_ms == 0 || self.longest_gap_ms > LONGEST_GAP_MS_MAX {
            let given = self.longest_gap_ms;
            return Err(ImportError::Mapping(format!(
                "--longest-gap of {given} ms: expected more than 0 and at most 24h"
            )));
        }
        Ok(self)
    }

    /// The mapping as text that is equal exactly when the mapping is: part of an epoch's name.
    pub fn canonical(&self) -> String {
        let mut text = String::from("gpuledger import telemetry 1");
        let node = match &self.node {
            NodeSource::Column(column) => ("node-column", column.as_str()),
            NodeSource::Always(name) => ("node", name.as_str()),
        };
        let quantity = match &self.quantity {
            Quantity::Power { column, unit } => ("power", column, format!("{unit:?}")),
            Quantity::Energy { column, unit } => ("energy", column, format!("{unit:?}")),
        };
        // Debug quotes the text, so no value can pretend to be another field.
        let _ = write!(text, "\n{}={:?}\ngpu={:?}", node.0, node.1, self.gpu_column);
        let _ = write!(text, "\ntime={:?} {:?}", self.time_column, self.time_unit);
        let _ = write!(text, "\n{}={:?} {}", quantity.0, quantity.1, quantity.2);
        let mut filters = self.filters.clone();
        filters.sort();
        let _ = write!(text, "\nwhere={filters:?}\nlongest_gap_ms={}", self.longest_gap_ms);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            node: NodeSource::Column("node".into()),
            gpu_column: None,
            gpu_model: None,
            time_column: "t".into(),
            time_unit: TimeUnit::Ms,
            quantity: Quantity::Power { column: "p".into(), unit: PowerUnit::W },
            filters: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
            longest_gap_ms: LONGEST_GAP_MS_DEFAULT,
        }
    }

    #[test]
    fn the_order_of_filters_does_not_name_another_import() {
        let mut other = mapping();
        other.filters.reverse();
        assert_eq!(mapping().canonical(), other.canonical());
    }

    #[test]
    fn another_unit_column_filter_or_gap_names_another_import() {
        let change: [fn(&mut Mapping); 4] = [
            |m| m.quantity = Quantity::Power { column: "p".into(), unit: PowerUnit::Kw },
            |m| m.time_column = "u".into(),
            |m| m.filters[0].1 = "3".into(),
            |m| m.longest_gap_ms = 10_000,
        ];
        for change in change {
            let mut other = mapping();
            change(&mut other);
            assert_ne!(mapping().canonical(), other.canonical());
        }
    }

    #[test]
    fn a_filter_keeps_what_follows_the_first_equals_sign() {
        assert_eq!(Mapping::filter("run=a=b"), Ok(("run".into(), "a=b".into())));
        assert!(Mapping::filter("run").is_err());
        assert!(Mapping::filter("=x").is_err());
    }

    #[test]
    fn a_gap_of_nothing_or_of_days_is_refused() {
        for gap in [0, LONGEST_GAP_MS_MAX + 1] {
            let refused = Mapping { longest_gap_ms: gap, ..mapping() }.checked().unwrap_err();
            assert!(refused.to_string().contains("at most 24h"), "{refused}");
        }
    }
}
