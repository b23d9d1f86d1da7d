//! Which GPUs were in service, since when, and which asset paid for them.
//!
//! - An asset whose serial is a GPU's own covers that GPU. Every other asset of a node that came with
//!   GPUs takes that many of the node's, in the order in which assets came into service and GPUs were
//!   first seen. An asset without GPUs (a chassis, a switch) serves all GPUs of its node or site.
//! - GPUs that an asset came with and nobody ever saw are in service all the same: unmonitored.
//! - A GPU with an asset is in service from the asset's in-service date, or from when it was first
//!   seen if that was earlier, to the end of the period or of its stay there, or its disposal.
//! - A GPU without an asset is in service from when it was first seen to the end of the period; when
//!   it was last seen before the period began, it is taken to be gone.
//!
//! A node without GPUs and a site without nodes get a stand-in that carries their cost and no hours.

use crate::asset::{Asset, Place};
use crate::calendar::Calendar;
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::facility::Site;
use crate::rent::model_matches;
use crate::usage::{GpuUse, Usage};
use std::collections::BTreeMap;

/// Model of what has no GPU.
pub const NO_GPU: &str = "(no GPU)";

/// A node of the fleet: seen, or known from an asset only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub site: usize,
    /// Positions of its GPUs, stand-ins included; never empty.
    pub gpus: Vec<usize>,
}

/// A GPU of the fleet: seen, known from the register only, or a stand-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub node: usize,
    pub model: String,
    /// Time in service within the period, in ms since the epoch; `None` for stand-ins and GPUs that
    /// are gone or not there yet.
    pub service_ms: Option<(i64, i64)>,
    /// Its GPU-time is active while its node was observed: see [`crate::usage::Declared`].
    pub active_by_declaration: bool,
}

/// The fleet as the money sees it. GPUs that were seen come first, in the order of the usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    pub nodes: Vec<Node>,
    pub gpus: Vec<Gpu>,
    /// For each asset the GPUs that pay for it; never empty.
    pub asset_gpus: Vec<Vec<usize>>,
    pub notes: Vec<String>,
}

impl Fleet {
    pub fn site_of(&self, gpu: usize) -> usize {
        self.gpus.get(gpu).and_then(|gpu| self.nodes.get(gpu.node)).map_or(0, |node| node.site)
    }

    pub fn of_site(&self, site: usize) -> Vec<usize> {
        (0..self.gpus.len()).filter(|&gpu| self.site_of(gpu) == site).collect()
    }
}

/// Joins what was seen with what was bought. A node that only an asset names stands at the first site.
pub fn resolve(inputs: &Inputs) -> Result<Fleet, TcoError> {
    let (assets, sites) = (&inputs.assets, &inputs.sites);
    let mut builder = Builder::new(inputs);
    for asset in assets {
        if let Place::Node(name) = &asset.place {
            builder.node(name, 0);
        }
    }
    let mut order: Vec<usize> = (0..assets.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |position: usize| assets.get(position).map(|asset| (asset.in_service, &asset.serial));
        key(a).cmp(&key(b))
    });
    let mut taken: Vec<Option<Vec<usize>>> = vec![None; assets.len()];
    // Serials first, so that a node's server does not take a GPU that was bought on its own.
    for by_serial in [true, false] {
        for &position in &order {
            if let (Some(asset), Some(slot)) = (assets.get(position), taken.get_mut(position))
                && slot.is_none()
                && builder.here(asset)?
            {
                *slot = builder.take(asset, by_serial)?;
            }
        }
    }
    builder.declared();
    builder.stand_ins(sites);
    builder.unregistered();
    let asset_gpus = assets.iter().zip(taken).map(|(asset, taken)| match taken {
        Some(gpus) => Ok(gpus),
        None => builder.served_by(asset, sites),
    });
    let asset_gpus = asset_gpus.collect::<Result<_, _>>()?;
    Ok(Fleet { asset_gpus, nodes: builder.nodes, gpus: builder.gpus, notes: builder.notes })
}

struct Builder<'a> {
    usage: &'a Usage,
    calendar: &'a Calendar,
    from_ms: i64,
    to_ms: i64,
    nodes: Vec<Node>,
    by_name: BTreeMap<String, usize>,
    by_serial: BTreeMap<&'a str, usize>,
    gpus: Vec<Gpu>,
    /// Which GPUs already have an asset.
    paid: Vec<bool>,
    notes: Vec<String>,
}

impl<'a> Builder<'a> {
    fn new(inputs: &'a Inputs) -> Self {
        let (usage, calendar) = (&inputs.usage, &inputs.calendar);
        let mut nodes: Vec<Node> = Vec::new();
        let mut by_name = BTreeMap::new();
        for node in &usage.nodes {
            by_name.insert(node.name.clone(), nodes.len());
            nodes.push(Node { name: node.name.clone(), site: node.site, gpus: Vec::new() });
        }
        let (mut gpus, mut by_serial) = (Vec::new(), BTreeMap::new());
        for gpu in &usage.gpus {
            if let Some(serial) = &gpu.serial {
                by_serial.entry(serial.as_str()).or_insert(gpus.len());
            }
            if let Some(node) = nodes.get_mut(gpu.node) {
                node.gpus.push(gpus.len());
            }
            let model = gpu.model.clone();
            gpus.push(Gpu { node: gpu.node, model, service_ms: None, active_by_declaration: false });
        }
        let (from_ms, to_ms) = (inputs.period.from().start_ms(), inputs.until_ms());
        let paid = vec![false; gpus.len()];
        Self { usage, calendar, from_ms, to_ms, nodes, by_name, by_serial, gpus, paid, notes: Vec::new() }
    }

    fn node(&mut self, name: &str, site: usize) -> usize {
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        let position = self.nodes.len();
        self.by_name.insert(name.to_owned(), position);
        self.nodes.push(Node { name: name.to_owned(), site, gpus: Vec::new() });
        position
    }

    fn add_gpu(&mut self, node: usize, model: &str) -> usize {
        let position = self.gpus.len();
        let model = model.to_owned();
        self.gpus.push(Gpu { node, model, service_ms: None, active_by_declaration: false });
        self.paid.push(false);
        if let Some(node) = self.nodes.get_mut(node) {
            node.gpus.push(position);
        }
        position
    }

    fn seen(&self, gpu: usize) -> Option<&'a GpuUse> {
        self.usage.gpus.get(gpu)
    }

    fn first_seen(&self, gpu: usize) -> Option<u64> {
        self.seen(gpu).and_then(|gpu| gpu.seen_ms).map(|(first, _)| first)
    }

    fn gone(&self, gpu: usize) -> bool {
        self.seen(gpu).is_some_and(|gpu| self.start_of_unregistered(gpu.seen_ms).is_none())
    }

    /// Whether an asset stands at its place in any part of the period.
    fn here(&self, asset: &Asset) -> Result<bool, TcoError> {
        let day_ms = |day| self.calendar.day_start_ms(day);
        let came = asset.terms.stay.from.map(day_ms).transpose()?.is_none_or(|from| from < self.to_ms);
        Ok(came && asset.terms.ends().map(day_ms).transpose()?.is_none_or(|ends| ends > self.from_ms))
    }

    /// GPUs that belong to an asset; `None` where it only serves the GPUs of others.
    fn take(&mut self, asset: &Asset, by_serial: bool) -> Result<Option<Vec<usize>>, TcoError> {
        let gpus = if by_serial {
            match self.by_serial.get(asset.of_register()) {
                Some(&gpu) => vec![gpu],
                None => return Ok(None),
            }
        } else {
            match &asset.place {
                Place::Node(name) if asset.gpus > 0 => self.take_of_node(asset, name),
                _ => return Ok(None),
            }
        };
        let bought_ms = self.calendar.day_start_ms(asset.in_service)?;
        for &gpu in &gpus {
            if let Some(paid) = self.paid.get_mut(gpu) {
                *paid = true;
            }
            self.serve(gpu, asset, bought_ms)?;
        }
        Ok(Some(gpus))
    }

    fn take_of_node(&mut self, asset: &Asset, name: &str) -> Vec<usize> {
        let node = self.node(name, 0);
        let fits = |builder: &Self, gpu: usize| {
            let free = builder.paid.get(gpu) == Some(&false);
            let model = builder.gpus.get(gpu).map(|gpu| gpu.model.as_str());
            let wanted =
                asset.model.as_deref().zip(model).is_none_or(|(wanted, model)| model_matches(wanted, model));
            free && wanted
        };
        let mut gpus: Vec<usize> = self.nodes.get(node).map(|node| node.gpus.clone()).unwrap_or_default();
        let model = gpus.first().and_then(|&gpu| self.gpus.get(gpu)).map(|gpu| gpu.model.clone());
        gpus.retain(|&gpu| fits(self, gpu));
        // A GPU that was gone before the period has probably been replaced: it comes last.
        gpus.sort_by_key(|&gpu| (self.gone(gpu), self.first_seen(gpu).unwrap_or(u64::MAX), gpu));
        let wanted = usize::try_from(asset.gpus).unwrap_or(usize::MAX);
        gpus.truncate(wanted);
        let unseen = wanted.saturating_sub(gpus.len());
        if unseen > 0 {
            let so = if self.active_by_declaration(node) {
                "they count as active while their node was measured, else as unmonitored"
            } else {
                "their time is unmonitored"
            };
            self.notes.push(format!(
                "{unseen} of {wanted} GPUs of asset {} at {name} were never seen: {so}.",
                asset.serial
            ));
            let model = asset.model.clone().or(model).unwrap_or_else(|| "(unknown model)".to_owned());
            gpus.extend((0..unseen).map(|_| self.add_gpu(node, &model)).collect::<Vec<_>>());
        }
        gpus
    }

    fn serve(&mut self, gpu: usize, asset: &Asset, bought_ms: i64) -> Result<(), TcoError> {
        let day_ms = |day| self.calendar.day_start_ms(day);
        let end = asset.terms.ends().map(day_ms).transpose()?.map_or(self.to_ms, |ends| ends.min(self.to_ms));
        if let Some(came) = asset.terms.stay.from {
            let start = day_ms(came)?.max(bought_ms);
            self.set_service(gpu, start, end);
            return Ok(());
        }
        let mut start = bought_ms;
        if let (Some(first), Some(seen)) = (self.first_seen(gpu), self.seen(gpu)) {
            let first = i64::try_from(first).unwrap_or(i64::MAX);
            if first < bought_ms {
                start = first;
                if bought_ms > self.from_ms && first < self.to_ms {
                    self.notes.push(format!(
                        "GPU {} ran before the in-service date {} of asset {}: its time counts from when it was first seen.",
                        seen.uuid, asset.in_service, asset.serial
                    ));
                }
            }
        }
        self.set_service(gpu, start, end);
        Ok(())
    }

    /// A GPU that moved within the period is in service from the first of its stays to the last.
    fn set_service(&mut self, gpu: usize, start: i64, end: i64) {
        let start = start.max(self.from_ms);
        if let Some(gpu) = self.gpus.get_mut(gpu)
            && start < end
        {
            let (from, to) = gpu.service_ms.unwrap_or((start, end));
            gpu.service_ms = Some((from.min(start), to.max(end)));
        }
    }

    /// Adds the GPUs that the register declares for nodes whose power alone is known.
    fn declared(&mut self) {
        for (position, node) in self.usage.nodes.iter().enumerate() {
            let Some(declared) = &node.declared else { continue };
            let known = self.nodes.get(position).map(|node| node.gpus.clone()).unwrap_or_default();
            let any_seen = known.iter().any(|&gpu| self.seen(gpu).is_some());
            let wanted = usize::try_from(declared.gpus).unwrap_or(usize::MAX);
            let mut gpus = known.clone();
            for _ in known.len()..wanted {
                let gpu = self.add_gpu(position, &declared.model);
                if let Some(start) = self.start_of_unregistered(node.seen_ms) {
                    self.set_service(gpu, start, self.to_ms);
                }
                gpus.push(gpu);
            }
            for gpu in gpus {
                if let Some(gpu) = self.gpus.get_mut(gpu) {
                    gpu.active_by_declaration = declared.active && !any_seen;
                }
            }
        }
    }

    /// True where no GPU of a node was ever seen and the register says that all count as active.
    fn active_by_declaration(&self, node: usize) -> bool {
        let declared = self.usage.nodes.get(node).and_then(|node| node.declared.as_ref());
        declared.is_some_and(|declared| declared.active)
            && !self.usage.gpus.iter().any(|gpu| gpu.node == node)
    }

    /// Start of service of what has no asset; `None` when it is gone or not there yet.
    fn start_of_unregistered(&self, seen_ms: Option<(u64, u64)>) -> Option<i64> {
        let (first, last) = seen_ms?;
        let last = i64::try_from(last).unwrap_or(i64::MAX);
        (last >= self.from_ms).then(|| i64::try_from(first).unwrap_or(i64::MAX))
    }

    fn unregistered(&mut self) {
        let mut names: BTreeMap<usize, u32> = BTreeMap::new();
        for gpu in 0..self.usage.gpus.len() {
            if self.paid.get(gpu) != Some(&false) {
                continue;
            }
            let Some(seen) = self.seen(gpu) else { continue };
            if let Some(start) = self.start_of_unregistered(seen.seen_ms) {
                self.set_service(gpu, start, self.to_ms);
                if start < self.to_ms {
                    let count = names.entry(seen.node).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        for (node, count) in names {
            let name = self.nodes.get(node).map_or("", |node| &node.name);
            self.notes.push(format!(
                "{count} GPUs of {name} have no asset in the register: they count as in service from when they \
                 were first seen, without depreciation."
            ));
        }
    }

    /// Gives every node a GPU and every site a node, so that each cost has somebody to carry it.
    fn stand_ins(&mut self, sites: &[Site]) {
        for (position, site) in sites.iter().enumerate() {
            if !self.nodes.iter().any(|node| node.site == position) {
                self.node(&format!("({})", site.name), position);
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes.get(node).is_some_and(|node| node.gpus.is_empty()) {
                self.add_gpu(node, NO_GPU);
            }
        }
    }

    /// GPUs that an asset without GPUs of its own serves.
    fn served_by(&self, asset: &Asset, sites: &[Site]) -> Result<Vec<usize>, TcoError> {
        match &asset.place {
            Place::Node(name) => {
                let node = self.by_name.get(name).and_then(|&node| self.nodes.get(node));
                Ok(node.map(|node| node.gpus.clone()).unwrap_or_default())
            }
            Place::Site(name) => {
                let site = site_position(sites, &format!("asset {}", asset.serial), name)?;
                let nodes = self.nodes.iter().filter(|node| node.site == site);
                Ok(nodes.flat_map(|node| node.gpus.iter().copied()).collect())
            }
        }
    }
}

/// Position of a site by its name.
pub fn site_position(sites: &[Site], what: &str, name: &str) -> Result<usize, TcoError> {
    sites.iter().position(|site| site.name == name).ok_or_else(|| TcoError::UnknownSite {
        what: what.to_owned(),
        site: name.to_owned(),
        known: sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}
