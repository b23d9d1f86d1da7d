//! Who holds a GPU by a real Slurm: one node with eight simulated GPUs as GRES, its own munge, and jobs
//! that come, go, share a GPU, and hold one without running anything.
//!
//! All of Slurm runs in a process namespace of its own, so that one kill ends it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gpuledger_e2e::fake::FakeNvml;
use gpuledger_e2e::process::{Process, finish, run, run_json};
use gpuledger_e2e::{built, net, tool};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of one node.
struct Slurm {
    folder: tempfile::TempDir,
    conf: PathBuf,
    _processes: Process,
}

impl Slurm {
    /// `None` after one line that says what is missing.
    fn start() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            tool::skip("a Slurm of the test's own needs root")?;
            return Ok(None);
        }
        for program in ["/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/sbin/munged"] {
            if !Path::new(program).exists() {
                tool::skip(&format!(
                    "{program} is missing (./tests/parts puts slurm-wlm and munge in place)"
                ))?;
                return Ok(None);
            }
        }
        let folder = tempfile::tempdir()?;
        // Jobs of other users have to reach munge's socket.
        run(Command::new("chmod").arg("755").arg(folder.path()))?;
        for part in ["state", "spool", "munge", "dev"] {
            std::fs::create_dir(folder.path().join(part))?;
        }
        for minor in 0..8 {
            let file = folder.path().join(format!("dev/nvidia{minor}"));
            run(Command::new("mknod").arg(file).args(["c", "195", &minor.to_string()]))?;
        }
        std::fs::write(folder.path().join("munge/key"), [7; 1024])?;
        run(Command::new("chmod").arg("400").arg(folder.path().join("munge/key")))?;
        let conf = folder.path().join("slurm.conf");
        write_configuration(folder.path(), &conf)?;
        let script = format!(
            "set -e; d={0}; munged --force --key-file $d/munge/key --socket $d/munge/socket --pid-file $d/munge/pid \
             --log-file $d/munge/log --seed-file $d/munge/seed; slurmctld -f $d/slurm.conf; slurmd -f $d/slurm.conf -N gpu-01; \
             exec sleep 600",
            folder.path().display()
        );
        let mut command = Command::new("unshare");
        command.args(["-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", &script]);
        let processes = Process::start("slurm", command.env("PATH", path()), folder.path())?;
        let slurm = Self { folder, conf, _processes: processes };
        slurm.until("node is idle", || Ok(slurm.ask("sinfo", &["-h", "-o", "%T"])?.trim() == "idle"))?;
        Ok(Some(slurm))
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = finish(Command::new(program).args(arguments).env("SLURM_CONF", &self.conf))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !holds()? {
            if started.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.path().join("ctld.log")).unwrap_or_default();
                bail!("not within {PATIENCE:?}: {what}\n{}\n{log}", self.ask("scontrol", &["show", "node"])?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Submits a job that sleeps, and waits until it runs.
    fn submit(&self, account: &str, arguments: &[&str]) -> Result<String> {
        let fixed = ["--parsable", "--output=/dev/null", "--chdir=/", "--uid=nobody", "-A", account];
        let wrap = ["--wrap", "sleep 600"];
        let id = self.ask("sbatch", &[&fixed[..], arguments, &wrap].concat())?.trim().to_owned();
        ensure!(!id.is_empty(), "sbatch refused the job of {account}");
        self.until("the job runs", || {
            Ok(self.ask("squeue", &["-h", "-j", &id, "-o", "%T"])?.trim() == "RUNNING")
        })?;
        Ok(id)
    }

    fn cancel(&self, id: &str) -> Result<()> {
        self.ask("scancel", &[id])?;
        self.until("the job is over", || Ok(self.ask("squeue", &["-h", "-j", id])?.trim().is_empty()))
    }
}

/// The programs of Slurm and munge are where an ordinary user's path does not lead.
fn path() -> String {
    format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default())
}

fn write_configuration(folder: &Path, conf: &Path) -> Result<()> {
    let (control, daemon) = (net::free_port()?, net::free_port()?);
    let host = run(&mut Command::new("hostname"))?;
    let (folder, host) = (folder.display(), host.trim());
    let text = format!(
        "ClusterName=t\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\n\
         AuthInfo=socket={folder}/munge/socket\nCredType=cred/munge\nSlurmctldPort={control}\nSlurmdPort={daemon}\n\
         StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\nSlurmctldPidFile={folder}/ctld.pid\n\
         SlurmdPidFile={folder}/d.pid\nSlurmctldLogFile={folder}/ctld.log\nSlurmdLogFile={folder}/d.log\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
         SelectTypeParameters=CR_Core\nGresTypes=gpu,shard\nJobAcctGatherType=jobacct_gather/none\n\
         SwitchType=switch/none\nMpiDefault=none\nReturnToService=2\nKillWait=1\nSlurmdParameters=config_overrides\n\
         NodeName=gpu-01 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=100 Gres=gpu:h100:8,shard:32\n\
         PartitionName=gpu Nodes=gpu-01 Default=YES MaxTime=INFINITE State=UP\n"
    );
    std::fs::write(conf, text)?;
    let gres =
        format!("AutoDetect=off\nName=gpu Type=h100 File={folder}/dev/nvidia[0-7]\nName=shard Count=32\n");
    std::fs::write(conf.with_file_name("gres.conf"), gres)?;
    std::fs::write(conf.with_file_name("cgroup.conf"), "CgroupAutomount=no\n")?;
    Ok(())
}

/// A holder as `account/user/job part`, for each GPU.
type Holders = Vec<Vec<String>>;

/// What a freshly started agent finds.
fn probe(slurm: &Slurm, fake: &FakeNvml) -> Result<Holders> {
    let mut command = Command::new(built::binary("gpuledger-agent")?);
    command.args(["probe", "--format", "json", "--node=gpu-01", "--slurm-conf"]).arg(&slurm.conf);
    let report = run_json(fake.attach(command.env("SLURMD_NODENAME", "gpu-01")))?;
    let gpus = report["gpus"].as_array().context("no GPUs")?;
    let holder = |holder: &serde_json::Value| {
        let text = |name: &str| holder[name].as_str().unwrap_or("?").to_owned();
        format!("{}/{}/{} {}", text("account"), text("name"), text("job"), holder["share_ppm"])
    };
    let holders = |gpu: &serde_json::Value| {
        let holders = gpu["holders"].as_array();
        holders.map(|holders| holders.iter().map(holder).collect()).context(format!("holder unknown: {gpu}"))
    };
    gpus.iter().map(holders).collect()
}

fn whole(account: &str, job: &str) -> Vec<String> {
    vec![format!("{account}/nobody/{job} 1000000")]
}

#[test]
fn slurm_s_jobs_hold_their_gpus_from_start_to_end_whether_anything_runs_on_them_or_not() -> Result<()> {
    let Some(slurm) = Slurm::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let fake = FakeNvml::new(folder.path(), "[[gpu]]\ncount = 8\n[[gpu.phase]]\npower_mw = 70000\n")?;
    ensure!(probe(&slurm, &fake)?.iter().all(Vec::is_empty), "nobody holds anything yet");

    let first = slurm.submit("physics", &["--gres=gpu:2"])?;
    // Granted and left alone: no process, no step, no socket.
    slurm.ask("salloc", &["-A", "biology", "--no-shell", "--gres=gpu:h100:1"])?;
    let silent = slurm.ask("squeue", &["-h", "-A", "biology", "-o", "%A"])?.trim().to_owned();
    let small = slurm.submit("chemistry", &["--gres=shard:1"])?;
    let large = slurm.submit("history", &["--gres=shard:3"])?;
    let spoof = "x\n   UserId=root(0) GroupId=root(0)\n   Priority=1 Nice=0 Account=rich QOS=(null)";
    let name = format!("--job-name={spoof}");

    let holders = probe(&slurm, &fake)?;
    ensure!(holders[0] == whole("physics", &first) && holders[1] == whole("physics", &first), "{holders:?}");
    ensure!(
        holders[2] == [format!("biology/root/{silent} 1000000")],
        "an allocation without a process: {holders:?}"
    );
    let shared = &holders[3];
    ensure!(
        shared.len() == 2
            && shared.contains(&format!("chemistry/nobody/{small} 250000"))
            && shared.contains(&format!("history/nobody/{large} 750000")),
        "a shared GPU is split by its shards: {holders:?}"
    );
    ensure!(holders[4..].iter().all(Vec::is_empty), "the rest is free: {holders:?}");

    slurm.cancel(&first)?;
    slurm.cancel(&silent)?;
    let holders = probe(&slurm, &fake)?;
    ensure!(holders[..3].iter().all(Vec::is_empty) && holders[3].len() == 2, "{holders:?}");

    // A job whose name looks like another's record is not believed, and its GPU is not called free.
    slurm.submit("physics", &["--gres=gpu:1", &name])?;
    ensure!(probe(&slurm, &fake).is_err_and(|error| error.to_string().contains("holder unknown")));
    Ok(())
}

#[test]
fn a_running_agent_sees_a_job_begin_and_end_while_it_samples() -> Result<()> {
    let Some(slurm) = Slurm::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let fake = FakeNvml::new(folder.path(), "[[gpu]]\ncount = 8\n[[gpu.phase]]\npower_mw = 70000\n")?;
    let mut command = Command::new(built::binary("gpuledger-agent")?);
    let spool = folder.path().join("spool");
    command.args([
        "run",
        "--insecure",
        "--collector=127.0.0.1:1",
        "--sample-interval=500ms",
        "--batch-span=1s",
    ]);
    command.arg("--slurm-conf").arg(&slurm.conf).arg("--spool-dir").arg(&spool);
    let mut agent =
        Process::start("agent", fake.attach(command.env("SLURMD_NODENAME", "gpu-01")), folder.path())?;
    slurm.until("the library is open", || {
        agent.must_run()?;
        Ok(agent.errors().contains("GPU library is open"))
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let job = slurm.submit("physics", &["--gres=gpu:1"])?;
    std::thread::sleep(Duration::from_secs(5));
    slurm.cancel(&job)?;
    std::thread::sleep(Duration::from_secs(5));
    agent.stop(PATIENCE)?;

    let mut seen: Vec<Vec<String>> = Vec::new();
    for (_, batch) in gpuledger_e2e::spooled::batches(&spool)? {
        seen.extend(gpuledger_e2e::spooled::holders(&batch, 1));
    }
    seen.dedup();
    let expected = [vec![], vec![format!("physics/nobody/{job}")], vec![]];
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}
