//! One server: its folder, its process, its janitor.

use crate::Programs;
use crate::programs::run;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Starting and ending may take this long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Ends what is left of the server and removes its folder once the pipe is closed, by the test or by
/// its death.
const JANITOR: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

/// How a server is to be set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `name = value` of `postgresql.conf`.
    pub options: Vec<(String, String)>,
    /// Files put beside the data, by name: certificates and keys.
    pub files: Vec<(String, String)>,
    /// Password of the user `ledger`; without one nobody is asked.
    pub password: Option<String>,
}

/// A running server. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    folder: PathBuf,
    port: u16,
    options: Vec<(String, String)>,
    password: Option<String>,
    process: Option<Child>,
    janitor: Child,
    /// Closed by the end of this process, too.
    pipe: Option<ChildStdin>,
    schemas: AtomicU32,
}

impl Server {
    /// Starts a server; `None` after a line that says that PostgreSQL is missing.
    pub fn start(settings: &Settings) -> Result<Option<Self>> {
        let Some(programs) = Programs::find()? else { return Ok(None) };
        let folder = tempfile::Builder::new().prefix("gpuledger-postgres-").tempdir()?.keep();
        let mut janitor = Command::new("sh");
        janitor.args(["-c", JANITOR, "janitor"]).arg(&folder);
        // Not in our process group: whoever kills that must not kill the one that cleans up.
        janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut janitor = janitor.spawn().context("start the janitor of a server")?;
        let pipe = janitor.stdin.take();
        let mut server = Self {
            programs,
            folder,
            port: free_port()?,
            options: settings.options.clone(),
            password: settings.password.clone(),
            process: None,
            janitor,
            pipe,
            schemas: AtomicU32::new(0),
        };
        server.prepare(settings)?;
        server.start_again()?;
        Ok(Some(server))
    }

    fn prepare(&self, settings: &Settings) -> Result<()> {
        for (name, text) in &settings.files {
            let path = self.folder.join(name);
            std::fs::write(&path, text)?;
            // The server refuses a key that others may read.
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private)?;
        }
        let secret = self.folder.join("password");
        std::fs::write(&secret, settings.password.as_deref().unwrap_or("none"))?;
        self.programs.hand_over(&self.folder)?;
        let mut initdb = self.programs.command("initdb");
        initdb.arg("-D").arg(self.data()).args(["--no-sync", "-E", "UTF8", "--locale=C", "-U", "ledger"]);
        let method = if settings.password.is_some() { "scram-sha-256" } else { "trust" };
        initdb.args(["-A", method]).arg("--pwfile").arg(&secret);
        run(&mut initdb).map(drop)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Folder of the server's files; readable by its user.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server that was killed or stopped, on the data that it left, and waits until it
    /// answers.
    pub fn start_again(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let fixed = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", self.folder.display().to_string()),
            ("fsync", "on".to_owned()),
            ("synchronous_commit", "off".to_owned()),
            ("shared_buffers", "32MB".to_owned()),
        ];
        let own = self.options.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in fixed.into_iter().chain(own) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        self.process = Some(command.spawn().context("start postgres")?);
        let until = Instant::now() + PATIENCE;
        while let Err(why) = self.sql("SELECT 1") {
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                bail!("postgres ended with {status}:\n{}", self.told());
            }
            if Instant::now() > until {
                return Err(why.context(format!("postgres does not answer:\n{}", self.told())));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Kills every process of the server at once: nothing more is written, nothing answered.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let main = pid(process.id())?;
        // Stopped first, so that it starts no other while they are counted.
        kill_process(main, Signal::STOP)?;
        wait_for_state(process.id(), "T")?;
        let children = children(process.id())?;
        for &child in &children {
            // One that has just ended by itself is as dead.
            let _ = kill_process(pid(child)?, Signal::KILL);
        }
        kill_process(main, Signal::KILL)?;
        process.wait()?;
        // Each of them holds the shared memory until it is really gone, and so long no other server
        // starts on these data.
        children.into_iter().try_for_each(|child| wait_for_state(child, "ZX"))
    }

    /// Ends the server in an orderly way, without waiting for its clients.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        kill_process(pid(process.id())?, Signal::INT)?;
        let until = Instant::now() + PATIENCE;
        while process.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("postgres does not end:\n{}", self.told());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The address of a schema; with the password, where there is one.
    pub fn url(&self, schema: &str) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!(
            "postgres://ledger{password}@127.0.0.1:{}/postgres?options=-csearch_path%3D{schema}",
            self.port
        )
    }

    /// A new, empty schema of this server, by its address.
    pub fn fresh(&self) -> Result<String> {
        let schema = format!("test_{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE SCHEMA {schema}"))?;
        Ok(self.url(&schema))
    }

    /// Runs SQL through `psql` and gives what it prints, without heads.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let mut psql = self.programs.command("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "ledger", "-d", "postgres"]);
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", sql]);
        if let Some(password) = &self.password {
            psql.env("PGPASSWORD", password);
        }
        run(&mut psql)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The server's own log.
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What fails here, the janitor does.
        let _ = self.kill();
        drop(self.pipe.take());
        let _ = self.janitor.wait();
    }
}

fn pid(number: u32) -> Result<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw).context("a process number")
}

/// Processes whose parent this is.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if state(number).is_some_and(|(_, of)| of == parent) {
            found.push(number);
        }
    }
    Ok(found)
}

/// State and parent of a process; `None` for one that is gone.
fn state(number: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name, in brackets, may hold anything; state and parent follow it.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.to_owned(), rest.next()?.parse().ok()?))
}

/// Waits until a process is in one of these states, or gone: a signal takes its time.
fn wait_for_state(number: u32, states: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while let Some((state, _)) = state(number).filter(|(state, _)| !states.contains(state.as_str())) {
        if Instant::now() > until {
            bail!("process {number} of the server remains in state {state}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A port that nobody listens on right now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
