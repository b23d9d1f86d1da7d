//! Row keys: one integer that sorts as (hour, GPU, owner) or (hour, node).
//!
//! ```text
//! GPU row:   hour since 2020 (19 bits) │ GPU  (20 bits) │ owner (24 bits)
//! node row:  hour since 2020 (19 bits) │ node (24 bits) │ zero  (20 bits)
//! ```
//! 63 bits in all, so that keys are never negative and sort as their parts do. Both keep the hour in
//! the same bits: a range of hours is the same range of keys in both tables. 19 bits of hours last
//! until October 2079.

use crate::{GpuHourKey, GpuKey, Hour, HourRange, LedgerError, NodeKey, OwnerKey};

/// 2020-01-01T00:00Z in hours since the Unix epoch.
pub const FIRST_HOUR: u32 = 438_288;
pub const HOUR_BITS: u32 = 19;
pub const GPU_BITS: u32 = 20;
pub const OWNER_BITS: u32 = 24;
pub const NODE_BITS: u32 = 24;
const HOUR_SHIFT: u32 = GPU_BITS + OWNER_BITS;
const NODE_SHIFT: u32 = HOUR_SHIFT - NODE_BITS;

/// Number of the first hour that no longer fits.
pub const HOUR_END: u32 = FIRST_HOUR + (1 << HOUR_BITS);

fn hour_part(hour: Hour) -> Result<i64, LedgerError> {
    if (FIRST_HOUR..HOUR_END).contains(&hour.0) {
        Ok(i64::from(hour.0 - FIRST_HOUR) << HOUR_SHIFT)
    } else {
        Err(LedgerError::HourOutOfRange { hour: hour.0 })
    }
}

fn part(number: u32, bits: u32, what: &'static str) -> Result<i64, LedgerError> {
    if fits(number, bits) { Ok(i64::from(number)) } else { Err(LedgerError::Exhausted { what }) }
}

/// Whether a number fits its part of a key.
pub const fn fits(number: u32, bits: u32) -> bool {
    number < 1 << bits
}

/// The key of a GPU row.
pub fn gpu_row(key: GpuHourKey) -> Result<i64, LedgerError> {
    let gpu = part(key.gpu.0, GPU_BITS, "GPU")?;
    let owner = part(key.owner.0, OWNER_BITS, "owner")?;
    Ok(hour_part(key.hour)? | gpu << OWNER_BITS | owner)
}

/// The key of a node row.
pub fn node_row(hour: Hour, node: NodeKey) -> Result<i64, LedgerError> {
    Ok(hour_part(hour)? | part(node.0, NODE_BITS, "node")? << NODE_SHIFT)
}

/// The keys of some GPUs in one hour, as a half-open range; none for an hour that no row can have.
pub fn of_gpus(hour: Hour, gpus: &std::ops::Range<u32>) -> (i64, i64) {
    let bound = |gpu: u32| i64::from(gpu.min(1 << GPU_BITS)) << OWNER_BITS;
    // The end of the last GPU of the last hour is 2^63, one above the largest key.
    hour_part(hour).map_or((0, 0), |start| {
        (start.saturating_add(bound(gpus.start)), start.saturating_add(bound(gpus.end)))
    })
}

/// Takes a stored key apart; keys are never negative, which the tables check.
pub fn of_gpu_row(key: i64) -> GpuHourKey {
    GpuHourKey {
        hour: of_hour(key),
        gpu: GpuKey(bits(key, OWNER_BITS, GPU_BITS)),
        owner: OwnerKey(bits(key, 0, OWNER_BITS)),
    }
}

/// Takes a stored key apart.
pub fn of_node_row(key: i64) -> (Hour, NodeKey) {
    (of_hour(key), NodeKey(bits(key, NODE_SHIFT, NODE_BITS)))
}

fn of_hour(key: i64) -> Hour {
    Hour(FIRST_HOUR + bits(key, HOUR_SHIFT, HOUR_BITS))
}

fn bits(key: i64, shift: u32, width: u32) -> u32 {
    // `width` is at most 24, so the masked value always fits.
    u32::try_from((key >> shift) & ((1 << width) - 1)).unwrap_or(0)
}

/// The keys of a range of hours, as a half-open range; hours that no row can have are cut off.
pub fn range(range: HourRange) -> (i64, i64) {
    let bound = |hour: Hour| {
        let hour = hour.0.clamp(FIRST_HOUR, HOUR_END);
        // The end of the last hour is 2^63, one above the largest key.
        i64::from(hour - FIRST_HOUR).checked_mul(1 << HOUR_SHIFT).unwrap_or(i64::MAX)
    };
    (bound(range.from), bound(range.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAST: Hour = Hour(HOUR_END - 1);

    #[test]
    fn the_first_hour_is_new_year_2020() {
        assert_eq!(u64::from(FIRST_HOUR) * 3600, 1_577_836_800);
    }

    #[test]
    fn hours_outside_are_refused_by_name() {
        for hour in [0, FIRST_HOUR - 1, HOUR_END, u32::MAX] {
            let refused = node_row(Hour(hour), NodeKey(1)).unwrap_err();
            assert!(matches!(refused, LedgerError::HourOutOfRange { hour: h } if h == hour), "{refused}");
        }
    }

    #[test]
    fn the_largest_key_is_positive_and_in_the_range_of_everything() {
        let gpu = GpuKey((1 << GPU_BITS) - 1);
        let key = gpu_row(GpuHourKey { hour: LAST, gpu, owner: OwnerKey((1 << OWNER_BITS) - 2) }).unwrap();
        let (from, to) = range(HourRange { from: Hour(0), to: Hour(u32::MAX) });
        assert!((from..to).contains(&key));
    }

    #[test]
    fn a_number_too_large_for_its_part_does_not_run_into_the_next() {
        let key = GpuHourKey { hour: LAST, gpu: GpuKey(1 << GPU_BITS), owner: OwnerKey(0) };
        assert!(matches!(gpu_row(key), Err(LedgerError::Exhausted { what: "GPU" })));
    }

    #[test]
    fn a_slice_of_gpus_in_an_hour_is_one_range_of_keys() {
        let key = |hour: u32, gpu, owner| {
            gpu_row(GpuHourKey { hour: Hour(hour), gpu: GpuKey(gpu), owner: OwnerKey(owner) }).unwrap()
        };
        let (from, to) = of_gpus(Hour(FIRST_HOUR + 5), &(10..12));
        let owners = (1 << OWNER_BITS) - 1;
        assert_eq!((from, to), (key(FIRST_HOUR + 5, 10, 0), key(FIRST_HOUR + 5, 11, owners) + 1));
        let all = of_gpus(LAST, &(0..u32::MAX));
        assert_eq!(all, range(HourRange { from: LAST, to: Hour(HOUR_END) }));
        assert_eq!(of_gpus(Hour(0), &(0..u32::MAX)), (0, 0));
    }

    fn any_key() -> impl Strategy<Value = GpuHourKey> {
        (FIRST_HOUR..HOUR_END, 0_u32..1 << GPU_BITS, 0_u32..1 << OWNER_BITS).prop_map(|(hour, gpu, owner)| {
            GpuHourKey { hour: Hour(hour), gpu: GpuKey(gpu), owner: OwnerKey(owner) }
        })
    }

    proptest! {
        #[test]
        fn keys_come_back_and_sort_as_their_parts(a in any_key(), b in any_key()) {
            let (key_a, key_b) = (gpu_row(a).unwrap(), gpu_row(b).unwrap());
            prop_assert_eq!(of_gpu_row(key_a), a);
            prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
        }

        #[test]
        fn node_keys_come_back(hour in FIRST_HOUR..HOUR_END, node in 0_u32..1 << NODE_BITS) {
            let key = node_row(Hour(hour), NodeKey(node)).unwrap();
            prop_assert_eq!(of_node_row(key), (Hour(hour), NodeKey(node)));
        }
    }
}
