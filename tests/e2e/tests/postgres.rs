//! Two collectors on one PostgreSQL that asks for a password and for TLS: agents find one or the other,
//! the server is restarted and killed in mid-stream, and the ledger equals the truth. The password
//! comes from the environment and stands nowhere else.

use anyhow::{Result, ensure};
use gpuledger_e2e::process::{Process, finish, run};
use gpuledger_e2e::{built, net};
use gpuledger_fleet::agents::{Plan, Progress};
use gpuledger_fleet::model::Fleet;
use gpuledger_fleet::replay;
use gpuledger_fleet::truth::Truth;
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_real_postgres::{Certificates, Server, Settings};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const PASSWORD: &str = "pass-word-of-the-test";
const NODES: u32 = 6;
const STEP_MS: u64 = 60_000;
/// A fixed end, so that a run can be repeated: 2026-09-21T12:00Z.
const END_MS: u64 = 1_789_992_000_000;
const DAYS: u32 = 10;
const LIMIT: Duration = Duration::from_secs(120);

/// `gpuledger` with the password in its environment.
fn gpuledger() -> Result<Command> {
    let mut command = Command::new(built::binary("gpuledger")?);
    command.env("PGPASSWORD", PASSWORD);
    Ok(command)
}

/// A collector and its port for agents.
fn start(folder: &Path, name: &str, ledger: &str) -> Result<(Process, u16)> {
    let port = net::free_port()?;
    let config = folder.join(format!("{name}.toml"));
    let text = format!(
        "ledger = {ledger:?}\ninsecure = true\ngrpc_listen = \"127.0.0.1:{port}\"\nhttp_listen = \"127.0.0.1:0\"\n\
         commit_interval = \"50ms\"\nlongest_gap = \"90s\"\n"
    );
    std::fs::write(&config, text)?;
    let mut collector = Process::start(name, gpuledger()?.arg("--config").arg(&config).arg("serve"), folder)?;
    net::wait_listening(&mut collector, port, LIMIT)?;
    Ok((collector, port))
}

/// One address for both: connections go to the one and the other in turn, as behind a balancer.
async fn balance(ports: [u16; 2]) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let own = listener.local_addr()?.port();
    tokio::spawn(async move {
        for port in ports.into_iter().cycle() {
            let Ok((mut agent, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                if let Ok(mut collector) = TcpStream::connect(("127.0.0.1", port)).await {
                    // However it ends, both ends see it.
                    let _ = tokio::io::copy_bidirectional(&mut agent, &mut collector).await;
                }
            });
        }
    });
    Ok(own)
}

/// Restarts the server in an orderly way, then kills it: each time when something new was acknowledged.
fn disturb(mut server: Server, progress: &Progress) -> Result<Server> {
    for orderly in [true, false] {
        let acknowledged = progress.acknowledged();
        net::wait_for("an acknowledgement", LIMIT, || {
            ensure!(progress.acknowledged() > acknowledged, "none");
            Ok(())
        })?;
        if orderly {
            server.stop()?;
        } else {
            server.kill()?;
        }
        server.start_again()?;
    }
    Ok(server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_on_one_secured_database_count_everything_once() -> Result<()> {
    let certificates = Certificates::make()?;
    let settings = Settings { password: Some(PASSWORD.to_owned()), ..certificates.settings()? };
    let Some(server) = Server::start(&settings)? else { return Ok(()) };
    let with_password =
        format!("{}&sslmode=verify-full&sslrootcert={}", server.fresh()?, certificates.authority().display());
    let ledger = with_password.replace(&format!(":{PASSWORD}"), "");
    let folder = tempfile::tempdir()?;
    let (one, port_one) = start(folder.path(), "one", &ledger)?;
    let (two, port_two) = start(folder.path(), "two", &ledger)?;
    let plan = Plan {
        fleet: Arc::new(Fleet::ending_at(END_MS, DAYS, NODES, 4, 11)),
        step_ms: STEP_MS,
        endpoint: format!("http://127.0.0.1:{}", balance([port_one, port_two]).await?),
        folder: folder.path().join("spools"),
    };
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let disturbed = tokio::task::spawn_blocking(move || disturb(server, &watched));
    replay::stop(replay::all(&plan, &progress).await?).await?;
    let server = disturbed.await??;
    let logs = [one.errors(), two.errors()];
    ensure!(!logs.iter().any(|log| log.contains(PASSWORD)), "a log tells the password:\n{logs:?}");
    let met = logs.iter().any(|log| log.contains("the ledger works again"));
    ensure!(met, "none met the server's end:\n{logs:?}");
    one.stop(LIMIT)?;
    two.stop(LIMIT)?;
    let opened = PostgresLedger::connect_read_only(&with_password).await?;
    println!("{}", Truth::of(&plan.fleet, STEP_MS).compare(&opened).await?);
    println!("{}", run(gpuledger()?.arg("--ledger").arg(&ledger).arg("verify"))?);

    // Without the password nobody reads it, and what was typed is not repeated.
    let wrong = with_password.replace(PASSWORD, "another-word");
    let mut verify = Command::new(built::binary("gpuledger")?);
    let refused = finish(verify.env_remove("PGPASSWORD").arg("--ledger").arg(wrong).arg("verify"))?;
    let told = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(2) && told.contains("password"), "{refused:?}");
    ensure!(!told.contains("another-word"), "{told}");
    drop(server);
    Ok(())
}
