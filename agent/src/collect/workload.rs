//! Who holds a GPU. A workload source turns the processes on a GPU into owners.

pub mod process_user;

use gpuledger_proto::frame::Holding;
use gpuledger_proto::reading::Reading;

/// Finds the owners of one GPU. Kept per GPU, so that it may remember what it saw there.
pub trait Workload: Send {
    /// The owners of these processes with their shares; empty where there are no processes, absent
    /// where there are some whose owner cannot be told.
    fn holding(&mut self, pids: &[u32]) -> Reading<Holding>;
}
