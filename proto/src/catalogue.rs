//! Every metric, declared once. The wire takes its number from here, the exporters their name, type
//! and help, the dashboard test the list of what exists.
//!
//! Invariants: a number is never used again; a metric's unit and kind never change (a change is a
//! new metric); the table is sorted by number.

mod entries;

pub use entries::*;

/// What a metric is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The node: position 0 of a batch.
    Node,
    /// One GPU.
    Gpu,
}

/// How the values of a metric behave, which decides how they are encoded and exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only rises, until it is reset.
    Counter,
    /// A code or a bit mask: the number is a name, not a quantity.
    State,
}

/// The integer unit on wire and disk, with the factor to the base unit that Prometheus wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Millijoules,
    Milliwatts,
    Millicelsius,
    Ppm,
    Bytes,
    BytesPerSecond,
    Kilohertz,
    Millis,
    Count,
    Code,
}

impl Unit {
    /// The unit's name for people.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Millijoules => "mJ",
            Self::Milliwatts => "mW",
            Self::Millicelsius => "m°C",
            Self::Ppm => "ppm",
            Self::Bytes => "B",
            Self::BytesPerSecond => "B/s",
            Self::Kilohertz => "kHz",
            Self::Millis => "ms",
            Self::Count | Self::Code => "",
        }
    }

    /// How many decimal places lie between the integer and Prometheus' base unit; negative where
    /// the base unit is the smaller one (kHz to hertz).
    pub const fn base_decimals(self) -> i8 {
        match self {
            Self::Millijoules | Self::Milliwatts | Self::Millicelsius | Self::Millis => 3,
            Self::Ppm => 6,
            Self::Bytes | Self::BytesPerSecond | Self::Count | Self::Code => 0,
            Self::Kilohertz => -3,
        }
    }
}

/// A metric's number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricId(pub u16);

/// One entry of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub id: MetricId,
    /// Name within gpuledger: configuration, `probe`, documentation.
    pub name: &'static str,
    pub scope: Scope,
    pub kind: Kind,
    pub unit: Unit,
    /// Name in Prometheus, unit suffix included; `None` where the number means nothing by itself.
    pub prometheus: Option<&'static str>,
    /// One sentence, as Prometheus' HELP line.
    pub help: &'static str,
    /// First version that has it.
    pub added_in: &'static str,
}

/// The entry with this number, or `None` for a metric of a newer version.
pub fn metric(id: MetricId) -> Option<&'static Metric> {
    CATALOGUE.binary_search_by_key(&id, |m| m.id).ok().map(|position| &CATALOGUE[position])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_sorted() {
        assert!(CATALOGUE.windows(2).all(|w| w[0].id < w[1].id));
        let mut names: Vec<_> = CATALOGUE.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn prometheus_names_follow_its_conventions() {
        for m in CATALOGUE {
            let Some(name) = m.prometheus else { continue };
            assert!(name.starts_with("gpuledger_"), "{name}");
            assert!(
                !["_counter_", "_gauge_", "_histogram_"].iter().any(|kind| name.contains(kind)),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), m.kind == Kind::Counter, "{name}");
            let suffix = match m.unit {
                Unit::Millijoules => "_joules",
                Unit::Milliwatts => "_watts",
                Unit::Millicelsius => "_celsius",
                Unit::Ppm => "_ratio",
                Unit::Bytes => "_bytes",
                Unit::BytesPerSecond => "_bytes_per_second",
                Unit::Kilohertz => "_hertz",
                Unit::Millis => "_seconds",
                Unit::Count | Unit::Code => "",
            };
            assert!(name.trim_end_matches("_total").ends_with(suffix) || suffix.is_empty(), "{name}");
            assert!(m.help.ends_with('.'), "{}", m.name);
        }
    }
}
