//! The rest of the host: what a node used beyond its GPUs.

use super::cell::Energy;
use super::split::split;
use super::{Count, GpuSum, Holder, plus};
use crate::error::TcoError;
use crate::usage::NodeRow;

/// Energy of a node beyond that of its GPUs; `None` when the meter shows less than the GPUs used.
pub(super) fn rest_of_host(row: &NodeRow, gpus: GpuSum) -> Result<Option<GpuSum>, TcoError> {
    let mut node = row.counter_mj;
    plus(&mut node, row.estimated_mj)?;
    // What the GPUs used while the node's own energy was not known, in proportion of time.
    let unmetered_ms = row.observed_ms.saturating_sub(row.metered_ms);
    let seen_mj = gpus.mj.saturating_sub(gpus.gap_mj);
    let unmetered = u128::from(seen_mj)
        .saturating_mul(u128::from(unmetered_ms))
        .checked_div(u128::from(row.observed_ms))
        .and_then(|mj| u64::try_from(mj).ok())
        .unwrap_or_default();
    plus(&mut node, unmetered)?;
    if row.gap_mj == 0 {
        // The meter says nothing of the gap, the GPUs' counters do.
        plus(&mut node, gpus.gap_mj)?;
    }
    let Some(mj) = node.checked_sub(gpus.mj) else { return Ok(None) };
    let counted_mj = row.counter_mj.saturating_sub(gpus.counted_mj).min(mj);
    let gap_mj = row.gap_mj.saturating_sub(gpus.gap_mj).min(mj);
    Ok(Some(GpuSum { mj, counted_mj, gap_mj }))
}

impl Count<'_> {
    /// Gives the rest of each host to who had GPUs of the node, by time.
    pub(super) fn share_rest_of_hosts(&mut self) -> Result<(), TcoError> {
        let fleet = self.fleet;
        let nodes = fleet.nodes.len();
        for slot in 0..self.rest.len() {
            let Some(rest) = self.rest.get(slot).copied().filter(|rest| *rest != Energy::default()) else {
                continue;
            };
            let segment = slot.checked_div(nodes).unwrap_or_default();
            let Some(node) = slot.checked_rem(nodes).and_then(|node| fleet.nodes.get(node)) else { continue };
            let mut shares: Vec<(usize, Holder, u64)> = Vec::new();
            for &gpu in &node.gpus {
                let mut holders: Vec<_> = self
                    .tally
                    .cells(segment, gpu)
                    .iter()
                    .map(|(holder, cell)| (gpu, *holder, cell.observed_ms()))
                    .collect();
                holders.sort_by_key(|(_, holder, _)| *holder);
                shares.extend(holders.into_iter().filter(|share| share.2 > 0));
            }
            if shares.is_empty() {
                // Nobody was seen on the node: its time is unmonitored, and so is its energy.
                shares.extend(node.gpus.iter().map(|&gpu| (gpu, Holder::Unmonitored, 1)));
            }
            let weights: Vec<u64> = shares.iter().map(|share| share.2).collect();
            let split = |total: i128| split(total, &weights);
            let (mj, counted) = (split(rest.mj.into())?, split(rest.counted_mj.into())?);
            let (gap, priced, carbon) =
                (split(rest.gap_mj.into())?, split(rest.priced)?, split(rest.carbon)?);
            for (position, (gpu, holder, _)) in shares.into_iter().enumerate() {
                let of = |parts: &[i128]| parts.get(position).copied().unwrap_or_default();
                let whole =
                    |parts: &[i128]| u64::try_from(of(parts)).map_err(|_| TcoError::Overflow("energy"));
                let energy = Energy {
                    mj: whole(&mj)?,
                    counted_mj: whole(&counted)?,
                    gap_mj: whole(&gap)?,
                    priced: of(&priced),
                    carbon: of(&carbon),
                };
                if let Some(cell) = self.cell(segment, gpu, holder) {
                    cell.add_energy(&energy)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::UtcHour;

    const HOUR_MS: u64 = 3_600_000;

    fn row(counter_mj: u64, estimated_mj: u64, metered_ms: u64) -> NodeRow {
        let (hour, observed_ms) = (UtcHour(0), HOUR_MS);
        NodeRow { hour, node: 0, observed_ms, metered_ms, counter_mj, gap_mj: 0, estimated_mj }
    }

    fn gpus(mj: u64, gap_mj: u64) -> GpuSum {
        GpuSum { mj, counted_mj: mj, gap_mj }
    }

    fn rest_mj(row: &NodeRow, gpus: GpuSum) -> Option<u64> {
        rest_of_host(row, gpus).unwrap().map(|rest| rest.mj)
    }

    #[test]
    fn the_rest_is_what_the_meter_shows_beyond_the_gpus() {
        assert_eq!(rest_mj(&row(1_000, 0, HOUR_MS), gpus(700, 0)), Some(300));
        assert_eq!(rest_mj(&row(0, 1_000, HOUR_MS), gpus(0, 0)), Some(1_000));
    }

    #[test]
    fn half_an_hour_without_meter_counts_the_gpus_alone() {
        assert_eq!(rest_mj(&row(500, 0, HOUR_MS / 2), gpus(700, 0)), Some(150));
    }

    #[test]
    fn a_gap_that_the_meter_did_not_see_is_not_taken_from_the_rest() {
        assert_eq!(rest_mj(&row(1_000, 0, HOUR_MS), gpus(900, 200)), Some(300));
        let over_the_gap = NodeRow { gap_mj: 250, ..row(1_250, 0, HOUR_MS) };
        assert_eq!(rest_mj(&over_the_gap, gpus(900, 200)), Some(350));
    }

    #[test]
    fn a_meter_below_the_gpus_is_not_believed() {
        assert_eq!(rest_mj(&row(600, 0, HOUR_MS), gpus(700, 0)), None);
    }
}
