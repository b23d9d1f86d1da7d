//! What somebody asks for of the rows of GPUs.

use crate::{GpuKey, HourRange};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Which GPU rows somebody asks for. What is not asked for need not be read: that is what makes a
/// report over closed days cheap.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub range: HourRange,
    /// Only rows of these GPUs; `None` for all.
    pub gpus: Option<Arc<BTreeSet<GpuKey>>>,
    /// Columns that are needed. Others may be given too, or be absent.
    pub columns: Columns,
}

impl Wanted {
    /// Everything of a range.
    pub const fn all(range: HourRange) -> Self {
        Self { range, gpus: None, columns: Columns::ALL }
    }

    /// Whether rows of this GPU are asked for.
    pub fn has(&self, gpu: GpuKey) -> bool {
        self.gpus.as_ref().is_none_or(|gpus| gpus.contains(&gpu))
    }

    /// The wanted GPUs as ranges of numbers, each with so many of them at most: what is read at a time.
    /// Numbers have been given up to `given`; the last range holds all above. A range may hold numbers
    /// that are not wanted.
    pub(crate) fn slices(&self, given: u32, gpus_max: u32) -> Vec<Range<u32>> {
        match &self.gpus {
            None => {
                let mut starts: Vec<u32> = (0..=given).step_by(wide(gpus_max)).collect();
                starts.push(u32::MAX);
                starts.windows(2).map(|ends| ends[0]..ends[1]).collect()
            }
            Some(gpus) => {
                let wanted: Vec<u32> = gpus.iter().map(|gpu| gpu.0).collect();
                let range = |slice: &[u32]| Some(*slice.first()?..slice.last()?.saturating_add(1));
                wanted.chunks(wide(gpus_max)).filter_map(range).collect()
            }
        }
    }
}

fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

/// A set of the columns of GPU rows. A row's GPU is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns(u16);

impl Columns {
    pub const ALL: Self = Self(u16::MAX);
    pub const NONE: Self = Self(0);
    /// The four states.
    pub const TIME: Self = Self(1);
    /// `counter_mj`, `estimated_mj`.
    pub const ENERGY: Self = Self(1 << 1);
    pub const ACTIVE_ENERGY: Self = Self(1 << 2);
    /// `busy_ppm_ms`, `busy_known_ms`.
    pub const BUSY: Self = Self(1 << 3);
    pub const MEMORY: Self = Self(1 << 4);
    pub const THROTTLED: Self = Self(1 << 5);
    /// Both maxima.
    pub const MAXIMA: Self = Self(1 << 6);
    pub const SAMPLES: Self = Self(1 << 7);
    /// `gap_mj`.
    pub const GAPS: Self = Self(1 << 8);
    /// The hour of a row: without it only the day of its piece is known.
    pub const HOUR: Self = Self(1 << 9);
    pub const OWNER: Self = Self(1 << 10);
    /// Hour and owner.
    pub const KEYS: Self = Self(Self::HOUR.0 | Self::OWNER.0);

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(gpus: Option<&[u32]>) -> Wanted {
        let gpus = gpus.map(|gpus| Arc::new(gpus.iter().copied().map(GpuKey).collect()));
        Wanted { gpus, ..Wanted::all(HourRange::ALWAYS) }
    }

    #[test]
    fn slices_hold_every_wanted_gpu_once_and_in_order() {
        assert_eq!(wanted(None).slices(10, 4), [0..4, 4..8, 8..u32::MAX]);
        assert_eq!(wanted(None).slices(0, 4), vec![0..u32::MAX]);
        assert_eq!(wanted(Some(&[1, 5, 6, 40, 90])).slices(7, 2), [1..6, 6..41, 90..91]);
        assert_eq!(wanted(Some(&[])).slices(50, 2), []);
    }

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let set = Columns::TIME.and(Columns::KEYS);
        assert!(set.has(Columns::TIME) && set.has(Columns::HOUR) && !set.has(Columns::ENERGY));
        assert!(!Columns::HOUR.has(Columns::KEYS) && Columns::ALL.has(set) && set.has(Columns::NONE));
    }
}
