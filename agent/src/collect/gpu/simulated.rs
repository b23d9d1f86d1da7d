//! A GPU library for tests, whose GPUs can be made to fail, hang and come back.

use super::{Facts, Fault, Library, LibraryFault, Opener, Visible, Watch};
use crate::collect::{Readings, Source};
use gpuledger_proto::catalogue as metric;
use gpuledger_proto::frame::Gpu;
use gpuledger_proto::ids::GpuUuid;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What a simulated GPU does when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// Gives this power, in milliwatts.
    Well(i64),
    /// Gives nothing, for this reason.
    Sick(Fault),
    /// Does not return until its mood changes.
    Hangs,
    /// Ends its thread.
    Panics,
    /// Answers, and every reading failed.
    Speechless,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<LibraryFault>,
    gpus: BTreeMap<String, (Gpu, Mood)>,
    openings: u64,
    openings_hang: bool,
    events: VecDeque<(GpuUuid, u32)>,
}

/// The machine that the library runs on.
#[derive(Debug, Clone, Default)]
pub struct Machine(Arc<(Mutex<State>, Condvar)>);

pub fn gpu(name: &str) -> Gpu {
    Gpu {
        uuid: GpuUuid::new(name).unwrap(),
        model: "Simulated".to_owned(),
        serial: None,
        pci_bus_id: None,
        index: 0,
        memory_bytes: None,
        simulated: true,
    }
}

impl Machine {
    pub fn with(gpus: &[(&str, Mood)]) -> Self {
        let machine = Self::default();
        for (name, mood) in gpus {
            machine.set(name, mood.clone());
        }
        machine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Plugs a GPU in, or changes what it does.
    pub fn set(&self, name: &str, mood: Mood) {
        self.state().gpus.insert(name.to_owned(), (gpu(name), mood));
        self.0.1.notify_all();
    }

    /// Pulls a GPU out.
    pub fn remove(&self, name: &str) {
        self.state().gpus.remove(name);
        self.0.1.notify_all();
    }

    /// Plugs a GPU in at an address.
    pub fn set_at(&self, name: &str, address: &str, mood: Mood) {
        let gpu = Gpu { pci_bus_id: Some(address.to_owned()), ..gpu(name) };
        self.state().gpus.insert(name.to_owned(), (gpu, mood));
        self.0.1.notify_all();
    }

    /// Lets a GPU complain.
    pub fn xid(&self, name: &str, code: u32) {
        self.state().events.push_back((gpu(name).uuid, code));
        self.0.1.notify_all();
    }

    /// Breaks the library, or mends it.
    pub fn break_library(&self, fault: Option<LibraryFault>) {
        self.state().fault = fault;
    }

    /// Lets whoever opens the library wait until this is taken back.
    pub fn hang_openings(&self, hang: bool) {
        self.state().openings_hang = hang;
        self.0.1.notify_all();
    }

    pub fn openings(&self) -> u64 {
        self.state().openings
    }

    fn check(&self) -> Result<(), LibraryFault> {
        self.state().fault.clone().map_or(Ok(()), Err)
    }
}

impl Opener for Machine {
    fn open(&self) -> Result<Arc<dyn Library>, LibraryFault> {
        drop(self.0.1.wait_while(self.state(), |state| state.openings_hang).unwrap());
        self.check()?;
        self.state().openings += 1;
        Ok(Arc::new(self.clone()))
    }
}

impl Library for Machine {
    fn driver_version(&self) -> Option<String> {
        Some("1.2.3".to_owned())
    }

    fn gpus(&self) -> Result<Visible, LibraryFault> {
        self.check()?;
        let gpus: Vec<Gpu> = self.state().gpus.values().map(|g| g.0.clone()).collect();
        Ok(Visible { facts: vec![Facts::default(); gpus.len()], gpus, nameless: 0 })
    }

    fn open_gpu<'l>(&'l self, uuid: &GpuUuid) -> Result<Box<dyn Source + 'l>, Fault> {
        self.check()?;
        Ok(Box::new(SimulatedGpu { machine: self, name: uuid.as_str().to_owned() }))
    }

    fn watch<'l>(&'l self, _gpus: &[GpuUuid]) -> Result<Box<dyn Watch + 'l>, Fault> {
        self.check()?;
        Ok(Box::new(SimulatedEvents(self)))
    }
}

struct SimulatedEvents<'l>(&'l Machine);

impl Watch for SimulatedEvents<'_> {
    fn wait(&mut self, longest: Duration) -> Result<Option<(GpuUuid, u32)>, Fault> {
        let state = self.0.state();
        let (mut state, _) =
            self.0.0.1.wait_timeout_while(state, longest, |state| state.events.is_empty()).unwrap();
        Ok(state.events.pop_front())
    }
}

struct SimulatedGpu<'l> {
    machine: &'l Machine,
    name: String,
}

impl Source for SimulatedGpu<'_> {
    fn read(&mut self, readings: &mut Readings) -> Result<(), Fault> {
        self.machine.check()?;
        let hangs = |state: &mut State| matches!(state.gpus.get(&self.name), Some((_, Mood::Hangs)));
        let state = self.machine.0.1.wait_while(self.machine.state(), hangs).unwrap();
        let mood = state.gpus.get(&self.name).map(|g| g.1.clone());
        drop(state);
        match mood {
            Some(Mood::Well(power)) => {
                readings.put(metric::GPU_ENERGY, Reading::Absent(Absence::Unsupported));
                readings.put(metric::GPU_POWER_AVERAGE, Reading::Value(power));
                readings.processes = Some(Reading::Value(Vec::new()));
                Ok(())
            }
            Some(Mood::Speechless) => {
                readings.put(metric::GPU_ENERGY, Reading::Absent(Absence::Failed));
                Ok(())
            }
            Some(Mood::Sick(fault)) => Err(fault),
            Some(Mood::Panics) => panic!("the simulated library panics"),
            Some(Mood::Hangs) | None => Err(Fault::Gpu(Absence::Lost)),
        }
    }
}
