//! What each fault of a plan does to the world.

use super::{Due, Run, RunError};
use crate::simulate::agent::Agent;
use crate::simulate::plan::Fault;
use gpuledger_proto::ids::Sequence;

impl Run {
    pub(super) async fn breaks(&mut self, fault: Fault, now_ms: u64) -> Result<(), RunError> {
        match fault {
            Fault::Kill { machine, for_ms } => self.kill_agent(machine, now_ms + for_ms).await,
            Fault::KillInWrite { machine, for_ms } => {
                self.world.kill_at_next_sync(machine);
                self.enter(now_ms + self.plan.step_ms * 4, Due::Fault(Fault::Kill { machine, for_ms }));
            }
            Fault::PowerLoss { machine, for_ms } => self.lose_power(machine, now_ms + for_ms).await,
            Fault::PowerLossInWrite { machine, for_ms } => {
                self.world.kill_at_next_sync(machine);
                let batch_ms = self.plan.step_ms * (self.plan.batch_steps + 1);
                self.enter(now_ms + batch_ms, Due::Fault(Fault::PowerLoss { machine, for_ms }));
            }
            Fault::Reboot { machine, for_ms } => self.reboot(machine, now_ms + for_ms).await,
            Fault::DiskFull { machine, bytes, for_ms } => {
                self.world.fill_disk(machine, bytes);
                self.trail.count("full disks", 1);
                self.enter(now_ms + for_ms, Due::FreeDisk(machine));
            }
            Fault::Partition { machine, for_ms } => {
                self.network.set_partitioned(machine, true);
                self.trail.count("partitions", 1);
                self.enter(now_ms + for_ms, Due::EndPartition(machine));
            }
            Fault::Cut { machine, after_bytes, upward } => {
                self.network.cut_after(machine, after_bytes, upward);
            }
            Fault::Wander { machine, hangs_ms } => {
                self.network.wander(machine);
                self.trail.count("moves to another collector", 1);
                self.enter(now_ms + hangs_ms, Due::BreakLeft(machine));
            }
            Fault::KillCollector { collector, for_ms } => self.kill_collector(collector, now_ms + for_ms),
            Fault::DrainCollector { collector, for_ms } => {
                if let Some(running) = self.collectors[collector].take() {
                    running.drain(&self.network).await;
                    self.trail.count("collectors ended in order", 1);
                    self.enter(now_ms + for_ms, Due::StartCollector(collector));
                }
            }
            Fault::Clock { machine, by_ms } => {
                self.world.machines[machine].clock.set(by_ms);
                self.trail.count("clock steps", 1);
            }
            Fault::CounterReset { gpu } => {
                self.world.gpus[gpu].reset(now_ms);
                self.trail.count("counter resets", 1);
            }
            Fault::MoveGpu { gpu, to, for_ms } => self.move_gpu(gpu, to, now_ms + for_ms).await,
            Fault::Twin { machine } => self.copy_machine(machine, now_ms)?,
            Fault::KeepSpool { machine } => {
                let machine = &mut self.world.machines[machine];
                machine.kept = Some(machine.disk.copy());
            }
            Fault::ReplaySpool { machine, for_ms } => self.replay(machine, now_ms + for_ms).await,
            Fault::Commit(fault) => self.store.arm(fault),
            Fault::Backup => self.store.backup(),
            Fault::Restore { for_ms } => {
                if self.store.restore()? {
                    self.trail.count("ledgers restored from a backup", 1);
                    self.kill_collectors(for_ms);
                }
            }
        }
        Ok(())
    }

    fn kill_collector(&mut self, collector: usize, until_ms: u64) {
        if let Some(running) = self.collectors[collector].take() {
            running.kill(&self.network);
            self.trail.count("kills of collectors", 1);
            self.enter(until_ms, Due::StartCollector(collector));
        }
    }

    pub(super) fn kill_collectors(&mut self, for_ms: u64) {
        for collector in 0..self.collectors.len() {
            self.kill_collector(collector, self.trail.now_ms() + for_ms);
        }
    }

    /// Takes the agent away, and with it what only its memory had.
    pub(super) async fn kill_agent(&mut self, machine: usize, until_ms: u64) {
        if let Some(agent) = self.world.machines[machine].agent.take() {
            self.account_for(machine, &agent, false);
            agent.kill().await;
            self.trail.count("kills of agents", 1);
            self.enter(until_ms, Due::StartAgent(machine));
        }
        self.world.process_is_gone(machine);
    }

    async fn lose_power(&mut self, machine: usize, until_ms: u64) {
        if let Some(agent) = self.world.machines[machine].agent.take() {
            self.account_for(machine, &agent, true);
            agent.kill().await;
        }
        self.world.lose_power(machine, self.trail.now_ms());
        for (epoch, saved) in std::mem::take(&mut self.world.machines[machine].in_journal) {
            self.store.oracle().excuse_after(epoch, saved);
        }
        self.trail.count("power losses of machines", 1);
        self.enter(until_ms, Due::StartAgent(machine));
    }

    async fn reboot(&mut self, machine: usize, until_ms: u64) {
        if let Some(mut agent) = self.world.machines[machine].agent.take() {
            agent.flush();
            self.account_for(machine, &agent, false);
            agent.stop().await;
        }
        self.world.process_is_gone(machine);
        self.world.set_power(machine, self.trail.now_ms(), false);
        self.trail.count("reboots", 1);
        self.enter(until_ms, Due::StartAgent(machine));
    }

    /// Notes what an agent that ends now had and had not on its disk.
    fn account_for(&mut self, machine: usize, agent: &Agent, power_lost: bool) {
        let mut oracle = self.store.oracle();
        oracle.dropped(machine, agent.dropped_batches());
        if agent.in_trouble || power_lost {
            oracle.excuse_after(agent.epoch, agent.saved());
        } else {
            self.world.machines[machine].in_journal.push((agent.epoch, agent.saved()));
        }
    }

    async fn move_gpu(&mut self, gpu: usize, to: usize, until_ms: u64) {
        let home = self.world.machines.iter().position(|machine| machine.gpus.contains(&gpu));
        let Some(from) = home.filter(|&from| from != to) else { return };
        self.reboot(from, until_ms).await;
        self.reboot(to, until_ms).await;
        self.world.move_gpu(gpu, from, to);
        self.trail.count("GPUs moved", 1);
    }

    /// Copies a machine's folder while its agent runs, and starts it on a new machine that has the same
    /// name from then on.
    fn copy_machine(&mut self, machine: usize, now_ms: u64) -> Result<(), RunError> {
        if let Some(agent) = &self.world.machines[machine].agent {
            // The copy sends what was in the journal by then under the numbers that the whole will have.
            for number in agent.saved().0 + 1..=agent.open_batch().0 {
                self.store.oracle().excuse(agent.epoch, Sequence(number));
            }
        }
        let twin = self.world.copy_machine(machine);
        self.trail.count("folders copied to another machine", 1);
        self.start_agent(twin)?;
        self.enter(now_ms, Due::Sample(twin));
        Ok(())
    }

    async fn replay(&mut self, machine: usize, until_ms: u64) {
        let Some(kept) = self.world.machines[machine].kept.take() else { return };
        self.kill_agent(machine, until_ms).await;
        self.store.oracle().excuse_uncommitted(machine);
        let machine = &mut self.world.machines[machine];
        machine.in_journal.clear();
        machine.disk = kept;
        self.trail.count("old spools replayed", 1);
    }
}
