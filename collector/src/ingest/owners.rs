//! Owners' numbers, remembered so that the ledger is asked once for each.
//!
//! A number means what it means in one ledger. Whenever that may be another one than before, such as
//! one that was restored from a backup, all are forgotten.

use crate::ingest::Refusal;
use gpuledger_ledger::{Ledger, OwnerKey};
use gpuledger_proto::frame::{Holding, Owner};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Owners that are remembered: jobs of a large cluster over some weeks. When there are more, all are
/// forgotten and asked for again as they come.
const REMEMBERED_MAX: usize = 65_536;

#[derive(Default)]
pub struct Owners {
    known: RwLock<HashMap<Owner, OwnerKey>>,
}

impl Owners {
    /// The shares of each holding with the owners' numbers, in the order given. `may_ask` is told how many
    /// owners the ledger has to be asked for, and may forbid it.
    pub async fn resolve(
        &self,
        ledger: &dyn Ledger,
        holdings: &[Holding],
        may_ask: impl FnOnce(usize) -> Result<(), Refusal>,
    ) -> Result<Vec<Vec<(OwnerKey, u32)>>, Refusal> {
        if let Some(resolved) = self.look_up(holdings) {
            return Ok(resolved);
        }
        let mut asked: Vec<Owner> = holdings.iter().flatten().map(|share| share.owner.clone()).collect();
        asked.sort_unstable();
        asked.dedup();
        may_ask(self.unknown(&asked))?;
        let numbers = ledger.owners(&asked).await.map_err(|error| Refusal::by_ledger(&error))?;
        let found: HashMap<Owner, OwnerKey> = asked.into_iter().zip(numbers).collect();
        let resolved = resolve_from(&found, holdings);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() + found.len() > REMEMBERED_MAX {
            known.clear();
        }
        known.extend(found);
        resolved.ok_or_else(|| Refusal::unavailable("the ledger gave no number for an owner"))
    }

    /// What was remembered may be another ledger's.
    pub fn forget(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn unknown(&self, owners: &[Owner]) -> usize {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        owners.iter().filter(|owner| !known.contains_key(owner)).count()
    }

    fn look_up(&self, holdings: &[Holding]) -> Option<Vec<Vec<(OwnerKey, u32)>>> {
        resolve_from(&self.known.read().unwrap_or_else(PoisonError::into_inner), holdings)
    }
}

fn resolve_from(known: &HashMap<Owner, OwnerKey>, holdings: &[Holding]) -> Option<Vec<Vec<(OwnerKey, u32)>>> {
    let number = |owner: &Owner| known.get(owner).copied();
    holdings
        .iter()
        .map(|holding| holding.iter().map(|share| Some((number(&share.owner)?, share.share_ppm))).collect())
        .collect()
}
