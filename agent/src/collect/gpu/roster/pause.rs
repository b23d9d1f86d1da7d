//! Giving the driver up for a while, so that somebody else can have it.

use super::{News, Roster, Worker};
use crate::collect::gpu::{Library, LibraryFault};
use std::sync::{Arc, Weak};

/// A pause that goes on.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// What was open when it began.
    left: Option<Weak<dyn Library>>,
    /// The thread that opens the library has said that it does not.
    parked: bool,
}

impl Roster {
    /// Closes the library and keeps it closed.
    pub fn pause(&mut self) {
        if self.pause.is_some() {
            return;
        }
        self.watcher = None;
        let open = self.library.take();
        self.keeper.hold(true, open.as_ref().map(|open| open.generation));
        for slot in &mut self.slots {
            slot.worker = slot.worker.take().filter(Worker::is_busy);
        }
        let left = open.map(|open| Arc::downgrade(&open.library));
        self.pause = Some(Pause { left, parked: false });
    }

    /// Lets the library be opened again.
    pub fn resume(&mut self) {
        if self.pause.take().is_some() {
            self.keeper.hold(false, None);
        }
    }

    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Whether nothing has the driver open any more. A call that does not return keeps it.
    pub fn is_released(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| {
            pause.parked && pause.left.as_ref().is_none_or(|library| library.strong_count() == 0)
        })
    }

    /// News while it is paused: a library that was just being opened is let go again.
    pub(super) fn hear_paused(&mut self, news: News) {
        let Some(pause) = &mut self.pause else { return };
        match news {
            News::Opened { library, .. } => pause.left = Some(Arc::downgrade(&library)),
            News::Failed(LibraryFault::Paused) => pause.parked = true,
            News::Failed(_) | News::Seen { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PATIENCE, roster, sample, until};
    use crate::collect::gpu::simulated::{Machine, Mood};
    use gpuledger_proto::catalogue as metric;
    use gpuledger_proto::reading::{Absence, Reading};

    #[test]
    fn a_pause_closes_the_library_and_a_resume_opens_it_again() {
        let machine = Machine::with(&[("GPU-a", Mood::Well(5))]);
        let mut roster = roster(&machine);
        until(&mut roster, "up", |reports, _| reports[0].up);
        roster.pause();
        until(&mut roster, "released", |_, roster| roster.is_released());
        let openings = machine.openings();
        let report = &sample(&mut roster, PATIENCE)[0];
        assert!(!report.up);
        assert_eq!(report.readings.get(metric::GPU_POWER_AVERAGE), Some(Reading::Absent(Absence::Stale)));
        assert_eq!(machine.openings(), openings, "nothing opens it meanwhile");
        roster.resume();
        until(&mut roster, "up again", |reports, _| reports[0].up);
    }

    #[test]
    fn a_call_that_hangs_keeps_the_driver_and_the_pause_does_not_claim_otherwise() {
        let machine = Machine::with(&[("GPU-a", Mood::Hangs)]);
        let mut roster = roster(&machine);
        sample(&mut roster, std::time::Duration::from_millis(50));
        roster.pause();
        std::thread::sleep(std::time::Duration::from_millis(100));
        sample(&mut roster, std::time::Duration::from_millis(50));
        assert!(!roster.is_released());
        machine.set("GPU-a", Mood::Well(5));
        until(&mut roster, "released", |_, roster| roster.is_released());
    }
}
