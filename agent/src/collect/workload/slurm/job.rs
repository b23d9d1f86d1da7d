//! What `scontrol` prints of jobs and nodes.
//!
//! ```text
//! JobId=7 JobName=train
//!    UserId=ada(1001) GroupId=ada(1001) MCS_label=N/A
//!    Priority=4294901759 Nice=0 Account=physics QOS=(null)
//!    JobState=RUNNING Reason=None Dependency=(null)
//!    …
//!    JOB_GRES=gpu:h100:2
//!      Nodes=gpu-[01-02] CPU_IDs=0-7 Mem=0 GRES=gpu:h100:2(IDX:0-1)
//!    MinCPUsNode=1 …
//!    Command=/data/train.sh
//! ```
//!
//! The job's name is what its user typed, line breaks included, so it may look like any of these lines.
//! Everything is therefore read behind the line `UserId=`, and a text that has two of them is refused: who
//! makes his job unreadable is found by his processes.

use gpuledger_proto::frame::{Owner, OwnerKind};
use std::collections::{BTreeMap, BTreeSet};

const USER: &str = "   UserId=";

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub user: String,
    pub account: String,
    /// The GPUs by their position among the node's, each with its weight beside other jobs.
    pub gpus: BTreeMap<u32, u64>,
}

impl Job {
    pub fn owner(&self, id: u32) -> Owner {
        let (account, name) = (self.account.clone(), self.user.clone());
        Owner { kind: OwnerKind::Slurm, account, name, job: id.to_string() }
    }

    pub fn positions(&self) -> impl Iterator<Item = u32> {
        self.gpus.keys().copied()
    }
}

/// A job as `scontrol show job -d` prints it, if it runs.
pub fn parse(text: &str, node: &str) -> Result<Option<Job>, &'static str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(USER));
    let Some(user) = lines.next().and_then(|line| line.strip_prefix(USER)) else {
        return Err("printed no job in a known form");
    };
    let rest: Vec<&str> = lines.collect();
    if rest.iter().any(|line| line.starts_with(USER)) {
        return Err("the job's name has line breaks that look like another job's record; it is not trusted");
    }
    let field = |line: &str, name: &str| {
        rest.iter().find_map(|l| l.strip_prefix(line)?.split_once(name).map(|f| f.1))
    };
    let state = rest.iter().find_map(|line| line.strip_prefix("   JobState=")).ok_or("told no state")?;
    if !["RUNNING", "SUSPENDED", "CONFIGURING", "STOPPED"].contains(&word(state)) {
        return Ok(None);
    }
    let account =
        field("   Priority=", " Account=").map(|rest| rest.rsplit_once(" QOS=").map_or(rest, |f| f.0));
    let details: Vec<&str> = rest
        .iter()
        .take_while(|line| !line.starts_with("   MinCPUsNode="))
        .filter_map(|line| line.strip_prefix("     Nodes="))
        .collect();
    // Nodes with the same part are one line; where there is only one, this node is in it.
    let mine = details.iter().filter(|line| details.len() == 1 || matches_hosts(word(line), node));
    let gres = mine.filter_map(|line| line.split_once(" GRES=").map(|f| f.1));
    let mut gpus = BTreeMap::new();
    for (count, positions) in gres.flat_map(resources) {
        // In thousandths, since a count over several GPUs need not be a multiple of their number.
        let weight = count.saturating_mul(1_000) / u64::try_from(positions.len()).unwrap_or(u64::MAX).max(1);
        gpus.extend(positions.into_iter().map(|position| (position, weight.max(1))));
    }
    Ok(Some(Job {
        user: user.split('(').next().map(str::to_owned).ok_or("told no user")?,
        account: account.filter(|name| *name != "(null)").map(str::to_owned).unwrap_or_default(), // not a measurement
        gpus,
    }))
}

/// The positions of the GPUs in use, as `scontrol show node -d` prints them.
pub fn used(text: &str) -> BTreeSet<u32> {
    let used = text.lines().filter_map(|line| line.trim_start().strip_prefix("GresUsed="));
    used.flat_map(resources).flat_map(|(_, positions)| positions).collect()
}

/// `gpu:h100:2(IDX:0,2-3),shard:h100:4(IDX:1)`: how many, and of which GPUs. Shards and MPS are parts of a
/// GPU; what has no positions is none.
fn resources(text: &str) -> Vec<(u64, Vec<u32>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('(') {
        let Some((inside, after)) = behind.split_once(')') else { break };
        let name = before.trim_start_matches(',');
        let of_gpus = ["gpu", "shard", "mps"].contains(&name.split(':').next().unwrap_or(name));
        if let Some(positions) = inside.strip_prefix("IDX:").filter(|_| of_gpus).map(numbers)
            && !positions.is_empty()
        {
            let count = name.rsplit(':').next().and_then(|count| count.parse().ok());
            found.push((count.unwrap_or(1), positions));
        }
        rest = after;
    }
    found
}

/// `0,2-3` as numbers; a range that is none, or longer than a node is large, is left out.
pub fn numbers(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
        (low <= high && high - low < 1_024).then_some(low..=high)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn word(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

/// Whether Slurm's list of hosts (`gpu-[01-04,07],login1`) has this one.
pub fn matches_hosts(list: &str, host: &str) -> bool {
    let mut depth = 0;
    let parts = list.split(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    });
    parts.into_iter().any(|part| matches_host(part, host))
}

fn matches_host(pattern: &str, host: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('[') else { return pattern == host };
    let (Some((ranges, suffix)), Some(name)) = (rest.split_once(']'), host.strip_prefix(prefix)) else {
        return false;
    };
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    (1..=digits).any(|length| {
        let (number, behind) = name.split_at(length);
        ranges.split(',').any(|range| in_range(range, number)) && matches_host(suffix, behind)
    })
}

/// `01-04`: numbers are as wide as they are written, and grow beyond that.
fn in_range(range: &str, number: &str) -> bool {
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let wide = number.len() == low.len() || number.len() > low.len() && !number.starts_with('0');
    match (low.parse::<u64>(), high.parse::<u64>(), number.parse::<u64>()) {
        (Ok(low), Ok(high), Ok(number)) => wide && (low..=high).contains(&number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Slurm 22.05 prints it.
    fn record(name: &str, state: &str, details: &str) -> String {
        format!(
            "JobId=7 JobName={name}\n   UserId=ada(1001) GroupId=ada(1001) MCS_label=N/A\n   Priority=4294901759 Nice=0 \
             Account=physics QOS=(null)\n   JobState={state} Reason=None Dependency=(null)\n   Partition=gpu AllocNode:Sid=l:1\n   \
             NodeList=gpu-01\n   TRES=cpu=1,node=1,billing=1\n   JOB_GRES=gpu:h100:2\n{details}   MinCPUsNode=1 MinMemoryNode=0\n   \
             Command=(null)\n   WorkDir=/data/ada\n"
        )
    }

    fn positions(details: &str, node: &str) -> Vec<(u32, u64)> {
        parse(&record("train", "RUNNING", details), node).unwrap().unwrap().gpus.into_iter().collect()
    }

    #[test]
    fn a_running_job_is_read_with_its_user_account_and_gpus_on_this_node() {
        let text =
            record("train", "RUNNING", "     Nodes=gpu-01 CPU_IDs=0-1 Mem=0 GRES=gpu:h100:2(IDX:0,3)\n");
        let job = parse(&text, "gpu-01").unwrap().unwrap();
        assert_eq!((job.user.as_str(), job.account.as_str()), ("ada", "physics"));
        assert_eq!(job.positions().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(job.owner(7).job, "7");
        let ended = record("train", "COMPLETED", "     Nodes=gpu-01 CPU_IDs=0 Mem=0 GRES=\n");
        assert_eq!(parse(&ended, "gpu-01"), Ok(None));
        let bare = text.replace("Account=physics", "Account=(null)");
        assert_eq!(parse(&bare, "gpu-01").unwrap().unwrap().account, "");
    }

    #[test]
    fn of_a_job_on_many_nodes_this_node_s_part_is_taken() {
        let details = "     Nodes=gpu-[01-03] CPU_IDs=0 Mem=0 GRES=gpu:h100:2(IDX:0-1)\n     Nodes=gpu-04 CPU_IDs=0 Mem=0 \
                       GRES=gpu:h100:1(IDX:7)\n";
        assert_eq!(positions(details, "gpu-02"), [(0, 1_000), (1, 1_000)]);
        assert_eq!(positions(details, "gpu-04"), [(7, 1_000)]);
        assert_eq!(positions(details, "gpu-05"), []);
    }

    #[test]
    fn parts_of_a_gpu_have_weights_and_other_resources_none() {
        let shards =
            "     Nodes=n CPU_IDs=0 Mem=0 GRES=shard:h100:3(IDX:2),license:1(IDX:5),gpu:0(IDX:N/A)\n";
        assert_eq!(positions(shards, "n"), [(2, 3_000)]);
        assert_eq!(positions("     Nodes=n CPU_IDs=0 Mem=0 GRES=\n", "n"), []);
        assert_eq!(positions("", "n"), []);
    }

    #[test]
    fn a_job_name_that_looks_like_a_record_is_not_believed() {
        let name = "x\n   UserId=root(0) GroupId=root(0)\n   Priority=1 Nice=0 Account=rich QOS=(null)\n   JobState=RUNNING";
        assert!(parse(&record(name, "RUNNING", ""), "n").unwrap_err().contains("not trusted"));
        let partly = record("x\n     Nodes=n GRES=gpu:1(IDX:6)\n   Account=rich", "RUNNING", "");
        let job = parse(&partly, "n").unwrap().unwrap();
        assert_eq!((job.account.as_str(), job.gpus.len()), ("physics", 0));
        assert!(parse("slurm_load_jobs error", "n").is_err());
    }

    #[test]
    fn the_gpus_in_use_are_read_from_a_node_s_record() {
        let text = "NodeName=vm Arch=x86_64\n   Gres=gpu:h100:8\n   GresUsed=gpu:h100:3(IDX:1-3),shard:h100:1(IDX:0)\n";
        assert_eq!(used(text), [0, 1, 2, 3].into());
        assert!(used("   GresUsed=gpu:h100:0(IDX:N/A)\n").is_empty());
        assert!(numbers("5-2,x,0-4000000000").is_empty());
    }

    #[test]
    fn a_list_of_hosts_is_read_as_slurm_writes_it() {
        for (list, host, is_in) in [
            ("gpu-[01-04,07],login1", "gpu-03", true),
            ("gpu-[01-04,07],login1", "gpu-07", true),
            ("gpu-[01-04,07],login1", "gpu-3", false),
            ("gpu-[01-04,07],login1", "gpu-05", false),
            ("gpu-[01-04,07],login1", "login1", true),
            ("n[8-12]", "n10", true),
            ("r[1-2]n[01-02]", "r2n01", true),
            ("r[1-2]n[01-02]", "r3n01", false),
            ("n[1", "n1", false),
        ] {
            assert_eq!(matches_hosts(list, host), is_in, "{list} {host}");
        }
    }
}
