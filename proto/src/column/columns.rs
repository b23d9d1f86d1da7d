//! The columns of a batch as they lie in a few buffers, which serve one batch after the other.
//!
//! A column of which every sample reads the same takes no place in the buffers, whatever the number of
//! samples: that is a third of what an agent tells, and most of what nobody looks at twice.

use crate::catalogue::MetricId;
use crate::frame::{Batch, Column, Stamp};
use crate::reading::{Absence, Reading};

/// Stamps and columns of one batch.
///
/// Invariant: every column has a reading for each stamp.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    pub(super) stamps: Vec<Stamp>,
    pub(super) entries: Vec<Entry>,
    /// Values of columns of which every sample has one.
    pub(super) values: Vec<i64>,
    /// Readings of columns of which some samples have none.
    pub(super) mixed: Vec<Reading<i64>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub device: u16,
    pub metric: MetricId,
    pub place: Place,
}

/// Where the readings of a column are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Same(Reading<i64>),
    /// From here in `values`.
    Values(usize),
    /// From here in `mixed`.
    Mixed(usize),
}

/// One metric over the samples of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cells<'a> {
    /// Every sample reads the same.
    Same(Reading<i64>),
    /// Every sample has a value.
    Values(&'a [i64]),
    Mixed(&'a [Reading<i64>]),
}

impl Cells<'_> {
    /// The reading of a sample; [`Absence::Pending`] behind the last one.
    #[inline]
    pub fn at(self, sample: usize) -> Reading<i64> {
        match self {
            Self::Same(reading) => reading,
            Self::Values(values) => values.get(sample).map_or(PENDING, |&value| Reading::Value(value)),
            Self::Mixed(readings) => readings.get(sample).copied().unwrap_or(PENDING),
        }
    }

    /// The reading of the last sample.
    #[inline]
    pub fn last(self) -> Reading<i64> {
        match self {
            Self::Same(reading) => reading,
            Self::Values(values) => values.last().map_or(PENDING, |&value| Reading::Value(value)),
            Self::Mixed(readings) => readings.last().copied().unwrap_or(PENDING),
        }
    }
}

const PENDING: Reading<i64> = Reading::Absent(Absence::Pending);

/// Columns of one device that follow each other, by metric.
#[derive(Debug, Clone, Copy)]
pub struct DeviceColumns<'a> {
    columns: &'a Columns,
    entries: &'a [Entry],
}

impl<'a> DeviceColumns<'a> {
    /// Position in the inventory: 0 is the node.
    #[inline]
    pub fn device(&self) -> u16 {
        self.entries.first().map_or(0, |entry| entry.device)
    }

    /// Each metric that the device was asked for.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (MetricId, Cells<'a>)> + use<'a> {
        let columns = self.columns;
        self.entries.iter().map(move |entry| (entry.metric, columns.cells(entry)))
    }
}

impl Columns {
    /// The same of a batch in memory. A column that is shorter than the batch ends in
    /// [`Absence::Pending`]; what is longer is cut.
    pub fn of(batch: &Batch) -> Self {
        let mut columns = Self { stamps: batch.stamps.clone(), ..Self::default() };
        for column in &batch.columns {
            let place = columns.take_in(&column.readings);
            columns.entries.push(Entry { device: column.device, metric: column.metric, place });
        }
        columns
    }

    fn take_in(&mut self, readings: &[Reading<i64>]) -> Place {
        let samples = self.stamps.len();
        let padding = samples.saturating_sub(readings.len());
        let readings = readings.iter().take(samples).copied().chain(std::iter::repeat_n(PENDING, padding));
        let (at, first) = (self.mixed.len(), readings.clone().next().unwrap_or(PENDING));
        if readings.clone().all(|reading| reading == first) {
            return Place::Same(first);
        }
        if readings.clone().all(|reading| reading.value().is_some()) {
            let at = self.values.len();
            self.values.extend(readings.filter_map(Reading::value));
            return Place::Values(at);
        }
        self.mixed.extend(readings);
        Place::Mixed(at)
    }

    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }

    /// Number of readings, absent ones included.
    pub fn points(&self) -> usize {
        self.entries.len() * self.stamps.len()
    }

    /// Bytes that the buffers hold, used or not.
    pub fn capacity_bytes(&self) -> usize {
        self.stamps.capacity() * size_of::<Stamp>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.values.capacity() * size_of::<i64>()
            + self.mixed.capacity() * size_of::<Reading<i64>>()
    }

    /// The columns of each device, in order.
    pub fn devices(&self) -> impl Iterator<Item = DeviceColumns<'_>> {
        let by_device = self.entries.chunk_by(|a, b| a.device == b.device);
        by_device.map(|entries| DeviceColumns { columns: self, entries })
    }

    /// Every column as a value of its own.
    pub fn to_columns(&self) -> Vec<Column> {
        let samples = self.stamps.len();
        let column = |entry: &Entry| Column {
            device: entry.device,
            metric: entry.metric,
            readings: match self.cells(entry) {
                Cells::Same(reading) => vec![reading; samples],
                Cells::Values(values) => values.iter().copied().map(Reading::Value).collect(),
                Cells::Mixed(readings) => readings.to_vec(),
            },
        };
        self.entries.iter().map(column).collect()
    }

    pub(super) fn clear(&mut self) {
        self.stamps.clear();
        self.entries.clear();
        self.values.clear();
        self.mixed.clear();
    }

    #[inline]
    fn cells(&self, entry: &Entry) -> Cells<'_> {
        let samples = self.stamps.len();
        match entry.place {
            Place::Same(reading) => Cells::Same(reading),
            Place::Values(at) => Cells::Values(&self.values[at..at + samples]),
            Place::Mixed(at) => Cells::Mixed(&self.mixed[at..at + samples]),
        }
    }
}
