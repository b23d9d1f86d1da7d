//! The owners of the processes that compute on a GPU, where no allocation says whose it is: Slurm job,
//! pod or systemd unit by the process's control group, and else its user (pid → uid by
//! `/proc/PID/status`, uid → name by `/etc/passwd`).
//!
//! - Owners share a GPU by equal parts, however many processes each has: how a GPU is shared inside
//!   the driver is not known, and a part for each process would pay for forking.
//! - A user without an entry (from a directory service) is named by the number.
//! - A process whose user can't be told makes the whole holding absent: it may be anybody's. That
//!   is so where `/proc` is mounted with `hidepid`, or where the agent runs in a container and
//!   sees other process numbers than the driver gives.
//! - A process keeps its owner for as long as it is listed, so nothing is read twice.
//! - What a process says of itself (its environment) counts only where Slurm confirms it: the job runs
//!   here and belongs to the process's user.

use super::allocation::{Allocations, shares};
use super::cgroup::{self, Place};
use gpuledger_proto::frame::{Holding, Owner, OwnerKind};
use gpuledger_proto::limits::NAME_BYTES_MAX;
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where the kubelet keeps a folder `NAMESPACE_NAME_UID` for each pod.
const POD_LOGS: &str = "/var/log/pods";

/// Finds owners by files; where they are can be told, for containers that mount the host's.
#[derive(Debug, Clone)]
pub struct ProcessOwners {
    proc_path: PathBuf,
    passwd_path: PathBuf,
    pod_logs: PathBuf,
    /// The owners of the processes of the sample before.
    known: BTreeMap<u32, Owner>,
}

impl ProcessOwners {
    pub fn new(proc_path: PathBuf, passwd_path: PathBuf) -> Self {
        Self { proc_path, passwd_path, pod_logs: POD_LOGS.into(), known: BTreeMap::new() }
    }

    /// The owners of these processes with their shares; empty where there are no processes.
    pub fn holding(&mut self, pids: &[u32], allocations: &Allocations) -> Reading<Holding> {
        let before = std::mem::take(&mut self.known);
        let mut unknown = None;
        for &pid in pids {
            let owner = match before.get(&pid) {
                Some(owner) => Ok(owner.clone()),
                None => self.owner(pid, allocations),
            };
            match owner {
                Ok(owner) => drop(self.known.insert(pid, owner)),
                Err(reason) => unknown = Some(reason),
            }
        }
        if let Some(reason) = unknown {
            return Reading::Absent(reason);
        }
        let owners: BTreeSet<&Owner> = self.known.values().collect();
        shares(owners.into_iter().map(|owner| (owner.clone(), 1)))
    }

    fn owner(&self, pid: u32, allocations: &Allocations) -> Result<Owner, Absence> {
        let folder = self.proc_path.join(pid.to_string());
        // Not there and not readable are one: the process exists, since the driver lists it, and
        // who runs it is kept from us.
        let status = std::fs::read_to_string(folder.join("status")).map_err(|_| Absence::NoPermission)?;
        let uid = real_uid(&status).ok_or(Absence::Failed)?;
        let user = self.user_name(uid);
        // Without the file (an old kernel, another system) the user is still known. Not a measurement.
        let groups = std::fs::read_to_string(folder.join("cgroup")).ok();
        match groups.as_deref().map_or(Place::Elsewhere, cgroup::place) {
            Place::SlurmJob(job) => slurm_owner(job, &user, allocations),
            Place::Pod(uid) => Ok(self.pod_owner(&uid)),
            Place::Unit(name) => Ok(owner(OwnerKind::Systemd, name)),
            Place::Elsewhere => {
                let claimed = claimed_job(&folder).and_then(|job| allocations.jobs.get(&job)?.clone());
                Ok(claimed.filter(|job| job.name == user).unwrap_or_else(|| owner(OwnerKind::User, user)))
            }
        }
    }

    fn user_name(&self, uid: u32) -> String {
        // Without the file, users go by their numbers.
        let passwd = std::fs::read_to_string(&self.passwd_path).unwrap_or_default(); // not a measurement
        user_name(&passwd, uid).unwrap_or_else(|| uid.to_string())
    }

    /// A pod by its UID: by name where the kubelet's log folders tell it.
    fn pod_owner(&self, uid: &str) -> Owner {
        let folders = std::fs::read_dir(&self.pod_logs).into_iter().flatten().flatten();
        let named = folders.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (namespace, pod) = name.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
            Some((namespace.to_owned(), pod.to_owned()))
        });
        let (account, name) = named.into_iter().next().unwrap_or_else(|| (String::new(), uid.to_owned()));
        Owner { account, ..owner(OwnerKind::Kubernetes, name) }
    }
}

fn owner(kind: OwnerKind, name: String) -> Owner {
    Owner { kind, account: String::new(), name, job: String::new() }
}

/// A process of a Slurm job. One that has only just begun is asked for again with the next sample.
fn slurm_owner(job: u32, user: &str, allocations: &Allocations) -> Result<Owner, Absence> {
    match allocations.jobs.get(&job) {
        Some(Some(owner)) => Ok(owner.clone()),
        None if allocations.slurm => Err(Absence::Pending),
        Some(None) | None => Ok(Owner { job: job.to_string(), ..owner(OwnerKind::Slurm, user.to_owned()) }),
    }
}

/// The job that a process's environment names, where it may be read.
fn claimed_job(folder: &Path) -> Option<u32> {
    let environment = std::fs::read(folder.join("environ")).ok()?;
    let value = environment.split(|&b| b == 0).find_map(|entry| entry.strip_prefix(b"SLURM_JOB_ID="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The first of the four numbers after `Uid:` is the user who started the process.
fn real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The name of a user by a file of `name:password:uid:…` lines.
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        (number == uid && fits).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
