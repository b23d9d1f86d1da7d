//! Whose everything is: rows are of what is registered, a GPU's memory is with the node that holds it,
//! an epoch is one node's. Where one of these is broken, something can be counted twice.

use super::content::{Content, Key};
use super::faults::Faults;
use super::{Promise, PromiseCheck};

pub fn rows_are_registered(content: &Content) -> PromiseCheck {
    PromiseCheck {
        name: "rows are of what is registered",
        promise: None,
        figures: format!("{} rows", content.sums.gpu_rows + content.sums.node_rows),
        faults: content.sums.unregistered(),
    }
}

/// A GPU's chain is remembered by its holder and by nobody else: two memories of one GPU would each
/// count the same time.
pub fn one_memory_a_gpu(content: &Content) -> PromiseCheck {
    let mut faults = Faults::default();
    let node = |node: u32| content.name(Key::Node(node));
    for (&gpu, nodes) in &content.remembered_by {
        let name = || content.name(Key::Gpu(gpu));
        let Some(record) = content.gpus.get(&gpu) else {
            faults.add(|| format!("{}: {} remembers it, and it is not registered", name(), node(nodes[0])));
            continue;
        };
        for &other in nodes.iter().filter(|&&other| other != record.node.0) {
            let holder = node(record.node.0);
            faults.add(|| format!("{}: {} remembers it, and {holder} holds it", name(), node(other)));
        }
    }
    for gpu in content.gpus.values().filter(|gpu| !content.nodes.contains_key(&gpu.node.0)) {
        faults.add(|| format!("{}: node {} holds it and is not registered", gpu.gpu.uuid, gpu.node.0));
    }
    PromiseCheck {
        name: "a GPU is remembered by the node that holds it and by no other",
        promise: Some(Promise::CountedOnce),
        figures: format!("{} GPUs, {} with a memory", content.gpus.len(), content.remembered_by.len()),
        faults,
    }
}

/// Batches are recognised by epoch and number: two nodes under one epoch would each count them.
pub fn one_node_an_epoch(content: &Content) -> PromiseCheck {
    let mut faults = Faults::default();
    for (epoch, nodes) in &content.epochs {
        if nodes.len() > 1 {
            let names: Vec<String> = nodes.iter().map(|&node| content.name(Key::Node(node))).collect();
            faults.add(|| format!("epoch {epoch} has batches of {}", names.join(" and of ")));
        }
        for node in nodes.iter().filter(|node| !content.nodes.contains_key(node)) {
            faults.add(|| format!("epoch {epoch} is of node {node}, which is not registered"));
        }
    }
    PromiseCheck {
        name: "an epoch is one node's",
        promise: Some(Promise::CountedOnce),
        figures: format!("{} epochs", content.epochs.len()),
        faults,
    }
}
