//! Closed days by the real collector: foreign engines read them, an object store keeps them, and a
//! collector that is killed while it closes them loses nothing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gpuledger_e2e::days::{Closed, DAYS, LIMIT, NODES, duckdb, files_below, python};
use gpuledger_e2e::process::{Process, finish};
use gpuledger_e2e::{net, parts, tool};

/// As the README has it.
const README: &str = include_str!("../../../README.md");

fn documented() -> Result<&'static str> {
    let line = README.lines().find(|line| line.starts_with("SELECT node, gpu_uuid"));
    line.context("the README has no line of SQL for closed days")
}

/// The documented line with other columns in front.
fn documented_for(columns: &str) -> Result<String> {
    let (_, rest) = documented()?.split_once(" FROM ").context("the line reads from somewhere")?;
    Ok(format!("SELECT {columns} FROM {rest}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_gets_the_totals_of_the_report_with_the_documented_line() -> Result<()> {
    if parts::days("bin/python")?.is_none() {
        return Ok(());
    }
    let closed = Closed::new("every = \"1s\"", &[])?;
    let mut collector = closed.serve()?;
    for node in 0..NODES {
        closed.replay(node..node + 1).await?;
        closed.wait_closed(&mut collector).await?;
    }
    collector.stop(LIMIT)?;
    closed.assert_true()?;
    // The second node came when the days were closed, so there are old versions beside the new ones.
    let days = closed.days();
    let (there, current) = (files_below(&days)?.len(), closed.current().await?.len());
    ensure!(there > current, "no version was superseded: the line of SQL has nothing to leave out");

    let found = duckdb(closed.folder(), documented()?)?.context("DuckDB answers")?;
    let mut expected = closed.report("node,gpu")?;
    for row in &mut expected {
        row.truncate(3);
    }
    ensure!(found == expected && found.len() == 8, "DuckDB: {found:?}\nreport: {expected:?}");
    let observed = "sum(counter_mj + estimated_mj), sum(active_ms + held_ms + free_ms + down_ms)";
    let owner = "owner_kind || CASE WHEN owner_name = '' THEN '' ELSE ':' || concat_ws('/', nullif(owner_account, \
                 ''), owner_name, nullif(owner_job, '')) END";
    for (by, columns) in [
        ("day,gpu", "strftime(day, '%Y-%m-%dT00:00:00Z'), gpu_uuid"),
        (
            "hour,node,owner",
            &format!("strftime(start AT TIME ZONE 'UTC', '%Y-%m-%dT%H:00:00Z'), node, {owner}"),
        ),
    ] {
        let found = duckdb(closed.folder(), &documented_for(&format!("{columns}, {observed}"))?)?;
        let (found, expected) = (found.context("DuckDB answers")?, closed.report(by)?);
        let differing = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        ensure!(found == expected, "by {by}: {} and {} rows, {differing:?}", found.len(), expected.len());
    }

    let removed = closed.run(&["gc", "--grace", "0s"])?;
    ensure!(removed.contains("superseded by a newer file"), "{removed}");
    ensure!(files_below(&days)? == closed.current().await?, "{removed}");
    closed.assert_true()?;
    let after = duckdb(closed.folder(), documented()?)?.context("DuckDB answers")?;
    ensure!(after == found, "after gc: {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_keeps_closed_days_and_its_outage_is_told_and_outlived() -> Result<()> {
    let Some(moto) = parts::days("bin/moto_server")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let port = net::free_port()?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let env = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "somebody"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-may-see"),
    ];
    let closed = Closed::new("every = \"1s\"\nlocation = \"s3://fleet/gpuledger/days\"", &env)?;
    let mut collector = closed.serve()?;
    closed.replay(0..NODES).await?;
    // Nobody listens there yet.
    net::wait_for("the missing object store", LIMIT, || {
        collector.must_run()?;
        let answer = net::get(closed.http(), "/readyz")?;
        ensure!(answer.body.contains("s3://fleet/gpuledger/days/LEDGER"), "{}", answer.body);
        Ok(())
    })?;
    let mut server = Command::new(moto);
    let mut server = Process::start("moto", server.args(["-p", &port.to_string()]), folder.path())?;
    net::wait_listening(&mut server, port, LIMIT)?;
    let bucket = format!(
        "import boto3\ns3 = boto3.client('s3', endpoint_url='{endpoint}', region_name='eu-central-1', \
         aws_access_key_id='a', aws_secret_access_key='b')\n"
    );
    let create = "s3.create_bucket(Bucket='fleet', CreateBucketConfiguration={'LocationConstraint': 'eu-central-1'})\n\
                  s3.put_object(Bucket='fleet', Key='gpuledger/days/gpu_hours/notes.txt', Body=b'mine')";
    python(folder.path(), &format!("{bucket}{create}"))?;
    closed.wait_closed(&mut collector).await?;
    net::wait_ready(&mut collector, closed.http(), "/readyz", LIMIT)?;
    let log = collector.errors();
    collector.stop(LIMIT)?;
    ensure!(!log.contains("a-secret-that-nobody-may-see"), "the log tells a secret");
    let told = log.lines().filter(|line| line.contains("cannot be moved into the archive")).count();
    ensure!(told == 1, "the outage stands {told} times in the log:\n{log}");

    closed.assert_true()?;
    ensure!(!closed.days().exists(), "files were written beside the ledger");
    closed.run(&["gc", "--grace", "0s"])?;
    closed.assert_true()?;
    let list = "for o in s3.list_objects_v2(Bucket='fleet')['Contents']: print(o['Key'])";
    let listed = python(folder.path(), &format!("{bucket}{list}"))?.context("boto3 answers")?;
    let mut expected: Vec<String> =
        closed.current().await?.iter().map(|path| format!("gpuledger/days/{path}")).collect();
    expected.push("gpuledger/days/gpu_hours/notes.txt".to_owned());
    expected.push("gpuledger/days/LEDGER".to_owned());
    expected.sort();
    ensure!(listed.lines().eq(expected.iter().map(String::as_str)), "{listed}\n{expected:?}");

    server.kill()?;
    let period = ["--from", "2026-09-01", "--to", "2026-10-01"];
    let report = finish(&mut closed.command(&[&["report", "energy", "--by", "gpu"], &period[..]].concat())?)?;
    let told = String::from_utf8_lossy(&report.stderr).into_owned();
    ensure!(
        report.status.code() == Some(3) && told.contains("s3://fleet/gpuledger/days/gpu_hours/"),
        "{told}"
    );
    ensure!(report.stdout.is_empty(), "half a report was printed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_killed_while_it_closes_days_loses_nothing() -> Result<()> {
    let closed = Closed::new("enabled = false", &[])?;
    let collector = closed.serve()?;
    closed.replay(0..NODES).await?;
    collector.stop(LIMIT)?;
    closed.assert_true()?;
    let all = closed.open_days().await?;
    ensure!(all >= 2 * usize::try_from(DAYS)?, "{all} days are open");
    closed.configure("every = \"1s\"")?;
    let (mut kills, mut halfway) = (0, 0);
    // Later and later after the start, until nothing is left to close.
    for attempt in 0..400_u64 {
        let collector = closed.start()?;
        tokio::time::sleep(Duration::from_millis(10 + attempt * 3)).await;
        collector.kill()?;
        kills += 1;
        let open = closed.open_days().await?;
        halfway += usize::from(open > 0 && open < all);
        if open == 0 {
            break;
        }
        if attempt % 8 == 0 {
            closed.assert_true()?;
        }
    }
    println!("killed {kills} times, {halfway} times with some days closed and some not");
    let mut collector = closed.serve()?;
    closed.wait_closed(&mut collector).await?;
    collector.stop(LIMIT)?;
    closed.assert_true()?;
    let planned = closed.run(&["gc", "--grace", "0s", "--dry-run"])?;
    let removed = closed.run(&["gc", "--grace", "0s"])?;
    println!("{removed}");
    ensure!(planned.replace("would remove", "removed") == removed, "{planned}");
    ensure!(files_below(&closed.days())? == closed.current().await?, "files are left");
    closed.assert_true()?;
    let nothing = closed.run(&["gc", "--grace", "0s"])?;
    ensure!(nothing.starts_with("removed 0 files"), "{nothing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_closed_days_is_told_and_keeps_the_rest_open() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return tool::skip("a file system of one's own needs root");
    }
    let mut closed = Closed::new("enabled = false", &[])?;
    let collector = closed.serve()?;
    closed.replay(0..NODES).await?;
    collector.stop(LIMIT)?;
    closed.configure("every = \"1s\"")?;
    let mut collector = closed.serve_with_small_disk("40k")?;
    net::wait_for("a full disk", LIMIT, || {
        collector.must_run()?;
        let answer = net::get(closed.http(), "/readyz")?;
        ensure!(answer.body.contains("No space left on device"), "{}: {}", answer.status, answer.body);
        Ok(())
    })?;
    let (open, current) = (closed.open_days().await?, closed.current().await?);
    ensure!(open > 0 && !current.is_empty(), "{open} days are open, {current:?} are closed");
    closed.assert_true()?;
    closed.resize_disk("64m")?;
    closed.wait_closed(&mut collector).await?;
    net::wait_ready(&mut collector, closed.http(), "/readyz", LIMIT)?;
    closed.assert_true()?;
    let planned = closed.run(&["gc", "--grace", "0s", "--dry-run"])?;
    ensure!(planned.starts_with("would remove 0 files"), "something was left: {planned}");
    let told = collector.errors().lines().filter(|line| line.contains("cannot be moved")).count();
    ensure!(told == 1, "the full disk stands {told} times in the log:\n{}", collector.errors());
    collector.stop(LIMIT)
}
