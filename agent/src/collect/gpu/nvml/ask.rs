//! Calls that a GPU may not support, and which of two ways to ask it answers.
//!
//! A way that is not supported is tried once and then never again, until the GPU is opened again or
//! its MIG mode changes: what a call says about a reading is remembered for this GPU and this driver.

use super::verdict::reading;
use super::{Device, NvmlError};
use crate::collect::Readings;
use crate::collect::gpu::Fault;
use gpuledger_proto::catalogue::MetricId;
use gpuledger_proto::reading::{Absence, Reading};

/// A call that gives one number in the metric's unit.
pub(super) type Call = for<'d> fn(&Device<'d>) -> Result<i64, NvmlError>;

/// How a reading is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Way {
    /// By the call that NVML has now.
    #[default]
    New,
    /// By the deprecated call: the library or the GPU lacks the new one.
    Old,
    /// Not at all: it has neither.
    Never,
}

impl Way {
    /// Asks by the way that is known to work, or finds out which one does.
    pub fn ask<T>(
        &mut self,
        new: impl FnOnce() -> Result<T, NvmlError>,
        old: Option<impl FnOnce() -> Result<T, NvmlError>>,
    ) -> Result<Reading<T>, Fault> {
        if *self == Self::New {
            let answer = reading(new())?;
            if !is_unsupported(&answer) {
                return Ok(answer);
            }
            *self = if old.is_some() { Self::Old } else { Self::Never };
        }
        if let (Self::Old, Some(old)) = (*self, old) {
            let answer = reading(old())?;
            if !is_unsupported(&answer) {
                return Ok(answer);
            }
            *self = Self::Never;
        }
        Ok(Reading::Absent(Absence::Unsupported))
    }

    /// Asks where there is one way only.
    pub fn ask_one<T>(&mut self, call: impl FnOnce() -> Result<T, NvmlError>) -> Result<Reading<T>, Fault> {
        self.ask(call, None::<fn() -> Result<T, NvmlError>>)
    }
}

fn is_unsupported<T>(reading: &Reading<T>) -> bool {
    matches!(reading, Reading::Absent(Absence::Unsupported))
}

/// A metric and the calls that give it.
pub(super) struct Line {
    pub metric: MetricId,
    pub call: Call,
    pub older: Option<Call>,
}

/// A metric with one call.
pub(super) const fn line(metric: MetricId, call: Call) -> Line {
    Line { metric, call, older: None }
}

/// A metric whose call replaced another.
pub(super) const fn line_or(metric: MetricId, call: Call, older: Call) -> Line {
    Line { metric, call, older: Some(older) }
}

/// Metrics that are read together, and the way of each.
#[derive(Debug)]
pub(super) struct Lines {
    lines: &'static [Line],
    ways: Vec<Way>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.metric)
    }
}

impl Lines {
    pub fn new(lines: &'static [Line]) -> Self {
        Self { lines, ways: vec![Way::New; lines.len()] }
    }

    pub fn read(&mut self, device: &Device<'_>, readings: &mut Readings) -> Result<(), Fault> {
        for (line, way) in self.lines.iter().zip(&mut self.ways) {
            let older = line.older.map(|older| move || older(device));
            readings.put(line.metric, way.ask(|| (line.call)(device), older)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn fails(code: u32) -> Result<i64, NvmlError> {
        Err(NvmlError::from(code))
    }

    /// nvml.md, row 13: NVML's deprecated calls answer 26 one day; row 12: a symbol may be missing.
    #[test]
    fn the_new_call_comes_first_and_the_deprecated_one_where_the_library_lacks_it() {
        let mut way = Way::New;
        assert_eq!(way.ask(|| Ok(1), Some(|| Ok(2))), Ok(Reading::Value(1)));
        assert_eq!(way, Way::New);
        let missing = || Err(NvmlError::FailedToLoadSymbol("undefined symbol".to_owned()));
        assert_eq!(way.ask(missing, Some(|| Ok(2))), Ok(Reading::Value(2)));
        assert_eq!(way, Way::Old);
        let unused = || -> Result<i64, NvmlError> { unreachable!("it is not asked again") };
        assert_eq!(way.ask(unused, Some(|| fails(26))), Ok(Reading::Absent(Absence::Unsupported)));
        assert_eq!(way, Way::Never);
    }

    /// nvml.md, row 11: absent with its reason, never 0, and not asked for again.
    #[test]
    fn what_a_gpu_does_not_support_is_asked_once_and_what_failed_is_asked_again() {
        let calls = Cell::new(0);
        let mut way = Way::New;
        for _ in 0..3 {
            let answer = way.ask_one(|| {
                calls.set(calls.get() + 1);
                fails(3)
            });
            assert_eq!(answer, Ok(Reading::Absent(Absence::Unsupported)));
        }
        assert_eq!(calls.get(), 1);
        let mut way = Way::New;
        assert_eq!(way.ask_one(|| fails(999)), Ok(Reading::Absent(Absence::Failed)));
        assert_eq!(way.ask_one(|| Ok(5)), Ok(Reading::Value(5)));
        assert_eq!(way.ask_one(|| fails(15)), Err(Fault::Gpu(Absence::Lost)));
    }
}
