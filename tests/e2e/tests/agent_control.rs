//! What a person does to a running agent: pauses it, reloads its configuration, ends it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::fake::FakeNvml;
use gpuledger_e2e::process::{Process, finish, run};
use gpuledger_e2e::{built, spooled, tool};
use gpuledger_proto::catalogue;
use gpuledger_proto::reading::{Absence, Reading};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

struct Agent {
    process: Process,
    file: PathBuf,
    spool: PathBuf,
}

fn program() -> Result<Command> {
    Ok(Command::new(built::binary("gpuledger-agent")?))
}

impl Agent {
    fn start(folder: &Path, fake: &FakeNvml) -> Result<Self> {
        let (file, spool) = (folder.join("agent.toml"), folder.join("spool"));
        configure(&file, &spool, "500ms")?;
        let mut command = program()?;
        command.arg("run").arg("--config").arg(&file);
        let process = Process::start("agent", fake.attach(&mut command), folder)?;
        let mut agent = Self { process, file, spool };
        agent.wait_for("GPU library is open", 1)?;
        Ok(agent)
    }

    fn wait_for(&mut self, message: &str, times: usize) -> Result<()> {
        let started = Instant::now();
        while self.process.errors().matches(message).count() < times {
            self.process.must_run()?;
            ensure!(started.elapsed() < PATIENCE, "no {message:?} in the log:\n{}", self.process.errors());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn hang_up(&self) -> Result<()> {
        let pid = i32::try_from(self.process.pid()).ok().and_then(Pid::from_raw).context("pid")?;
        Ok(kill_process(pid, Signal::HUP)?)
    }

    fn command(&self, arguments: &[&str]) -> Result<String> {
        run(program()?.args(arguments).arg("--config").arg(&self.file))
    }

    /// Whether the agent has the GPU library in its memory, or a device of it open.
    fn has_the_driver(&self) -> Result<bool> {
        let own = PathBuf::from(format!("/proc/{}", self.process.pid()));
        let maps = std::fs::read_to_string(own.join("maps"))?;
        let files = std::fs::read_dir(own.join("fd"))?.flatten();
        let mut targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        let open = targets.any(|target| target.to_string_lossy().starts_with("/dev/nvidia"));
        Ok(open || maps.contains("fake_nvml") || maps.contains("libnvidia-ml"))
    }
}

fn configure(file: &Path, spool: &Path, interval: &str) -> Result<()> {
    let spool = spool.display();
    let text = format!(
        "insecure = true\ncollector = \"127.0.0.1:1\"\nspool_dir = \"{spool}\"\nsample_interval = \"{interval}\"\n\
         batch_span = \"1s\"\n"
    );
    Ok(std::fs::write(file, text)?)
}

#[test]
fn a_pause_lets_go_of_the_driver_and_ends_by_command_and_by_time() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fake = FakeNvml::new(folder.path(), "[[gpu]]\n[[gpu.phase]]\npower_mw = 70000\n")?;
    let mut agent = Agent::start(folder.path(), &fake)?;
    ensure!(agent.has_the_driver()?, "else the test sees nothing");
    std::thread::sleep(Duration::from_secs(2));
    let said = agent.command(&["pause", "--for", "1h"])?;
    ensure!(said.contains("let go of the GPU driver"), "{said}");
    ensure!(!agent.has_the_driver()?, "the library is unloaded and no device is open");
    std::thread::sleep(Duration::from_secs(2));
    ensure!(!agent.has_the_driver()?, "and stays so");
    agent.command(&["resume"])?;
    agent.wait_for("GPU library is open", 2)?;
    agent.command(&["pause", "--for", "2s"])?;
    agent.wait_for("GPU library is open", 3)?;
    std::thread::sleep(Duration::from_secs(2));
    agent.process.stop(PATIENCE)?;

    let recorded = spooled::batches(&agent.spool)?;
    let mut up: Vec<_> = recorded
        .iter()
        .flat_map(|(_, batch)| batch.columns.iter())
        .filter(|column| column.device == 1 && column.metric == catalogue::GPU_UP)
        .flat_map(|column| column.readings.clone())
        .collect();
    up.dedup();
    let stale = Reading::Absent(Absence::Stale);
    ensure!(up.contains(&stale) && up.first() == Some(&Reading::Value(1)), "{up:?}");
    ensure!(up.last() == Some(&Reading::Value(1)), "unmonitored while paused, then up again: {up:?}");
    Ok(())
}

#[test]
fn a_pause_without_an_agent_says_so_and_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wrong = finish(program()?.args(["pause", "--for", "2 days"]))?;
    ensure!(wrong.status.code() == Some(2), "{wrong:?}");
    let none = finish(program()?.args(["pause", "--spool-dir"]).arg(folder.path()))?;
    let message = String::from_utf8(none.stderr)?;
    ensure!(none.status.code() == Some(3) && message.contains("is it running"), "{message}");
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "the request was taken back");
    Ok(())
}

#[test]
fn a_reload_takes_a_new_configuration_and_refuses_a_wrong_one_without_losing_a_sample_on_disk() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let fake = FakeNvml::new(folder.path(), "[[gpu]]\n")?;
    let mut agent = Agent::start(folder.path(), &fake)?;
    std::fs::write(&agent.file, "sampel_interval = \"1s\"\n")?;
    agent.hang_up()?;
    agent.wait_for("the old one stays in force", 1)?;
    ensure!(agent.process.errors().contains("did you mean"), "{}", agent.process.errors());
    // A folder that cannot be one is seen only when it is opened.
    configure(&agent.file, &agent.file.join("spool"), "500ms")?;
    agent.hang_up()?;
    agent.wait_for("the old one stays in force", 2)?;
    configure(&agent.file, &agent.spool, "200ms")?;
    agent.hang_up()?;
    agent.wait_for("was read again and is in force", 1)?;
    agent.wait_for("GPU library is open", 3)?;
    std::thread::sleep(Duration::from_secs(3));
    agent.process.stop(PATIENCE)?;

    let recorded = spooled::batches(&agent.spool)?;
    let stamps: Vec<u64> = recorded.iter().flat_map(|(_, b)| b.stamps.iter().map(|s| s.boot_ms)).collect();
    ensure!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    let last = stamps.windows(2).last().context("nothing recorded")?;
    ensure!(last[1] - last[0] < 500, "sampled at the new rate: {stamps:?}");
    Ok(())
}

#[test]
fn the_unit_is_safe_by_systemd_s_own_judgement() -> Result<()> {
    let Some(analyze) = tool::find("systemd-analyze", "systemd")? else { return Ok(()) };
    let unit = built::root()?.join("agent/packaging/gpuledger-agent.service");
    let judged =
        finish(Command::new(analyze).args(["security", "--offline=true", "--threshold=20"]).arg(&unit))?;
    let page = String::from_utf8_lossy(&judged.stdout).into_owned();
    ensure!(
        judged.status.success(),
        "more exposed than 2.0:\n{page}{}",
        String::from_utf8_lossy(&judged.stderr)
    );
    Ok(())
}
