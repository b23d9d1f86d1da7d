//! Varints, zigzag and blocks of equally wide integers.

use super::malformed::Fault;

/// Residuals that share a width. Real power traces change their noise within seconds: one width a
/// column costs twice the bytes.
pub(super) const BLOCK: usize = 16;
/// A block of 64-bit values, and room for a 16-byte load at its last bit.
const BLOCK_BYTES: usize = BLOCK * 8 + 16;

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

pub(super) fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

pub(super) const fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

fn width_of(block: &[u64]) -> u8 {
    let all = block.iter().fold(0, |bits, value| bits | value);
    low_byte(u64::from(64 - all.leading_zeros()))
}

const fn block_bytes(values: usize, width: u8) -> usize {
    (values * width as usize).div_ceil(8)
}

/// Bytes that [`put_blocks`] will write.
pub(super) fn blocks_len(residuals: &[u64]) -> usize {
    residuals.chunks(BLOCK).map(|block| 1 + block_bytes(block.len(), width_of(block))).sum()
}

pub(super) fn put_blocks(residuals: &[u64], out: &mut Vec<u8>) {
    for block in residuals.chunks(BLOCK) {
        let width = width_of(block);
        out.push(width);
        let mut pending: u128 = 0;
        let mut bits = 0;
        for &residual in block {
            pending |= u128::from(residual) << bits;
            bits += u32::from(width);
            while bits >= 8 {
                out.push(pending.to_le_bytes()[0]);
                pending >>= 8;
                bits -= 8;
            }
        }
        if bits > 0 {
            out.push(pending.to_le_bytes()[0]);
        }
    }
}

/// Reads forward through bytes that nobody has checked yet.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    pub(super) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Ended { wanted: 1, left: 0 })?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, wanted: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..wanted).ok_or(Fault::Ended { wanted, left: rest.len() })?;
        self.at += wanted;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(Fault::LongNumber);
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::LongNumber)
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, Fault> {
        self.varint().map(unzigzag)
    }

    /// Reads one block of `values` residuals, at most [`BLOCK`].
    #[inline]
    pub(super) fn block(&mut self, values: usize, into: &mut [u64; BLOCK]) -> Result<(), Fault> {
        let width = self.byte()?;
        Fault::check_range("width of a block", u64::from(width), 0, 64)?;
        let from = self.at;
        let packed = self.take(block_bytes(values, width))?;
        let width = usize::from(width);
        // Near the end of the message there is no room to load more than is there.
        let mut copy = [0; BLOCK_BYTES];
        let packed: &[u8; BLOCK_BYTES] = if let Some(packed) = self.bytes[from..].first_chunk() {
            packed
        } else {
            copy[..packed.len()].copy_from_slice(packed);
            &copy
        };
        // An unaligned 8-byte load holds a value of up to 57 bits at any bit of its first byte.
        if width <= 57 {
            let mask = (1_u64 << width) - 1;
            for (position, value) in into.iter_mut().take(values).enumerate() {
                let bit = position * width;
                *value = (u64::from_le_bytes(load(packed, bit / 8)) >> (bit % 8)) & mask;
            }
        } else {
            let mask = (1_u128 << width) - 1;
            for (position, value) in into.iter_mut().take(values).enumerate() {
                let bit = position * width;
                let wide = (u128::from_le_bytes(load(packed, bit / 8)) >> (bit % 8)) & mask;
                *value = u64::try_from(wide).unwrap_or(u64::MAX);
            }
        }
        Ok(())
    }
}

fn load<const N: usize>(buffer: &[u8; BLOCK_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&buffer[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_comes_back_and_has_the_length_foretold(value: u64) {
            let mut out = Vec::new();
            put_varint(value, &mut out);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(Reader::new(&out).varint(), Ok(value));
        }

        #[test]
        fn zigzag_keeps_every_number(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        #[test]
        fn a_block_of_any_width_comes_back(values in prop::collection::vec(any::<u64>(), 1..=BLOCK), shift in 0_u32..64) {
            let values: Vec<u64> = values.iter().map(|v| v >> shift).collect();
            let mut out = Vec::new();
            put_blocks(&values, &mut out);
            prop_assert_eq!(out.len(), blocks_len(&values));
            let mut back = [0; BLOCK];
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.block(values.len(), &mut back), Ok(()));
            prop_assert_eq!(&back[..values.len()], &values[..]);
            prop_assert_eq!(reader.left(), 0);
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let eleven = [0xff; 11];
        assert_eq!(Reader::new(&eleven).varint(), Err(Fault::LongNumber));
        let mut high = [0x80; 10];
        high[9] = 2;
        assert_eq!(Reader::new(&high).varint(), Err(Fault::LongNumber));
    }
}
