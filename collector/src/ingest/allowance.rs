//! How much one node may ask for within a time, so that none can fill the register, wear out the store
//! or keep the processor from the others.
//!
//! An allowance is earned steadily, up to a store that lasts for what honest nodes do at once: a start,
//! a catch-up after an outage, a job array. What is beyond it waits: a stream is refused as not available
//! and tells when there is room again, and work is simply done later. So an agent that has reason to go
//! beyond an allowance loses nothing, and one that has none gains nothing.
//!
//! Invariants: an account is kept until all that was used of it is earned again, so that nobody gets a
//! new one by coming again; accounts that are full are dropped.

use super::refusal::{Limit, Refusal};
use gpuledger_proto::frame::Inventory;
use gpuledger_proto::ids::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One unit is earned every so often, and so many are stored.
#[derive(Debug, Clone, Copy)]
struct Rate {
    every: Duration,
    stored: u32,
}

/// An agent pauses for half a second at least before it connects again, and for a minute in the end.
const STREAMS: Rate = Rate { every: Duration::from_secs(1), stored: 120 };
/// An epoch is a run of an agent. A spool holds those of a few days of crashes.
const EPOCHS: Rate = Rate { every: Duration::from_secs(10), stored: 512 };
/// GPUs that were not in the inventory before: all of the largest server four times, and one a minute
/// that is lost and found again. A ledger has numbers for a million.
const GPUS: Rate = Rate { every: Duration::from_secs(60), stored: 1_024 };
/// Owners that nobody has named lately: jobs of one node over weeks, and then one a second. A ledger
/// has numbers for sixteen million.
const OWNERS: Rate = Rate { every: Duration::from_secs(1), stored: 32_768 };
/// Work in units of about 25 ns: a quarter of a core, and ten seconds of that at once. A live agent needs
/// a ten-thousandth of it.
const WORK: Rate = Rate { every: Duration::from_nanos(100), stored: 100_000_000 };

/// Work of a message whatever is in it, in units of [`WORK`].
pub const MESSAGE_WORK: u32 = 400;
/// Work of a segment: some reads of the register, and a write where the inventory changed.
pub const SEGMENT_WORK: u32 = 200_000;

/// What is left of one allowance: all, as soon as it is this late.
#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    full_at: Option<Instant>,
}

impl Allowance {
    /// Takes units; or says how long to wait for them, and takes none.
    fn take(&mut self, rate: Rate, now: Instant, units: u32) -> Result<(), Duration> {
        let full_at = self.after(rate, now, units);
        match full_at.saturating_duration_since(now).checked_sub(rate.every.saturating_mul(rate.stored)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = Some(full_at);
                Ok(())
            }
        }
    }

    /// Takes units that were used already; says how long to rest until they are earned.
    fn charge(&mut self, rate: Rate, now: Instant, units: u32) -> Duration {
        let full_at = self.after(rate, now, units);
        self.full_at = Some(full_at);
        full_at.saturating_duration_since(now).saturating_sub(rate.every.saturating_mul(rate.stored))
    }

    fn after(self, rate: Rate, now: Instant, units: u32) -> Instant {
        let from = self.full_at.map_or(now, |at| at.max(now));
        from.checked_add(rate.every.saturating_mul(units)).unwrap_or(from)
    }

    fn is_full(self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

/// What is left to one node.
#[derive(Debug, Default)]
pub struct Account(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    streams: Allowance,
    epochs: Allowance,
    gpus: Allowance,
    owners: Allowance,
    work: Allowance,
    /// What the node said last that it has.
    inventory: Option<Arc<Inventory>>,
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open_stream(&self) -> Result<(), Refusal> {
        let taken = self.state().streams.take(STREAMS, Instant::now(), 1);
        taken.map_err(|wait| Refusal::too_often(Limit::Streams, "this node opens streams too often", wait))
    }

    /// An epoch that nothing is stored of.
    pub fn begin_epoch(&self) -> Result<(), Refusal> {
        let taken = self.state().epochs.take(EPOCHS, Instant::now(), 1);
        taken.map_err(|wait| Refusal::too_often(Limit::Epochs, "this node begins epochs too often", wait))
    }

    /// An inventory, of which those GPUs count that were not in the one before.
    pub fn show_inventory(&self, inventory: &Arc<Inventory>) -> Result<(), Refusal> {
        let mut state = self.state();
        let known: BTreeSet<&str> =
            state.inventory.iter().flat_map(|before| &before.gpus).map(|gpu| gpu.uuid.as_str()).collect();
        let new = inventory.gpus.iter().filter(|gpu| !known.contains(gpu.uuid.as_str())).count();
        let taken = state.gpus.take(GPUS, Instant::now(), units(new));
        taken.map_err(|wait| Refusal::too_often(Limit::Gpus, "this node names new GPUs too often", wait))?;
        state.inventory = Some(Arc::clone(inventory));
        Ok(())
    }

    /// So many owners that the ledger has to be asked for.
    pub fn name_owners(&self, new: usize) -> Result<(), Refusal> {
        let taken = self.state().owners.take(OWNERS, Instant::now(), units(new));
        taken.map_err(|wait| Refusal::too_often(Limit::Owners, "this node names new owners too often", wait))
    }

    /// Work that was done for the node. Until then nothing more is to be read from it.
    pub fn work(&self, units: u32) -> Option<Instant> {
        let now = Instant::now();
        let rest = self.state().work.charge(WORK, now, units);
        (!rest.is_zero()).then(|| now + rest)
    }

    fn is_full(&self, now: Instant) -> bool {
        let state = self.state();
        [state.streams, state.epochs, state.gpus, state.owners, state.work].iter().all(|a| a.is_full(now))
    }
}

fn units(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The accounts of all nodes that have used some of their allowance.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    accounts: BTreeMap<NodeName, Arc<Account>>,
    /// When there are so many, those that are full are dropped.
    swept_at: usize,
}

/// Accounts that are kept without a look at them.
const KEPT_MIN: usize = 1_024;

impl Accounts {
    pub fn of(&self, node: &NodeName) -> Arc<Account> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.accounts.len() >= book.swept_at.max(KEPT_MIN) {
            let now = Instant::now();
            book.accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_full(now));
            book.swept_at = book.accounts.len().saturating_mul(2);
        }
        Arc::clone(book.accounts.entry(node.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_proto::frame::{Gpu, Host};
    use gpuledger_proto::ids::GpuUuid;
    use tokio::time::advance;

    fn account() -> Arc<Account> {
        Accounts::default().of(&NodeName::new("a").unwrap())
    }

    fn inventory(gpus: std::ops::Range<u32>) -> Arc<Inventory> {
        let gpu = |index| Gpu {
            uuid: GpuUuid::new(&format!("GPU-{index}")).unwrap(),
            model: String::new(),
            serial: None,
            pci_bus_id: None,
            index,
            memory_bytes: None,
            simulated: true,
        };
        Arc::new(Inventory { host: Host::default(), gpus: gpus.map(gpu).collect() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_an_allowance_waits_until_it_is_earned() {
        let account = account();
        for _ in 0..STREAMS.stored {
            account.open_stream().unwrap();
        }
        let refusal = account.open_stream().unwrap_err();
        assert_eq!(refusal.limit, Some(Limit::Streams));
        assert_eq!(refusal.message, "this node opens streams too often; there is room for it again in 2 s");
        advance(Duration::from_millis(1_001)).await;
        account.open_stream().unwrap();
        account.open_stream().unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_what_can_be_stored_takes_nothing() {
        let account = account();
        account.name_owners(usize::MAX).unwrap_err();
        account.name_owners(32_768).unwrap();
        account.name_owners(1).unwrap_err();
        account.name_owners(0).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_gpus_that_were_not_there_before_count() {
        let account = account();
        for _ in 0..100 {
            account.show_inventory(&inventory(0..256)).unwrap();
        }
        for first in (256..1_024).step_by(256) {
            account.show_inventory(&inventory(first..first + 256)).unwrap();
        }
        assert_eq!(account.show_inventory(&inventory(0..256)).unwrap_err().limit, Some(Limit::Gpus));
    }

    #[tokio::test(start_paused = true)]
    async fn work_beyond_the_allowance_is_followed_by_rest() {
        let account = account();
        assert_eq!(account.work(WORK.stored), None);
        let now = Instant::now();
        assert_eq!(account.work(10_000_000), Some(now + Duration::from_secs(1)));
        advance(Duration::from_secs(3)).await;
        assert_eq!(account.work(MESSAGE_WORK), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_kept_until_it_is_full_and_no_longer() {
        let accounts = Accounts::default();
        let node = |n: usize| NodeName::new(&format!("n{n}")).unwrap();
        accounts.of(&node(0)).begin_epoch().unwrap();
        for n in 1..3 * KEPT_MIN {
            accounts.of(&node(n));
        }
        let known = |n| accounts.0.lock().unwrap().accounts.contains_key(&node(n));
        assert!(known(0) && !known(1));
        advance(EPOCHS.every).await;
        for n in 0..2 * KEPT_MIN {
            accounts.of(&node(KEPT_MIN + n));
        }
        assert!(!known(0));
    }
}
