//! One pass over the rows: time, energy and its price in integers, by segment, GPU and holder.
//!
//! Energy of a node and hour is that of its GPUs and the rest of the host. Where the node's own
//! energy is known, the rest is the difference; for the part of the hour in which only the GPUs are
//! known, theirs is taken; and a meter that shows less than the GPUs' own counters is not believed.
//! The rest of the host is shared by everybody who had GPUs of the node observed in that segment, by
//! time.
//!
//! Invariants: the five states of a GPU sum to its time in service, to the millisecond; energies and
//! priced energies of the cells sum to those of the nodes, to the last unit.

mod cell;
mod host;
mod peak;
mod split;

pub use cell::{Cell, Holder};
pub(crate) use cell::{plus, plus_signed};

use crate::calendar::{Period, Segment, UtcHour};
use crate::energy::HourTable;
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::facility::Site;
use crate::service::Fleet;
use crate::usage::{GpuRow, NOBODY, UNKNOWN, Usage};
use cell::Energy;
use host::rest_of_host;
use peak::Loads;
pub use peak::{Counted, Peak};
use rust_decimal::Decimal;

/// The cells of one segment and GPU, by holder.
pub type Holders = Vec<(Holder, Cell)>;

/// The result of the pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    gpus: usize,
    /// By segment, then GPU.
    cells: Vec<Holders>,
    /// First hour of each site that used electricity without a known carbon intensity.
    pub carbon_unknown: Vec<Option<UtcHour>>,
    /// Hours of nodes whose meter showed less than their GPUs.
    pub meters_not_believed: u64,
    /// The highest hour of each month and site with a price on power.
    pub peaks: Vec<Peak>,
}

impl Tally {
    pub fn cells(&self, segment: usize, gpu: usize) -> &[(Holder, Cell)] {
        let position = segment.saturating_mul(self.gpus).saturating_add(gpu);
        self.cells.get(position).map_or(&[], Vec::as_slice)
    }
}

/// The pass while rows of GPUs come, piece by piece and in any order, so that nobody need hold them all.
/// Rows outside the period, or after its inputs' instant, are left out.
pub struct Count<'a> {
    inputs: &'a Inputs,
    segments: &'a [Segment],
    usage: &'a Usage,
    fleet: &'a Fleet,
    sites: &'a [Site],
    period: Period,
    /// Segment of each hour of the period.
    segment_of: Vec<usize>,
    price: Vec<Option<HourTable>>,
    intensity: Vec<Option<HourTable>>,
    tally: Tally,
    /// GPU energy of each (hour, node) that has a row of its own.
    gpu_energy: Vec<GpuSum>,
    /// Energy of each hour of sites with a price on power.
    site_mj: Loads,
    /// Rest of the host of each (segment, node).
    rest: Vec<Energy>,
}

#[derive(Debug, Clone, Copy, Default)]
struct GpuSum {
    mj: u64,
    counted_mj: u64,
    gap_mj: u64,
}

impl<'a> Count<'a> {
    pub(crate) fn new(
        inputs: &'a Inputs,
        fleet: &'a Fleet,
        segments: &'a [Segment],
    ) -> Result<Self, TcoError> {
        let (usage, sites, period) = (&inputs.usage, &inputs.sites, inputs.period);
        let mut segment_of = Vec::new();
        for (position, segment) in segments.iter().enumerate() {
            let counted = |hour: &u32| UtcHour(*hour).start_ms() < inputs.until_ms();
            segment_of.extend((segment.from.0..segment.to.0).filter(counted).map(|_| position));
        }
        // A PUE by hour goes into the price of the hour; a constant is multiplied with the sum.
        let pue = |site: &'a Site| {
            move |hour| if site.supply.pue.is_some() { site.pue_at(hour) } else { Decimal::ONE }
        };
        let price = |site: &'a Site| {
            site.tariff.as_ref().map(|tariff| HourTable::of_tariff(tariff, pue(site), period)).transpose()
        };
        let intensity = |site: &'a Site| {
            site.intensity.as_ref().map(|i| HourTable::of_intensity(i, pue(site), period)).transpose()
        };
        let metered = usage.node_rows.iter().any(|row| row.metered_ms > 0 || row.counter_mj > 0);
        let hours_of_nodes = if metered { segment_of.len().saturating_mul(usage.nodes.len()) } else { 0 };
        Ok(Self {
            price: sites.iter().map(price).collect::<Result<_, _>>()?,
            intensity: sites.iter().map(intensity).collect::<Result<_, _>>()?,
            tally: Tally {
                gpus: fleet.gpus.len(),
                cells: vec![Vec::new(); segments.len().saturating_mul(fleet.gpus.len())],
                carbon_unknown: vec![None; sites.len()],
                meters_not_believed: 0,
                peaks: Vec::new(),
            },
            site_mj: Loads::new(inputs, segment_of.len()),
            gpu_energy: vec![GpuSum::default(); hours_of_nodes],
            rest: vec![Energy::default(); segments.len().saturating_mul(fleet.nodes.len())],
            inputs,
            segments,
            usage,
            fleet,
            sites,
            period,
            segment_of,
        })
    }

    /// The rows are all there: adds nodes, the rest of their hosts, and the time that nobody looked at.
    pub fn close(mut self) -> Result<Counted, TcoError> {
        self.read_node_rows()?;
        self.share_rest_of_hosts()?;
        self.add_unmonitored(self.segments)?;
        self.tally.peaks = self.site_mj.peaks(self.inputs, self.segments)?;
        for holders in &mut self.tally.cells {
            holders.sort_by_key(|(holder, _)| *holder);
        }
        let site_of = (0..self.fleet.gpus.len()).map(|gpu| self.fleet.site_of(gpu)).collect();
        Ok(Counted::new(self.tally, site_of))
    }

    /// Position of an hour in the period and its segment.
    fn place(&self, hour: UtcHour) -> Option<(usize, usize)> {
        let position = usize::try_from(hour.0.checked_sub(self.period.from().0)?).ok()?;
        self.segment_of.get(position).map(|&segment| (position, segment))
    }

    fn cell(&mut self, segment: usize, gpu: usize, holder: Holder) -> Option<&mut Cell> {
        let position = segment.saturating_mul(self.tally.gpus).saturating_add(gpu);
        let holders = self.tally.cells.get_mut(position)?;
        let found = holders.iter().position(|(known, _)| *known == holder);
        let slot = found.unwrap_or_else(|| {
            holders.push((holder, Cell::default()));
            holders.len().saturating_sub(1)
        });
        holders.get_mut(slot).map(|(_, cell)| cell)
    }

    /// Puts price and carbon on energy; `position` is the hour's in the period.
    fn priced(&mut self, site: usize, position: usize, energy: GpuSum) -> Result<Energy, TcoError> {
        let mut result = Energy {
            mj: energy.mj,
            counted_mj: energy.counted_mj,
            gap_mj: energy.gap_mj,
            ..Energy::default()
        };
        if energy.mj == 0 {
            return Ok(result);
        }
        let hour = UtcHour(self.period.from().0.saturating_add(u32::try_from(position).unwrap_or(u32::MAX)));
        let times = |value: i128| {
            i128::from(energy.mj).checked_mul(value).ok_or(TcoError::Overflow("the price of energy"))
        };
        if let Some(table) = self.price.get(site).and_then(Option::as_ref) {
            match table.at(position) {
                Some(price) => result.priced = times(price)?,
                None => return Err(self.missing_price(site, hour)),
            }
        }
        match self.intensity.get(site).and_then(Option::as_ref).and_then(|table| table.at(position)) {
            Some(grams) => result.carbon = times(grams)?,
            None => {
                if let Some(unknown) = self.tally.carbon_unknown.get_mut(site) {
                    *unknown = Some(unknown.map_or(hour, |first| first.min(hour)));
                }
            }
        }
        Ok(result)
    }

    fn missing_price(&self, site: usize, hour: UtcHour) -> TcoError {
        let site = self.sites.get(site);
        TcoError::MissingPrice {
            site: site.map(|site| site.name.clone()).unwrap_or_default(),
            hour,
            tariff: site
                .and_then(|site| site.tariff.as_ref())
                .map(|t| t.source().to_owned())
                .unwrap_or_default(),
        }
    }

    /// Adds some rows.
    pub fn add(&mut self, rows: &[GpuRow]) -> Result<(), TcoError> {
        let usage = self.usage;
        for row in rows {
            let Some((position, segment)) = self.place(row.hour) else { continue };
            let gpu = usize::try_from(row.gpu).unwrap_or(usize::MAX);
            let node = usage.gpus.get(gpu).map(|gpu| gpu.node).ok_or(TcoError::UnknownRow {
                hour: row.hour,
                what: "GPU",
                number: row.gpu,
                known: usage.gpus.len(),
            })?;
            self.add_time(segment, gpu, row)?;
            self.add_gpu_energy(position, segment, gpu, node, row)?;
        }
        Ok(())
    }

    fn add_time(&mut self, segment: usize, gpu: usize, row: &GpuRow) -> Result<(), TcoError> {
        let owner = Holder::Owner(if row.owner == NOBODY { UNKNOWN } else { row.owner });
        if (row.active_ms > 0 || row.held_ms > 0)
            && let Some(cell) = self.cell(segment, gpu, owner)
        {
            plus(&mut cell.active_ms, row.active_ms)?;
            plus(&mut cell.held_ms, row.held_ms)?;
        }
        if row.free_ms > 0
            && let Some(cell) = self.cell(segment, gpu, Holder::Free)
        {
            plus(&mut cell.free_ms, row.free_ms)?;
        }
        if row.down_ms > 0
            && let Some(cell) = self.cell(segment, gpu, Holder::Down)
        {
            plus(&mut cell.down_ms, row.down_ms)?;
        }
        Ok(())
    }

    /// Energy goes to the owner of the row; that of nobody to free, down or, in a gap, unmonitored time.
    fn add_gpu_energy(
        &mut self,
        position: usize,
        segment: usize,
        gpu: usize,
        node: usize,
        row: &GpuRow,
    ) -> Result<(), TcoError> {
        let mut mj = row.counter_mj;
        plus(&mut mj, row.estimated_mj)?;
        if mj == 0 {
            return Ok(());
        }
        let site = self.fleet.site_of(gpu);
        self.site_mj.add(site, position, mj)?;
        let nodes = self.usage.nodes.len();
        if let Some(sum) = self.gpu_energy.get_mut(position.saturating_mul(nodes).saturating_add(node)) {
            plus(&mut sum.mj, mj)?;
            plus(&mut sum.counted_mj, row.counter_mj)?;
            plus(&mut sum.gap_mj, row.gap_mj)?;
        }
        let gap_mj = row.gap_mj.min(row.counter_mj);
        let mut parts = [(None, GpuSum::default()); 2];
        if row.owner == NOBODY && row.active_ms == 0 && row.held_ms == 0 {
            let rest = Holder::of_nobody(row);
            let counted_mj = row.counter_mj.saturating_sub(gap_mj);
            let rest_mj = mj.saturating_sub(gap_mj);
            parts[0] = (Some(rest), GpuSum { mj: rest_mj, counted_mj, gap_mj: 0 });
            parts[1] = (Some(Holder::Unmonitored), GpuSum { mj: gap_mj, counted_mj: gap_mj, gap_mj });
        } else {
            let owner = if row.owner == NOBODY { UNKNOWN } else { row.owner };
            parts[0] = (Some(Holder::Owner(owner)), GpuSum { mj, counted_mj: row.counter_mj, gap_mj });
        }
        for (holder, energy) in parts {
            if let (Some(holder), true) = (holder, energy.mj > 0) {
                let priced = self.priced(site, position, energy)?;
                if let Some(cell) = self.cell(segment, gpu, holder) {
                    cell.add_energy(&priced)?;
                }
            }
        }
        Ok(())
    }

    fn read_node_rows(&mut self) -> Result<(), TcoError> {
        let (usage, fleet) = (self.usage, self.fleet);
        for row in &usage.node_rows {
            let Some((position, segment)) = self.place(row.hour) else { continue };
            let node = usize::try_from(row.node).unwrap_or(usize::MAX);
            let Some(known) = fleet.nodes.get(node).filter(|_| node < usage.nodes.len()) else {
                let known = usage.nodes.len();
                return Err(TcoError::UnknownRow { hour: row.hour, what: "node", number: row.node, known });
            };
            for &gpu in &known.gpus {
                if fleet.gpus.get(gpu).is_some_and(|gpu| gpu.active_by_declaration)
                    && let Some(cell) = self.cell(segment, gpu, Holder::Owner(UNKNOWN))
                {
                    plus(&mut cell.active_ms, row.observed_ms)?;
                }
            }
            if row.metered_ms == 0 && row.counter_mj == 0 {
                continue;
            }
            let gpus = position.saturating_mul(usage.nodes.len()).saturating_add(node);
            let gpus = self.gpu_energy.get(gpus).copied().unwrap_or_default();
            let rest = rest_of_host(row, gpus)?;
            if rest.is_none() {
                plus(&mut self.tally.meters_not_believed, 1)?;
            }
            let rest = rest.unwrap_or_default();
            self.site_mj.add(known.site, position, rest.mj)?;
            let rest = self.priced(known.site, position, rest)?;
            let slot = segment.saturating_mul(fleet.nodes.len()).saturating_add(node);
            if let Some(sum) = self.rest.get_mut(slot) {
                plus(&mut sum.mj, rest.mj)?;
                plus(&mut sum.counted_mj, rest.counted_mj)?;
                plus(&mut sum.gap_mj, rest.gap_mj)?;
                plus_signed(&mut sum.priced, rest.priced)?;
                plus_signed(&mut sum.carbon, rest.carbon)?;
            }
        }
        Ok(())
    }

    /// The time in service that nobody looked at.
    fn add_unmonitored(&mut self, segments: &[Segment]) -> Result<(), TcoError> {
        let fleet = self.fleet;
        for (position, segment) in segments.iter().enumerate() {
            for (number, gpu) in fleet.gpus.iter().enumerate() {
                let Some((from, to)) = gpu.service_ms else { continue };
                let from = from.max(segment.from.start_ms());
                let to = to.min(segment.to.start_ms());
                let in_service = u64::try_from(to.saturating_sub(from)).unwrap_or_default();
                let mut observed = 0;
                for (_, cell) in self.tally.cells(position, number) {
                    plus(&mut observed, cell.observed_ms())?;
                }
                // Rows are of whole hours, so a GPU that came within one can have been observed longer
                // than its service says; then it was in service for as long as it was observed.
                let unmonitored = in_service.saturating_sub(observed);
                if unmonitored > 0
                    && let Some(cell) = self.cell(position, number, Holder::Unmonitored)
                {
                    plus(&mut cell.unmonitored_ms, unmonitored)?;
                }
            }
        }
        Ok(())
    }
}
