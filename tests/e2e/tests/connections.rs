//! A thousand peers that hold connections and send nothing of use, against the real collector, while a
//! real agent goes on.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_collector::ca::{Authority, Validity};
use gpuledger_e2e::net::wait_for;
use gpuledger_e2e::process::Process;
use gpuledger_e2e::secure::{Secure, logged};
use gpuledger_e2e::world::PATIENCE;
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{Files, Pem};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// Of each kind.
const PEERS: u64 = 334;
/// What one connection may cost the collector: TLS, HTTP/2 and its task. 10,000 of them fit into 1 GiB
/// twice.
const BYTES_PER_CONNECTION_MAX: u64 = 48 * 1024;

/// What the collector may have opened meanwhile for itself: a scrape, a file of its ledger.
const DESCRIPTORS_BESIDE_MAX: u64 = 16;

/// Bytes of a process that are in memory.
fn resident(process: &Process) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Files that a process has open, its connections among them.
fn descriptors(process: &Process) -> Result<u64> {
    Ok(u64::try_from(std::fs::read_dir(format!("/proc/{}/fd", process.pid()))?.count())?)
}

/// A connection whose handshake is done; it asks for nothing.
fn idle(world: &Secure, pem: &Pem) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
    let connection = ClientConnection::new(pem.client()?.config, name)?;
    let mut stream = StreamOwned::new(connection, knock(world)?);
    // HTTP/2's first bytes: the handshake has to be over for them to leave.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    stream.flush()?;
    Ok(stream)
}

fn knock(world: &Secure) -> Result<TcpStream> {
    Ok(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], world.grpc)))?)
}

#[test]
fn a_thousand_peers_that_hold_connections_stay_bounded_and_are_cut_off() -> Result<()> {
    let world = Secure::new()?;
    let collector = world.collector()?;
    let mut agent = world.start("agent", &mut world.agent("n1", &world.issue("n1")?)?)?;
    logged(&mut agent, "connected to the collector")?;
    world.goes_on()?;
    let (before, open_before) = (resident(&collector)?, descriptors(&collector)?);

    let ca = Authority::open(&world.path("gpuledger-ca"))?;
    let files = Files { ca: "ca.pem".into(), certificate: "node.pem".into(), key: "node.key".into() };
    let (mut silent, mut slow, mut idlers) = (Vec::new(), Vec::new(), Vec::new());
    for peer in 0..PEERS {
        // One that never speaks, one that begins a handshake, and one that stops after it.
        silent.push(knock(&world)?);
        let mut stream = knock(&world)?;
        stream.write_all(&[0x16, 3, 1, 2, 0])?;
        slow.push(stream);
        let issued = ca.node(&NodeName::new(&format!("idle-{peer}"))?, Validity::days(1))?;
        let pem = Pem {
            files: files.clone(),
            ca: ca.certificate_pem().into(),
            certificate: issued.certificate_pem.into(),
            key: issued.key_pem.into(),
        };
        idlers.push(idle(&world, &pem)?);
    }
    wait_for("all of them at once", PATIENCE, || {
        let open = world.metric("gpuledger_collector_connections")?;
        // The silent ones may have had their time already.
        ensure!(open > PEERS, "{open} connections");
        Ok(())
    })?;
    world.goes_on()?;
    let grown = resident(&collector)?.saturating_sub(before) / (3 * PEERS);
    ensure!(grown < BYTES_PER_CONNECTION_MAX, "{grown} bytes a connection");

    // Each is cut off in its time without a word from it, and the agent never notices.
    for reason in ["timeout", "idle"] {
        let name = format!("gpuledger_collector_connections_refused_total{{reason=\"{reason}\"}}");
        let due = if reason == "idle" { PEERS } else { 2 * PEERS };
        wait_for(reason, PATIENCE, || {
            let cut = world.metric(&name)?;
            ensure!(cut >= due, "{cut} of {due}");
            Ok(())
        })?;
    }
    wait_for("their descriptors are closed", PATIENCE, || {
        let open = descriptors(&collector)?;
        ensure!(open <= open_before + DESCRIPTORS_BESIDE_MAX, "{open} are open, {open_before} were");
        Ok(())
    })?;
    world.goes_on()?;
    ensure!(world.metric("gpuledger_collector_streams_opened_total")? == 1, "the agent had to connect again");
    agent.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}

#[test]
fn a_collector_that_may_open_few_files_keeps_some_for_its_ledger() -> Result<()> {
    let world = Secure::new()?;
    let mut command = Command::new("sh");
    let gpuledger = gpuledger_e2e::built::binary("gpuledger")?;
    command.args(["-c", "ulimit -n 600; exec \"$0\" \"$@\""]).arg(gpuledger);
    command.arg("--config").arg(world.path("collector.toml")).arg("serve");
    let mut collector = world.start("collector", &mut command)?;
    logged(&mut collector, "fewer agents can connect than the collector is meant for")?;
    gpuledger_e2e::net::wait_ready(&mut collector, world.http, "/healthz", PATIENCE)?;
    let mut agent = world.start("agent", &mut world.agent("n1", &world.issue("n1")?)?)?;
    logged(&mut agent, "connected to the collector")?;
    let held: Vec<TcpStream> = (0..200).map(|_| knock(&world)).collect::<Result<_>>()?;
    wait_for("connections are turned away", PATIENCE, || {
        let refused =
            world.metric("gpuledger_collector_connections_refused_total{reason=\"connections\"}")?;
        ensure!(refused >= 100, "{refused}");
        Ok(())
    })?;
    world.goes_on()?;
    drop(held);
    std::thread::sleep(Duration::from_millis(100));
    world.goes_on()?;
    agent.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}
