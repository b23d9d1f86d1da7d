//! Processes of users, jobs, pods and services, as files say whose they are.

use super::*;

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
        let status = format!("Name:\tpython\nUmask:\t0022\nUid:\t{uid}\t0\t0\t0\nGid:\t100\t100\t100\t100\n");
        std::fs::write(directory.join("status"), status).unwrap();
    }

    fn end(&self, pid: u32) {
        std::fs::remove_dir_all(self.path().join(pid.to_string())).unwrap();
    }

    fn group(&self, pid: u32, path: &str) {
        let text = format!("0::{path}\n");
        std::fs::write(self.path().join(pid.to_string()).join("cgroup"), text).unwrap();
    }

    fn owners(&self) -> ProcessOwners {
        let owners = ProcessOwners::new(self.path().to_owned(), self.path().join("passwd"));
        ProcessOwners { pod_logs: self.path().join("pods"), ..owners }
    }
}

fn names(holding: Reading<Holding>) -> Vec<(String, u32)> {
    holding.value().unwrap().into_iter().map(|s| (s.owner.name, s.share_ppm)).collect()
}

#[test]
fn no_process_is_nobody_and_not_absence() {
    assert_eq!(Machine::new(&[]).owners().holding(&[], &Allocations::default()), Reading::Value(Vec::new()));
}

#[test]
fn one_user_with_many_processes_holds_the_whole() {
    let machine = Machine::new(&[(10, 1001), (11, 1001)]);
    assert_eq!(
        names(machine.owners().holding(&[10, 11], &Allocations::default())),
        [("alice".to_owned(), 1_000_000)]
    );
}

#[test]
fn three_users_share_by_equal_parts_that_sum_to_the_whole() {
    let machine = Machine::new(&[(10, 1002), (11, 1001), (12, 4711), (13, 1002)]);
    let shares = names(machine.owners().holding(&[10, 11, 12, 13], &Allocations::default()));
    let expected = [("4711".to_owned(), 333_334), ("alice".to_owned(), 333_333), ("bob".to_owned(), 333_333)];
    assert_eq!(shares, expected);
}

#[test]
fn a_process_that_cannot_be_looked_at_makes_the_owner_unknown() {
    let machine = Machine::new(&[(10, 1001)]);
    assert_eq!(
        machine.owners().holding(&[10, 99], &Allocations::default()),
        Reading::Absent(Absence::NoPermission)
    );
}

#[test]
fn a_process_that_ended_after_it_was_listed_still_counts_for_its_user() {
    let machine = Machine::new(&[(10, 1001), (11, 1002)]);
    let mut owners = machine.owners();
    assert_eq!(owners.holding(&[10, 11], &Allocations::default()).value().unwrap().len(), 2);
    machine.end(10);
    assert_eq!(owners.holding(&[10, 11], &Allocations::default()).value().unwrap().len(), 2);
    assert_eq!(names(owners.holding(&[11], &Allocations::default())), [("bob".to_owned(), 1_000_000)]);
    machine.start(10, 1002);
    assert_eq!(
        names(owners.holding(&[10], &Allocations::default())),
        [("bob".to_owned(), 1_000_000)],
        "a number used again is read again"
    );
}

#[test]
fn more_users_than_a_holding_can_name_are_unknown() {
    let processes: Vec<(u32, u32)> = (1..=65).map(|n| (n, 5_000 + n)).collect();
    let machine = Machine::new(&processes);
    let pids: Vec<u32> = processes.iter().map(|p| p.0).collect();
    assert_eq!(machine.owners().holding(&pids, &Allocations::default()), Reading::Absent(Absence::Failed));
    assert_eq!(machine.owners().holding(&pids[..64], &Allocations::default()).value().unwrap().len(), 64);
}

fn of(machine: &Machine, allocations: &Allocations) -> Reading<Owner> {
    machine.owners().holding(&[10], allocations).map(|holding| holding[0].owner.clone())
}

fn job(user: &str) -> Owner {
    Owner {
        kind: OwnerKind::Slurm,
        account: "physics".to_owned(),
        name: user.to_owned(),
        job: "7".to_owned(),
    }
}

#[test]
fn a_process_of_a_job_belongs_to_the_job_as_soon_as_slurm_has_told_whose_it_is() {
    let machine = Machine::new(&[(10, 1001)]);
    machine.group(10, "/system.slice/slurmstepd.scope/job_7/step_0");
    let mut allocations = Allocations { slurm: true, ..Allocations::default() };
    assert_eq!(of(&machine, &allocations), Reading::Absent(Absence::Pending));
    allocations.jobs.insert(7, Some(job("alice")));
    assert_eq!(of(&machine, &allocations), Reading::Value(job("alice")));
    // Slurm does not answer, or is not known of here: the job by its number, for the user.
    allocations.jobs.insert(7, None);
    let bare = Owner { account: String::new(), ..job("alice") };
    assert_eq!(of(&machine, &allocations), Reading::Value(bare.clone()));
    assert_eq!(of(&machine, &Allocations::default()), Reading::Value(bare));
}

#[test]
fn a_job_that_a_process_claims_counts_only_for_the_job_s_own_user() {
    let machine = Machine::new(&[(10, 1001)]);
    std::fs::write(machine.path().join("10/environ"), b"PATH=/bin\0SLURM_JOB_ID=7\0").unwrap();
    for (user, expected) in [("alice", job("alice")), ("bob", owner(OwnerKind::User, "alice".to_owned()))] {
        let jobs = [(7, Some(job(user)))].into();
        let allocations = Allocations { slurm: true, jobs, ..Allocations::default() };
        assert_eq!(of(&machine, &allocations), Reading::Value(expected));
    }
}

#[test]
fn a_process_of_a_pod_or_a_service_belongs_to_it() {
    let machine = Machine::new(&[(10, 0)]);
    let uid = "1f0c2d3e-aaaa-bbbb-cccc-0123456789ab";
    machine.group(10, &format!("/kubepods/burstable/pod{uid}/12ab"));
    let pod = |account: &str, name: &str| Owner {
        account: account.to_owned(),
        ..owner(OwnerKind::Kubernetes, name.to_owned())
    };
    assert_eq!(of(&machine, &Allocations::default()), Reading::Value(pod("", uid)));
    std::fs::create_dir_all(machine.path().join(format!("pods/ml_train-0_{uid}"))).unwrap();
    assert_eq!(of(&machine, &Allocations::default()), Reading::Value(pod("ml", "train-0")));
    machine.group(10, "/system.slice/ollama.service");
    let service = owner(OwnerKind::Systemd, "ollama.service".to_owned());
    assert_eq!(of(&machine, &Allocations::default()), Reading::Value(service));
}
