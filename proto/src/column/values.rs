//! The values of one column: which method is shortest, writing it, reading it back.

use super::bits::{BLOCK, Reader, blocks_len, put_blocks, put_varint, unzigzag, varint_len, zigzag};
use super::malformed::Fault;

/// Header bit: a grain is written.
const HAS_GRAIN: u8 = 1 << 3;
const GRAIN_TENS_MAX: u8 = 7;
const GRAIN_TWOS_MAX: u8 = 31;

/// How the values follow from the base; the number is in the header's lowest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Method {
    Constant = 0,
    Delta = 1,
    Slope = 2,
    Offset = 3,
}

impl Method {
    const fn of_header(header: u8) -> Self {
        match header & 3 {
            0 => Self::Constant,
            1 => Self::Delta,
            2 => Self::Slope,
            _ => Self::Offset,
        }
    }
}

/// What all differences of a column are multiples of: 10^tens × 2^twos. Drivers give whole
/// degrees, per cent, megahertz or pages, and the wire's units are finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Grain {
    tens: u8,
    twos: u8,
}

impl Grain {
    /// The largest grain of these offsets from the least value.
    fn of(offsets: &[u64]) -> Self {
        // Differences of differences wrap beyond this, and a wrapped one is no multiple.
        if offsets.iter().any(|&offset| offset >= 1 << 62) {
            return Self::default();
        }
        let mut common = 0;
        for &offset in offsets {
            common = greatest_common_divisor(offset, common);
            if common == 1 {
                return Self::default();
            }
        }
        let mut grain = Self::default();
        while grain.tens < GRAIN_TENS_MAX && common % 10 == 0 {
            common /= 10;
            grain.tens += 1;
        }
        while grain.twos < GRAIN_TWOS_MAX && common % 2 == 0 {
            common /= 2;
            grain.twos += 1;
        }
        grain
    }

    const fn of_code(code: u8) -> Self {
        Self { tens: code & GRAIN_TENS_MAX, twos: code >> 3 }
    }

    const fn code(self) -> u8 {
        self.tens | (self.twos << 3)
    }

    fn factor(self) -> u64 {
        10_u64.pow(u32::from(self.tens)) << self.twos
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Buffers for one column after another.
#[derive(Default)]
pub(super) struct Packer {
    /// The present values of the column at hand.
    pub(super) values: Vec<i64>,
    deltas: Vec<u64>,
    slopes: Vec<u64>,
    offsets: Vec<u64>,
    shape: Shape,
}

#[derive(Clone, Copy)]
struct Shape {
    method: Method,
    grain: Grain,
}

impl Default for Shape {
    fn default() -> Self {
        Self { method: Method::Constant, grain: Grain::default() }
    }
}

impl Packer {
    /// Computes the residuals of every method, settles for the one that takes the fewest bytes and
    /// gives its header bits.
    pub(super) fn choose(&mut self) -> u8 {
        let values = &self.values;
        self.shape = Shape::default();
        if values.windows(2).all(|w| w[0] == w[1]) {
            return Method::Constant as u8;
        }
        let least = values.iter().copied().min().unwrap_or_default();
        refill(&mut self.offsets, values.iter().map(|v| v.wrapping_sub(least).cast_unsigned()));
        let grain = Grain::of(&self.offsets);
        let factor = grain.factor();
        if factor > 1 {
            self.offsets.iter_mut().for_each(|offset| *offset /= factor);
        }
        let steps = || self.offsets.windows(2).map(|w| w[1].wrapping_sub(w[0]).cast_signed());
        refill(&mut self.deltas, steps().map(zigzag));
        refill(&mut self.slopes, steps().zip(steps().skip(1)).map(|(a, b)| zigzag(b.wrapping_sub(a))));
        let delta = blocks_len(&self.deltas);
        let slope = varint_len(self.deltas[0]) + blocks_len(&self.slopes);
        let offset = blocks_len(&self.offsets);
        // On a tie the method that decodes faster.
        let shortest = delta.min(slope).min(offset);
        let method = match shortest {
            _ if offset == shortest => Method::Offset,
            _ if delta == shortest => Method::Delta,
            _ => Method::Slope,
        };
        self.shape = Shape { method, grain };
        method as u8 | if factor > 1 { HAS_GRAIN } else { 0 }
    }

    /// Writes the values as [`Packer::choose`] settled, and gives their base.
    pub(super) fn write(&self, near: i64, out: &mut Vec<u8>) -> i64 {
        let Shape { method, grain } = self.shape;
        let base = match method {
            Method::Offset => self.values.iter().copied().min(),
            _ => self.values.first().copied(),
        }
        .unwrap_or_default();
        if grain != Grain::default() {
            out.push(grain.code());
        }
        put_varint(zigzag(base.wrapping_sub(near)), out);
        match method {
            Method::Constant => {}
            Method::Delta => put_blocks(&self.deltas, out),
            Method::Slope => {
                put_varint(self.deltas[0], out);
                put_blocks(&self.slopes, out);
            }
            Method::Offset => put_blocks(&self.offsets, out),
        }
        base
    }
}

fn refill(buffer: &mut Vec<u64>, values: impl Iterator<Item = u64>) {
    buffer.clear();
    buffer.extend(values);
}

/// What was read: the base, and the values behind those that were in the buffer where they differ.
pub(super) enum Values {
    /// All are the base.
    Same(i64),
    From(i64),
}

/// Reads `count` values, at least one.
pub(super) fn read(
    reader: &mut Reader<'_>,
    header: u8,
    count: usize,
    near: i64,
    into: &mut Vec<i64>,
) -> Result<Values, Fault> {
    let grain = if header & HAS_GRAIN == 0 { Grain::default() } else { Grain::of_code(reader.byte()?) };
    let factor = grain.factor().cast_signed();
    let base = reader.zigzag()?.wrapping_add(near);
    let method = Method::of_header(header);
    if method == Method::Constant {
        return Ok(Values::Same(base));
    }
    let at = into.len();
    into.resize(at + count, base);
    let out = &mut into[at..];
    match method {
        Method::Constant | Method::Offset => {
            residuals(reader, out, |residual| {
                base.wrapping_add(residual.cast_signed().wrapping_mul(factor))
            })?;
        }
        Method::Delta => {
            let mut value = base;
            residuals(reader, &mut out[1..], |residual| {
                value = value.wrapping_add(unzigzag(residual).wrapping_mul(factor));
                value
            })?;
        }
        Method::Slope => {
            Fault::check_range("values of a column with a slope", count as u64, 2, u64::MAX)?;
            let mut delta = reader.zigzag()?.wrapping_mul(factor);
            let mut value = base.wrapping_add(delta);
            out[1] = value;
            residuals(reader, &mut out[2..], |residual| {
                delta = delta.wrapping_add(unzigzag(residual).wrapping_mul(factor));
                value = value.wrapping_add(delta);
                value
            })?;
        }
    }
    Ok(Values::From(base))
}

/// [`read`] where every value is wanted and none is near.
pub(super) fn read_all(
    reader: &mut Reader<'_>,
    header: u8,
    count: usize,
    into: &mut Vec<i64>,
) -> Result<(), Fault> {
    if let Values::Same(base) = read(reader, header, count, 0, into)? {
        into.resize(into.len() + count, base);
    }
    Ok(())
}

/// Reads a residual for each place, and what becomes of it.
#[inline]
fn residuals(
    reader: &mut Reader<'_>,
    out: &mut [i64],
    mut value: impl FnMut(u64) -> i64,
) -> Result<(), Fault> {
    let mut block = [0; BLOCK];
    for places in out.chunks_mut(BLOCK) {
        reader.block(places.len(), &mut block)?;
        for (place, &residual) in places.iter_mut().zip(&block) {
            *place = value(residual);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grain_survives_its_byte_and_never_overflows() {
        for code in 0..=u8::MAX {
            let grain = Grain::of_code(code);
            assert_eq!(grain.code(), code);
            assert!(grain.factor() >= 1);
        }
    }

    #[test]
    fn the_grain_is_what_the_driver_counts_in() {
        let factor = |offsets: &[u64]| Grain::of(offsets).factor();
        assert_eq!(factor(&[0, 3_000, 1_000]), 1_000);
        assert_eq!(factor(&[2_097_152 * 3, 0, 2_097_152]), 2_097_152);
        assert_eq!(factor(&[0, 15_000, 45_000]), 1_000);
        assert_eq!(factor(&[0, 7, 10]), 1);
        assert_eq!(factor(&[0, 1 << 62]), 1);
    }
}
