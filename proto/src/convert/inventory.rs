//! What a node says of itself and its GPUs.

use super::{Fault, Malformed, check_text};
use crate::frame::{Gpu, Host, Inventory};
use crate::ids::GpuUuid;
use crate::limits::DEVICES_PER_NODE_MAX;
use crate::v1;

pub fn inventory_to_wire(inventory: &Inventory) -> v1::Inventory {
    let host = &inventory.host;
    v1::Inventory {
        host: Some(v1::HostInfo {
            hostname: host.hostname.clone(),
            os: host.os.clone(),
            driver_version: host.driver_version.clone(),
            memory_bytes: host.memory_bytes,
            cpus: host.cpus,
        }),
        gpus: inventory.gpus.iter().map(gpu_to_wire).collect(),
    }
}

fn gpu_to_wire(gpu: &Gpu) -> v1::GpuInfo {
    v1::GpuInfo {
        uuid: gpu.uuid.as_str().to_owned(),
        model: gpu.model.clone(),
        serial: gpu.serial.clone(),
        pci_bus_id: gpu.pci_bus_id.clone(),
        index: gpu.index,
        memory_bytes: gpu.memory_bytes,
        simulated: gpu.simulated,
    }
}

/// Checks and converts what a node says of itself. Every GPU occurs once.
pub fn inventory_from_wire(wire: v1::Inventory) -> Result<Inventory, Malformed> {
    let host = wire.host.ok_or_else(|| Malformed::at("inventory.host", Fault::Missing))?;
    // One position belongs to the node itself.
    Fault::check_range("number of GPUs", wire.gpus.len() as u64, 0, DEVICES_PER_NODE_MAX as u64 - 1)
        .map_err(|fault| Malformed::at("inventory.gpus", fault))?;
    let host = host_from_wire(host)?;
    let mut gpus: Vec<Gpu> = Vec::with_capacity(wire.gpus.len());
    for (position, gpu) in wire.gpus.into_iter().enumerate() {
        let place = format!("inventory.gpus[{position}]");
        let gpu = gpu_from_wire(gpu, &place)?;
        if gpus.iter().any(|before| before.uuid == gpu.uuid) {
            let what = format!("GPU {}", gpu.uuid);
            return Err(Malformed::at(format!("{place}.uuid"), Fault::Repeated { what }));
        }
        gpus.push(gpu);
    }
    Ok(Inventory { host, gpus })
}

fn host_from_wire(wire: v1::HostInfo) -> Result<Host, Malformed> {
    check_text(&wire.hostname, || "inventory.host.hostname".to_owned())?;
    check_text(&wire.os, || "inventory.host.os".to_owned())?;
    check_optional(wire.driver_version.as_ref(), || "inventory.host.driver_version".to_owned())?;
    Ok(Host {
        hostname: wire.hostname,
        os: wire.os,
        driver_version: wire.driver_version,
        memory_bytes: wire.memory_bytes,
        cpus: wire.cpus,
    })
}

fn gpu_from_wire(wire: v1::GpuInfo, place: &str) -> Result<Gpu, Malformed> {
    let uuid = GpuUuid::new(&wire.uuid).map_err(|e| Malformed::at(format!("{place}.uuid"), e.into()))?;
    check_text(&wire.model, || format!("{place}.model"))?;
    check_optional(wire.serial.as_ref(), || format!("{place}.serial"))?;
    check_optional(wire.pci_bus_id.as_ref(), || format!("{place}.pci_bus_id"))?;
    Ok(Gpu {
        uuid,
        model: wire.model,
        serial: wire.serial,
        pci_bus_id: wire.pci_bus_id,
        index: wire.index,
        memory_bytes: wire.memory_bytes,
        simulated: wire.simulated,
    })
}

fn check_optional(text: Option<&String>, place: impl FnOnce() -> String) -> Result<(), Malformed> {
    text.map_or(Ok(()), |text| check_text(text, place))
}
