//! The collector as a process: how it starts, what keeps it from starting, how it ends.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built;
use gpuledger_e2e::net::{free_port, get, get_ok, wait_for, wait_ready};
use gpuledger_e2e::process::{Process, finish};
use gpuledger_e2e::world::{PATIENCE, World};

/// `gpuledger serve` with this configuration, which must not come to serve.
fn refused(folder: &Path, config: &str) -> Result<Output> {
    let path = folder.join("collector.toml");
    std::fs::write(&path, config)?;
    finish(Command::new(built::binary("gpuledger")?).arg("--config").arg(&path).arg("serve"))
}

/// Two ports and a ledger of the test's own.
fn config(folder: &Path, grpc: u16, http: u16) -> String {
    format!(
        "ledger = \"{}\"\ninsecure = true\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n",
        folder.join("ledger.db").display()
    )
}

#[test]
fn what_keeps_it_from_starting_is_named_and_nothing_is_begun() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken_port = taken.local_addr()?.port();
    std::fs::write(file("garbage.db"), "a,b\n1,2\n".repeat(1_000))?;
    std::fs::write(file("fleet.toml"), "currency = 5\n")?;
    let with = |line: &str| {
        format!("insecure = true\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\n{line}\n")
    };
    let table: Vec<(&str, String, i32, String)> = vec![
        (
            "port of agents taken",
            config(folder.path(), taken_port, 0),
            3,
            format!("cannot listen on 127.0.0.1:{taken_port} for agents: another program listens there"),
        ),
        (
            "port of HTTP taken",
            config(folder.path(), 0, taken_port),
            3,
            format!("cannot listen on 127.0.0.1:{taken_port} for HTTP: another program listens there"),
        ),
        (
            "ledger is another file",
            with(&format!("ledger = \"{}\"", file("garbage.db"))),
            2,
            "garbage.db is not a gpuledger ledger: it is not an SQLite file".to_owned(),
        ),
        (
            "ledger in no folder",
            with(&format!("ledger = \"{}\"", file("nowhere/ledger.db"))),
            2,
            "nowhere does not exist".to_owned(),
        ),
        (
            "ledger is a folder",
            with(&format!("ledger = \"{}\"", folder.path().display())),
            2,
            "it is a folder, not a file".to_owned(),
        ),
        (
            "register with a mistake",
            with(&format!("ledger = \"{}\"\nfleet = \"{}\"", file("l.db"), file("fleet.toml"))),
            2,
            "fleet.toml:1: ".to_owned(),
        ),
        (
            "unknown key",
            with("ledgr = \"x\""),
            2,
            "collector.toml:4: unknown key \"ledgr\"; did you mean \"ledger\"?".to_owned(),
        ),
        (
            "no certificate, not even on this machine",
            "grpc_listen = \"127.0.0.1:0\"\n[tls]\nca = \"nowhere/ca.pem\"\n".to_owned(),
            2,
            "nowhere/ca.pem is missing: `gpuledger ca issue --collector NAME` makes it; or set insecure = true"
                .to_owned(),
        ),
    ];
    for (case, config, code, expected) in table {
        let output = refused(folder.path(), &config)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "{case}: {} instead of {code}: {errors}", output.status);
        ensure!(errors.contains(&expected), "{case}: {errors:?} does not say {expected:?}");
    }
    ensure!(std::fs::read_to_string(file("garbage.db"))?.starts_with("a,b\n"), "the file was touched");
    ensure!(!Path::new(&file("nowhere")).exists() && !Path::new(&file("l.db")).exists());
    Ok(())
}

#[test]
fn a_signal_commits_everything_and_closes_the_ledger() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1", "[[gpu]]\ncount = 1\n[[gpu.phase]]\nms = 1000\npower_mw = 300000\n")?;
    let agent = node.start()?;
    let collector = world.collector()?;
    wait_for("rows in the ledger", PATIENCE, || {
        let metrics = get_ok(world.http(), "/metrics")?;
        let folded = metrics.lines().find_map(|line| {
            line.strip_prefix("gpuledger_collector_batches_total{outcome=\"folded\"} ")?.parse::<u64>().ok()
        });
        ensure!(folded.context("no counter of batches")? >= 3, "{folded:?} batches are folded");
        Ok(())
    })?;
    collector.stop(PATIENCE)?;
    let log = world.ledger().with_extension("db-wal");
    ensure!(!log.exists(), "the ledger was not closed: {} is there", log.display());
    world.verify()?;
    let counted = world.counted()?;
    ensure!(counted.len() == 1, "{counted:?}");
    drop(agent);
    Ok(())
}

#[test]
fn it_says_where_it_serves_and_answers_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (grpc, http) = (free_port()?, free_port()?);
    let path = folder.path().join("collector.toml");
    std::fs::write(&path, config(folder.path(), grpc, http))?;
    let mut command = Command::new(built::binary("gpuledger")?);
    let mut collector =
        Process::start("collector", command.arg("--config").arg(&path).arg("serve"), folder.path())?;
    wait_ready(&mut collector, http, "/readyz", PATIENCE)?;
    let log = collector.errors();
    for expected in [format!("grpc=127.0.0.1:{grpc}"), format!("http=127.0.0.1:{http}")] {
        ensure!(log.contains(&expected), "{expected} is not in {log}");
    }
    ensure!(get(http, "/nothing")?.status == 404);
    // A second collector on the same ports finds them taken and does not disturb the first.
    let second = refused(folder.path(), &config(folder.path(), grpc, 0))?;
    ensure!(second.status.code() == Some(3), "{second:?}");
    ensure!(get_ok(http, "/healthz")? == "ok\n");
    collector.stop(PATIENCE)
}

#[test]
fn a_ledger_that_was_tampered_with_breaks_a_promise_by_name() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1", "[[gpu]]\ncount = 1\n[[gpu.phase]]\nms = 1000\npower_mw = 300000\n")?;
    let (agent, collector) = (node.start()?, world.collector()?);
    wait_for("energy in the ledger", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(100));
        ensure!(world.counted()?.values().any(|gpu| gpu.total.counter_mj.0 > 0));
        Ok(())
    })?;
    drop(agent);
    collector.stop(PATIENCE)?;
    let verify = || -> Result<Output> {
        let mut command = Command::new(built::binary("gpuledger")?);
        finish(command.arg("--ledger").arg(world.ledger()).arg("verify"))
    };
    let sound = verify()?;
    ensure!(sound.status.code() == Some(0), "{sound:?}");
    ensure!(String::from_utf8_lossy(&sound.stdout).lines().all(|line| line.starts_with("ok ")), "{sound:?}");
    rusqlite::Connection::open(world.ledger())?
        .execute("UPDATE gpu_hour SET counter_mj = counter_mj + 1", [])?;
    let broken = verify()?;
    ensure!(broken.status.code() == Some(1), "{broken:?}");
    let text = String::from_utf8_lossy(&broken.stdout);
    ensure!(text.contains("BROKEN energy is conserved"), "{text}");
    Ok(())
}
