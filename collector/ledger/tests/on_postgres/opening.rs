//! Whose database it is, which version wrote it, who may log in.

use super::{node, open, place, schema, told};
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_ledger::suite::samples;
use gpuledger_ledger::{Ledger, LedgerError, Store};
use gpuledger_real_postgres::{Server, Settings};

#[tokio::test]
async fn collectors_that_start_together_make_one_schema() {
    let Some((_, url)) = place() else { return };
    let (a, b, c, d) = tokio::join!(open(&url), open(&url), open(&url), open(&url));
    let a_node = node(&a, "a").await;
    for ledger in [&b, &c, &d] {
        assert_eq!(ledger.node(&samples::name("a").unwrap()).await.unwrap(), a_node.key);
    }
    open(&url).await;
}

#[tokio::test]
async fn reading_creates_nothing_and_refuses_to_write() {
    let Some((server, url)) = place() else { return };
    let error = told(PostgresLedger::connect_read_only(&url).await);
    assert!(matches!(&error, LedgerError::NotALedger { .. }), "{error}");
    assert!(error.to_string().contains("it is empty"), "{error}");
    let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{}'", schema(&url));
    assert_eq!(server.sql(&tables).unwrap().trim(), "0");

    let writer = open(&url).await;
    let a = node(&writer, "a").await;
    samples::commit_one(&writer, a.commit(0, 0)).await.unwrap();
    let reader = PostgresLedger::connect_read_only(&url).await.unwrap();
    assert_eq!(reader.state(a.key).await.unwrap().version, 1);
    let refused = [
        told(reader.commit(vec![a.commit(1, 1)]).await),
        told(reader.node(&samples::name("b").unwrap()).await),
        told(reader.set_archive_location("s3://b").await),
    ];
    for error in refused {
        assert!(matches!(error, LedgerError::ReadOnly { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_schema_of_another_program_is_named_and_left_as_it_is() {
    let Some((server, url)) = place() else { return };
    let schema = schema(&url);
    server.sql(&format!("CREATE TABLE {schema}.bookmark (url text)")).unwrap();
    for result in [PostgresLedger::connect(&url).await, PostgresLedger::connect_read_only(&url).await] {
        let error = told(result);
        assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("\"bookmark\"") && text.contains(schema), "{text}");
    }
    let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
    assert_eq!(server.sql(&tables).unwrap().trim(), "1");
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused_with_both_versions() {
    let Some((server, url)) = place() else { return };
    drop(open(&url).await);
    let version =
        |value| format!("UPDATE {}.gpuledger_meta SET value = '{value}' WHERE name = 'schema'", schema(&url));
    server.sql(&version("999")).unwrap();
    for result in [PostgresLedger::connect(&url).await, PostgresLedger::connect_read_only(&url).await] {
        let error = told(result);
        assert!(matches!(error, LedgerError::TooNew { found: 999, .. }), "{error}");
    }
    server.sql(&version("none")).unwrap();
    let error = told(PostgresLedger::connect(&url).await);
    assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
}

#[tokio::test]
async fn an_address_that_leads_nowhere_says_where_and_why() {
    let Some((server, url)) = place() else { return };
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").unwrap();
    let other = |from: &str, to: &str| url.replace(from, to);
    let table = [
        ("no such schema", other(schema(&url), "nowhere"), "search_path"),
        ("no such database", other("/postgres?", "/nowhere?"), "\"nowhere\" does not exist"),
        ("no such user", other("ledger@", "nobody:hidden@"), "\"nobody\" does not exist"),
        ("nobody listens", other(&server.port().to_string(), "1"), "127.0.0.1:1/postgres"),
        ("TLS that the server has not", format!("{url}&sslmode=require"), "does not support TLS"),
        (
            "no authorities",
            format!("{url}&sslmode=verify-full&sslrootcert=/nowhere.pem"),
            "sslrootcert /nowhere.pem",
        ),
        (
            "text that it cannot hold",
            other("/postgres?", "/latin?").replace(schema(&url), "public"),
            "ENCODING 'UTF8'",
        ),
    ];
    for (case, url, expected) in table {
        let error = told(PostgresLedger::connect(&url).await);
        let is_open = matches!(error, LedgerError::Open { .. });
        let is_unreachable = matches!(error, LedgerError::Unreachable { .. });
        assert!(if case == "nobody listens" { is_unreachable } else { is_open }, "{case}: {error}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("postgres://"), "{case}: {text}");
        assert!(!text.contains("hidden"), "{case}: {text}");
    }
}

#[tokio::test]
async fn a_password_opens_and_is_never_shown() {
    let settings = Settings { password: Some("s3cret-word".to_owned()), ..Settings::default() };
    let Some(server) = Server::start(&settings).unwrap() else { return };
    let url = server.fresh().unwrap();
    let ledger = open(&url).await;
    node(&ledger, "a").await;
    assert!(!format!("{ledger:?}").contains("s3cret-word"));
    let wrong = url.replace("s3cret-word", "s3cret-wrong");
    let missing = url.replace(":s3cret-word", "");
    for (case, url) in [("wrong", wrong), ("missing", missing)] {
        let error = told(PostgresLedger::connect(&url).await);
        assert!(matches!(error, LedgerError::Open { .. }), "{case}: {error}");
        let error = error.to_string();
        assert!(case == "wrong" || error.contains("PGPASSWORD"), "{error}");
        assert!(error.contains("password") && !error.contains("s3cret"), "{case}: {error}");
    }
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_servers_default_is() {
    let Some((server, url)) = place() else { return };
    assert_eq!(server.sql("SHOW synchronous_commit").unwrap().trim(), "off");
    let ledger = open(&url).await;
    let a = node(&ledger, "a").await;
    let schema = schema(&url);
    // The commit itself says what it runs under.
    let spy = format!(
        "CREATE TABLE {schema}.spied (setting text); \
         CREATE FUNCTION {schema}.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO {schema}.spied VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$; \
         CREATE TRIGGER spy AFTER INSERT ON {schema}.gpu_hour FOR EACH ROW EXECUTE FUNCTION {schema}.spy()"
    );
    server.sql(&spy).unwrap();
    samples::commit_one(&ledger, a.commit(0, 0)).await.unwrap();
    assert_eq!(server.sql(&format!("SELECT setting FROM {schema}.spied")).unwrap().trim(), "on");
}
