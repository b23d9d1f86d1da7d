//! Child processes that never outlive their test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How often a waiting test looks.
const LOOK: Duration = Duration::from_millis(10);

/// A running child. Its standard output and standard error go to files in the test's folder, so that
/// a failed test can show them and a full pipe never stops it. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    /// Starts `command` as `name`; its output goes to `NAME.out` and `NAME.err` in `folder`, appended.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let open = |kind: &str| -> Result<(PathBuf, File)> {
            let path = folder.join(format!("{name}.{kind}"));
            let file = File::options().create(true).append(true).open(&path);
            Ok((path.clone(), file.with_context(|| format!("open {}", path.display()))?))
        };
        let (output, out) = open("out")?;
        let (errors, err) = open("err")?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.with_context(|| format!("start {name}: {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, output, errors })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that the process and its predecessors of the same name wrote on standard output.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The same for standard error, where logs go.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Fails with the end of its log when the process has ended by itself.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; its log ends with:\n{}", self.name, tail(&self.errors()));
        }
        Ok(())
    }

    /// `kill -9`: the process gets no chance to write anything more.
    pub fn kill(mut self) -> Result<()> {
        self.must_run()?;
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("pid")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("send SIGTERM to {}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < until,
                "{} still runs after {limit:?}; its log ends with:\n{}",
                self.name,
                tail(&self.errors())
            );
            std::thread::sleep(LOOK);
        }
    }

    /// SIGTERM, then a clean end within `limit`.
    pub fn stop(mut self, limit: Duration) -> Result<()> {
        self.terminate()?;
        let status = self.wait(limit)?;
        ensure!(
            status.success(),
            "{} ended with {status}; its log ends with:\n{}",
            self.name,
            tail(&self.errors())
        );
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end and gives its standard output; fails with its messages.
pub fn run(command: &mut Command) -> Result<String> {
    let output = finish(command)?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .with_context(|| format!("{command:?} printed something that is not UTF-8"))
}

/// Runs a command to its end, whatever that is.
pub fn finish(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))
}

/// Runs a command that prints JSON.
pub fn run_json(command: &mut Command) -> Result<serde_json::Value> {
    let text = run(command)?;
    serde_json::from_str(&text).with_context(|| format!("{command:?} printed no JSON:\n{}", tail(&text)))
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_early_is_told_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let mut process =
            Process::start("early", command.args(["-c", "echo broken >&2; exit 3"]), folder.path()).unwrap();
        process.wait(Duration::from_secs(10)).unwrap();
        let message = process.must_run().unwrap_err().to_string();
        assert!(message.contains("broken") && message.contains('3'), "{message}");
    }

    #[test]
    fn stopping_asks_first_and_reports_a_bad_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let process = Process::start("trap", command.args(["-c", script]), folder.path()).unwrap();
        while !process.output().contains("ready") {
            std::thread::sleep(LOOK);
        }
        let message = process.stop(Duration::from_secs(10)).unwrap_err().to_string();
        assert!(message.contains('7'), "{message}");
    }
}
