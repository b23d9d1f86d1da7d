//! What goes wrong in the fleet, and how it cuts the agents' work into runs.
//!
//! Every fault begins and ends with a slot, so that the truth about it is exact; only a counter's
//! reset lies within one, because what it swallows must be seen to be estimated.

use super::{At, DAY_MS, Device, SLOT_MS};

/// A stretch of time: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub from_ms: u64,
    pub to_ms: u64,
}

impl Stretch {
    const fn contains(self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && at_ms < self.to_ms
    }
}

/// Faults by device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// The node has no power; its counters begin anew when it boots.
    pub nodes_off: Vec<(u32, Stretch)>,
    /// The agent is stopped; the node works on.
    pub agents_away: Vec<(u32, Stretch)>,
    /// The GPU has fallen off the bus and comes back with its counter.
    pub gpus_lost: Vec<(At, Stretch)>,
    /// The GPU was reset: its counter begins anew.
    pub counter_resets: Vec<(At, u64)>,
}

/// One run of one agent: from its start to its end without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub node: u32,
    /// First and last sample.
    pub first_ms: u64,
    pub last_ms: u64,
    /// When the node was booted, and which boot it was.
    pub booted_ms: u64,
    pub boot: u32,
}

impl Faults {
    /// A node that is down for a day, a GPU that is lost for some hours, a counter that is reset
    /// and an agent that is away for half an hour; in a short history correspondingly less.
    pub fn usual(from_ms: u64, to_ms: u64, nodes: u32, gpus: u32) -> Self {
        if nodes == 0 || gpus == 0 || to_ms < from_ms + DAY_MS {
            return Self::default();
        }
        let span = to_ms - from_ms;
        let at = |permille: u64| from_ms + span * permille / 1_000 / SLOT_MS * SLOT_MS;
        let stretch = |permille: u64, part: u64, at_most_ms: u64| {
            let length = (span / part).min(at_most_ms) / SLOT_MS * SLOT_MS;
            Stretch { from_ms: at(permille), to_ms: at(permille) + length }
        };
        let minute = 60_000;
        Self {
            nodes_off: vec![(nodes - 1, stretch(420, 8, DAY_MS))],
            agents_away: vec![(2 % nodes, stretch(780, 50, 30 * minute))],
            gpus_lost: vec![(At { node: 0, gpu: 3 % gpus }, stretch(230, 20, 5 * 60 * minute))],
            counter_resets: vec![(At { node: 1 % nodes, gpu: 2 % gpus }, at(610) + 20_000)],
        }
    }

    /// The usual faults again every day, each day on the next nodes, but for resets of a counter: what
    /// one takes with it is told only by an agent that lives from the sample before to the one after.
    pub fn daily(from_ms: u64, days: u32, nodes: u32, gpus: u32) -> Self {
        let mut all = Self::default();
        for day in 0..days {
            let begin_ms = from_ms + u64::from(day) * DAY_MS;
            let today = Self::usual(begin_ms, begin_ms + DAY_MS, nodes, gpus);
            let turned = |node: u32| (node + day) % nodes;
            all.nodes_off.extend(today.nodes_off.into_iter().map(|(node, off)| (turned(node), off)));
            all.agents_away.extend(today.agents_away.into_iter().map(|(node, away)| (turned(node), away)));
            let lost = today.gpus_lost.into_iter();
            all.gpus_lost.extend(lost.map(|(at, lost)| (At { node: turned(at.node), ..at }, lost)));
        }
        all
    }

    pub fn node_off(&self, node: u32, at_ms: u64) -> bool {
        self.nodes_off.iter().any(|(n, stretch)| *n == node && stretch.contains(at_ms))
    }

    pub fn gpu_lost(&self, at: At, at_ms: u64) -> bool {
        self.gpus_lost.iter().any(|(gpu, stretch)| *gpu == at && stretch.contains(at_ms))
    }

    /// When the device's counter began anew, in order of time: after boots and resets.
    pub fn counter_starts(&self, device: Device) -> Vec<u64> {
        let (Device::Host(node) | Device::Gpu(At { node, .. })) = device;
        let boots = self.nodes_off.iter().filter(|(n, _)| *n == node).map(|(_, off)| off.to_ms);
        let of_this = self.counter_resets.iter().filter(|(gpu, _)| Device::Gpu(*gpu) == device);
        let resets = of_this.map(|&(_, reset_ms)| reset_ms);
        let mut starts: Vec<_> = boots.chain(resets).collect();
        starts.sort_unstable();
        starts
    }

    /// The runs of a node's agent that samples from `from_ms` to `to_ms` every `step_ms`. An agent
    /// that comes back takes its first sample at once; one that boots with its node, a step later.
    pub fn runs(&self, node: u32, from_ms: u64, to_ms: u64, step_ms: u64) -> Vec<Run> {
        let of = |list: &[(u32, Stretch)], off: bool| -> Vec<(Stretch, bool)> {
            list.iter().filter(|(n, _)| *n == node).map(|&(_, stretch)| (stretch, off)).collect()
        };
        let mut breaks = of(&self.nodes_off, true);
        breaks.extend(of(&self.agents_away, false));
        breaks.sort_by_key(|(stretch, _)| stretch.from_ms);
        // Booted some days before the history begins.
        let booted_ms = from_ms.saturating_sub(3 * DAY_MS);
        let mut run = Run { node, first_ms: from_ms, last_ms: to_ms, booted_ms, boot: 1 };
        let mut runs = Vec::new();
        for (stretch, off) in breaks {
            runs.push(Run { last_ms: stretch.from_ms, ..run });
            run.first_ms = stretch.to_ms;
            if off {
                run = Run {
                    first_ms: stretch.to_ms + step_ms,
                    booted_ms: stretch.to_ms,
                    boot: run.boot + 1,
                    ..run
                };
            }
        }
        runs.push(run);
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: u64 = 1_787_400_000_000;
    const TO: u64 = FROM + 30 * DAY_MS;

    #[test]
    fn in_thirty_days_a_node_is_down_for_a_day_and_a_gpu_lost_for_hours() {
        let faults = Faults::usual(FROM, TO, 4, 8);
        let length = |stretch: Stretch| stretch.to_ms - stretch.from_ms;
        assert_eq!(faults.nodes_off[0].0, 3);
        assert_eq!(length(faults.nodes_off[0].1), DAY_MS);
        assert_eq!(length(faults.gpus_lost[0].1), 5 * 3_600_000);
        assert_eq!(length(faults.agents_away[0].1), 1_800_000);
        assert_eq!(faults.counter_starts(Device::Gpu(At { node: 1, gpu: 2 })).len(), 1);
        assert_eq!(faults.counter_starts(Device::Host(3)).len(), 1);
    }

    #[test]
    fn faults_begin_and_end_with_slots_within_any_history_from_a_day_on() {
        for days in 1..40 {
            let to = FROM + days * DAY_MS;
            let faults = Faults::usual(FROM, to, 1, 1);
            let stretches = [faults.nodes_off[0].1, faults.gpus_lost[0].1, faults.agents_away[0].1];
            for stretch in stretches {
                assert!(stretch.from_ms.is_multiple_of(SLOT_MS) && stretch.to_ms.is_multiple_of(SLOT_MS));
                assert!(FROM < stretch.from_ms && stretch.from_ms < stretch.to_ms && stretch.to_ms < to);
            }
        }
        assert_eq!(Faults::usual(FROM, FROM + DAY_MS - 1, 4, 8), Faults::default());
    }

    #[test]
    fn a_break_ends_a_run_and_only_a_boot_changes_the_boot() {
        let faults = Faults::usual(FROM, TO, 1, 8);
        let runs = faults.runs(0, FROM, TO, 60_000);
        assert_eq!(runs.len(), 3);
        let (off, away) = (faults.nodes_off[0].1, faults.agents_away[0].1);
        assert_eq!((runs[0].first_ms, runs[0].last_ms, runs[0].boot), (FROM, off.from_ms, 1));
        assert_eq!((runs[1].first_ms, runs[1].last_ms, runs[1].boot), (off.to_ms + 60_000, away.from_ms, 2));
        assert_eq!((runs[2].first_ms, runs[2].last_ms, runs[2].boot), (away.to_ms, TO, 2));
        assert_eq!(runs[2].booted_ms, off.to_ms);
    }

    #[test]
    fn every_day_of_bad_days_has_its_faults_and_each_node_gets_its_turn() {
        let faults = Faults::daily(FROM, 6, 3, 2);
        assert_eq!((faults.nodes_off.len(), faults.agents_away.len(), faults.gpus_lost.len()), (6, 6, 6));
        assert_eq!(faults.counter_resets, []);
        let nodes: Vec<u32> = faults.nodes_off.iter().map(|(node, _)| *node).collect();
        assert_eq!(nodes, [2, 0, 1, 2, 0, 1]);
        for (day, (_, off)) in faults.nodes_off.iter().enumerate() {
            assert_eq!((off.from_ms - FROM) / DAY_MS, day as u64);
        }
    }
}
