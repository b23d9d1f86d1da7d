//! Assets that the ledger keeps, beside those of the register file.

use super::CostingError;
use crate::fleet::holdings::{from_document, to_document};
use crate::fleet::{Entry, Fleet, FleetError, Holdings};
use gpuledger_ledger::{Ledger, LedgerError, StoredAsset};

/// Why assets could not be imported; nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum ImportAssetsError {
    #[error(transparent)]
    File(#[from] FleetError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Stores all of these assets or none.
pub async fn import_assets(ledger: &dyn Ledger, entries: &[Entry]) -> Result<(), ImportAssetsError> {
    let stored = |entry: &Entry| -> Result<StoredAsset, FleetError> {
        Ok(StoredAsset { serial: entry.item.serial.clone(), document: to_document(entry)? })
    };
    let stored = entries.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    Ok(ledger.put_assets(stored).await?)
}

/// What the register says was bought, and what was imported into the ledger.
pub async fn holdings(ledger: &dyn Ledger, fleet: &Fleet) -> Result<Holdings, CostingError> {
    let mut imported = Vec::new();
    for stored in ledger.assets().await? {
        imported.push(from_document(&stored.serial, &stored.document)?);
    }
    let mut holdings = fleet.holdings.clone();
    holdings.join(imported)?;
    Ok(holdings)
}
