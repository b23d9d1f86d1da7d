//! Which families are sent, and what is known of each.
//!
//! They are those of `/metrics` that come from a node's readings, under the same names, labels and
//! units, so that one dashboard works on both. What the collector tells of itself, of energy and of
//! cost is scraped: there is one of it, not one a node.

use super::super::families::{
    Family, GPU_ABSENT, GPU_INFO, GPU_OWNER_SHARE, GPU_THROTTLED, NODE_ABSENT, NODE_INFO, Type,
};
use gpuledger_proto::catalogue::{
    CATALOGUE, GPU_ENERGY_INTEGRATED, Kind, Metric, MetricId, NODE_SPOOL_DROPPED, Scope, Unit,
};

/// What a family is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// A metric of the catalogue, one series a device.
    Metric(MetricId),
    /// The inventory: always 1.
    Info,
    /// Bits of the throttle reasons.
    Throttle,
    /// Who holds a GPU.
    Owners,
    /// Readings that are absent.
    Absent,
}

/// A family that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub name: &'static str,
    pub help: &'static str,
    pub is_counter: bool,
    /// As in the name; empty where the number has none.
    pub unit: &'static str,
    pub scope: Scope,
    pub from: From,
    /// Places between the integer and the base unit.
    pub decimals: i8,
    /// Whether a counter began at 0 when the agent started.
    pub since_agent: bool,
}

/// The families that are sent, and how to find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub families: Vec<Sent>,
    /// Positions by number of the metric; there are fewer than a thousand.
    metrics: Vec<Option<u16>>,
}

impl Selection {
    /// Every family that one of the patterns fits.
    pub fn of(fits: impl Fn(&str) -> bool) -> Self {
        let families: Vec<Sent> = all().filter(|family| fits(family.name)).collect();
        let highest = CATALOGUE.last().map_or(0, |metric| usize::from(metric.id.0));
        let mut metrics = vec![None; highest + 1];
        for (position, family) in families.iter().enumerate() {
            if let From::Metric(id) = family.from {
                metrics[usize::from(id.0)] = u16::try_from(position).ok();
            }
        }
        Self { families, metrics }
    }

    /// The position of the family that a metric makes by itself.
    pub fn metric(&self, id: MetricId) -> Option<u16> {
        self.metrics.get(usize::from(id.0)).copied().flatten()
    }

    /// The positions of the families of a scope that are made otherwise.
    pub fn others(&self, scope: Scope) -> impl Iterator<Item = (u16, From)> {
        let made = move |(position, family): (usize, &Sent)| {
            let is_other = family.scope == scope && !matches!(family.from, From::Metric(_));
            is_other.then_some((u16::try_from(position).ok()?, family.from))
        };
        self.families.iter().enumerate().filter_map(made)
    }

    /// Changes whenever a record would be rendered into other series.
    pub fn describe(&self) -> String {
        self.families.iter().map(|family| family.name).collect::<Vec<_>>().join(",")
    }
}

/// Names of all families that can be sent.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|family| family.name)
}

fn all() -> impl Iterator<Item = Sent> {
    CATALOGUE.iter().filter_map(of_metric).chain([
        of_family(&NODE_INFO, Scope::Node, From::Info),
        of_family(&NODE_ABSENT, Scope::Node, From::Absent),
        of_family(&GPU_INFO, Scope::Gpu, From::Info),
        of_family(&GPU_ABSENT, Scope::Gpu, From::Absent),
        of_family(&GPU_THROTTLED, Scope::Gpu, From::Throttle),
        of_family(&GPU_OWNER_SHARE, Scope::Gpu, From::Owners),
    ])
}

fn of_metric(metric: &'static Metric) -> Option<Sent> {
    Some(Sent {
        name: metric.prometheus?,
        help: metric.help,
        is_counter: metric.kind == Kind::Counter,
        unit: base_unit(metric.unit),
        scope: metric.scope,
        from: From::Metric(metric.id),
        decimals: metric.unit.base_decimals(),
        since_agent: [GPU_ENERGY_INTEGRATED, NODE_SPOOL_DROPPED].contains(&metric.id),
    })
}

fn of_family(family: &'static Family, scope: Scope, from: From) -> Sent {
    Sent {
        name: family.name,
        help: family.help,
        is_counter: family.kind == Type::Counter,
        unit: family.unit,
        scope,
        from,
        decimals: if from == From::Owners { Unit::Ppm.base_decimals() } else { 0 },
        since_agent: false,
    }
}

const fn base_unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Millijoules => "joules",
        Unit::Milliwatts => "watts",
        Unit::Millicelsius => "celsius",
        Unit::Ppm => "ratio",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes_per_second",
        Unit::Kilohertz => "hertz",
        Unit::Millis => "seconds",
        Unit::Count | Unit::Code => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::catalogue::{GPU_HOLDER, GPU_POWER_AVERAGE, NODE_CPU};

    #[test]
    fn every_family_of_the_catalogue_and_of_readings_can_be_sent_once() {
        let all = Selection::of(|_| true);
        let exported = CATALOGUE.iter().filter(|metric| metric.prometheus.is_some()).count();
        assert_eq!(all.families.len(), exported + 6);
        let mut names: Vec<_> = names().collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.families.len());
        assert!(all.families.iter().all(|f| f.is_counter == f.name.ends_with("_total")));
        assert!(all.families.iter().all(|f| f.name.trim_end_matches("_total").ends_with(f.unit)));
    }

    #[test]
    fn only_what_is_selected_is_sent() {
        let power = Selection::of(|name| name == "gpuledger_gpu_power_watts");
        assert_eq!(power.metric(GPU_POWER_AVERAGE), Some(0));
        assert_eq!((power.metric(NODE_CPU), power.metric(GPU_HOLDER)), (None, None));
        assert_eq!(power.others(Scope::Gpu).count(), 0);
        let owner = Selection::of(|name| name.contains("owner"));
        assert_eq!(owner.others(Scope::Gpu).collect::<Vec<_>>(), [(0, From::Owners)]);
    }
}
