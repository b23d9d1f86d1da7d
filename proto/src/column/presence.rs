//! Which samples of a column have a value, and why the others have none.

use super::bits::{Reader, put_varint};
use super::malformed::Fault;
use crate::reading::{Absence, Reading};

const PRESENT: u64 = 0;
const CODE_BITS: u32 = 4;

/// Writes the runs; the last one as "to the end".
pub(super) fn put(readings: impl Iterator<Item = Reading<i64>>, out: &mut Vec<u8>) {
    let mut run: Option<(u64, u64)> = None;
    for reading in readings {
        let code = match reading {
            Reading::Value(_) => PRESENT,
            Reading::Absent(reason) => u64::from(reason.code()),
        };
        run = match run {
            Some((length, same)) if same == code => Some((length + 1, same)),
            other => {
                if let Some((length, before)) = other {
                    put_varint((length << CODE_BITS) | before, out);
                }
                Some((1, code))
            }
        };
    }
    if let Some((_, code)) = run {
        put_varint(code, out);
    }
}

/// Reads the runs of `samples` samples, puts their readings behind those that are here, and gives the
/// number that are present; their values are 0 until [`fill`] puts them in.
pub(super) fn read(
    reader: &mut Reader<'_>,
    samples: usize,
    readings: &mut Vec<Reading<i64>>,
) -> Result<usize, Fault> {
    let mut present = 0;
    let end = readings.len() + samples;
    while readings.len() < end {
        let run = reader.varint()?;
        let left = end - readings.len();
        let length = match run >> CODE_BITS {
            0 => left,
            length => {
                Fault::check_range("run of samples", length, 1, left as u64)?;
                usize::try_from(length).unwrap_or(left)
            }
        };
        let reading = match u8::try_from(run & ((1 << CODE_BITS) - 1)) {
            Ok(0) => {
                present += length;
                Reading::Value(0)
            }
            Ok(code) => Reading::Absent(Absence::from_code(code)),
            Err(_) => Reading::Absent(Absence::Failed),
        };
        readings.resize(readings.len() + length, reading);
    }
    Ok(present)
}

/// Puts the values in the places of the samples that are present.
pub(super) fn fill(readings: &mut [Reading<i64>], values: impl Iterator<Item = i64>) {
    let places = readings.iter_mut().filter_map(|reading| match reading {
        Reading::Value(place) => Some(place),
        Reading::Absent(_) => None,
    });
    for (place, value) in places.zip(values) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_the_bits_of_its_code() {
        assert!(Absence::ALL.iter().all(|reason| u64::from(reason.code()) < 1 << CODE_BITS));
        assert!(Absence::ALL.iter().all(|reason| u64::from(reason.code()) != PRESENT));
    }
}
