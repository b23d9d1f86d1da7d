//! The users whose processes compute on a GPU: pid → uid by `/proc/PID/status`, uid → name by
//! `/etc/passwd`.
//!
//! - Users share a GPU by equal parts, however many processes each has: how a GPU is shared inside
//!   the driver is not known, and a part for each process would pay for forking.
//! - A user without an entry (from a directory service) is named by the number.
//! - A process whose user can't be told makes the whole holding absent: it may be anybody's. That
//!   is so where `/proc` is mounted with `hidepid`, or where the agent runs in a container and
//!   sees other process numbers than the driver gives.
//! - A process keeps its user for as long as it is listed, so nothing is read twice.

use super::Workload;
use gpuledger_proto::frame::{Holding, Owner, OwnerKind, Share};
use gpuledger_proto::limits::{NAME_BYTES_MAX, SHARES_PER_HOLDING_MAX};
use gpuledger_proto::reading::{Absence, Reading};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Finds users by files; where they are can be told, for containers that mount the host's.
#[derive(Debug, Clone)]
pub struct ProcessUsers {
    proc_path: PathBuf,
    passwd_path: PathBuf,
    /// The users of the processes of the sample before.
    known: BTreeMap<u32, String>,
}

impl ProcessUsers {
    pub fn new(proc_path: PathBuf, passwd_path: PathBuf) -> Self {
        Self { proc_path, passwd_path, known: BTreeMap::new() }
    }

    fn user(&self, pid: u32) -> Result<String, Absence> {
        let path = self.proc_path.join(pid.to_string()).join("status");
        // Not there and not readable are one: the process exists, since the driver lists it, and
        // who runs it is kept from us.
        let status = std::fs::read_to_string(path).map_err(|_| Absence::NoPermission)?;
        let uid = real_uid(&status).ok_or(Absence::Failed)?;
        // Without the file, users go by their numbers.
        let passwd = std::fs::read_to_string(&self.passwd_path).unwrap_or_default(); // not a measurement
        Ok(user_name(&passwd, uid).unwrap_or_else(|| uid.to_string()))
    }
}

impl Workload for ProcessUsers {
    fn holding(&mut self, pids: &[u32]) -> Reading<Holding> {
        let before = std::mem::take(&mut self.known);
        let mut unknown = None;
        for &pid in pids {
            let user = match before.get(&pid) {
                Some(user) => Ok(user.clone()),
                None => self.user(pid),
            };
            match user {
                Ok(user) => drop(self.known.insert(pid, user)),
                Err(reason) => unknown = Some(reason),
            }
        }
        match unknown {
            Some(reason) => Reading::Absent(reason),
            None => equal_shares(self.known.values().cloned().collect()),
        }
    }
}

/// Equal parts for all users. More users than a holding can name are not a list of owners any more.
fn equal_shares(users: BTreeSet<String>) -> Reading<Holding> {
    if users.len() > SHARES_PER_HOLDING_MAX {
        return Reading::Absent(Absence::Failed);
    }
    let Some(parts) = gpuledger_units::largest_remainder(1_000_000, &vec![1; users.len()]) else {
        // Nobody to share with: nobody holds it.
        return Reading::Value(Vec::new());
    };
    let owner = |name| Owner { kind: OwnerKind::User, account: String::new(), name, job: String::new() };
    let shares = users.into_iter().zip(parts).map(|(name, part)| {
        let share_ppm = u32::try_from(part).map_err(|_| Absence::Failed)?;
        Ok(Share { owner: owner(name), share_ppm })
    });
    shares.collect::<Result<Holding, Absence>>().into()
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
mod tests {
    use super::*;
    use std::path::Path;

    /// A `/proc` with one process for each (pid, uid), and a passwd that knows alice and bob.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(processes: &[(u32, u32)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for &(pid, uid) in processes {
                machine.start(pid, uid);
            }
            let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1001:100::/:\nbob:x:1002:100::/:\n# no line\n";
            std::fs::write(machine.path().join("passwd"), passwd).unwrap();
            machine
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn start(&self, pid: u32, uid: u32) {
            let directory = self.path().join(pid.to_string());
            std::fs::create_dir(&directory).unwrap();
            // Effective and saved ids differ, as for a setuid program.
            let status =
                format!("Name:\tpython\nUmask:\t0022\nUid:\t{uid}\t0\t0\t0\nGid:\t100\t100\t100\t100\n");
            std::fs::write(directory.join("status"), status).unwrap();
        }

        fn end(&self, pid: u32) {
            std::fs::remove_dir_all(self.path().join(pid.to_string())).unwrap();
        }

        fn users(&self) -> ProcessUsers {
            ProcessUsers::new(self.path().to_owned(), self.path().join("passwd"))
        }
    }

    fn names(holding: Reading<Holding>) -> Vec<(String, u32)> {
        holding.value().unwrap().into_iter().map(|s| (s.owner.name, s.share_ppm)).collect()
    }

    #[test]
    fn no_process_is_nobody_and_not_absence() {
        assert_eq!(Machine::new(&[]).users().holding(&[]), Reading::Value(Vec::new()));
    }

    #[test]
    fn one_user_with_many_processes_holds_the_whole() {
        let machine = Machine::new(&[(10, 1001), (11, 1001)]);
        assert_eq!(names(machine.users().holding(&[10, 11])), [("alice".to_owned(), 1_000_000)]);
    }

    #[test]
    fn three_users_share_by_equal_parts_that_sum_to_the_whole() {
        let machine = Machine::new(&[(10, 1002), (11, 1001), (12, 4711), (13, 1002)]);
        let shares = names(machine.users().holding(&[10, 11, 12, 13]));
        let expected =
            [("4711".to_owned(), 333_334), ("alice".to_owned(), 333_333), ("bob".to_owned(), 333_333)];
        assert_eq!(shares, expected);
    }

    #[test]
    fn a_process_that_cannot_be_looked_at_makes_the_owner_unknown() {
        let machine = Machine::new(&[(10, 1001)]);
        assert_eq!(machine.users().holding(&[10, 99]), Reading::Absent(Absence::NoPermission));
    }

    #[test]
    fn a_process_that_ended_after_it_was_listed_still_counts_for_its_user() {
        let machine = Machine::new(&[(10, 1001), (11, 1002)]);
        let mut users = machine.users();
        assert_eq!(users.holding(&[10, 11]).value().unwrap().len(), 2);
        machine.end(10);
        assert_eq!(users.holding(&[10, 11]).value().unwrap().len(), 2);
        assert_eq!(names(users.holding(&[11])), [("bob".to_owned(), 1_000_000)]);
        machine.start(10, 1002);
        assert_eq!(
            names(users.holding(&[10])),
            [("bob".to_owned(), 1_000_000)],
            "a number used again is read again"
        );
    }

    #[test]
    fn more_users_than_a_holding_can_name_are_unknown() {
        let processes: Vec<(u32, u32)> = (1..=65).map(|n| (n, 5_000 + n)).collect();
        let machine = Machine::new(&processes);
        let pids: Vec<u32> = processes.iter().map(|p| p.0).collect();
        assert_eq!(machine.users().holding(&pids), Reading::Absent(Absence::Failed));
        assert_eq!(machine.users().holding(&pids[..64]).value().unwrap().len(), 64);
    }
}
