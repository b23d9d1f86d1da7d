//! One batch of a node → its series.

use super::more::Told;
use super::node::{Device, Node, ended};
use super::render::Shape;
use super::request::{Requests, STALE, Sample, Series};
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::column::{Cells, Columns, DeviceColumns};
use gpuledger_proto::frame::Holding;
use gpuledger_proto::ids::Epoch;
use std::sync::Arc;

/// A sample that is so far ahead of the collector's clock is not sent. A receiver that took it would
/// take everything else for old from then on, and newer ones refuse it.
const AHEAD_MS: u64 = 600_000;
/// What is older than this when it comes has waited in an agent's spool.
const BACKLOG_MS: u64 = 1_800_000;

/// What a batch tells, decoded.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    pub epoch: Epoch,
    pub arrived_ms: u64,
    pub columns: &'a Columns,
    /// What the values of `gpu_holder` refer to.
    pub holdings: &'a [Holding],
}

/// A sample of a batch that is sent: its position and its time.
pub type Moment = (usize, i64);

/// A batch on its way.
pub struct Rendering<'a> {
    shape: &'a Shape,
    content: Content<'a>,
    /// Samples that are sent, oldest first.
    chosen: Vec<Moment>,
    /// Those that are not newer than what was sent before.
    late: Vec<Moment>,
    ahead: u64,
}

impl<'a> Rendering<'a> {
    /// Chooses what is sent of a batch.
    pub fn of(node: &mut Node, shape: &'a Shape, content: Content<'a>) -> Self {
        let step = |ms: u64| ms.checked_div(shape.resolution_ms).unwrap_or(ms);
        let (mut chosen, mut late) = (Vec::new(), Vec::new());
        let (mut ahead, mut late_ms) = (0, None);
        for (position, wall_ms) in content.columns.stamps().iter().map(|stamp| stamp.wall_ms).enumerate() {
            let Ok(at_ms) = i64::try_from(wall_ms) else { continue };
            if wall_ms > content.arrived_ms.saturating_add(AHEAD_MS) {
                ahead += 1;
            } else if wall_ms > node.last_ms {
                if step(wall_ms) > step(node.last_ms) {
                    chosen.push((position, at_ms));
                }
                node.last_ms = wall_ms;
            } else if late_ms.is_none_or(|before| step(wall_ms) > step(before)) {
                late.push((position, at_ms));
                late_ms = Some(wall_ms);
            }
        }
        let samples = content.columns.stamps().len().max(1);
        let ahead = ahead * (content.columns.points() / samples) as u64;
        Self { shape, content, chosen, late, ahead }
    }

    /// Puts the series into requests; gives how many samples were ahead of the clock.
    pub fn push(&self, node: &mut Node, current: &mut Requests, late: &mut Requests) -> u64 {
        if self.chosen.is_empty() && self.late.is_empty() {
            return self.ahead;
        }
        let inventory = Arc::clone(&node.inventory);
        let mut told = self.content.columns.devices().peekable();
        for (at, device) in node.devices.iter_mut().enumerate() {
            let own = told.next_if(|own| usize::from(own.device()) == at);
            if let Some(own) = own {
                self.late(own, device, late);
            }
            let Some(&(_, first_ms)) = self.chosen.first() else { continue };
            let requests = if self.is_backlog() { &mut *late } else { &mut *current };
            self.metrics(own, device, first_ms, requests);
            let mut more = Told::new(&self.chosen);
            more.collect(&self.shape.selection, own, device.scope, self.content.holdings);
            more.push(device, at, &inventory, requests);
        }
        self.ahead
    }

    fn is_backlog(&self) -> bool {
        let first = self.content.columns.stamps().first();
        first.is_some_and(|first| first.wall_ms.saturating_add(BACKLOG_MS) < self.content.arrived_ms)
    }

    /// Samples out of order: values alone, which begin and end nothing.
    fn late(&self, own: DeviceColumns<'_>, device: &Device, requests: &mut Requests) {
        for (metric, cells) in own.iter().filter(|_| !self.late.is_empty()) {
            let Some((family, decimals)) = self.family(metric, device) else { continue };
            let values = at(cells, &self.late, decimals);
            let samples = values.filter_map(|(at_ms, value)| Some(Sample { at_ms, value: value? })).collect();
            requests.push(Series { family, labels: Arc::clone(&device.labels), created_ms: 0, samples });
        }
    }

    /// Families that a metric makes by itself.
    fn metrics(
        &self,
        own: Option<DeviceColumns<'_>>,
        device: &mut Device,
        first_ms: i64,
        requests: &mut Requests,
    ) {
        let before = std::mem::replace(&mut device.live, vec![false; self.shape.selection.families.len()]);
        let mut unseen = before.clone();
        for (metric, cells) in own.iter().flat_map(DeviceColumns::iter) {
            let Some((family, decimals)) = self.family(metric, device) else { continue };
            let position = usize::from(family);
            unseen[position] = false;
            let mut live = before[position];
            let samples = with_ends(&mut live, at(cells, &self.chosen, decimals));
            device.live[position] = live;
            let created_ms = self.created_ms(position);
            requests.push(Series { family, labels: Arc::clone(&device.labels), created_ms, samples });
        }
        // What the batch has no column of is not read any more.
        for (position, _) in unseen.into_iter().enumerate().filter(|(_, unseen)| *unseen) {
            let Ok(family) = u16::try_from(position) else { continue };
            requests.push(ended(family, &device.labels, first_ms));
        }
    }

    /// The family of a metric and the places of its unit.
    fn family(&self, metric: MetricId, device: &Device) -> Option<(u16, i8)> {
        let family = self.shape.selection.metric(metric)?;
        let sent = self.shape.selection.families.get(usize::from(family))?;
        (sent.scope == device.scope).then_some((family, sent.decimals))
    }

    /// When a counter began that counts since its agent did, which the epoch tells; 0 for others.
    fn created_ms(&self, family: usize) -> i64 {
        let since_agent = self.shape.selection.families.get(family).is_some_and(|sent| sent.since_agent);
        let time = self.content.epoch.0.get_timestamp().filter(|_| since_agent);
        let Some((seconds, nanos)) = time.map(|time| time.to_unix()) else { return 0 };
        i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000) + i64::from(nanos / 1_000_000)
    }
}

/// The values at these moments, in the base unit.
fn at(cells: Cells<'_>, moments: &[Moment], decimals: i8) -> impl Iterator<Item = (i64, Option<f64>)> {
    moments.iter().map(move |&(sample, at_ms)| {
        (at_ms, cells.at(sample).value().map(|value| in_base_unit(value, decimals)))
    })
}

/// Samples where there is a value, and one stale marker where there is none any more.
pub fn with_ends(live: &mut bool, values: impl Iterator<Item = (i64, Option<f64>)>) -> Vec<Sample> {
    let told = values.filter_map(|(at_ms, value)| match value {
        Some(value) => {
            *live = true;
            Some(Sample { at_ms, value })
        }
        None => std::mem::take(live).then_some(Sample { at_ms, value: STALE }),
    });
    told.collect()
}

/// The nearest number to an integer that lies `decimals` places above the base unit.
#[allow(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
pub fn in_base_unit(value: i64, decimals: i8) -> f64 {
    let factor = f64::from(10_u32.saturating_pow(decimals.unsigned_abs().into()));
    if decimals < 0 { value as f64 * factor } else { value as f64 / factor }
}
