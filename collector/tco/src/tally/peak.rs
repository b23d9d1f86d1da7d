//! The highest hour of each month at sites that pay for power, and who drew it.

use super::{Holder, Tally, plus};
use crate::calendar::{Segment, UtcHour};
use crate::decimal::{div, from_u128, mul};
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::usage::GpuRow;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// Millijoules of a kWh: an hour at one kW.
const KWH_MJ: Decimal = Decimal::from_parts(3_600_000_000, 0, 0, false, 0);

/// The highest hour of one month at one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peak {
    pub site: usize,
    /// Position in the list of months.
    pub month: usize,
    pub hour: UtcHour,
    /// Mean power of the facility in that hour, PUE included.
    pub kw: Decimal,
    segment: usize,
    /// GPU energy of that hour, mJ.
    loads: Vec<(usize, Holder, u64)>,
}

impl Peak {
    /// Who drew how much: segment, GPU, holder, mJ.
    pub fn loads(&self) -> impl Iterator<Item = (usize, usize, Holder, u64)> + '_ {
        self.loads.iter().map(|(gpu, holder, mj)| (self.segment, *gpu, *holder, *mj))
    }

    /// Takes what a row drew, where it is of this hour and site.
    fn add(&mut self, gpu: usize, site: usize, row: &GpuRow) {
        let mj = row.counter_mj.saturating_add(row.estimated_mj);
        if row.hour == self.hour && site == self.site && mj > 0 {
            self.loads.push((gpu, Holder::of(row), mj));
        }
    }

    fn sort(&mut self) {
        self.loads.sort_unstable();
    }
}

/// Everything is counted but who drew the power of the highest hours, which is only known now.
#[derive(Debug)]
pub struct Counted {
    tally: Tally,
    site_of: Vec<usize>,
}

impl Counted {
    pub(super) fn new(tally: Tally, site_of: Vec<usize>) -> Self {
        Self { tally, site_of }
    }

    /// Hours of which rows are wanted once more; empty where no site pays for power.
    pub fn peak_hours(&self) -> BTreeSet<UtcHour> {
        self.tally.peaks.iter().map(|peak| peak.hour).collect()
    }

    /// Takes rows of those hours, and looks at no others.
    pub fn add_peak_rows(&mut self, rows: &[GpuRow]) {
        for row in rows {
            let gpu = usize::try_from(row.gpu).unwrap_or(usize::MAX);
            let site = self.site_of.get(gpu).copied().unwrap_or_default();
            for peak in &mut self.tally.peaks {
                peak.add(gpu, site, row);
            }
        }
    }

    pub fn finish(mut self) -> Tally {
        for peak in &mut self.tally.peaks {
            peak.sort();
        }
        self.tally
    }
}

/// Energy by hour of the sites that pay for power.
#[derive(Debug)]
pub(super) struct Loads(Vec<Vec<u64>>);

impl Loads {
    pub(super) fn new(inputs: &Inputs, hours: usize) -> Self {
        let of = |paid: bool| if paid { vec![0; hours] } else { Vec::new() };
        Self(inputs.sites.iter().map(|site| of(site.supply.demand.is_some())).collect())
    }

    pub(super) fn add(&mut self, site: usize, position: usize, mj: u64) -> Result<(), TcoError> {
        match self.0.get_mut(site).and_then(|hours| hours.get_mut(position)) {
            Some(sum) => plus(sum, mj),
            None => Ok(()),
        }
    }

    /// The highest hours; who drew their power is not known yet.
    pub(super) fn peaks(&self, inputs: &Inputs, segments: &[Segment]) -> Result<Vec<Peak>, TcoError> {
        let mut peaks = Vec::new();
        for (site, hours) in self.0.iter().enumerate().filter(|(_, hours)| !hours.is_empty()) {
            peaks.extend(of_site(inputs, site, hours, segments)?);
        }
        Ok(peaks)
    }
}

fn of_site(inputs: &Inputs, site: usize, hours: &[u64], segments: &[Segment]) -> Result<Vec<Peak>, TcoError> {
    let Some((facts, demand)) = inputs.sites.get(site).and_then(|s| Some((s, s.supply.demand.as_ref()?)))
    else {
        return Ok(Vec::new());
    };
    let mut highest: BTreeMap<usize, Peak> = BTreeMap::new();
    for (number, segment) in segments.iter().enumerate() {
        for hour in (segment.from.0..segment.to.0).map(UtcHour) {
            let position =
                usize::try_from(hour.0.saturating_sub(inputs.period.from().0)).unwrap_or(usize::MAX);
            let Some(&mj) = hours.get(position).filter(|mj| **mj > 0) else { continue };
            if !demand.counts(hour) {
                continue;
            }
            let kw = mul(div(from_u128(mj.into())?, KWH_MJ, "energy")?, facts.pue_at(hour))?;
            let month = segment.month;
            if highest.get(&month).is_none_or(|peak| kw > peak.kw) {
                highest.insert(month, Peak { site, month, hour, kw, segment: number, loads: Vec::new() });
            }
        }
    }
    Ok(highest.into_values().collect())
}
