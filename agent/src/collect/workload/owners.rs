//! The owners of one GPU: allocation first, processes second.
//!
//! | allocation | processes | holding |
//! |---|---|---|
//! | names owners | whatever | those owners, by the parts that they were given |
//! | none | some | the owners of the processes |
//! | none | none | nobody |
//! | a scheduler is here and does not say | none, or not told | absent with the scheduler's reason |

use super::Workload;
use super::allocation::{Board, shares};
use super::process::ProcessOwners;
use gpuledger_proto::frame::{Gpu, Holding};
use gpuledger_proto::reading::Reading;
use std::path::Path;

pub struct GpuOwners {
    gpu: Gpu,
    minor: u32,
    board: Board,
    processes: ProcessOwners,
}

impl GpuOwners {
    pub fn new(gpu: Gpu, proc_path: &Path, board: Board, processes: ProcessOwners) -> Self {
        let minor = minor(proc_path, &gpu);
        Self { gpu, minor, board, processes }
    }
}

impl Workload for GpuOwners {
    fn holding(&mut self, processes: Reading<Vec<u32>>) -> Reading<Holding> {
        let allocations = self.board.read();
        let granted = allocations.holders(&self.gpu, self.minor);
        // The processes are looked at all the same: whoever was seen running stays known by name.
        let running = match processes {
            Reading::Value(pids) => self.processes.holding(&pids, &allocations),
            Reading::Absent(reason) => Reading::Absent(reason),
        };
        if !granted.is_empty() {
            return shares(granted);
        }
        match (&running, allocations.unsure) {
            (Reading::Value(holding), Some(reason)) if holding.is_empty() => Reading::Absent(reason),
            _ => running,
        }
    }
}

/// The number of the GPU's device file, which Slurm counts by. The driver tells it in `/proc`; where it
/// does not, the index is taken, which differs only after a GPU has failed to start.
fn minor(proc_path: &Path, gpu: &Gpu) -> u32 {
    let told = gpu.pci_bus_id.as_deref().and_then(|address| {
        // NVML writes the domain with eight digits, the kernel with four.
        let short = address.get(4..).filter(|_| address.len() == 16).unwrap_or(address).to_ascii_lowercase();
        let file = proc_path.join("driver/nvidia/gpus").join(short).join("information");
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Device Minor:")?.trim().parse().ok())
    });
    told.unwrap_or(gpu.index)
}

#[cfg(test)]
mod tests {
    use super::super::allocation::{Allocations, Device, Grant};
    use super::*;
    use crate::collect::gpu::simulated;
    use gpuledger_proto::frame::{Owner, OwnerKind};
    use gpuledger_proto::reading::Absence;

    const NOBODY: Reading<Vec<u32>> = Reading::Value(Vec::new());

    fn pod(name: &str) -> Owner {
        let (account, name) = ("ml".to_owned(), name.to_owned());
        Owner { kind: OwnerKind::Kubernetes, account, name, job: String::new() }
    }

    fn granted(name: &str) -> Allocations {
        let grant = Grant { device: Device::Uuid("GPU-a".to_owned()), owner: pod(name), weight: 1 };
        Allocations { grants: vec![grant], ..Allocations::default() }
    }

    fn owners(proc_path: &Path) -> (GpuOwners, Board) {
        let board = Board::default();
        let processes = ProcessOwners::new(proc_path.to_owned(), "/nonexistent".into());
        (GpuOwners::new(simulated::gpu("GPU-a"), proc_path, board.clone(), processes), board)
    }

    fn names(holding: Reading<Holding>) -> Vec<String> {
        holding.value().unwrap().into_iter().map(|share| share.owner.name).collect()
    }

    #[test]
    fn an_allocation_holds_the_gpu_before_during_and_without_any_process() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("7")).unwrap();
        std::fs::write(folder.path().join("7/status"), "Uid:\t1001\t0\t0\t0\n").unwrap();
        let (mut owners, board) = owners(folder.path());
        assert_eq!(owners.holding(NOBODY), Reading::Absent(Absence::Pending));
        board.put(Allocations::default());
        assert!(names(owners.holding(NOBODY)).is_empty());
        assert_eq!(names(owners.holding(Reading::Value(vec![7]))), ["1001"]);
        board.put(granted("train-0"));
        for processes in [NOBODY, Reading::Value(vec![7]), Reading::Absent(Absence::NoPermission)] {
            assert_eq!(names(owners.holding(processes)), ["train-0"]);
        }
        board.put(Allocations::default());
        assert_eq!(names(owners.holding(Reading::Value(vec![7]))), ["1001"]);
    }

    #[test]
    fn a_scheduler_that_does_not_answer_makes_an_idle_gpu_unknown_and_not_free() {
        let (mut owners, board) = owners(Path::new("/nonexistent"));
        board.put(Allocations { unsure: Some(Absence::Stale), ..Allocations::default() });
        assert_eq!(owners.holding(NOBODY), Reading::Absent(Absence::Stale));
        board.put(Allocations { unsure: Some(Absence::Stale), ..granted("train-0") });
        assert_eq!(names(owners.holding(NOBODY)), ["train-0"]);
    }

    #[test]
    fn the_device_file_s_number_is_the_driver_s_and_else_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let gpu =
            Gpu { index: 2, pci_bus_id: Some("00000000:1B:00.0".to_owned()), ..simulated::gpu("GPU-a") };
        assert_eq!(minor(folder.path(), &gpu), 2);
        let place = folder.path().join("driver/nvidia/gpus/0000:1b:00.0");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("information"), "Model: \t\t NVIDIA H100\nDevice Minor: \t 3\n").unwrap();
        assert_eq!(minor(folder.path(), &gpu), 3);
    }
}
