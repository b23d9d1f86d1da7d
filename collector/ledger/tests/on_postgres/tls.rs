//! Each `sslmode` against a server with a certificate of our own making.

use super::{node, open, place, told};
use gpuledger_ledger::LedgerError;
use gpuledger_ledger::postgres::PostgresLedger;
use gpuledger_real_postgres::{Server, Settings};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, a server's certificate for the address 127.0.0.1 that it signed, and an authority
/// that has signed nothing.
fn certificates() -> TempDir {
    let folder = TempDir::new().unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for name in ["ca", "other"] {
        openssl(
            folder.path(),
            &format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"),
        );
    }
    openssl(folder.path(), &format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
    std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        folder.path(),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
    folder
}

fn secured(folder: &Path) -> Option<Server> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = Settings {
        // Relative to the data, beside which the files lie.
        options: vec![
            option("ssl", "on"),
            option("ssl_cert_file", "../server.pem"),
            option("ssl_key_file", "../server.key"),
        ],
        files: vec![
            ("server.pem".to_owned(), read("server.pem")),
            ("server.key".to_owned(), read("server.key")),
        ],
        ..Settings::default()
    };
    Server::start(&settings).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_accepts_and_refuses_what_it_says() {
    if place().is_none() {
        return;
    }
    let folder = certificates();
    let Some(server) = secured(folder.path()) else { return };
    let url = server.fresh().unwrap();
    let by_name = url.replace("127.0.0.1", "localhost");
    let root = |name: &str| folder.path().join(name).display().to_string();
    let (ours, other) = (root("ca.pem"), root("other.pem"));
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
        (format!("{url}&sslmode=verify-full&sslrootcert={}", root("names")), "holds no certificate"),
    ];
    for (url, reason) in refused {
        let error = told(PostgresLedger::connect(&url).await);
        assert!(matches!(error, LedgerError::Open { .. }), "{url}: {error}");
        assert!(error.to_string().contains(reason), "{url}: {error}");
    }
}
