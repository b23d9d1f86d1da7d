//! All columns of a batch in one field of bytes.
//!
//! Telemetry of a node changes slowly and in small steps, so a column is written as the differences
//! from what was to be expected, in as few bits as the largest of sixteen neighbours needs.
//!
//! # Format, version 1
//!
//! Numbers are `varint` (LEB128, at most 10 bytes), signed ones `zigzag` varints.
//!
//! ```text
//! version  u8 = 1
//! wall     header (step 0), values      wall clock of each sample
//! boot     header (step 0), values      wall clock less boot clock: constant until the clock is set
//! count    varint                       number of columns
//! count × column:
//!   header   u8     bits 0–1 method, bit 2 presence is written, bit 3 grain is written, bits 4–7 step
//!   place           step 0: varint devices skipped, varint metric (a new device begins)
//!                   step 1–14: this far from the metric before; step 15: 15 + varint
//!   presence        only when bit 2 is set: runs of varint length × 16 + code until the samples
//!                   are covered; code 0 is present, others are `Absence::code`; length 0 means
//!                   "to the end"
//!   values          of the samples that are present; nothing when none is
//!     grain  u8, only when bit 3 is set: bits 0–2 tens, bits 3–7 twos; every difference below is
//!            a count of 10^tens × 2^twos
//!     base   zigzag less the base of the same metric of the device before (else less 0)
//!     method 0 constant   every value is the base
//!            1 delta      base is the first value; n − 1 zigzag residuals to the value before
//!            2 slope      base is the first value, zigzag first delta; n − 2 zigzag residuals to
//!                         the delta before
//!            3 offset     base is the least value; n residuals above it
//!   residuals       in blocks of 16, the last one shorter: u8 width (0–64), then the block's
//!                   residuals in that many bits each, lowest bit first, filled up to a byte
//! ```
//!
//! # Invariants
//!
//! - Arithmetic wraps, so every `i64` and `u64` comes back exactly.
//! - Steps only go forward: columns are sorted by device and metric, and none can occur twice.
//! - Any bytes decode or are [`Malformed`]; memory is bounded by `limits::VALUES_PER_BATCH_MAX`
//!   values, whatever the bytes claim. Bytes after the last column are refused.
//! - Metrics that this build does not know decode like others. Unknown reasons of absence read as
//!   [`Absence::Failed`].

mod bits;
mod columns;
mod malformed;
mod presence;
#[cfg(test)]
mod size;
#[cfg(test)]
mod tests;
mod values;

pub use columns::{Cells, Columns, DeviceColumns};
pub use malformed::{Fault, Malformed};

use crate::catalogue::MetricId;
use crate::frame::{Batch, Column, Stamp};
use crate::limits::{
    COLUMNS_PER_BATCH_MAX, DEVICES_PER_NODE_MAX, SAMPLES_PER_BATCH_MAX, VALUES_PER_BATCH_MAX,
};
use crate::reading::{Absence, Reading};
use bits::{Reader, put_varint};
use columns::Entry;
use values::{Packer, Values};

const VERSION: u8 = 1;
const HAS_PRESENCE: u8 = 1 << 2;
const STEP_SHIFT: u32 = 4;
const STEP_LONG: u16 = 15;

/// Writes stamps and columns. Columns out of order are sorted; of two with the same device and
/// metric the first is kept. A column that is shorter than the batch ends in
/// [`Absence::Pending`]; what is longer is cut.
pub fn encode(batch: &Batch) -> Vec<u8> {
    let samples = batch.stamps.len();
    let columns = in_order(&batch.columns);
    let mut out = Vec::with_capacity(32 + columns.len() * (4 + samples * 3 / 2));
    let mut packer = Packer::default();
    out.push(VERSION);
    let wall = |stamp: &Stamp| stamp.wall_ms.cast_signed();
    let skew = |stamp: &Stamp| stamp.wall_ms.wrapping_sub(stamp.boot_ms).cast_signed();
    put_stamps(batch.stamps.iter().map(wall), &mut packer, &mut out);
    put_stamps(batch.stamps.iter().map(skew), &mut packer, &mut out);
    put_varint(columns.len() as u64, &mut out);
    let mut bases = Bases::default();
    let mut place = Place::default();
    for column in columns {
        put_column(column, samples, &mut place, &mut bases, &mut packer, &mut out);
    }
    out
}

/// Reads what [`encode`] wrote for a batch of `samples` samples of a node with `devices` devices,
/// the node itself included.
pub fn decode(bytes: &[u8], samples: usize, devices: usize) -> Result<(Vec<Stamp>, Vec<Column>), Malformed> {
    let mut columns = Columns::default();
    columns.decode(bytes, samples, devices)?;
    Ok((columns.stamps().to_vec(), columns.to_columns()))
}

impl Columns {
    /// [`decode`] in the place of what was here. After an error nothing is here.
    pub fn decode(&mut self, bytes: &[u8], samples: usize, devices: usize) -> Result<(), Malformed> {
        self.clear();
        let mut reader = Reader::new(bytes);
        self.decode_all(&mut reader, samples, devices).map_err(|fault| {
            self.clear();
            Malformed::at_byte(reader.position(), fault)
        })
    }

    fn decode_all(&mut self, reader: &mut Reader<'_>, samples: usize, devices: usize) -> Result<(), Fault> {
        Fault::check_range("samples", samples as u64, 1, SAMPLES_PER_BATCH_MAX as u64)?;
        Fault::check_range("devices", devices as u64, 1, DEVICES_PER_NODE_MAX as u64)?;
        let version = reader.byte()?;
        if version != VERSION {
            return Err(Fault::Version { given: version, known: VERSION });
        }
        self.decode_stamps(reader, samples)?;
        let count = reader.varint()?;
        Fault::check_range("columns", count, 0, COLUMNS_PER_BATCH_MAX as u64)?;
        Fault::check_range("values", count * samples as u64, 0, VALUES_PER_BATCH_MAX as u64)?;
        let mut bases = Bases::default();
        let mut place = Place::default();
        for _ in 0..count {
            let header = reader.byte()?;
            let (device, metric) = place.read(header, devices, reader)?;
            let near = bases.near(device, metric);
            let (place, base) = self.decode_cells(reader, header, samples, near)?;
            if let Some(base) = base {
                bases.remember(metric, base);
            }
            self.entries.push(Entry { device, metric, place });
        }
        match reader.left() {
            0 => Ok(()),
            left => Err(Fault::Leftover { left }),
        }
    }

    fn decode_stamps(&mut self, reader: &mut Reader<'_>, samples: usize) -> Result<(), Fault> {
        let header = reader.byte()?;
        values::read_all(reader, header, samples, &mut self.values)?;
        let stamps = self.values.iter().map(|wall| Stamp { wall_ms: wall.cast_unsigned(), boot_ms: 0 });
        self.stamps.extend(stamps);
        self.values.clear();
        let header = reader.byte()?;
        values::read_all(reader, header, samples, &mut self.values)?;
        for (stamp, skew) in self.stamps.iter_mut().zip(&self.values) {
            stamp.boot_ms = stamp.wall_ms.wrapping_sub(skew.cast_unsigned());
        }
        self.values.clear();
        Ok(())
    }

    /// Where the readings of a column are now, and the base that its values have, where it has any.
    fn decode_cells(
        &mut self,
        reader: &mut Reader<'_>,
        header: u8,
        samples: usize,
        near: i64,
    ) -> Result<(columns::Place, Option<i64>), Fault> {
        let at = self.values.len();
        if header & HAS_PRESENCE == 0 {
            return Ok(match values::read(reader, header, samples, near, &mut self.values)? {
                Values::Same(base) => (columns::Place::Same(Reading::Value(base)), Some(base)),
                Values::From(base) => (columns::Place::Values(at), Some(base)),
            });
        }
        let mixed = self.mixed.len();
        let present = presence::read(reader, samples, &mut self.mixed)?;
        let readings = &mut self.mixed[mixed..];
        if present == 0 {
            let first = readings.first().copied().filter(|first| readings.iter().all(|r| r == first));
            let Some(first) = first else { return Ok((columns::Place::Mixed(mixed), None)) };
            self.mixed.truncate(mixed);
            return Ok((columns::Place::Same(first), None));
        }
        let base = match values::read(reader, header, present, near, &mut self.values)? {
            Values::Same(base) => {
                presence::fill(readings, std::iter::repeat_n(base, present));
                base
            }
            Values::From(base) => {
                presence::fill(readings, self.values.drain(at..));
                base
            }
        };
        Ok((columns::Place::Mixed(mixed), Some(base)))
    }
}

fn in_order(columns: &[Column]) -> Vec<&Column> {
    let mut sorted: Vec<&Column> = columns.iter().collect();
    if !sorted.is_sorted_by(|a, b| (a.device, a.metric) < (b.device, b.metric)) {
        sorted.sort_by_key(|c| (c.device, c.metric));
        sorted.dedup_by_key(|c| (c.device, c.metric));
    }
    sorted
}

fn put_stamps(values: impl Iterator<Item = i64>, packer: &mut Packer, out: &mut Vec<u8>) {
    packer.values.clear();
    packer.values.extend(values);
    out.push(packer.choose());
    packer.write(0, out);
}

fn put_column(
    column: &Column,
    samples: usize,
    place: &mut Place,
    bases: &mut Bases,
    packer: &mut Packer,
    out: &mut Vec<u8>,
) {
    const PENDING: Reading<i64> = Reading::Absent(Absence::Pending);
    let padding = samples.saturating_sub(column.readings.len());
    let readings =
        || column.readings.iter().take(samples).copied().chain(std::iter::repeat_n(PENDING, padding));
    packer.values.clear();
    packer.values.extend(readings().filter_map(Reading::value));
    let shape = packer.choose();
    let complete = packer.values.len() == samples;
    let flags = shape | if complete { 0 } else { HAS_PRESENCE };
    place.put(column.device, column.metric, flags, out);
    if !complete {
        presence::put(readings(), out);
    }
    // Asked for every column, as the reader does: a device without any value is a device before too.
    let near = bases.near(column.device, column.metric);
    if !packer.values.is_empty() {
        let base = packer.write(near, out);
        bases.remember(column.metric, base);
    }
}

/// Where the column before was.
#[derive(Default)]
struct Place {
    /// The device, from 1 so that "before the first" is 0.
    device_after: u64,
    metric: u16,
}

impl Place {
    fn put(&mut self, device: u16, metric: MetricId, flags: u8, out: &mut Vec<u8>) {
        let device_after = u64::from(device) + 1;
        let step = metric.0.wrapping_sub(self.metric);
        if device_after != self.device_after {
            out.push(flags);
            put_varint(device_after - self.device_after - 1, out);
            put_varint(u64::from(metric.0), out);
        } else if let (Ok(short), true) = (u8::try_from(step), step < STEP_LONG) {
            out.push(flags | (short << STEP_SHIFT));
        } else {
            out.push(flags | (u8::MAX << STEP_SHIFT));
            put_varint(u64::from(step - STEP_LONG), out);
        }
        *self = Self { device_after, metric: metric.0 };
    }

    fn read(
        &mut self,
        header: u8,
        devices: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(u16, MetricId), Fault> {
        let step = u16::from(header >> STEP_SHIFT);
        let metric = if step == 0 {
            self.device_after = self.device_after.saturating_add(reader.varint()?).saturating_add(1);
            reader.varint()?
        } else if step < STEP_LONG {
            u64::from(self.metric) + u64::from(step)
        } else {
            reader.varint()?.saturating_add(u64::from(self.metric) + u64::from(STEP_LONG))
        };
        // Before the first device there is no metric to step from.
        let device = self.device_after.checked_sub(1).ok_or(Fault::NoDevice)?;
        Fault::check_range("device position", device, 0, devices as u64 - 1)?;
        self.metric = Fault::check_u16("metric", metric)?;
        Ok((Fault::check_u16("device position", device)?, MetricId(self.metric)))
    }
}

/// Bases of the device before and of this one, by metric. Columns come sorted, so one cursor over
/// the device before finds each metric without a search.
#[derive(Default)]
struct Bases {
    device: u16,
    before: Vec<(MetricId, i64)>,
    current: Vec<(MetricId, i64)>,
    cursor: usize,
}

impl Bases {
    fn near(&mut self, device: u16, metric: MetricId) -> i64 {
        if device != self.device {
            self.device = device;
            self.cursor = 0;
            std::mem::swap(&mut self.before, &mut self.current);
            self.current.clear();
        }
        while self.before.get(self.cursor).is_some_and(|b| b.0 < metric) {
            self.cursor += 1;
        }
        self.before.get(self.cursor).filter(|b| b.0 == metric).map_or(0, |b| b.1)
    }

    fn remember(&mut self, metric: MetricId, base: i64) {
        self.current.push((metric, base));
    }
}
