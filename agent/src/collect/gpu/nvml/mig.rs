//! Instances of a GPU that is cut by MIG.
//!
//! - Which instances there are is looked up once in [`LOOK`]; with another set of them, or with MIG
//!   switched on or off, everything that was remembered is forgotten: numbers of instances are used
//!   again for others.
//! - GPM measures GPU instances; compute instances in one GPU instance share its readings.
//! - Power is the parent's. Each instance gets an estimated part of it by the rule in
//!   [`split`](crate::collect::gpu::split).

use super::device::compute_processes;
use super::gpm::Gpm;
use super::verdict::reading;
use super::{Device, NvmlError};
use crate::collect::gpu::split::{Part, split};
use crate::collect::gpu::{Fault, raw};
use crate::collect::{Instance, Readings};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};
use std::time::{Duration, Instant};

/// Between two looks at which instances there are.
const LOOK: Duration = Duration::from_secs(2);
/// Compute slices of every GPU that can be cut, but the A30 and its like, which have four.
const SLICES: u32 = 7;
const SLICES_A30: u32 = 4;

/// No GPU that can be cut draws more than this idle. A GPU that has been busy ever since it was opened has not
/// shown yet what it draws idle.
const IDLE_MW_MAX: u64 = 150_000;

/// The whole, in millionths.
const PPM: u64 = 1_000_000;

/// What an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    uuid: GpuUuid,
    gpu_instance: u32,
    compute_instance: u32,
    slices: u32,
}

struct Open<'l> {
    identity: Identity,
    device: Device<'l>,
    gpm: Gpm<'l>,
}

/// The instances of one GPU.
pub(super) struct Mig<'l> {
    /// `None` where the GPU can't be cut or does not say.
    mode: Reading<bool>,
    looked: Option<Instant>,
    slices: u32,
    instances: Vec<Open<'l>>,
    /// The lowest power seen, in milliwatts: what the GPU draws idle, as far as is known.
    idle_mw: Option<u64>,
}

impl<'l> Mig<'l> {
    pub fn new() -> Self {
        let mode = Reading::Absent(Absence::Pending);
        Self { mode, looked: None, slices: SLICES, instances: Vec::new(), idle_mw: None }
    }

    /// Looks at the instances if it is time. Whether everything known of the GPU is to be forgotten.
    pub fn look(&mut self, device: &Device<'l>, now: Instant) -> Result<bool, Fault> {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK) {
            return Ok(false);
        }
        let first = self.looked.is_none();
        self.looked = Some(now);
        let mode = reading(device.mig_mode())?.map(|mode| mode.current != 0);
        let found = match mode {
            Reading::Value(true) => find(device)?,
            _ => Vec::new(),
        };
        let same =
            mode == self.mode && found.iter().map(|f| &f.0).eq(self.instances.iter().map(|i| &i.identity));
        if same {
            return Ok(false);
        }
        self.mode = mode;
        self.slices =
            device.mig_device_count().map_or(SLICES, |most| if most == 4 { SLICES_A30 } else { SLICES });
        let open = |(identity, device): (Identity, _)| Open {
            gpm: Gpm::new(Some(identity.gpu_instance)),
            identity,
            device,
        };
        self.instances = found.into_iter().map(open).collect();
        Ok(!first)
    }

    /// Reads every instance and splits the parent's power, which must have been read before.
    pub fn read(&mut self, parent: &Device<'l>, now: Instant, readings: &mut Readings) -> Result<(), Fault> {
        readings.put(metric::GPU_MIG_MODE, self.mode.map(i64::from));
        let count = i64::try_from(self.instances.len()).map_err(|_| Absence::Failed);
        let cut = self.mode.value() == Some(true);
        readings.put(
            metric::GPU_MIG_INSTANCES,
            match self.mode {
                Reading::Value(_) => count.into(),
                Reading::Absent(reason) => Reading::Absent(reason),
            },
        );
        let power = readings.power().value().and_then(|mw| u64::try_from(mw).ok());
        self.idle_mw = [self.idle_mw, power].into_iter().flatten().min();
        if !cut {
            return Ok(());
        }
        for open in &mut self.instances {
            let mut own = Readings::default();
            open.gpm.read(parent, now, &mut own)?;
            let memory = reading(open.device.memory_info().map(|m| (m.used, m.total)))?;
            own.put_int(metric::GPU_MEMORY_USED, memory.map(|m| m.0));
            own.put_int(metric::GPU_MEMORY_TOTAL, memory.map(|m| m.1));
            own.processes = Some(reading(compute_processes(&open.device))?);
            let Identity { uuid, gpu_instance, compute_instance, slices } = open.identity.clone();
            let share_ppm = Reading::Absent(Absence::Pending);
            readings.instances.push(Instance {
                uuid,
                gpu_instance,
                compute_instance,
                slices,
                share_ppm,
                readings: own,
            });
        }
        self.share(power, readings);
        Ok(())
    }

    /// Gives each instance its part of the parent's power, where that is known.
    fn share(&self, power: Option<u64>, readings: &mut Readings) {
        let part = |instance: &Instance| Part {
            slices: instance.slices,
            active_ppm: Gpm::activity_ppm(&instance.readings),
        };
        let parts: Vec<Part> = readings.instances.iter().map(part).collect();
        let shares = power.and_then(|power| {
            let idle = self.idle_mw?.min(IDLE_MW_MAX);
            // The same rule at the resolution of shares: a millionth of the parent.
            let idle_ppm = idle * PPM / power.max(1);
            let watts = split(power, idle, self.slices, &parts)?;
            Some(watts.into_iter().zip(split(PPM, idle_ppm, self.slices, &parts)?))
        });
        let mut shares = shares.into_iter().flatten();
        for instance in &mut readings.instances {
            let own = shares.next().ok_or(Absence::Unsupported);
            instance.readings.put_int(metric::GPU_POWER_AVERAGE, own.map(|(mw, _)| mw).into());
            instance.share_ppm =
                own.and_then(|(_, ppm)| u32::try_from(ppm).map_err(|_| Absence::Failed)).into();
        }
    }
}

/// The instances that there are, in the driver's order. One that cannot be described is left out.
fn find<'l>(device: &Device<'l>) -> Result<Vec<(Identity, Device<'l>)>, Fault> {
    let places = match reading(device.mig_device_count())? {
        Reading::Value(places) => places,
        Reading::Absent(_) => 0,
    };
    let mut found = Vec::new();
    for place in 0..places {
        let described =
            device.mig_device_by_index(place).and_then(|instance| Ok((identity(&instance)?, instance)));
        match described {
            // The place is empty.
            Err(NvmlError::NotFound) => {}
            described => found.extend(reading(described)?.value()),
        }
    }
    Ok(found)
}

fn identity(instance: &Device<'_>) -> Result<Identity, NvmlError> {
    let attributes = instance.attributes()?;
    Ok(Identity {
        uuid: GpuUuid::new(&instance.uuid()?).map_err(|_| NvmlError::Unknown)?,
        gpu_instance: raw::gpu_instance_id(instance)?,
        compute_instance: raw::compute_instance_id(instance)?,
        slices: attributes.compute_instance_slice_count.max(1),
    })
}
