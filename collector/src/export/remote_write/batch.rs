//! One batch of a node → its series.

use super::node::{Device, More, Node, ended};
use super::render::Shape;
use super::request::{Requests, STALE, Sample, Series};
use super::selection::{From, Sent};
use crate::export::readings::THROTTLE_BITS;
use gpuledger_proto::catalogue::{self, GPU_HOLDER, GPU_THROTTLE_REASONS, Scope, Unit};
use gpuledger_proto::frame::{Batch, Column, Holding, Inventory};
use gpuledger_proto::ids::Epoch;
use gpuledger_proto::reading::Reading;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A sample that is so far ahead of the collector's clock is not sent. A receiver that took it would
/// take everything else for old from then on, and newer ones refuse it.
const AHEAD_MS: u64 = 600_000;
/// What is older than this when it comes has waited in an agent's spool.
const BACKLOG_MS: u64 = 1_800_000;

/// A batch on its way.
pub struct Rendering<'a> {
    node: &'a mut Node,
    shape: &'a Shape,
    batch: &'a Batch,
    epoch: Epoch,
    /// Positions of the samples that are sent, with their time, oldest first.
    chosen: Vec<(usize, i64)>,
    /// Those that are not newer than what was sent before.
    late: Vec<(usize, i64)>,
    is_backlog: bool,
    ahead: u64,
}

impl<'a> Rendering<'a> {
    /// Chooses what is sent of a batch.
    pub fn of(node: &'a mut Node, shape: &'a Shape, epoch: Epoch, batch: &'a Batch, arrived_ms: u64) -> Self {
        let step = |ms: u64| if shape.resolution_ms == 0 { ms } else { ms / shape.resolution_ms };
        let (mut chosen, mut late) = (Vec::new(), Vec::new());
        let (mut ahead, mut late_ms) = (0, None);
        let is_backlog =
            batch.stamps.first().is_some_and(|first| first.wall_ms.saturating_add(BACKLOG_MS) < arrived_ms);
        for (position, wall_ms) in batch.stamps.iter().map(|stamp| stamp.wall_ms).enumerate() {
            let Ok(at_ms) = i64::try_from(wall_ms) else { continue };
            if wall_ms > arrived_ms.saturating_add(AHEAD_MS) {
                ahead += 1;
            } else if wall_ms > node.last_ms {
                if step(wall_ms) > step(node.last_ms) {
                    chosen.push((position, at_ms));
                }
                node.last_ms = wall_ms;
            } else if late_ms.is_none_or(|before| wall_ms > before && step(wall_ms) > step(before)) {
                late.push((position, at_ms));
                late_ms = Some(wall_ms);
            }
        }
        let ahead = ahead * batch.columns.len() as u64;
        Self { node, shape, batch, epoch, chosen, late, is_backlog, ahead }
    }

    /// Puts the series into requests; gives how many samples were ahead of the clock.
    pub fn push(mut self, current: &mut Requests, late: &mut Requests) -> u64 {
        self.late(late);
        if !self.chosen.is_empty() {
            let requests = if self.is_backlog { late } else { current };
            self.metrics(requests);
            self.others(requests);
        }
        self.ahead
    }

    /// Samples out of order: values alone, which begin and end nothing.
    fn late(&self, requests: &mut Requests) {
        for column in self.batch.columns.iter().filter(|_| !self.late.is_empty()) {
            let Some((family, device)) = self.family(column) else { continue };
            let decimals = self.shape.selection.families.get(usize::from(family)).map_or(0, |f| f.decimals);
            let value = |&(position, at_ms): &(usize, i64)| {
                let value = column.readings.get(position)?.value()?;
                Some(Sample { at_ms, value: in_base_unit(value, decimals) })
            };
            let samples = self.late.iter().filter_map(value).collect();
            requests.push(Series { family, labels: Arc::clone(&device.labels), created_ms: 0, samples });
        }
    }

    /// Families that a metric makes by itself.
    fn metrics(&mut self, requests: &mut Requests) {
        let families = self.shape.selection.families.len();
        let mut seen = vec![false; families * self.node.devices.len()];
        let created_ms = began_ms(self.epoch);
        for column in &self.batch.columns {
            let Some((family, _)) = self.family(column) else { continue };
            let (at, position) = (usize::from(column.device), usize::from(family));
            let Some(device) = self.node.devices.get_mut(at) else { continue };
            let (Some(sent), Some(live)) =
                (self.shape.selection.families.get(position), device.live.get_mut(position))
            else {
                continue;
            };
            seen[at * families + position] = true;
            let readings = self.chosen.iter().filter_map(|&(at, ms)| Some((ms, column.readings.get(at)?)));
            let values = readings.map(|(at_ms, reading)| {
                (at_ms, reading.value().map(|value| in_base_unit(value, sent.decimals)))
            });
            let samples = with_ends(live, values);
            let created_ms = if sent.since_agent { created_ms } else { 0 };
            requests.push(Series { family, labels: Arc::clone(&device.labels), created_ms, samples });
        }
        // What the batch has no column of is not read any more.
        let Some(&(_, at_ms)) = self.chosen.first() else { return };
        for (at, device) in self.node.devices.iter_mut().enumerate() {
            for (position, live) in device.live.iter_mut().enumerate() {
                if *live && !seen[at * families + position] {
                    *live = false;
                    let family = u16::try_from(position).unwrap_or(u16::MAX);
                    requests.push(ended(family, &device.labels, at_ms));
                }
            }
        }
    }

    fn family(&self, column: &Column) -> Option<(u16, &Device)> {
        let device = self.node.devices.get(usize::from(column.device))?;
        let family = self.shape.selection.metric(column.metric)?;
        let scope = self.shape.selection.families.get(usize::from(family))?.scope;
        (scope == device.scope).then_some((family, device))
    }

    /// Families whose series have labels of their own.
    fn others(&mut self, requests: &mut Requests) {
        let selection = &self.shape.selection;
        let inventory = Arc::clone(&self.node.inventory);
        let mut columns = self.batch.columns.as_slice();
        for (at, device) in self.node.devices.iter_mut().enumerate() {
            let (own, rest) = columns.split_at(columns.partition_point(|c| usize::from(c.device) <= at));
            columns = rest;
            let mut told = Told::new(self.chosen.len());
            for (family, from) in selection.others(device.scope) {
                let Some(sent) = selection.families.get(usize::from(family)) else { continue };
                for (moment, &(sample, _)) in self.chosen.iter().enumerate() {
                    let one = One { own, batch: self.batch, sample, sent, from };
                    one.tell(|more, value| told.put((family, more), moment, value));
                }
            }
            told.push(device, at, &inventory, &self.chosen, requests);
        }
    }
}

/// The values of a device's other series at each chosen moment.
struct Told {
    moments: usize,
    values: BTreeMap<(u16, More), Vec<Option<f64>>>,
}

impl Told {
    const fn new(moments: usize) -> Self {
        Self { moments, values: BTreeMap::new() }
    }

    fn put(&mut self, key: (u16, More), moment: usize, value: f64) {
        let values = self.values.entry(key).or_insert_with(|| vec![None; self.moments]);
        // Two holders of one name differ in their job alone, which is no label.
        values[moment] = Some(values[moment].unwrap_or_default() + value);
    }

    fn push(
        mut self,
        device: &mut Device,
        at: usize,
        inventory: &Inventory,
        chosen: &[(usize, i64)],
        requests: &mut Requests,
    ) {
        let before = std::mem::take(&mut device.live_more);
        for key in before.keys().filter(|key| !self.values.contains_key(key)).cloned().collect::<Vec<_>>() {
            self.values.insert(key, vec![None; self.moments]);
        }
        for (key, values) in self.values {
            let known = before.get(&key);
            let labels = known.map_or_else(|| Arc::new(key.1.labels(device, at, inventory)), Arc::clone);
            let mut live = known.is_some();
            let moments = chosen.iter().map(|&(_, at_ms)| at_ms).zip(values);
            let samples = with_ends(&mut live, moments);
            requests.push(Series { family: key.0, labels: Arc::clone(&labels), created_ms: 0, samples });
            if live {
                device.live_more.insert(key, labels);
            }
        }
    }
}

/// One family of one device at one moment.
struct One<'a> {
    /// The columns of the device.
    own: &'a [Column],
    batch: &'a Batch,
    sample: usize,
    sent: &'a Sent,
    from: From,
}

impl One<'_> {
    fn tell(&self, mut tell: impl FnMut(More, f64)) {
        let reading = |metric| {
            let column = self.own.iter().find(|column| column.metric == metric)?;
            column.readings.get(self.sample).copied()
        };
        match self.from {
            From::Metric(_) => {}
            From::Info => tell(More::Info, 1.0),
            From::Throttle => {
                let Some(Reading::Value(reasons)) = reading(GPU_THROTTLE_REASONS) else { return };
                for (bit, (mask, _)) in THROTTLE_BITS.iter().enumerate() {
                    tell(More::Throttle { bit }, f64::from(u8::from(reasons & mask != 0)));
                }
            }
            From::Owners => {
                let Some(Reading::Value(code)) = reading(GPU_HOLDER) else { return };
                for share in holding(self.batch, code).into_iter().flatten() {
                    let (kind, owner) = (share.owner.kind.name(), &share.owner);
                    let (account, name) = (owner.account.clone(), owner.name.clone());
                    let ratio = in_base_unit(i64::from(share.share_ppm), Unit::Ppm.base_decimals());
                    tell(More::Owner { kind, account, name }, ratio);
                }
            }
            From::Absent => {
                for column in self.own {
                    let metric = catalogue::metric(column.metric);
                    if let (Some(metric), Some(&Reading::Absent(reason))) =
                        (metric, column.readings.get(self.sample))
                        && metric.scope == self.sent.scope
                    {
                        tell(More::Absent { metric: metric.id, reason }, 1.0);
                    }
                }
            }
        }
    }
}

/// What a holder's code refers to; 0 is nobody.
fn holding(batch: &Batch, code: i64) -> Option<&Holding> {
    batch.holdings.get(usize::try_from(code).ok()?.checked_sub(1)?)
}

impl More {
    fn labels(&self, device: &Device, at: usize, inventory: &Inventory) -> super::labels::Labels {
        let base = &device.labels;
        match self {
            Self::Info if device.scope == Scope::Node => {
                let host = &inventory.host;
                let driver = host.driver_version.as_deref().unwrap_or_default();
                base.with([
                    ("hostname", host.hostname.as_str()),
                    ("os", &host.os),
                    ("driver_version", driver),
                ])
            }
            Self::Info => {
                let Some(gpu) = at.checked_sub(1).and_then(|at| inventory.gpus.get(at)) else {
                    return (**base).clone();
                };
                base.with([
                    ("model", gpu.model.as_str()),
                    ("serial", gpu.serial.as_deref().unwrap_or_default()),
                    ("pci_bus_id", gpu.pci_bus_id.as_deref().unwrap_or_default()),
                    ("simulated", if gpu.simulated { "true" } else { "false" }),
                ])
            }
            Self::Throttle { bit } => {
                base.with([("reason", THROTTLE_BITS.get(*bit).map_or("", |(_, reason)| *reason))])
            }
            Self::Owner { kind, account, name } => {
                base.with([("kind", *kind), ("account", account.as_str()), ("owner", name.as_str())])
            }
            Self::Absent { metric, reason } => {
                let reading = catalogue::metric(*metric).map_or("", |metric| metric.name);
                base.with([("reading", reading), ("reason", reason.name())])
            }
        }
    }
}

/// Samples where there is a value, and one stale marker where there is none any more.
fn with_ends(live: &mut bool, values: impl Iterator<Item = (i64, Option<f64>)>) -> Vec<Sample> {
    let told = values.filter_map(|(at_ms, value)| match value {
        Some(value) => {
            *live = true;
            Some(Sample { at_ms, value })
        }
        None => std::mem::take(live).then_some(Sample { at_ms, value: STALE }),
    });
    told.collect()
}

/// When a run of an agent began, which its epoch tells; 0 where it does not.
fn began_ms(epoch: Epoch) -> i64 {
    let Some((seconds, nanos)) = epoch.0.get_timestamp().map(|time| time.to_unix()) else { return 0 };
    i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000).saturating_add(i64::from(nanos / 1_000_000))
}

/// The nearest number to an integer that lies `decimals` places above the base unit.
#[allow(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
fn in_base_unit(value: i64, decimals: i8) -> f64 {
    let factor = f64::from(10_u32.saturating_pow(decimals.unsigned_abs().into()));
    if decimals < 0 { value as f64 * factor } else { value as f64 / factor }
}
