//! The thread that asks schedulers and keeps the [`Board`] up to date.
//!
//! It looks once a second. A scheduler that is not there when it starts is looked for again from time to
//! time. What a scheduler that has stopped answering said last stays in force for half a minute; from
//! then on it is not known to whom the GPUs belong.

use super::allocation::{Allocations, Board, Grant};
use super::kubernetes::{Kubelet, KubeletError};
use super::slurm::signs::{self, Places};
use super::slurm::{Programs, SlurmJobs};
use crate::collect::host;
use crate::events::{Counters, SchedulerAnswers, SchedulerSilent};
use gpuledger_proto::reading::Absence;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A scheduler that is installed while the agent runs.
const SEARCH_EVERY: Duration = Duration::from_secs(30);
/// Kubelets are restarted in less.
const KEPT: Duration = Duration::from_secs(30);
/// Reading folders, and a small runtime.
const STACK_BYTES: usize = 512 * 1024;

/// Where schedulers are looked for.
#[derive(Debug, Clone)]
pub struct Schedulers {
    /// `None`: where Slurm usually has it.
    pub slurm_conf: Option<PathBuf>,
    pub kubelet_socket: PathBuf,
    pub cgroup_path: PathBuf,
}

/// Starts the thread, which ends within a second after `stop`, and gives what it writes on.
pub fn start(
    schedulers: Schedulers,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> std::io::Result<Board> {
    let board = Board::default();
    let written = board.clone();
    let body = move || {
        let mut watch = Watch::new(schedulers, counters);
        while !stop.is_cancelled() {
            written.put(watch.look(Instant::now()));
            std::thread::sleep(LOOK_EVERY);
        }
    };
    std::thread::Builder::new().name("schedulers".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
    Ok(board)
}

/// Both schedulers, as far as they are here.
pub struct Watch {
    schedulers: Schedulers,
    counters: Arc<Counters>,
    slurm: Option<(SlurmJobs<Programs>, Places)>,
    kubelet: Option<Kubelet>,
    /// As the kubelet said last, and when.
    pods: (Vec<Grant>, Option<Instant>),
    search_at: Option<Instant>,
    silent: [bool; 2],
}

impl Watch {
    pub fn new(schedulers: Schedulers, counters: Arc<Counters>) -> Self {
        Self {
            schedulers,
            counters,
            slurm: None,
            kubelet: None,
            pods: (Vec::new(), None),
            search_at: None,
            silent: [false; 2],
        }
    }

    /// What is given away now.
    pub fn look(&mut self, now: Instant) -> Allocations {
        if self.search_at.is_none_or(|at| at <= now) {
            self.search_at = Some(now + SEARCH_EVERY);
            self.search(now);
        }
        let mut allocations = Allocations::default();
        if let Some((jobs, places)) = &mut self.slurm {
            let looked = jobs.look(&signs::jobs(places), now, &mut allocations);
            self.hear(0, "Slurm", looked.err().map(|error| error.to_string()));
        }
        self.look_at_pods(now, &mut allocations);
        allocations
    }

    fn search(&mut self, now: Instant) {
        if self.slurm.is_none() {
            let host = host::hostname();
            let found = SlurmJobs::find(self.schedulers.slurm_conf.as_deref(), &host, now);
            self.slurm = found.map(|(jobs, conf)| {
                let spool = conf.spool_dir(&conf.node_name(&host));
                (jobs, Places { cgroup: self.schedulers.cgroup_path.clone(), spool })
            });
        }
        if self.kubelet.is_none() && Kubelet::is_there(&self.schedulers.kubelet_socket) {
            self.kubelet = Kubelet::new(self.schedulers.kubelet_socket.clone()).ok();
        }
    }

    fn look_at_pods(&mut self, now: Instant, allocations: &mut Allocations) {
        let Some(kubelet) = &mut self.kubelet else { return };
        let error = match kubelet.grants() {
            Ok(grants) => {
                self.pods = (grants, Some(now));
                None
            }
            Err(error) => Some(error),
        };
        match self.pods.1 {
            Some(told) if now.duration_since(told) <= KEPT => {
                allocations.grants.extend(self.pods.0.iter().cloned());
            }
            _ => {
                let denied = matches!(error, Some(KubeletError::NoPermission(_)));
                allocations.unsure = Some(if denied { Absence::NoPermission } else { Absence::Stale });
            }
        }
        self.hear(1, "the kubelet", error.map(|error| error.to_string()));
    }

    /// Tells when a scheduler stops and when it begins to answer.
    fn hear(&mut self, at: usize, scheduler: &'static str, error: Option<String>) {
        let silent = error.is_some();
        match error {
            Some(error) if !self.silent[at] => {
                SchedulerSilent { scheduler, error: &error }.emit(&self.counters);
            }
            None if self.silent[at] => SchedulerAnswers { scheduler }.emit(),
            _ => {}
        }
        self.silent[at] = silent;
    }
}
