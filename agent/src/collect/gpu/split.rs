//! The split of a MIG GPU's energy among its instances. Pure. An estimate: the hardware measures power
//! of the whole GPU only.
//!
//! # Rule
//!
//! What the GPU would have drawn idle (the lowest power seen of it, 150 W at most) is split
//! by compute slices, over all slices of the GPU, whether an instance has them or not. What it drew above
//! that is split by compute slices × activity of the streaming multiprocessors. Where no instance was
//! active, or activity is not told, that too is split by the slices that instances have.
//!
//! Invariant: the parts of the instances and of what no instance has sum to the whole, to the unit.

use gpuledger_units::largest_remainder;

/// What the split needs to know of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Compute slices of the instance.
    pub slices: u32,
    /// Share of time in which its multiprocessors were active; `None` where that is not measured.
    pub active_ppm: Option<i64>,
}

/// The parts of `whole` (mW or mJ) for each instance and, last, for the slices that no instance has.
/// `idle` is the part of it that the GPU would have drawn idle; `slices` what the whole GPU has.
/// `None` where there is nobody to give it to: no slice at all.
pub fn split(whole: u64, idle: u64, slices: u32, parts: &[Part]) -> Option<Vec<u64>> {
    let taken: u64 = parts.iter().map(|part| u64::from(part.slices)).sum();
    let unused = u64::from(slices).saturating_sub(taken);
    let mut by_slices: Vec<u64> = parts.iter().map(|part| u64::from(part.slices)).collect();
    by_slices.push(unused);
    let idle = idle.min(whole);
    let mut shares = largest_remainder(idle, &by_slices)?;

    let known = parts.iter().all(|part| part.active_ppm.is_some());
    let mut by_work: Vec<u64> = if known {
        parts.iter().map(|part| u64::from(part.slices) * ppm(part.active_ppm)).collect()
    } else {
        Vec::new()
    };
    if by_work.iter().all(|&weight| weight == 0) {
        by_work = parts.iter().map(|part| u64::from(part.slices)).collect();
    }
    // Nothing runs where no instance is; without instances all of it is unused.
    by_work.push(u64::from(taken == 0));
    for (share, more) in shares.iter_mut().zip(largest_remainder(whole - idle, &by_work)?) {
        *share += more;
    }
    Some(shares)
}

fn ppm(share: Option<i64>) -> u64 {
    share.and_then(|share| u64::try_from(share).ok()).map_or(0, |share| share.min(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(slices: u32, active_ppm: i64) -> Part {
        Part { slices, active_ppm: Some(active_ppm) }
    }

    /// nvml.md, row 9.
    #[test]
    fn idle_goes_by_slices_and_the_rest_by_slices_and_activity() {
        // 70 W idle of 7 slices; 3 + 2 slices in use, 300 W above idle.
        let parts = split(370_000, 70_000, 7, &[part(3, 1_000_000), part(2, 0)]);
        assert_eq!(parts, Some(vec![330_000, 20_000, 20_000]));
        let parts = split(370_000, 70_000, 7, &[part(3, 500_000), part(2, 750_000)]);
        assert_eq!(parts, Some(vec![180_000, 170_000, 20_000]));
    }

    #[test]
    fn without_activity_slices_decide_and_without_instances_nobody_has_it() {
        let silent = Part { slices: 1, active_ppm: None };
        assert_eq!(split(300, 0, 7, &[silent, part(2, 900_000)]), Some(vec![100, 200, 0]));
        assert_eq!(split(300, 0, 7, &[part(1, 0), part(2, 0)]), Some(vec![100, 200, 0]));
        assert_eq!(split(300, 100, 7, &[]), Some(vec![300]));
        assert_eq!(split(300, 100, 0, &[]), None, "a GPU of no slices has nobody to give it to");
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_parent(
            whole in 0..10_000_000u64, idle in 0..200_000u64,
            parts in prop::collection::vec((1..=7u32, prop::option::of(-5..2_000_000i64)), 1..8),
        ) {
            let parts: Vec<Part> = parts.into_iter().map(|(slices, active_ppm)| Part { slices, active_ppm }).collect();
            let shares = split(whole, idle, 7, &parts).unwrap();
            prop_assert_eq!(shares.len(), parts.len() + 1);
            prop_assert_eq!(shares.iter().sum::<u64>(), whole);
        }
    }
}
