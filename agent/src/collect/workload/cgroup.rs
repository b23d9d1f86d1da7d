//! What a process's control group says of who runs it: `/proc/PID/cgroup`, both versions.
//!
//! | path | is |
//! |---|---|
//! | `/system.slice/slurmstepd.scope/job_7/step_0/…` | Slurm job 7 (version 2) |
//! | `/slurm/uid_1001/job_7/step_0`, `/slurm_NODE/…` | the same (version 1) |
//! | `/kubepods.slice/…-pod1f0c…_….slice/cri-containerd-….scope` | a pod, by its UID |
//! | `/kubepods/burstable/pod1f0c…/…` | the same (cgroupfs driver) |
//! | `/system.slice/ollama.service` | a systemd unit |
//!
//! A process cannot leave its group by itself, so this is not what the process says of itself.

/// Where a process belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    SlurmJob(u32),
    /// A Kubernetes pod's UID.
    Pod(String),
    /// A service of the system's manager.
    Unit(String),
    /// Nothing of these: a login session, a container of another engine, or the root.
    Elsewhere,
}

/// A UID is 36 characters; mirror pods of the kubelet have 32.
const UID_LENGTHS: [usize; 2] = [32, 36];

/// What `/proc/PID/cgroup` says: the most telling of its lines.
pub fn place(text: &str) -> Place {
    // ID:controllers:path; a path may have colons.
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths()
        .find_map(slurm_job)
        .map(Place::SlurmJob)
        .or_else(|| paths().find_map(pod).map(Place::Pod))
        .or_else(|| paths().find_map(unit).map(Place::Unit))
        .unwrap_or(Place::Elsewhere)
}

fn slurm_job(path: &str) -> Option<u32> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    parts.find(|part| is_slurm_root(part))?;
    parts.find_map(|part| part.strip_prefix("job_")?.parse().ok())
}

/// The group under which Slurm keeps its jobs. A user's own scope is never called so: those have
/// `user.slice` before them, and end in a name that systemd gave.
pub fn is_slurm_root(name: &str) -> bool {
    name == "slurm" || name.starts_with("slurm_") || name.ends_with("slurmstepd.scope")
}

fn pod(path: &str) -> Option<String> {
    let mut parts = path.split('/').skip_while(|part| !part.starts_with("kubepods"));
    parts.find_map(|part| {
        let (_, uid) = part.strip_suffix(".slice").unwrap_or(part).rsplit_once("pod")?;
        let uid = uid.replace('_', "-");
        let fits =
            UID_LENGTHS.contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        fits.then_some(uid)
    })
}

fn unit(path: &str) -> Option<String> {
    let name = path.strip_prefix("/system.slice/")?;
    name.split('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_slurm_kubernetes_and_systemd_are_told_apart() {
        let uid = "1f0c2d3e-aaaa-bbbb-cccc-0123456789ab";
        for (text, expected) in [
            ("0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0\n", Place::SlurmJob(7)),
            ("0::/system.slice/gpu-01_slurmstepd.scope/job_8/step_0\n", Place::SlurmJob(8)),
            (
                "5:devices:/slurm/uid_1001/job_12/step_0\n1:name=systemd:/system.slice/slurmd.service\n",
                Place::SlurmJob(12),
            ),
            ("4:memory:/slurm_gpu-01/uid_0/job_3\n", Place::SlurmJob(3)),
            (
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f0c2d3e_aaaa_bbbb_cccc_0123456789ab.slice/cri-containerd-12.scope\n",
                Place::Pod(uid.to_owned()),
            ),
            (
                "0::/kubepods/besteffort/pod1f0c2d3e-aaaa-bbbb-cccc-0123456789ab/12ab\n",
                Place::Pod(uid.to_owned()),
            ),
            ("0::/system.slice/ollama.service\n", Place::Unit("ollama.service".to_owned())),
            (
                "0::/system.slice/system-vllm.slice/vllm@7.service/sub\n",
                Place::Unit("vllm@7.service".to_owned()),
            ),
            ("0::/user.slice/user-1001.slice/session-3.scope\n", Place::Elsewhere),
            ("0::/user.slice/user-1001.slice/user@1001.service/app.slice/x.service\n", Place::Elsewhere),
            ("0::/system.slice/docker-12ab.scope\n", Place::Elsewhere),
            ("0::/\n", Place::Elsewhere),
            ("", Place::Elsewhere),
        ] {
            assert_eq!(place(text), expected, "{text}");
        }
    }

    #[test]
    fn a_folder_that_only_looks_like_a_job_or_a_pod_is_none() {
        for text in
            ["0::/user.slice/user-7.slice/job_9", "0::/kubepods/podcast", "0::/system.slice/slurmd.service"]
        {
            assert!(!matches!(place(text), Place::SlurmJob(_) | Place::Pod(_)), "{text}");
        }
    }
}
