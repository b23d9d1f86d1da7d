//! Which GPUs Slurm has given to which job, without burdening `slurmctld`.
//!
//! What happens on this node is seen here, by signs that cost nothing to look at ([`signs`]): a job that
//! has a process here has a control group and a socket of its step daemon. `scontrol show job` is asked
//! once when such a sign appears and once when it goes, so a job's start and end are seen with the next
//! look, and a cluster of ten thousand nodes asks as often as it starts jobs.
//!
//! An allocation in which nothing runs leaves no sign (`salloc` before its first `srun`). For these the
//! node's own record is read once a minute (`scontrol show node`): only where it has more GPUs in use than
//! are accounted for is the list of jobs asked for, and such a job is asked for every ten seconds.
//!
//! Where Slurm hides jobs (`PrivateData=jobs`) the agent's user has to be an operator.

pub mod conf;
pub mod job;
pub mod signs;

use super::allocation::{Allocations, Device, Grant};
use crate::collect::command::{self, CommandError};
use conf::SlurmConf;
use gpuledger_proto::reading::Absence;
use job::Job;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// One look at the node's record for allocations without a sign.
const NODE_EVERY: Duration = Duration::from_secs(60);
/// A job without a sign, and one of which nothing could be found out.
const AGAIN: Duration = Duration::from_secs(10);
/// A job with a sign: its allocation may be changed, which is rare.
const SELDOM: Duration = Duration::from_secs(600);
/// Questions in one look, so that many jobs at once do not hold up the others' end for long.
const QUESTIONS_MAX: usize = 16;
/// Jobs of one node; more are not allocations of GPUs any more.
const JOBS_MAX: usize = 1_024;
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Slurm, as it is asked.
pub trait Slurm: Send {
    /// The job, if it runs.
    fn job(&self, id: u32) -> Result<Option<Job>, CommandError>;
    /// The positions of the GPUs that are in use on the node.
    fn used(&self) -> Result<BTreeSet<u32>, CommandError>;
    /// All jobs that run on the node.
    fn running(&self) -> Result<Vec<u32>, CommandError>;
}

/// Slurm's own programs.
pub struct Programs {
    pub conf: PathBuf,
    pub node: String,
}

impl Programs {
    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, CommandError> {
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", &self.conf).env("SLURM_TIME_FORMAT", "standard");
        command::ask(&mut command, ANSWER_MAX)
    }
}

impl Slurm for Programs {
    fn job(&self, id: u32) -> Result<Option<Job>, CommandError> {
        match self.ask("scontrol", &["show", "job", "-d", &id.to_string()]) {
            Ok(text) => job::parse(&text, &self.node).map_err(|message| CommandError::Failed {
                program: format!("scontrol show job {id}"),
                message: message.to_owned(),
            }),
            // A job that is over is forgotten after some minutes.
            Err(CommandError::Failed { message, .. }) if message.contains("Invalid job id") => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn used(&self) -> Result<BTreeSet<u32>, CommandError> {
        self.ask("scontrol", &["show", "node", "-d", &self.node]).map(|text| job::used(&text))
    }

    fn running(&self) -> Result<Vec<u32>, CommandError> {
        let arguments = ["--noheader", "--nodelist", &self.node, "--states=RUNNING", "--format=%A"];
        let text = self.ask("squeue", &arguments)?;
        Ok(text.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect())
    }
}

struct Entry {
    /// `None`: nothing could be found out.
    found: Option<Job>,
    signed: bool,
    ask_at: Instant,
    over: bool,
}

/// The jobs of this node.
pub struct SlurmJobs<S> {
    slurm: S,
    /// The minor numbers of the GPUs in Slurm's order; `None`: as they are numbered.
    minors: Option<Vec<u32>>,
    jobs: BTreeMap<u32, Entry>,
    node_at: Instant,
}

impl SlurmJobs<Programs> {
    /// Slurm on this node, if it is there.
    pub fn find(conf: Option<&Path>, host: &str, now: Instant) -> Option<(Self, SlurmConf)> {
        let conf = SlurmConf::find(conf)?;
        let node = conf.node_name(host);
        let minors = conf.minors(&node);
        let jobs = Self::new(Programs { conf: conf.path.clone(), node }, minors, now);
        Some((jobs, conf))
    }
}

impl<S: Slurm> SlurmJobs<S> {
    pub fn new(slurm: S, minors: Option<Vec<u32>>, now: Instant) -> Self {
        Self { slurm, minors, jobs: BTreeMap::new(), node_at: now }
    }

    /// Looks at the signs, asks what has to be asked, and adds what it knows. An error is the last one
    /// that was met.
    pub fn look(
        &mut self,
        signs: &BTreeSet<u32>,
        now: Instant,
        into: &mut Allocations,
    ) -> Result<(), CommandError> {
        into.slurm = true;
        for &id in signs.iter().take(JOBS_MAX) {
            self.jobs.entry(id).or_insert(Entry { found: None, signed: true, ask_at: now, over: false });
        }
        for (id, entry) in &mut self.jobs {
            let signed = signs.contains(id);
            if entry.signed && !signed {
                entry.ask_at = now;
            }
            entry.signed = signed;
        }
        let mut ended = self.ask_for_jobs(now);
        if now >= self.node_at {
            self.node_at = now + NODE_EVERY;
            ended = ended.and(self.look_for_silent_jobs(now));
        }
        self.jobs.retain(|_, entry| entry.signed || entry.found.is_some());
        self.tell(into);
        ended
    }

    fn ask_for_jobs(&mut self, now: Instant) -> Result<(), CommandError> {
        let mut ended = Ok(());
        let due = self.jobs.iter_mut().filter(|(_, entry)| entry.ask_at <= now);
        for (&id, entry) in due.take(QUESTIONS_MAX) {
            match self.slurm.job(id) {
                Ok(found) => {
                    entry.over = found.is_none();
                    let settled = entry.signed && found.is_some();
                    entry.ask_at = now + if settled { SELDOM } else { AGAIN };
                    entry.found = found;
                }
                Err(error) => {
                    // What it left here is gone, so it is over, whatever Slurm would say.
                    entry.found = entry.found.take().filter(|_| entry.signed);
                    entry.ask_at = now + AGAIN;
                    ended = Err(error);
                    // One that does not answer is not asked again in the same look.
                    break;
                }
            }
        }
        ended
    }

    fn look_for_silent_jobs(&mut self, now: Instant) -> Result<(), CommandError> {
        let used = self.slurm.used()?;
        let known: BTreeSet<u32> =
            self.jobs.values().filter_map(|entry| entry.found.as_ref()).flat_map(Job::positions).collect();
        if used.is_subset(&known) {
            return Ok(());
        }
        for id in self.slurm.running()?.into_iter().take(JOBS_MAX) {
            if !self.jobs.contains_key(&id)
                && let Some(found) = self.slurm.job(id)?
            {
                let entry = Entry { found: Some(found), signed: false, ask_at: now + AGAIN, over: false };
                self.jobs.insert(id, entry);
            }
        }
        Ok(())
    }

    fn tell(&self, into: &mut Allocations) {
        for (&id, entry) in &self.jobs {
            let Some(job) = &entry.found else {
                if !entry.over {
                    into.jobs.insert(id, None);
                    into.unsure = Some(Absence::Failed);
                }
                continue;
            };
            into.jobs.insert(id, Some(job.owner(id)));
            for (position, weight) in &job.gpus {
                let at = usize::try_from(*position).ok();
                let minor = match &self.minors {
                    Some(minors) => at.and_then(|at| minors.get(at).copied()),
                    None => Some(*position),
                };
                let grant =
                    |minor| Grant { device: Device::Minor(minor), owner: job.owner(id), weight: *weight };
                into.grants.extend(minor.map(grant));
            }
        }
    }
}

#[cfg(test)]
mod tests;
