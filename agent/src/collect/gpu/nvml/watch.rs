//! XID events as the driver tells them, from registration on.

use super::verdict::{Verdict, reading, verdict};
use super::{EventSet, EventTypes, Nvml, NvmlError, XidError};
use crate::collect::gpu::{Fault, LibraryFault, Watch};
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::Reading;
use std::time::Duration;

/// A registration for the XID events of some GPUs.
pub(super) struct XidEvents<'l>(EventSet<'l>);

impl<'l> XidEvents<'l> {
    /// Registers for every GPU that supports it. Without any there is nothing to wait for.
    pub fn register(nvml: &'l Nvml, gpus: &[GpuUuid]) -> Result<Self, Fault> {
        let failed = |reason| Fault::Gpu(reason);
        let Reading::Value(mut set) = reading(nvml.create_event_set())? else {
            return Err(failed(gpuledger_proto::reading::Absence::Unsupported));
        };
        let mut registered = false;
        let mut refusal = gpuledger_proto::reading::Absence::Unsupported;
        for uuid in gpus {
            let device = match reading(nvml.device_by_uuid(uuid.as_str())) {
                Ok(Reading::Value(device)) => device,
                Ok(Reading::Absent(_)) | Err(Fault::Gpu(_)) => continue,
                Err(fault) => return Err(fault),
            };
            set = match device.register_events(EventTypes::CRITICAL_XID_ERROR, set) {
                Ok(set) => {
                    registered = true;
                    set
                }
                // The set goes with a refusal, and the GPUs in it with it: a new one without this GPU.
                Err(refused) => {
                    if let Verdict::Reading(reason) = verdict(&refused.error) {
                        refusal = reason;
                    }
                    let others: Vec<GpuUuid> = gpus.iter().filter(|other| *other != uuid).cloned().collect();
                    return if others.is_empty() {
                        Err(failed(refusal))
                    } else {
                        Self::register(nvml, &others)
                    };
                }
            };
        }
        if registered { Ok(Self(set)) } else { Err(failed(refusal)) }
    }
}

impl Watch for XidEvents<'_> {
    fn wait(&mut self, longest: Duration) -> Result<Option<(GpuUuid, u32)>, Fault> {
        let longest_ms = u32::try_from(longest.as_millis()).unwrap_or(u32::MAX);
        let event = match self.0.wait(longest_ms) {
            Err(NvmlError::Timeout) => return Ok(None),
            event => event,
        };
        match reading(event)? {
            Reading::Value(event) => {
                let code = match event.event_data {
                    Some(XidError::Value(code)) => u32::try_from(code).ok(),
                    Some(XidError::Unknown) | None => None,
                };
                let uuid = event.device.uuid().ok().and_then(|uuid| GpuUuid::new(&uuid).ok());
                Ok(uuid.zip(code))
            }
            Reading::Absent(_) => Err(LibraryFault::Failed("events cannot be waited for".to_owned()).into()),
        }
    }
}
