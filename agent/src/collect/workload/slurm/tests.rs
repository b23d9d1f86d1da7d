//! Jobs that come and go on a node whose Slurm is a table.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Cluster {
    jobs: Mutex<BTreeMap<u32, Job>>,
    silent: AtomicBool,
    questions: AtomicU32,
}

impl Cluster {
    fn start(&self, id: u32, gpus: &[(u32, u64)]) {
        let gpus = gpus.iter().copied().collect();
        let job = Job { user: "ada".to_owned(), account: "physics".to_owned(), gpus };
        self.jobs.lock().unwrap().insert(id, job);
    }

    fn end(&self, id: u32) {
        self.jobs.lock().unwrap().remove(&id);
    }

    fn ask(&self) -> Result<(), CommandError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let silent = self.silent.load(Ordering::Relaxed);
        if silent { Err(CommandError::TimedOut("scontrol".to_owned(), ANSWER_MAX)) } else { Ok(()) }
    }

    fn questions(&self) -> u32 {
        self.questions.swap(0, Ordering::Relaxed)
    }
}

impl Slurm for Arc<Cluster> {
    fn job(&self, id: u32) -> Result<Option<Job>, CommandError> {
        self.ask().map(|()| self.jobs.lock().unwrap().get(&id).cloned())
    }

    fn used(&self) -> Result<BTreeSet<u32>, CommandError> {
        self.ask().map(|()| self.jobs.lock().unwrap().values().flat_map(Job::positions).collect())
    }

    fn running(&self) -> Result<Vec<u32>, CommandError> {
        self.ask().map(|()| self.jobs.lock().unwrap().keys().copied().collect())
    }
}

/// A node of the cluster, with a clock that is told.
struct Node {
    cluster: Arc<Cluster>,
    jobs: SlurmJobs<Arc<Cluster>>,
    start: Instant,
}

impl Node {
    fn new() -> Self {
        let (cluster, start) = (Arc::<Cluster>::default(), Instant::now());
        Self { jobs: SlurmJobs::new(Arc::clone(&cluster), None, start), cluster, start }
    }

    fn look(&mut self, second: u64, signs: &[u32]) -> Allocations {
        let mut allocations = Allocations::default();
        let now = self.start + Duration::from_secs(second);
        // Whether it answered shows in what is known.
        let _ = self.jobs.look(&signs.iter().copied().collect(), now, &mut allocations);
        allocations
    }
}

fn minors(allocations: &Allocations) -> Vec<u32> {
    let minor = |grant: &Grant| match grant.device {
        Device::Minor(minor) => minor,
        _ => panic!("{grant:?}"),
    };
    allocations.grants.iter().map(minor).collect()
}

#[test]
fn a_job_is_asked_for_once_when_it_begins_and_once_when_it_ends() {
    let mut node = Node::new();
    node.look(0, &[]);
    node.cluster.questions();
    node.cluster.start(7, &[(0, 1), (3, 1)]);
    assert_eq!(minors(&node.look(1, &[7])), [0, 3]);
    for second in 2..50 {
        assert_eq!(minors(&node.look(second, &[7])), [0, 3]);
    }
    assert_eq!(node.cluster.questions(), 1, "steady jobs cost Slurm nothing");
    node.cluster.end(7);
    assert_eq!(minors(&node.look(50, &[])), [] as [u32; 0]);
    assert_eq!(node.cluster.questions(), 1);
}

#[test]
fn an_allocation_outlives_its_steps_and_is_found_without_any() {
    let mut node = Node::new();
    node.cluster.start(7, &[(2, 1)]);
    assert_eq!(minors(&node.look(0, &[])), [2], "found by the node's record");
    assert_eq!(minors(&node.look(1, &[7])), [2]);
    assert_eq!(minors(&node.look(2, &[])), [2], "its step has ended, the job has not");
    node.cluster.end(7);
    assert_eq!(minors(&node.look(3, &[])), [2]);
    assert_eq!(minors(&node.look(12, &[])), [] as [u32; 0], "asked for every ten seconds");
}

#[test]
fn a_job_of_which_nothing_is_known_makes_idle_gpus_unknown_until_slurm_answers() {
    let mut node = Node::new();
    node.look(0, &[]);
    node.cluster.start(7, &[(1, 1)]);
    node.cluster.silent.store(true, Ordering::Relaxed);
    let unsure = node.look(1, &[7]);
    assert_eq!((unsure.unsure, unsure.jobs.get(&7)), (Some(Absence::Failed), Some(&None)));
    node.cluster.silent.store(false, Ordering::Relaxed);
    let sure = node.look(11, &[7]);
    assert_eq!((sure.unsure, minors(&sure)), (None, vec![1]));
    // What is known stays known while Slurm is away, and ends when its last process has.
    node.cluster.silent.store(true, Ordering::Relaxed);
    assert_eq!(minors(&node.look(12, &[7])), [1]);
    assert_eq!(minors(&node.look(13, &[])), [] as [u32; 0]);
}

#[test]
fn a_sign_that_a_dead_job_left_behind_is_no_job() {
    let mut node = Node::new();
    let left = node.look(0, &[9]);
    assert_eq!((left.unsure, left.jobs.len(), left.grants.len()), (None, 0, 0));
}

#[test]
fn positions_are_device_files_in_the_order_of_gres_conf() {
    let mut node = Node::new();
    node.jobs.minors = Some(vec![4, 5, 7]);
    node.cluster.start(7, &[(2, 1), (3, 1)]);
    assert_eq!(minors(&node.look(0, &[7])), [7], "a position that the file does not name is none");
}
