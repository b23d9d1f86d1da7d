//! The made-up register: nodes of eight GPUs, six models, sixty owners.

use crate::model::draw;
use gpuledger_collector::fold::coverage::Span;
use gpuledger_ledger::{GpuKey, GpuRecord, NodeKey, NodeRecord, OwnerKey, OwnerRecord};
use gpuledger_proto::frame::{Gpu, Host, Owner, OwnerKind};
use gpuledger_proto::ids::{GpuUuid, InvalidId, NodeName};
use std::ops::Range;

pub const GPUS_PER_NODE: u32 = 8;
const ACCOUNTS: [&str; 12] = [
    "language", "vision", "robotics", "speech", "search", "ads", "climate", "genomics", "physics", "finance",
    "platform", "research",
];
const USERS_PER_ACCOUNT: u32 = 5;
pub const OWNERS: u32 = 60;

/// A model with what decides its energy.
pub struct Model {
    pub name: &'static str,
    pub idle_mw: u64,
    pub limit_mw: u64,
    pub memory_bytes: u64,
    /// Whether its driver counts energy; else it is estimated from power.
    pub has_counter: bool,
}

const fn model(name: &'static str, idle_w: u64, limit_w: u64, memory_gib: u64, has_counter: bool) -> Model {
    Model {
        name,
        idle_mw: idle_w * 1_000,
        limit_mw: limit_w * 1_000,
        memory_bytes: memory_gib << 30,
        has_counter,
    }
}

/// Each with how many of a hundred nodes have it.
const MODELS: [(u64, Model); 6] = [
    (40, model("Simulated NVIDIA H100 80GB HBM3", 72, 700, 80, true)),
    (20, model("Simulated NVIDIA H200", 75, 700, 141, true)),
    (15, model("Simulated NVIDIA A100-SXM4-80GB", 58, 400, 80, true)),
    (10, model("Simulated NVIDIA B200", 140, 1_000, 180, true)),
    (10, model("Simulated NVIDIA L40S", 34, 350, 45, true)),
    (5, model("Simulated NVIDIA T4", 10, 70, 15, false)),
];

/// Everything but the rows.
pub struct Register {
    pub seed: u64,
    pub gpu_count: u32,
    names: Vec<NodeName>,
    uuids: Vec<GpuUuid>,
    seen: Span,
}

impl Register {
    /// All are seen for the whole of a span.
    pub fn new(seed: u64, count: u32, span: Span) -> Result<Self, InvalidId> {
        let names = (0..count.div_ceil(GPUS_PER_NODE)).map(|node| NodeName::new(&format!("gpu-{node:05}")));
        let uuid = |gpu: u32| {
            let id = u128::from(draw(seed, &[1, gpu.into()])) << 64 | u128::from(gpu);
            GpuUuid::new(&format!("GPU-{}", uuid::Uuid::from_u128(id)))
        };
        Ok(Self {
            seed,
            gpu_count: count,
            names: names.collect::<Result<_, _>>()?,
            uuids: (0..count).map(uuid).collect::<Result<_, _>>()?,
            seen: span,
        })
    }

    pub fn node_count(&self) -> u32 {
        self.gpu_count.div_ceil(GPUS_PER_NODE)
    }

    pub fn gpus_of(&self, node: u32) -> Range<u32> {
        node * GPUS_PER_NODE..((node + 1) * GPUS_PER_NODE).min(self.gpu_count)
    }

    pub fn model(&self, gpu: u32) -> &'static Model {
        let mut left = draw(self.seed, &[2, (gpu / GPUS_PER_NODE).into()]) % 100;
        for (share, model) in &MODELS {
            if left < *share {
                return model;
            }
            left -= share;
        }
        &MODELS[0].1
    }

    pub fn nodes(&self) -> Vec<NodeRecord> {
        let host = Host { os: "Debian GNU/Linux 13".to_owned(), ..Host::default() };
        let records = (0..).zip(&self.names).map(|(key, name)| NodeRecord {
            key: NodeKey(key),
            name: name.clone(),
            host: Host { hostname: name.to_string(), ..host.clone() },
            first_ms: Some(self.seen.from),
            last_ms: Some(self.seen.to),
        });
        records.collect()
    }

    pub fn gpus(&self) -> Vec<GpuRecord> {
        let records = (0..).zip(&self.uuids).map(|(key, uuid)| {
            let model = self.model(key);
            let gpu = Gpu {
                uuid: uuid.clone(),
                model: model.name.to_owned(),
                serial: None,
                pci_bus_id: None,
                index: key % GPUS_PER_NODE,
                memory_bytes: Some(model.memory_bytes),
                simulated: true,
            };
            let node = NodeKey(key / GPUS_PER_NODE);
            let (first_ms, last_ms) = (Some(self.seen.from), Some(self.seen.to));
            GpuRecord { key: GpuKey(key), node, gpu, first_ms, last_ms }
        });
        records.collect()
    }

    pub fn owners() -> Vec<OwnerRecord> {
        let names =
            ACCOUNTS.iter().flat_map(|account| (0..USERS_PER_ACCOUNT).map(move |user| (*account, user)));
        let records = (OwnerKey::FIRST_NAMED.0..).zip(names).map(|(key, (account, user))| OwnerRecord {
            key: OwnerKey(key),
            owner: Owner {
                kind: OwnerKind::Slurm,
                account: account.to_owned(),
                name: format!("{account}-{user}"),
                job: String::new(),
            },
        });
        records.collect()
    }
}
