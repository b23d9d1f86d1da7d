//! Messages ↔ validated types. Everything a peer sends comes through here, and nothing leaves it
//! that is above a limit or refers to what is not there.
//!
//! Unknown fields, metrics, reasons of absence and kinds of owner come from newer peers and are
//! tolerated; a kind of owner without a word here is [`OwnerKind::Other`].

mod inventory;
#[cfg(test)]
mod tests;

pub use crate::column::{Fault, Malformed};
pub use inventory::{inventory_from_wire, inventory_to_wire};

use crate::catalogue::GPU_HOLDER;
use crate::column::{Cells, Columns};
use crate::frame::{Batch, Holding, Owner, OwnerKind, Share};
use crate::ids::Sequence;
use crate::limits::{
    HOLDINGS_PER_BATCH_MAX, NAME_BYTES_MAX, SEQUENCE_MAX, SHARES_PER_BATCH_MAX, SHARES_PER_HOLDING_MAX,
};
use crate::reading::Reading;
use crate::{column, v1};

/// The whole of a GPU.
const WHOLE_PPM: u64 = 1_000_000;

pub fn batch_to_wire(batch: &Batch) -> v1::Batch {
    v1::Batch {
        sequence: batch.sequence.0,
        // A batch of 2^32 samples does not exist: it would be refused at 4096.
        samples: u32::try_from(batch.stamps.len()).unwrap_or(u32::MAX),
        columns: column::encode(batch),
        holdings: batch.holdings.iter().map(holding_to_wire).collect(),
    }
}

/// Checks and converts a batch of a node with `devices` devices, the node itself included.
pub fn batch_from_wire(mut wire: v1::Batch, devices: usize) -> Result<Batch, Malformed> {
    let holdings = holdings_from_wire(std::mem::take(&mut wire.holdings))?;
    let mut columns = Columns::default();
    let sequence = columns_from_wire(&wire, holdings.len(), devices, &mut columns)?;
    Ok(Batch { sequence, stamps: columns.stamps().to_vec(), holdings, columns: columns.to_columns() })
}

/// What of a batch is not who held its GPUs, of which there are so many `holdings`: its columns go into
/// buffers that serve one batch after the other.
pub fn columns_from_wire(
    wire: &v1::Batch,
    holdings: usize,
    devices: usize,
    columns: &mut Columns,
) -> Result<Sequence, Malformed> {
    let sequence = sequence_from_wire(wire.sequence, "batch.sequence")?;
    let samples = usize::try_from(wire.samples).unwrap_or(usize::MAX);
    columns.decode(&wire.columns, samples, devices)?;
    check_holders(columns, holdings)?;
    Ok(sequence)
}

/// A sequence that something is to have. 0 stands for none.
pub fn sequence_from_wire(wire: u64, place: &str) -> Result<Sequence, Malformed> {
    if wire == 0 {
        return Err(Malformed::at(place, Fault::Missing));
    }
    Fault::check_range("sequence", wire, 1, SEQUENCE_MAX).map_err(|fault| Malformed::at(place, fault))?;
    Ok(Sequence(wire))
}

fn check_holders(columns: &Columns, holdings: usize) -> Result<(), Malformed> {
    for device in columns.devices() {
        let Some((_, cells)) = device.iter().find(|(metric, _)| *metric == GPU_HOLDER) else { continue };
        let samples = if let Cells::Same(_) = cells { 1 } else { columns.stamps().len() };
        for sample in 0..samples {
            let Reading::Value(code) = cells.at(sample) else { continue };
            // A negative code becomes a number far above every limit.
            Fault::check_range("holding", code.cast_unsigned(), 0, holdings as u64).map_err(|fault| {
                Malformed::at(format!("gpu_holder of device {}, sample {sample}", device.device()), fault)
            })?;
        }
    }
    Ok(())
}

/// Checks and converts who held a batch's GPUs.
pub fn holdings_from_wire(wire: Vec<v1::Holding>) -> Result<Vec<Holding>, Malformed> {
    Fault::check_range("number of holdings", wire.len() as u64, 0, HOLDINGS_PER_BATCH_MAX as u64)
        .map_err(|fault| Malformed::at("batch.holdings", fault))?;
    let shares: usize = wire.iter().map(|holding| holding.shares.len()).sum();
    Fault::check_range("number of shares", shares as u64, 0, SHARES_PER_BATCH_MAX as u64)
        .map_err(|fault| Malformed::at("batch.holdings", fault))?;
    wire.into_iter().enumerate().map(|(position, holding)| holding_from_wire(holding, position)).collect()
}

/// What is wrong is named where it is; a place that nobody asks for is not written down.
fn holding_from_wire(wire: v1::Holding, position: usize) -> Result<Holding, Malformed> {
    let place = || format!("batch.holdings[{position}]");
    Fault::check_range("number of shares", wire.shares.len() as u64, 1, SHARES_PER_HOLDING_MAX as u64)
        .map_err(|fault| Malformed::at(place(), fault))?;
    let mut shares = Vec::with_capacity(wire.shares.len());
    for (share, number) in wire.shares.into_iter().zip(0..) {
        let place = |field: &str| format!("{}.shares[{number}].owner{field}", place());
        let owner = share.owner.ok_or_else(|| Malformed::at(place(""), Fault::Missing))?;
        shares.push(Share { owner: owner_from_wire(owner, place)?, share_ppm: share.share_ppm });
    }
    let given: u64 = shares.iter().map(|share| u64::from(share.share_ppm)).sum();
    if given != WHOLE_PPM {
        return Err(Malformed::at(place(), Fault::Shares { given, expected: WHOLE_PPM }));
    }
    shares.sort_by(|a, b| a.owner.cmp(&b.owner));
    match shares.windows(2).find(|pair| pair[0].owner == pair[1].owner) {
        Some(pair) => {
            Err(Malformed::at(place(), Fault::Repeated { what: format!("owner {:?}", pair[0].owner.name) }))
        }
        None => Ok(shares),
    }
}

fn owner_from_wire(wire: v1::Owner, place: impl Fn(&str) -> String) -> Result<Owner, Malformed> {
    let kind = match v1::OwnerKind::try_from(wire.kind) {
        Ok(v1::OwnerKind::User) => OwnerKind::User,
        Ok(v1::OwnerKind::Slurm) => OwnerKind::Slurm,
        Ok(v1::OwnerKind::Kubernetes) => OwnerKind::Kubernetes,
        Ok(v1::OwnerKind::Systemd) => OwnerKind::Systemd,
        Ok(v1::OwnerKind::Unspecified) | Err(_) => OwnerKind::Other,
    };
    for (field, text) in [(".account", &wire.account), (".name", &wire.name), (".job", &wire.job)] {
        check_text(text, || place(field))?;
    }
    if wire.account.is_empty() && wire.name.is_empty() && wire.job.is_empty() {
        return Err(Malformed::at(place(".name"), Fault::Missing));
    }
    Ok(Owner { kind, account: wire.account, name: wire.name, job: wire.job })
}

/// Names end up in labels, reports and logs: of bounded length and without control characters.
fn check_text(text: &str, place: impl FnOnce() -> String) -> Result<(), Malformed> {
    let fault = if text.len() > NAME_BYTES_MAX {
        Fault::Long { given: text.len(), limit: NAME_BYTES_MAX }
    } else if text.chars().any(char::is_control) {
        Fault::Control
    } else {
        return Ok(());
    };
    Err(Malformed::at(place(), fault))
}

fn holding_to_wire(holding: &Holding) -> v1::Holding {
    v1::Holding { shares: holding.iter().map(share_to_wire).collect() }
}

fn share_to_wire(share: &Share) -> v1::Share {
    let owner = &share.owner;
    let kind = match owner.kind {
        OwnerKind::User => v1::OwnerKind::User,
        OwnerKind::Slurm => v1::OwnerKind::Slurm,
        OwnerKind::Kubernetes => v1::OwnerKind::Kubernetes,
        OwnerKind::Systemd => v1::OwnerKind::Systemd,
        OwnerKind::Other => v1::OwnerKind::Unspecified,
    };
    let owner = v1::Owner {
        kind: kind.into(),
        account: owner.account.clone(),
        name: owner.name.clone(),
        job: owner.job.clone(),
    };
    v1::Share { owner: Some(owner), share_ppm: share.share_ppm }
}
