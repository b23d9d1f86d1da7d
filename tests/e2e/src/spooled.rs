//! What an agent has written into its spool, read back after its end.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use gpuledger_proto::catalogue::GPU_HOLDER;
use gpuledger_proto::convert::{batch_from_wire, inventory_from_wire};
use gpuledger_proto::frame::{Batch, Inventory};
use gpuledger_proto::reading::Reading;
use gpuledger_proto::v1;
use gpuledger_spool::{Next, Options, Spool};
use prost::Message;

/// Every batch with the inventory in force.
pub fn batches(folder: &Path) -> Result<Vec<(Inventory, Batch)>> {
    let (mut spool, journal, _, _) = Spool::open(folder, Options { cap_bytes: 1 << 30 })?;
    ensure!(journal.is_empty(), "a clean end leaves nothing in the journal");
    let segments: Vec<_> = spool.segments().collect();
    let mut batches = Vec::new();
    for info in segments {
        let header = spool.header(info.id)?.context("a segment without header")?;
        let segment = v1::Segment::decode(header.as_slice())?;
        let inventory = inventory_from_wire(segment.inventory.context("a segment without inventory")?)?;
        let mut cursor = spool.cursor(info.id, info.first_sequence - 1)?.context("a segment vanished")?;
        while let Next::Record(record) = spool.next(&mut cursor)? {
            let batch =
                batch_from_wire(v1::Batch::decode(record.payload.as_slice())?, inventory.gpus.len() + 1)?;
            batches.push((inventory.clone(), batch));
        }
    }
    Ok(batches)
}

/// The holders of a device in each sample, as `account/name/job`; a holder that is not known is `?`.
pub fn holders(batch: &Batch, device: u16) -> Vec<Vec<String>> {
    let column = batch.columns.iter().find(|c| c.device == device && c.metric == GPU_HOLDER);
    let names = |reading: &Reading<i64>| match reading {
        Reading::Absent(_) => vec!["?".to_owned()],
        Reading::Value(code) => {
            let at = usize::try_from(*code).ok().and_then(|code| code.checked_sub(1));
            let holding = at.and_then(|at| batch.holdings.get(at));
            let name = |share: &gpuledger_proto::frame::Share| {
                format!("{}/{}/{}", share.owner.account, share.owner.name, share.owner.job)
            };
            holding.map(|holding| holding.iter().map(name).collect()).unwrap_or_default()
        }
    };
    column.map(|column| column.readings.iter().map(names).collect()).unwrap_or_default()
}
