//! The memories of a node's devices while one batch is folded: a batch that is refused in its midst
//! changes nothing.
//!
//! They are changed in place, since nearly no batch is refused, and undone where one is.

use super::FoldError;
use super::state::{Before, DEVICES_PER_NODE_MAX, Device, DeviceMemory, NodeMemory};
use std::collections::btree_map::Entry;

pub struct Trial<'a> {
    memory: &'a mut NodeMemory,
    /// What each device that was touched was before; nothing where it was not known.
    before: Vec<(Device, Option<Before>)>,
}

impl<'a> Trial<'a> {
    pub fn of(memory: &'a mut NodeMemory) -> Self {
        let before = Vec::with_capacity(memory.devices.len());
        Self { memory, before }
    }

    /// The memory of a device, which may be a new one.
    pub fn device(&mut self, device: Device) -> Result<&mut DeviceMemory, FoldError> {
        let known = self.memory.devices.len();
        match self.memory.devices.entry(device) {
            Entry::Occupied(memory) => {
                let memory = memory.into_mut();
                if !self.before.iter().any(|before| before.0 == device) {
                    self.before.push((device, Some(memory.begin())));
                }
                Ok(memory)
            }
            Entry::Vacant(memory) if known < DEVICES_PER_NODE_MAX => {
                self.before.push((device, None));
                Ok(memory.insert(DeviceMemory::default()))
            }
            Entry::Vacant(_) => Err(FoldError::Devices),
        }
    }

    pub fn keep(self) {
        for (device, _) in self.before {
            if let Some(memory) = self.memory.devices.get_mut(&device) {
                memory.settle();
            }
        }
    }

    pub fn undo(self) {
        for (device, before) in self.before {
            match (before, self.memory.devices.get_mut(&device)) {
                (Some(before), Some(memory)) => memory.undo(&before),
                _ => drop(self.memory.devices.remove(&device)),
            }
        }
    }
}
