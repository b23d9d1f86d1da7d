//! Which of a node's GPUs another node holds.

use crate::fold::NodeFold;
use gpuledger_ledger::{GpuKey, NodeKey, Registered};
use gpuledger_proto::ids::NodeName;

/// GPUs that one other node holds, on their way to the node that reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldElsewhere {
    pub from: NodeKey,
    pub gpus: Vec<GpuKey>,
    /// The same, for people.
    pub uuids: Vec<String>,
}

/// What an operator hears of it, once it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    pub from: NodeName,
    pub uuids: Vec<String>,
}

/// Sorts the GPUs of an inventory that others hold by their holder. What the fold has taken over
/// already is not among them, although the register says so only after the commit.
pub fn elsewhere(node: NodeKey, gpus: &[(Registered, &str)], fold: &NodeFold) -> Vec<HeldElsewhere> {
    let mut held: Vec<HeldElsewhere> = Vec::new();
    for &(Registered { key, holder }, uuid) in gpus {
        if holder == node || fold.has_taken(key) {
            continue;
        }
        let at = held.iter().position(|held| held.from == holder).unwrap_or_else(|| {
            held.push(HeldElsewhere { from: holder, gpus: Vec::new(), uuids: Vec::new() });
            held.len() - 1
        });
        held[at].gpus.push(key);
        held[at].uuids.push(uuid.to_owned());
    }
    held
}
