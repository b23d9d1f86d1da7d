//! GPUs that come from another node: moved to another server, or reported by two at a time.
//!
//! What is remembered of a GPU lies in the state of exactly one node, its holder. Another one that
//! reports the GPU takes the memory over before it folds the first sample, and its commit takes it out
//! of the holder's state. So the counter goes on where it was, and no millisecond counts twice,
//! whatever two nodes say of one GPU.

use super::state::{DEVICES_PER_NODE_MAX, Device, NodeMemory};
use super::{FoldError, NodeFold};
use gpuledger_ledger::{GpuKey, NodeKey, NodeState, Taken};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// GPUs that a fold took over.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    /// For the next commit.
    pending: BTreeMap<NodeKey, Taken>,
    /// All since the fold was loaded: the register says of them only after the commit that they are
    /// held by this node.
    all: BTreeSet<GpuKey>,
}

impl TakenOver {
    /// What the next commit takes out of other nodes' states.
    pub fn take(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}

impl NodeFold {
    /// Whether this fold took the GPU over, committed or not.
    pub fn has_taken(&self, gpu: GpuKey) -> bool {
        self.taken_over.all.contains(&gpu)
    }

    /// Takes GPUs over from the node that holds them, with what that node's stored state remembers of
    /// them. After an error the fold must be dropped.
    pub fn take_over(&mut self, from: NodeKey, stored: &NodeState, gpus: &[GpuKey]) -> Result<(), FoldError> {
        let taken = match self.taken_over.pending.entry(from) {
            // What was taken before is out of the state already. Where that node has committed since,
            // the version that is kept makes the commit fail, as it must.
            Entry::Occupied(before) => before.into_mut(),
            Entry::Vacant(first) => first.insert(Taken {
                from,
                base_version: stored.version,
                state: stored.blob.clone(),
                gpus: Vec::new(),
            }),
        };
        let mut memory = NodeMemory::decode(&taken.state)?;
        for &gpu in gpus {
            let device = Device::Gpu(gpu);
            if let Some(moved) = memory.devices.remove(&device) {
                self.memory.devices.entry(device).or_default().absorb(moved)?;
            }
            if self.taken_over.all.insert(gpu) {
                taken.gpus.push(gpu);
            }
        }
        taken.state = memory.encode();
        if self.memory.devices.len() > DEVICES_PER_NODE_MAX {
            return Err(FoldError::Devices);
        }
        Ok(())
    }
}
