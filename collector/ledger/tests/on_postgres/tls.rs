//! Each `sslmode` against a server with a certificate of our own making.

use super::{node, open, place, told};
use gpuledger_ledger::LedgerError;
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_real_postgres::{Certificates, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_accepts_and_refuses_what_it_says() {
    if place().is_none() {
        return;
    }
    let certificates = Certificates::make().unwrap();
    let Some(server) = Server::start(&certificates.settings().unwrap()).unwrap() else { return };
    let url = server.fresh().unwrap();
    let by_name = url.replace("127.0.0.1", "localhost");
    let ours = certificates.authority().display().to_string();
    let other = certificates.other_authority().display().to_string();
    let none = certificates.no_certificate().display().to_string();
    let ssl = "SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'gpuledger'";
    let accepted = [
        (format!("{url}&sslmode=disable"), "f"),
        (url.clone(), "t"),
        (format!("{url}&sslmode=require"), "t"),
        (format!("{url}&sslmode=verify-full&sslrootcert={ours}"), "t"),
        (format!("{by_name}&sslmode=verify-ca&sslrootcert={ours}"), "t"),
        (format!("{by_name}&sslmode=require&sslrootcert={ours}"), "t"),
    ];
    for (url, encrypted) in accepted {
        let ledger = open(&url).await;
        node(&ledger, "a").await;
        assert_eq!(server.sql(ssl).unwrap().trim(), encrypted, "{url}");
        drop(ledger);
        while !server.sql(ssl).unwrap().trim().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    let refused = [
        (format!("{url}&sslmode=verify-full&sslrootcert={other}"), "UnknownIssuer"),
        (format!("{url}&sslmode=verify-ca&sslrootcert={other}"), "UnknownIssuer"),
        (format!("{url}&sslmode=require&sslrootcert={other}"), "UnknownIssuer"),
        (format!("{by_name}&sslmode=verify-full&sslrootcert={ours}"), "not valid for name"),
        (format!("{url}&sslmode=verify-full&sslrootcert={none}"), "holds no certificate"),
    ];
    for (url, reason) in refused {
        let error = told(PostgresLedger::connect(&url).await);
        assert!(matches!(error, LedgerError::Open { .. }), "{url}: {error}");
        assert!(error.to_string().contains(reason), "{url}: {error}");
    }
}
