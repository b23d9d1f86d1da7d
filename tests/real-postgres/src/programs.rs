//! Where PostgreSQL's programs are, and who may run them.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder with `postgres`, `initdb` and `psql`.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    /// Whether they must be run as another user than ours.
    as_postgres: bool,
}

impl Programs {
    /// Looks along the path and where Debian puts them, newest version first; `None` after a line that
    /// says that they are missing.
    pub fn find() -> Result<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
        let whole =
            |folder: &PathBuf| ["postgres", "initdb", "psql"].iter().all(|p| folder.join(p).is_file());
        let Some(folder) = folders.into_iter().find(whole) else {
            crate::skip("PostgreSQL is missing (./tests/parts puts postgresql in place)")?;
            return Ok(None);
        };
        Ok(Some(Self { folder, as_postgres: rustix::process::geteuid().is_root() }))
    }

    /// A command of the user who may run a server.
    pub fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        if !self.as_postgres {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    }

    /// Gives a file or folder to the user who runs the server.
    pub fn hand_over(&self, path: &Path) -> Result<()> {
        if !self.as_postgres {
            return Ok(());
        }
        let mut chown = Command::new("chown");
        run(chown.arg("-R").arg("postgres:").arg(path)).map(drop)
    }
}

/// Runs a command to its end and gives what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
