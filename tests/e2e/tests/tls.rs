//! Certificates between the real binaries, made by the real command and judged by OpenSSL.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::built;
use gpuledger_e2e::process::{finish, run};
use gpuledger_e2e::secure::{Secure, hang_up, logged};
use gpuledger_e2e::world::PATIENCE;

/// OpenSSL, or `None` after one line that says that it is not there.
fn openssl() -> Option<Command> {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: openssl is not installed");
    }
    there.then(|| Command::new("openssl"))
}

#[test]
fn an_agent_and_a_collector_know_each_other_by_what_the_command_issued() -> Result<()> {
    let world = Secure::new()?;
    let files = world.issue("n1")?;
    let collector = world.collector()?;
    let mut agent = world.start("agent", &mut world.agent("n1", &files)?)?;
    logged(&mut agent, "connected to the collector")?;
    world.goes_on()?;
    ensure!(world.metric("gpuledger_collector_connections")? >= 1);
    for which in ["collector", "ca"] {
        let name = format!("gpuledger_collector_certificate_expiry_timestamp_seconds{{which=\"{which}\"}}");
        ensure!(world.metric(&name)? > 1_700_000_000, "{which}");
    }
    for key in ["gpuledger-ca/ca.key", "gpuledger-ca/n1/node.key", "gpuledger-ca/collector/collector.key"] {
        let mode = std::fs::metadata(world.path(key))?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{key} has mode {mode:o}");
    }
    ensure!(!agent.errors().contains("insecure") && !collector.errors().contains("insecure"));
    agent.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}

#[test]
fn openssl_finds_the_chains_and_their_purposes_good() -> Result<()> {
    let Some(mut openssl) = openssl() else { return Ok(()) };
    let world = Secure::new()?;
    world.issue("n1")?;
    let at = |name: &str| world.path("gpuledger-ca").join(name);
    for (certificate, purpose, other) in
        [("n1/node.pem", "sslclient", "sslserver"), ("collector/collector.pem", "sslserver", "sslclient")]
    {
        let verify = |purpose| {
            let mut command = Command::new(openssl.get_program());
            command.args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"]);
            finish(command.arg(at("ca.pem")).arg(at(certificate)))
        };
        let good = verify(purpose)?;
        ensure!(good.status.success(), "{certificate}: {good:?}");
        ensure!(!verify(other)?.status.success(), "{certificate} is for {other} as well");
    }
    let text = run(openssl.args(["x509", "-noout", "-text", "-in"]).arg(at("n1/node.pem")))?;
    ensure!(
        text.contains("URI:gpuledger://node/n1") && text.contains("TLS Web Client Authentication"),
        "{text}"
    );

    // And it shakes hands with the collector, as who has a node's certificate and as who has none.
    let collector = world.collector()?;
    let shake = |with: &[&str]| {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-brief",
            "-verify_return_error",
            "-verify_ip",
            "127.0.0.1",
            "-alpn",
            "h2",
        ]);
        command.arg("-connect").arg(format!("127.0.0.1:{}", world.grpc));
        command.arg("-CAfile").arg(at("ca.pem")).args(with);
        let output = finish(&mut command)?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (certificate, key) = (at("n1/node.pem"), at("n1/node.key"));
    let (certificate, key) = (certificate.to_str().context("path")?, key.to_str().context("path")?);
    for version in ["-tls1_3", "-tls1_2"] {
        let said = shake(&["-cert", certificate, "-key", key, version])?;
        ensure!(
            said.contains("CONNECTION ESTABLISHED") && said.contains("Verification: OK"),
            "{version}: {said}"
        );
        ensure!(!said.contains("alert"), "{version}: {said}");
    }
    let said = shake(&["-tls1_2"])?;
    ensure!(!said.contains("CONNECTION ESTABLISHED") && said.contains("alert"), "{said}");
    collector.stop(PATIENCE)
}

#[test]
fn a_fleet_may_have_a_ca_of_its_own_whose_certificates_name_the_node_as_dns() -> Result<()> {
    let Some(openssl) = openssl() else { return Ok(()) };
    let world = Secure::new()?;
    let folder = world.path("own");
    std::fs::create_dir(&folder)?;
    let openssl = |arguments: &str| {
        run(Command::new(openssl.get_program()).current_dir(&folder).args(arguments.split(' '))).map(drop)
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -keyout own.key -out own.pem -days 9 -subj /CN=own"))?;
    for (node, names) in [("n1", "DNS:n1"), ("nameless", "IP:10.0.0.1")] {
        std::fs::create_dir(folder.join(node))?;
        std::fs::write(
            folder.join("names"),
            format!("subjectAltName={names}\nextendedKeyUsage=clientAuth\n"),
        )?;
        openssl(&format!("req -new {key} -keyout {node}/node.key -out request.pem -subj /CN={node}"))?;
        openssl(&format!(
            "x509 -req -in request.pem -CA own.pem -CAkey own.key -CAcreateserial -days 9 -extfile names \
             -out {node}/node.pem"
        ))?;
        std::fs::copy(world.path("gpuledger-ca/ca.pem"), folder.join(node).join("ca.pem"))?;
    }
    // The collector's own certificate stays that of the command: the two CAs need not be one.
    std::fs::copy(folder.join("own.pem"), world.path("gpuledger-ca/collector/ca.pem"))?;
    let collector = world.collector()?;
    let mut agent = world.start("agent", &mut world.agent("n1", &folder.join("n1"))?)?;
    logged(&mut agent, "connected to the collector")?;
    world.goes_on()?;
    let mut nameless = world.start("nameless", &mut world.agent("nameless", &folder.join("nameless"))?)?;
    logged(&mut nameless, "the certificate names no node: neither gpuledger://node/NAME nor a DNS name")?;
    ensure!(world.metric("gpuledger_collector_connections_refused_total{reason=\"no_node\"}")? >= 1);
    nameless.stop(PATIENCE)?;
    agent.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}

#[test]
fn each_wrong_certificate_is_one_sentence_on_both_sides_and_harms_nobody_else() -> Result<()> {
    let world = Secure::new()?;
    let mut collector = world.collector()?;
    let mut good = world.start("good", &mut world.agent("good", &world.issue("good")?)?)?;
    logged(&mut good, "connected to the collector")?;
    let stranger = Secure::new()?;
    let strange = stranger.issue("n1")?;
    // Knows the collector's CA, but comes from another one.
    std::fs::copy(world.path("gpuledger-ca/ca.pem"), strange.join("ca.pem"))?;
    let posing = world.path("posing");
    std::fs::create_dir(&posing)?;
    for (from, to) in [("ca.pem", "ca.pem"), ("collector.pem", "node.pem"), ("collector.key", "node.key")] {
        std::fs::copy(world.path("gpuledger-ca/collector").join(from), posing.join(to))?;
    }
    let (own, expired) = (world.issue("n2")?, world.issue_expired("n3")?);
    let elsewhere = format!("localhost:{}", world.grpc);
    let table = [
        ("wrong-ca", world.agent("n1", &strange)?, "does not know the CA", "does not come from the CA in"),
        (
            "expired",
            world.agent("n3", &expired)?,
            "expired or not yet valid",
            "its certificate has expired on",
        ),
        (
            "impostor",
            world.agent("n9", &own)?,
            "it is node n9, and its certificate is of node n2",
            "of node n2",
        ),
        ("posing", world.agent("n4", &posing)?, "has to be a node's", "its certificate is not a node's"),
        (
            "wrong-name",
            world.agent_to(&elsewhere, "n2", &own)?,
            "not for localhost (key collector) but for 127.0.0.1",
            "it does not take",
        ),
    ];
    for (name, mut command, by_agent, by_collector) in table {
        let mut agent = world.start(name, &mut command)?;
        logged(&mut agent, by_agent).with_context(|| name.to_owned())?;
        logged(&mut collector, by_collector).with_context(|| name.to_owned())?;
        agent.stop(PATIENCE)?;
    }
    ensure!(world.metric("gpuledger_collector_limits_broken_total{limit=\"identity\"}")? >= 1);
    ensure!(world.metric("gpuledger_collector_connections_refused_total{reason=\"certificate\"}")? >= 4);
    let nodes = world.metric("gpuledger_collector_streams")?;
    ensure!(nodes == 1, "only the good one has a stream: {nodes}");
    world.goes_on()?;
    good.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}

#[test]
fn plain_text_and_tls_tell_each_other_apart_and_say_what_to_change() -> Result<()> {
    let world = Secure::new()?;
    let files = world.issue("n1")?;
    let mut collector = world.collector()?;
    let mut plain = world.start("plain", world.agent("n1", &files)?.arg("--insecure"))?;
    logged(&mut plain, "insecure = true: readings leave this node in plain text")?;
    logged(&mut plain, "take insecure = true away from the agent's configuration")?;
    logged(&mut collector, "it speaks plain text, and this collector takes TLS only")?;
    plain.stop(PATIENCE)?;
    collector.stop(PATIENCE)?;

    let config = std::fs::read_to_string(world.path("collector.toml"))?;
    std::fs::write(world.path("collector.toml"), format!("insecure = true\n{config}"))?;
    let mut collector = world.collector()?;
    logged(&mut collector, "insecure = true: agents send in plain text")?;
    let mut secure = world.start("secure", &mut world.agent("n1", &files)?)?;
    logged(&mut secure, "does not speak TLS: if the collector has insecure = true, set it here too")?;
    logged(&mut collector, "it speaks TLS, and this collector has insecure = true")?;
    secure.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}

#[test]
fn new_files_are_taken_up_on_both_sides_and_bad_ones_leave_the_old_in_force() -> Result<()> {
    const OPENED: &str = "gpuledger_collector_streams_opened_total";
    let world = Secure::new()?;
    let files = world.issue("n1")?;
    let mut collector = world.collector()?;
    let mut agent = world.start("agent", &mut world.agent("n1", &files)?)?;
    logged(&mut agent, "connected to the collector")?;
    world.goes_on()?;

    // The collector's: the stream that stands goes on.
    world.ca(&["issue", "--collector", "127.0.0.1", "--days", "30", "--force"])?;
    hang_up(&collector)?;
    logged(&mut collector, "took up the certificate files")?;
    world.goes_on()?;
    ensure!(world.metric(OPENED)? == 1);

    // Bad ones: told, and nothing else happens.
    let key = world.path("gpuledger-ca/collector/collector.key");
    let kept = std::fs::read(&key)?;
    std::fs::write(&key, "no key")?;
    hang_up(&collector)?;
    logged(&mut collector, "collector.key holds no private key in PEM form")?;
    std::fs::write(&key, kept)?;
    let kept = std::fs::read(files.join("node.pem"))?;
    std::fs::write(files.join("node.pem"), "no certificate")?;
    hang_up(&agent)?;
    logged(&mut agent, "the old files stay in force")?;
    world.goes_on()?;
    ensure!(world.metric(OPENED)? == 1);
    std::fs::write(files.join("node.pem"), kept)?;

    // The agent's: it connects anew with them, and no batch is lost or sent twice.
    world.ca(&["issue", "n1", "--days", "20", "--force"])?;
    hang_up(&agent)?;
    logged(&mut agent, "there is a new certificate: connecting to the collector anew")?;
    world.goes_on()?;
    ensure!(world.metric(OPENED)? == 2);
    for outcome in ["repeated", "dropped", "refused"] {
        let count = world.metric(&format!("gpuledger_collector_batches_total{{outcome=\"{outcome}\"}}"))?;
        ensure!(count == 0, "{count} {outcome}");
    }
    agent.stop(PATIENCE)?;
    collector.stop(PATIENCE)
}

#[test]
fn files_that_are_missing_stop_the_collector_and_not_the_agent_s_measuring() -> Result<()> {
    let world = Secure::new()?;
    let files = world.issue("n1")?;
    std::fs::rename(files.join("node.key"), files.join("elsewhere"))?;
    let mut collector = world.collector()?;
    let mut agent = world.start("agent", &mut world.agent("n1", &files)?)?;
    logged(&mut agent, "node.key is missing: `gpuledger ca issue NODE` makes it")?;
    std::fs::rename(files.join("elsewhere"), files.join("node.key"))?;
    logged(&mut agent, "connected to the collector")?;
    world.goes_on()?;
    agent.stop(PATIENCE)?;
    collector.must_run()?;
    collector.stop(PATIENCE)?;

    let config = world.path("collector.toml");
    let serve = |command: &str| {
        let mut gpuledger = Command::new(built::binary("gpuledger")?);
        finish(gpuledger.arg("--config").arg(&config).arg(command))
    };
    let checked = serve("check-config")?;
    ensure!(checked.status.success(), "{checked:?}");
    ensure!(String::from_utf8_lossy(&checked.stdout).contains("TLS as 127.0.0.1, until "), "{checked:?}");
    std::fs::remove_file(world.path("gpuledger-ca/collector/collector.pem"))?;
    for command in ["serve", "check-config"] {
        let refused = serve(command)?;
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(2), "{command}: {}", refused.status);
        ensure!(
            message.contains("collector.pem is missing: `gpuledger ca issue --collector NAME`"),
            "{message}"
        );
    }
    Ok(())
}

#[test]
fn the_agent_s_check_finds_what_is_wrong_with_its_files() -> Result<()> {
    let world = Secure::new()?;
    let (files, expired) = (world.issue("n1")?, world.issue_expired("n2")?);
    let check = |node: &str, files: &std::path::Path| {
        let mut command = Command::new(built::binary("gpuledger-agent")?);
        command.args(["check-config", "--config", "/dev/null", "--node", node]);
        for (flag, file) in
            [("--tls-ca", "ca.pem"), ("--tls-certificate", "node.pem"), ("--tls-key", "node.key")]
        {
            command.arg(flag).arg(files.join(file));
        }
        let output = finish(&mut command)?;
        Ok::<_, anyhow::Error>((output.status.code(), String::from_utf8(output.stderr)?))
    };
    ensure!(check("n1", &files)? == (Some(0), String::new()));
    let (code, told) = check("n9", &files)?;
    ensure!(code == Some(0) && told.contains("is of node n1, and this agent is n9"), "{told}");
    let (_, told) = check("n2", &expired)?;
    ensure!(told.contains("has expired on"), "{told}");
    std::fs::copy(expired.join("node.key"), files.join("node.key"))?;
    let (code, told) = check("n1", &files)?;
    ensure!(code == Some(2) && told.contains("is not the key of"), "{told}");
    Ok(())
}
