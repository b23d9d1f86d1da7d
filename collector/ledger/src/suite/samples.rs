//! What the cases store.

use crate::{
    CommitOutcome, EpochAdvance, GpuHour, GpuHourKey, GpuKey, Hour, HourRange, Ledger, LedgerError,
    NodeCommit, NodeHour, NodeKey, OwnerKey, Wanted,
};
use gpuledger_proto::frame::{Gpu, Host, Inventory, Owner, OwnerKind};
use gpuledger_proto::ids::{Epoch, GpuUuid, InvalidId, NodeName, Sequence};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, PpmMillis};
use uuid::Uuid;

/// 2026-03-29T00:00Z.
pub const HOUR: Hour = Hour(492_984);
/// Every hour that there is.
pub const ALWAYS: HourRange = HourRange { from: Hour(0), to: Hour(u32::MAX) };

fn test_name(error: &InvalidId) -> LedgerError {
    LedgerError::Failed { operation: "name what the test stores", reason: error.to_string() }
}

pub fn name(name: &str) -> Result<NodeName, LedgerError> {
    NodeName::new(name).map_err(|error| test_name(&error))
}

pub fn gpu(uuid: &str) -> Result<Gpu, LedgerError> {
    Ok(Gpu {
        uuid: GpuUuid::new(uuid).map_err(|error| test_name(&error))?,
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        serial: Some("165…".to_owned()),
        pci_bus_id: None,
        index: 3,
        memory_bytes: Some(85_520_809_984),
        simulated: true,
    })
}

pub fn inventory(uuids: &[&str]) -> Result<Inventory, LedgerError> {
    let host = Host {
        hostname: "n1".to_owned(),
        os: "Debian GNU/Linux 13".to_owned(),
        driver_version: Some("570.86".to_owned()),
        memory_bytes: Some(2_164_663_517_184),
        cpus: None,
    };
    Ok(Inventory { host, gpus: uuids.iter().map(|uuid| gpu(uuid)).collect::<Result<_, _>>()? })
}

pub fn owner(user: &str, job: &str) -> Owner {
    let kind = if job.is_empty() { OwnerKind::User } else { OwnerKind::Slurm };
    Owner { kind, account: String::new(), name: user.to_owned(), job: job.to_owned() }
}

/// The same epoch for the same number.
pub fn epoch(number: u128) -> Epoch {
    Epoch(Uuid::from_u128(number))
}

/// A row that is different in every column and within every invariant.
pub fn row() -> GpuHour {
    GpuHour {
        active_ms: Millis(1_000),
        held_ms: Millis(200),
        free_ms: Millis(30),
        down_ms: Millis(4),
        counter_mj: Millijoules(700_000),
        gap_mj: Millijoules(50_000),
        estimated_mj: Millijoules(6_000),
        active_mj: Millijoules(640_000),
        busy_ppm_ms: PpmMillis(987_654_321),
        busy_known_ms: Millis(1_100),
        memory_byte_ms: ByteMillis(85_520_809_984 * 1_234),
        throttled_ms: Millis(17),
        power_max_mw: Some(Milliwatts(699_999)),
        temperature_max_mc: Some(Millicelsius(-1_500)),
        samples: 12,
    }
}

pub fn node_row() -> NodeHour {
    NodeHour {
        observed_ms: Millis(1_234),
        counter_mj: Millijoules(5_000_000),
        gap_mj: Millijoules(40_000),
        estimated_mj: Millijoules(3_000),
        metered_ms: Millis(1_200),
        cpu_ppm_ms: PpmMillis(200_000_000),
        cpu_known_ms: Millis(1_111),
        memory_byte_ms: ByteMillis(99),
        power_max_mw: None,
        samples: 13,
    }
}

/// A node with two GPUs.
pub struct Node {
    pub key: NodeKey,
    pub gpus: Vec<GpuKey>,
}

impl Node {
    pub async fn register(ledger: &dyn Ledger, node: &str) -> Result<Self, LedgerError> {
        let key = ledger.node(&name(node)?).await?;
        let uuids = [format!("GPU-{node}-0"), format!("GPU-{node}-1")];
        let gpus = ledger.register(key, &inventory(&[&uuids[0], &uuids[1]])?).await?;
        let gpus = gpus.into_iter().map(|gpu| gpu.key).collect();
        Ok(Self { key, gpus })
    }

    pub fn row_key(&self, hour: Hour, owner: OwnerKey) -> GpuHourKey {
        GpuHourKey { hour, gpu: self.gpus[0], owner }
    }

    /// The node's epoch: an epoch belongs to one node.
    pub fn epoch(&self) -> Epoch {
        epoch(self.key.0.into())
    }

    /// One row of the first GPU, from sequence `from` of the node's epoch to the next.
    pub fn commit(&self, base_version: u64, from: u64) -> NodeCommit {
        let (first, last) = (HOUR.start_ms() + 5, HOUR.start_ms() + 1_239);
        NodeCommit {
            node: self.key,
            base_version,
            state: vec![1, 2, 3],
            epochs: vec![EpochAdvance { epoch: self.epoch(), from: Sequence(from), to: Sequence(from + 1) }],
            gpu_hours: vec![(self.row_key(HOUR, OwnerKey::NOBODY), row())],
            node_hours: vec![(HOUR, node_row())],
            taken: Vec::new(),
            gpus_seen: vec![(self.gpus[0], first, last)],
            seen: Some((first, last)),
        }
    }
}

/// Commits one node alone.
pub async fn commit_one(ledger: &dyn Ledger, commit: NodeCommit) -> Result<CommitOutcome, LedgerError> {
    let outcomes = ledger.commit(vec![commit]).await?;
    assert_eq!(outcomes.len(), 1, "one outcome a node");
    Ok(outcomes[0])
}

/// All that can be read of rows, state and sequences: equal where nothing was written.
pub async fn everything(ledger: &dyn Ledger, nodes: &[&Node]) -> Result<String, LedgerError> {
    let mut parts = vec![
        format!("{:?}", ledger.gpu_rows(&Wanted::all(ALWAYS)).await?),
        format!("{:?}", ledger.node_hours(ALWAYS).await?),
    ];
    for node in nodes {
        parts.push(format!("{:?}", ledger.state(node.key).await?));
        parts.push(ledger.sequence(node.key, node.epoch()).await?.to_string());
    }
    parts.push(format!("{:?}", ledger.nodes().await?));
    parts.push(format!("{:?}", ledger.gpus().await?));
    Ok(parts.join("\n"))
}
