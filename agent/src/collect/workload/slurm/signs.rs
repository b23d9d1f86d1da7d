//! What a job leaves on the node while it has a process here: a control group (both versions), and the
//! socket `NODE_JOB.STEP` of its step daemon, which is there without control groups too.

use super::super::cgroup::is_slurm_root;
use std::collections::BTreeSet;
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// Controllers of version 1 in which Slurm makes groups, and where systemd keeps version 2.
const PARENTS: [&str; 8] =
    ["system.slice", "", "memory", "devices", "freezer", "cpuset", "cpu,cpuacct", "unified/system.slice"];

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    pub cgroup: PathBuf,
    pub spool: PathBuf,
}

/// The jobs that have left a sign.
pub fn jobs(places: &Places) -> BTreeSet<u32> {
    let mut jobs: BTreeSet<u32> = names(&places.spool).filter_map(|name| socket_job(&name)).collect();
    for parent in PARENTS.map(|parent| places.cgroup.join(parent)) {
        for root in names(&parent).filter(|name| is_slurm_root(name)) {
            let root = parent.join(root);
            // Version 2 has the jobs at once, version 1 under their users.
            let users = names(&root).filter(|name| name.starts_with("uid_")).map(|user| root.join(user));
            for folder in users.chain([root.clone()]) {
                jobs.extend(names(&folder).filter_map(|name| name.strip_prefix("job_")?.parse::<u32>().ok()));
            }
        }
    }
    jobs
}

/// The names in a folder; a folder that is not there or not readable has none.
fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

/// `gpu_01_7.4294967291` is of job 7.
fn socket_job(name: &str) -> Option<u32> {
    let (job, step) = name.rsplit_once('_')?.1.split_once('.')?;
    let steps = step.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    steps.then(|| job.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_seen_by_its_group_of_either_version_and_by_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { cgroup: folder.path().join("cgroup"), spool: folder.path().join("spool") };
        assert!(jobs(&places).is_empty());
        for path in [
            "cgroup/system.slice/slurmstepd.scope/job_7/step_0",
            "cgroup/system.slice/gpu-01_slurmstepd.scope/job_8",
            "cgroup/system.slice/ssh.service/job_99",
            "cgroup/memory/slurm/uid_1001/job_9/step_batch",
            "cgroup/devices/slurm_gpu-01/uid_1001/job_10",
            "spool/job00011",
        ] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for name in ["gpu_01_12.4294967291", "cred_state", "hwloc_topo_3.4294967291.xml", "gpu_01_13.0"] {
            std::fs::write(folder.path().join("spool").join(name), "").unwrap();
        }
        assert_eq!(jobs(&places), [7, 8, 9, 10, 12, 13].into());
    }
}
