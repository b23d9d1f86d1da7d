//! Nodes hour by hour: their own energy where they know it, else that of their GPUs.

use super::names::{Names, UNREGISTERED_NODE};
use super::sum::{Sum, need};
use super::{Group, Tally, names};
use crate::report::energy::Dimension;
use gpuledger_ledger::{Day, GpuHours, Hour, HourRange, Ledger, LedgerError, NodeHour, NodeKey};
use gpuledger_units::Overflow;
use std::collections::BTreeMap;

const HOURS: usize = 24;

/// The day at hand: what the GPUs of each node have used in each hour.
pub struct NodeDays {
    /// Each node's place among the sums of an hour; the last is for GPUs of no known node.
    places: BTreeMap<u32, usize>,
    /// The place of each GPU's node, by the GPU's number.
    place_of_gpu: Vec<usize>,
    /// By hour, then node.
    below: Vec<Sum>,
}

impl NodeDays {
    pub fn new(names: &Names<'_>) -> Self {
        let places: BTreeMap<u32, usize> = names.nodes().zip(0..).collect();
        let last = places.len();
        let place = |node: &u32| places.get(node).copied().unwrap_or(last);
        let place_of_gpu = names.homes().iter().map(place).collect();
        Self { place_of_gpu, below: vec![Sum::EMPTY; HOURS * (last + 1)], places }
    }

    /// The sum of a place in an hour.
    fn at(&mut self, hour: u32, place: usize) -> Option<&mut Sum> {
        let hour = usize::try_from(hour).ok()? % HOURS;
        self.below.get_mut(hour * (self.places.len() + 1) + place)
    }

    /// Adds rows of GPUs of the day at hand; all owners of a GPU and hour follow each other.
    pub fn add(&mut self, piece: &GpuHours) -> Result<(), LedgerError> {
        let hours = need(piece.hour.as_ref())?;
        let mut start = 0;
        while start < piece.rows {
            let end = hours.run(start, piece.gpu.run(start, piece.rows));
            let gpu = piece.gpu.at(start).and_then(|gpu| usize::try_from(gpu).ok());
            let known = gpu.and_then(|gpu| self.place_of_gpu.get(gpu).copied());
            let place = known.unwrap_or(self.places.len());
            let of_gpu = Sum::of_gpus(piece, start..end)?;
            if let Some(below) = hours.at(start).and_then(|hour| self.at(hour, place)) {
                // As far as rows tell, the node was observed for as long as any of its GPUs.
                let observed = below.observed.max(of_gpu.observed);
                below.add(of_gpu)?;
                below.observed = observed;
            }
            start = end;
        }
        Ok(())
    }

    /// The day is over: its nodes are counted, and the next day begins.
    pub async fn end(
        &mut self,
        ledger: &dyn Ledger,
        range: HourRange,
        day: Day,
        tally: &mut Tally<'_>,
    ) -> Result<(), LedgerError> {
        let HourRange { from, to } = day.hours();
        let hours = HourRange { from: from.max(range.from), to: to.min(range.to) };
        for (hour, node, row) in ledger.node_hours(hours).await? {
            self.count(hour, node, &row, tally)?;
        }
        // Nodes of which only the GPUs have rows.
        let nodes: Vec<u32> = self.places.keys().copied().chain([UNREGISTERED_NODE]).collect();
        for hour in hours.from.0..hours.to.0 {
            for (place, &node) in nodes.iter().enumerate() {
                let rest = self.at(hour, place).map(|sum| std::mem::replace(sum, Sum::EMPTY));
                if let Some(rest) = rest.filter(|sum| sum.source.is_some()) {
                    tally.add_node(Hour(hour), node, rest)?;
                }
            }
        }
        Ok(())
    }

    fn count(
        &mut self,
        hour: Hour,
        node: NodeKey,
        row: &NodeHour,
        tally: &mut Tally<'_>,
    ) -> Result<(), Overflow> {
        let place = self.places.get(&node.0).copied();
        let below = place.and_then(|place| self.at(hour.0, place));
        let below = below.map(|sum| std::mem::replace(sum, Sum::EMPTY));
        let sum = match Sum::of_node(row)? {
            Some(own) => own,
            None => Sum { observed: row.observed_ms, ..below.unwrap_or(Sum::EMPTY) },
        };
        tally.add_node(hour, node.0, sum)
    }
}

impl Tally<'_> {
    fn add_node(&mut self, hour: Hour, node: u32, sum: Sum) -> Result<(), Overflow> {
        let mut group = Group::default();
        for dimension in self.by {
            match dimension {
                Dimension::Node => group.node = node,
                Dimension::Hour => group.time = hour.0,
                Dimension::Day => group.time = Day::of(hour).0,
                Dimension::Month => group.time = names::first_of_month(Day::of(hour)).0,
                Dimension::Gpu | Dimension::Model | Dimension::Owner => {}
            }
        }
        self.sums.entry(group).or_insert(Sum::EMPTY).add(sum)
    }
}
