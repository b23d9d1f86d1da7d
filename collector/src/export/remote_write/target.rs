//! Where samples go: the address, who we are there, and whom we trust.

use super::protocol::Protocol;
use reqwest::{Client, RequestBuilder, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A receiver that is there answers a connection at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Storing one request takes a receiver milliseconds; one that is busy may take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub url: Url,
    pub access: Access,
    /// Certificates of the authorities; the system's where no file is named.
    pub ca: Option<PathBuf>,
}

/// What is shown to the receiver. Files are read for every request: a new token needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Open,
    Bearer { token_file: PathBuf },
    Basic { user: String, password_file: PathBuf },
}

impl Target {
    /// A client for the address. The error names the file and what is wrong with it.
    pub fn client(&self) -> Result<Client, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("gpuledger/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN);
        builder = builder.tls_backend_preconfigured(self.tls()?);
        builder.build().map_err(|error| format!("cannot make an HTTP client: {error}"))
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        if self.url.scheme() == "https" {
            let found = match &self.ca {
                Some(path) => certificates(path)?,
                None => rustls_native_certs::load_native_certs().certs,
            };
            let (added, _) = roots.add_parsable_certificates(found);
            if added == 0 {
                return Err(match &self.ca {
                    Some(path) => format!("{} holds no certificate", path.display()),
                    None => "the system has no certificates of authorities; name a file with ca".to_owned(),
                });
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("TLS cannot be used: {error}"))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// A request with all headers, its body left to the caller.
    pub fn request(&self, client: &Client, protocol: Protocol) -> Result<RequestBuilder, String> {
        let request = client
            .post(self.url.clone())
            .header("Content-Encoding", "snappy")
            .header("Content-Type", protocol.content_type())
            .header("X-Prometheus-Remote-Write-Version", protocol.version_header());
        Ok(match &self.access {
            Access::Open => request,
            Access::Bearer { token_file } => request.bearer_auth(secret(token_file)?),
            Access::Basic { user, password_file } => request.basic_auth(user, Some(secret(password_file)?)),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    found.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
}

fn secret(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim_end().to_owned())
}
