//! Families whose series have labels of their own: what a device is, why its clock is held down, who
//! holds it, and what cannot be read. As in `/metrics`.

use super::batch::{Moment, in_base_unit, with_ends};
use super::labels::Labels;
use super::node::Device;
use super::request::{Requests, Series};
use super::selection::{From, Selection};
use crate::export::readings::THROTTLE_BITS;
use gpuledger_proto::catalogue::{self, GPU_HOLDER, GPU_THROTTLE_REASONS, MetricId, Scope, Unit};
use gpuledger_proto::column::DeviceColumns;
use gpuledger_proto::frame::{Holding, Inventory};
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What tells the series of one family and device apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum More {
    Info,
    Throttle { bit: usize },
    Owner { kind: &'static str, account: String, name: String },
    Absent { metric: MetricId, reason: Absence },
}

/// The values of a device's series at each chosen moment.
pub struct Told<'a> {
    chosen: &'a [Moment],
    values: BTreeMap<(u16, More), Vec<Option<f64>>>,
}

impl<'a> Told<'a> {
    pub const fn new(chosen: &'a [Moment]) -> Self {
        Self { chosen, values: BTreeMap::new() }
    }

    pub fn collect(
        &mut self,
        selection: &Selection,
        own: Option<DeviceColumns<'_>>,
        scope: Scope,
        holdings: &[Holding],
    ) {
        for (family, from) in selection.others(scope) {
            match from {
                From::Metric(_) => {}
                From::Info => {
                    for moment in 0..self.chosen.len() {
                        self.put(family, More::Info, moment, 1.0);
                    }
                }
                From::Throttle => self.throttling(family, own),
                From::Owners => self.owners(family, own, holdings),
                From::Absent => self.absences(family, own, scope),
            }
        }
    }

    fn throttling(&mut self, family: u16, own: Option<DeviceColumns<'_>>) {
        for (moment, reasons) in self.readings(own, GPU_THROTTLE_REASONS) {
            let Reading::Value(reasons) = reasons else { continue };
            for (bit, (mask, _)) in THROTTLE_BITS.iter().enumerate() {
                self.put(family, More::Throttle { bit }, moment, f64::from(u8::from(reasons & mask != 0)));
            }
        }
    }

    fn owners(&mut self, family: u16, own: Option<DeviceColumns<'_>>, holdings: &[Holding]) {
        for (moment, code) in self.readings(own, GPU_HOLDER) {
            // 0 is nobody; codes were checked when the batch came in.
            let holding = code.value().and_then(|code| usize::try_from(code).ok()?.checked_sub(1));
            for share in holding.and_then(|at| holdings.get(at)).into_iter().flatten() {
                let (kind, owner) = (share.owner.kind.name(), &share.owner);
                let more = More::Owner { kind, account: owner.account.clone(), name: owner.name.clone() };
                let ratio = in_base_unit(i64::from(share.share_ppm), Unit::Ppm.base_decimals());
                self.put(family, more, moment, ratio);
            }
        }
    }

    fn absences(&mut self, family: u16, own: Option<DeviceColumns<'_>>, scope: Scope) {
        for (id, cells) in own.iter().flat_map(DeviceColumns::iter) {
            let Some(metric) = catalogue::metric(id).filter(|metric| metric.scope == scope) else { continue };
            for (moment, &(sample, _)) in self.chosen.iter().enumerate() {
                if let Reading::Absent(reason) = cells.at(sample) {
                    self.put(family, More::Absent { metric: metric.id, reason }, moment, 1.0);
                }
            }
        }
    }

    /// What a metric reads at each chosen moment.
    fn readings(&self, own: Option<DeviceColumns<'_>>, metric: MetricId) -> Vec<(usize, Reading<i64>)> {
        let cells = own.and_then(|own| own.iter().find(|(id, _)| *id == metric)).map(|(_, cells)| cells);
        let samples = self.chosen.iter().map(|&(sample, _)| sample).enumerate();
        samples.filter_map(|(moment, sample)| Some((moment, cells?.at(sample)))).collect()
    }

    fn put(&mut self, family: u16, more: More, moment: usize, value: f64) {
        let values = self.values.entry((family, more)).or_insert_with(|| vec![None; self.chosen.len()]);
        if let Some(told) = values.get_mut(moment) {
            // Two holders of one name differ in their job alone, which is no label.
            *told = Some(told.unwrap_or_default() + value);
        }
    }

    /// Puts the series into requests, and the end of those that are told no more.
    pub fn push(mut self, device: &mut Device, at: usize, inventory: &Inventory, requests: &mut Requests) {
        let before = std::mem::take(&mut device.live_more);
        for key in before.keys().filter(|key| !self.values.contains_key(key)).cloned().collect::<Vec<_>>() {
            self.values.insert(key, vec![None; self.chosen.len()]);
        }
        for (key, values) in self.values {
            let known = before.get(&key);
            let labels = known.map_or_else(|| Arc::new(key.1.labels(device, at, inventory)), Arc::clone);
            let mut live = known.is_some();
            let moments = self.chosen.iter().map(|&(_, at_ms)| at_ms).zip(values);
            let samples = with_ends(&mut live, moments);
            requests.push(Series { family: key.0, labels: Arc::clone(&labels), created_ms: 0, samples });
            if live {
                device.live_more.insert(key, labels);
            }
        }
    }
}

impl More {
    /// All labels of the series of a device at this position.
    fn labels(&self, device: &Device, at: usize, inventory: &Inventory) -> Labels {
        let base = &device.labels;
        match self {
            Self::Info => {
                let gpu = at.checked_sub(1).and_then(|at| inventory.gpus.get(at));
                let Some(gpu) = gpu else {
                    let host = &inventory.host;
                    let driver = host.driver_version.as_deref().unwrap_or_default();
                    let more = [("hostname", host.hostname.as_str()), ("os", &host.os)];
                    return base.with(more).with([("driver_version", driver)]);
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
