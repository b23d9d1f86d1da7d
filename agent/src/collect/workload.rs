//! Who holds a GPU: an allocation by Slurm or Kubernetes before the processes on it.
//!
//! [`watch`] is a thread that asks [`slurm`] and [`kubernetes`] once a second which GPUs they have
//! given away, and puts the answer on a [`Board`](allocation::Board). Each GPU's [`owners`] read it with
//! every sample; only where no allocation names the GPU do the owners of its [`process`]es count. So a
//! scheduler that does not answer never delays a sample.

pub mod allocation;
pub mod cgroup;
pub mod kubernetes;
pub mod owners;
pub mod process;
pub mod slurm;
pub mod watch;

use gpuledger_proto::frame::Holding;
use gpuledger_proto::reading::Reading;

/// Finds the owners of one GPU. Kept per GPU, so that it may remember what it saw there.
pub trait Workload: Send {
    /// The owners with their shares. With an allocation these are its owners, whatever the processes;
    /// else those of the processes: empty where there are none, absent where they cannot be told.
    fn holding(&mut self, processes: Reading<Vec<u32>>) -> Reading<Holding>;
}
