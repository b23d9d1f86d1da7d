//! Certificates of our own making, by the `openssl` program.

use crate::Settings;
use crate::programs::run;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// An authority, a server's certificate for the address 127.0.0.1 that it signed, and another
/// authority that has signed nothing.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    pub fn make() -> Result<Self> {
        let folder = TempDir::new()?;
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            run(command.args(arguments.split(' ')).current_dir(folder.path()))
        };
        for name in ["ca", "other"] {
            openssl(&format!("req -x509 {KEY} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"))?;
        }
        openssl(&format!("req {KEY} -keyout server.key -out server.csr -subj /CN=server"))?;
        std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\n")?;
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
        )?;
        Ok(Self(folder))
    }

    /// The authority that signed the server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The authority that did not.
    pub fn other_authority(&self) -> PathBuf {
        self.0.path().join("other.pem")
    }

    /// A file that holds no certificate.
    pub fn no_certificate(&self) -> PathBuf {
        self.0.path().join("names")
    }

    /// Settings of a server that offers TLS with this certificate.
    pub fn settings(&self) -> Result<Settings> {
        let file = |name: &str| -> Result<(String, String)> {
            Ok((name.to_owned(), std::fs::read_to_string(self.0.path().join(Path::new(name)))?))
        };
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Ok(Settings {
            // Relative to the data, beside which the files lie.
            options: vec![
                option("ssl", "on"),
                option("ssl_cert_file", "../server.pem"),
                option("ssl_key_file", "../server.key"),
            ],
            files: vec![file("server.pem")?, file("server.key")?],
            password: None,
        })
    }
}
