//! What happens in a run, drawn from its seed: the world, and the faults with their times.

use super::dice::Dice;

/// A GPU of the world.
#[derive(Debug, Clone, Copy)]
pub struct GpuPlan {
    pub has_counter: bool,
}

/// A machine of the world.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    pub gpus: Vec<usize>,
    /// How far its wall clock is off at the beginning, and how fast it drifts.
    pub offset_ms: i64,
    pub drift_ppm: i64,
    pub has_meter: bool,
    pub cap_bytes: u64,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// Wall clock when the run begins.
    pub from_ms: u64,
    /// Time between two samples, and samples in a batch.
    pub step_ms: u64,
    pub batch_steps: u64,
    /// Steps until all faults end.
    pub steps: u64,
    pub commit_interval_ms: u64,
    pub collectors: usize,
    /// Delay of a piece on its way, at most.
    pub delay_ms: u64,
    pub gpus: Vec<GpuPlan>,
    pub machines: Vec<MachinePlan>,
    /// In the order of their times.
    pub faults: Vec<(u64, Fault)>,
}

/// What breaks. Times are how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The agent's process is killed and started again.
    Kill {
        machine: usize,
        for_ms: u64,
    },
    /// The same in the middle of a write: the process is dead from its next sync on.
    KillInWrite {
        machine: usize,
        for_ms: u64,
    },
    /// The machine loses its power: what was not synced is kept, lost or torn.
    PowerLoss {
        machine: usize,
        for_ms: u64,
    },
    /// The same in the middle of a write.
    PowerLossInWrite {
        machine: usize,
        for_ms: u64,
    },
    /// The machine is shut down in order and boots again.
    Reboot {
        machine: usize,
        for_ms: u64,
    },
    DiskFull {
        machine: usize,
        bytes: usize,
        for_ms: u64,
    },
    /// Nothing gets through, and nobody is told.
    Partition {
        machine: usize,
        for_ms: u64,
    },
    /// The agent's link breaks after so many more bytes in a direction.
    Cut {
        machine: usize,
        after_bytes: u64,
        upward: bool,
    },
    /// The agent connects to the next collector. Its old link is left hanging for a while or cut.
    Wander {
        machine: usize,
        hangs_ms: u64,
    },
    /// The collector's process is killed and started again.
    KillCollector {
        collector: usize,
        for_ms: u64,
    },
    /// The collector ends in order and is started again.
    DrainCollector {
        collector: usize,
        for_ms: u64,
    },
    /// The wall clock of a machine is set.
    Clock {
        machine: usize,
        by_ms: i64,
    },
    /// The counter of a GPU begins anew while everything runs.
    CounterReset {
        gpu: usize,
    },
    /// A GPU is built into another machine. Both are off for a while.
    MoveGpu {
        gpu: usize,
        to: usize,
        for_ms: u64,
    },
    /// The agent's folder is copied while it runs, and started on another machine.
    Twin {
        machine: usize,
    },
    /// The agent's folder is put aside.
    KeepSpool {
        machine: usize,
    },
    /// The folder that was put aside is put back.
    ReplaySpool {
        machine: usize,
        for_ms: u64,
    },
    /// The next commit fails before, fails after it was done, or takes long.
    Commit(CommitFault),
    /// The ledger is copied.
    Backup,
    /// The collectors end, and the ledger is again what it was when it was copied.
    Restore {
        for_ms: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    Fails,
    /// Done, but nobody is told.
    InDoubt,
    Stalls {
        for_ms: u64,
    },
    /// The store's machine loses its power in the middle: the log ends at this part of what the
    /// commit wrote, in ppm.
    PowerLoss {
        kept_ppm: u64,
        for_ms: u64,
    },
}

/// One seed of so many is without faults.
const CALM_SEEDS_APART: u64 = 50;

/// Until here everything is well, so that every device has a first sample.
const FIRST_STEP_OF_FAULTS: u64 = 5;

impl Plan {
    /// The plan of a seed. Where `copies` is false the store's files cannot be copied or torn.
    pub fn of(seed: u64, copies: bool) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let step_ms = [1_000, 1_000, 2_000, 5_000, 10_000, 20_000][dice.index(6)];
        let small_spools = dice.permille(120);
        // A small spool has to become full in a while.
        let batch_steps = if small_spools { 1 } else { dice.between(3, 11) };
        let gpus: Vec<GpuPlan> =
            (0..dice.between(1, 6)).map(|_| GpuPlan { has_counter: !dice.permille(150) }).collect();
        let machines = dice.between(1, 4).min(gpus.len() as u64);
        let calm_clocks = dice.permille(600);
        let machine = |number: u64, dice: &mut Dice| MachinePlan {
            gpus: (0..gpus.len()).filter(|&gpu| gpu as u64 % machines == number).collect(),
            offset_ms: if calm_clocks { 0 } else { dice.around_zero(300_000) },
            drift_ppm: if calm_clocks { 0 } else { dice.around_zero(300) },
            has_meter: dice.permille(500),
            cap_bytes: if small_spools { 64 * 1024 } else { 16 * 1024 * 1024 },
        };
        let machines = (0..machines).map(|number| machine(number, &mut dice)).collect();
        let mut plan = Self {
            seed,
            from_ms: 1_790_000_000_000 + dice.between(0, 7_200_000),
            step_ms,
            batch_steps,
            steps: if small_spools { 400 } else { dice.between(60, 200) },
            commit_interval_ms: (step_ms * batch_steps.max(6) / dice.between(1, 4)).clamp(1_000, 30_000),
            collectors: 1 + usize::from(dice.permille(500)),
            delay_ms: [2, 20, 200, 2_000][dice.index(4)],
            gpus,
            machines,
            faults: Vec::new(),
        };
        plan.draw_faults(&mut dice, copies);
        plan
    }

    /// Time between two samples that is not a gap yet.
    pub fn longest_gap_ms(&self) -> u64 {
        self.step_ms * 5 / 2
    }

    pub fn end_ms(&self) -> u64 {
        self.steps * self.step_ms
    }

    fn draw_faults(&mut self, dice: &mut Dice, copies: bool) {
        // A seed has some kinds of faults and not all, so that each kind is seen alone as well.
        let kinds: Vec<u64> = (0..KINDS).filter(|_| dice.permille(300)).collect();
        // Some have none: what breaks there is broken without any fault.
        if kinds.is_empty() || self.seed.is_multiple_of(CALM_SEEDS_APART) {
            return;
        }
        let mut moved = false;
        for _ in 0..dice.between(1, 11) {
            let at_ms = dice.between(FIRST_STEP_OF_FAULTS * self.step_ms, self.end_ms());
            let kind = kinds[dice.index(kinds.len())];
            for (after_ms, fault) in self.fault(kind, dice, copies) {
                // One move of one GPU is enough to see.
                if matches!(fault, Fault::MoveGpu { .. }) && std::mem::replace(&mut moved, true) {
                    continue;
                }
                self.faults.push((at_ms + after_ms, fault));
            }
        }
        self.faults.sort_by_key(|fault| fault.0);
    }

    /// A fault of a kind, and what belongs to it some time later.
    fn fault(&self, kind: u64, dice: &mut Dice, copies: bool) -> Vec<(u64, Fault)> {
        let machine = dice.index(self.machines.len());
        let collector = dice.index(self.collectors);
        let for_ms = dice.between(100, self.step_ms * 30);
        let later_ms = dice.between(self.step_ms, self.step_ms * 40);
        let one = |fault| vec![(0, fault)];
        match kind {
            0 => one(Fault::Kill { machine, for_ms }),
            1 => one(Fault::KillInWrite { machine, for_ms }),
            // Also with a spool that has something to lose.
            2 => vec![
                (0, Fault::Partition { machine, for_ms: later_ms * 2 }),
                match dice.index(3) {
                    0 => (0, Fault::PowerLoss { machine, for_ms }),
                    1 => (later_ms, Fault::PowerLoss { machine, for_ms }),
                    _ => (later_ms, Fault::PowerLossInWrite { machine, for_ms }),
                },
            ],
            3 => one(Fault::Reboot { machine, for_ms }),
            4 => one(Fault::DiskFull { machine, bytes: dice.index(3_000), for_ms }),
            5 => {
                let times = if self.batch_steps == 1 { 12 } else { 3 };
                one(Fault::Partition { machine, for_ms: for_ms * times })
            }
            6 => {
                let cut = |dice: &mut Dice| Fault::Cut {
                    machine,
                    after_bytes: dice.between(0, 1_200),
                    upward: dice.permille(700),
                };
                (0..dice.between(1, 5)).map(|n| (n * for_ms, cut(dice))).collect()
            }
            7 if self.collectors > 1 => one(Fault::Wander { machine, hangs_ms: for_ms }),
            7 | 8 => one(Fault::KillCollector { collector, for_ms }),
            9 => one(Fault::DrainCollector { collector, for_ms }),
            10 => {
                let most = [self.step_ms, 60_000, 4_000_000, 12 * 3_600_000][dice.index(4)];
                let by_ms = dice.around_zero(i64::try_from(most).unwrap_or(0));
                let back = if dice.permille(500) { vec![(later_ms, -by_ms)] } else { Vec::new() };
                let all = std::iter::once((0, by_ms)).chain(back);
                all.map(|(after, by_ms)| (after, Fault::Clock { machine, by_ms })).collect()
            }
            11 => {
                // Two days ahead, or not set at all, and set right again.
                let by_ms = if dice.permille(500) { 48 * 3_600_000 } else { -1_780_000_000_000 };
                let set = |by_ms| Fault::Clock { machine, by_ms };
                vec![(0, set(by_ms)), (later_ms, set(-by_ms))]
            }
            12 => one(Fault::CounterReset { gpu: dice.index(self.gpus.len()) }),
            13 if self.machines.len() > 1 => {
                let gpu = dice.index(self.gpus.len());
                let home = self.machines.iter().position(|m| m.gpus.contains(&gpu)).unwrap_or(0);
                let to = (home + 1) % self.machines.len();
                let mut faults = vec![(0, Fault::MoveGpu { gpu, to, for_ms })];
                if dice.permille(500) {
                    // What the old machine has to say of it comes after what the new one says.
                    faults.insert(0, (0, Fault::Partition { machine: home, for_ms: for_ms + later_ms }));
                }
                faults
            }
            14 => one(Fault::Twin { machine }),
            13 | 15 => {
                vec![(0, Fault::KeepSpool { machine }), (later_ms, Fault::ReplaySpool { machine, for_ms })]
            }
            16 => one(Fault::Commit(CommitFault::Fails)),
            17 => one(Fault::Commit(CommitFault::InDoubt)),
            18 => one(Fault::Commit(CommitFault::Stalls { for_ms })),
            19 if copies => {
                let kept_ppm = dice.between(0, 1_000_001);
                one(Fault::Commit(CommitFault::PowerLoss { kept_ppm, for_ms }))
            }
            20 if copies => vec![(0, Fault::Backup), (later_ms, Fault::Restore { for_ms })],
            _ => one(Fault::Partition { machine, for_ms }),
        }
    }
}

/// Kinds of faults that are drawn from.
const KINDS: u64 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_many_seeds_have_every_kind_of_fault() {
        let plans: Vec<Plan> = (0..400).map(|seed| Plan::of(seed, true)).collect();
        assert_eq!(plans[7].faults, Plan::of(7, true).faults);
        let kinds: std::collections::BTreeSet<String> = plans
            .iter()
            .flat_map(|plan| plan.faults.iter().map(|(_, fault)| format!("{fault:?}")))
            .map(|told| told.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert!(kinds.len() >= 20, "{kinds:?}");
        assert!(plans.iter().any(|plan| plan.faults.is_empty()), "and some have none");
    }

    #[test]
    fn every_gpu_has_one_machine_and_faults_are_in_order() {
        for plan in (0..200).map(|seed| Plan::of(seed, false)) {
            let mut homes: Vec<usize> = plan.machines.iter().flat_map(|m| m.gpus.clone()).collect();
            homes.sort_unstable();
            assert_eq!(homes, (0..plan.gpus.len()).collect::<Vec<_>>());
            assert!(plan.faults.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        }
    }
}
