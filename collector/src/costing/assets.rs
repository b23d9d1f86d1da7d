//! Assets that the ledger keeps, beside those of the register file.

use super::CostingError;
use crate::fleet::{self, Fleet, FleetError, assets_csv};
use gpuledger_ledger::{Ledger, LedgerError, StoredAsset};
use gpuledger_tco::asset::Asset;
use std::path::Path;

/// Why assets could not be imported; nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum ImportAssetsError {
    #[error(transparent)]
    File(#[from] FleetError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Reads a file of assets and stores all of them or none. Returns how many.
pub async fn import_assets(ledger: &dyn Ledger, path: &Path) -> Result<usize, ImportAssetsError> {
    let assets = assets_csv::read_assets(path, &fleet::read_file(path)?)?;
    let stored = |asset: &Asset| -> Result<StoredAsset, FleetError> {
        Ok(StoredAsset { serial: asset.serial.clone(), document: assets_csv::to_document(asset)? })
    };
    let stored = assets.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    ledger.put_assets(stored).await?;
    Ok(assets.len())
}

/// Assets of the register and those imported into the ledger.
pub async fn all(ledger: &dyn Ledger, fleet: &Fleet) -> Result<Vec<Asset>, CostingError> {
    let mut assets = fleet.assets.clone();
    for stored in ledger.assets().await? {
        let asset = assets_csv::from_document(&stored.serial, &stored.document)?;
        if let Some(known) = fleet.assets.iter().find(|known| known.serial == asset.serial) {
            let (register, ledger) = (known.source.clone(), asset.source);
            return Err(CostingError::AssetTwice { serial: asset.serial, register, ledger });
        }
        assets.push(asset);
    }
    Ok(assets)
}
