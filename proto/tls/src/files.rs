//! Three files that have to be good together before one connection is made with them.

use crate::certificate::{Certificate, NotACertificate, Purpose};
use crate::time::{day, now_s};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// The one protocol that is spoken over these connections.
const ALPN: &[u8] = b"h2";
/// A file of certificates is a few thousand bytes; what is larger was named by mistake.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Where the files of one side are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the CA that the other side's comes from.
    pub ca: PathBuf,
    /// The own certificate, with what lies between it and its CA, if anything.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why files cannot be used. Each names the file and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{path} is missing: {make}; or set insecure = true for plain text", path = path.display())]
    Missing { path: PathBuf, make: &'static str },
    #[error(
        "{path} may not be read by the user of this process: make that user its owner (chown USER {path})",
        path = path.display()
    )]
    Permission { path: PathBuf },
    #[error("cannot read {path}: {reason}", path = path.display())]
    Read { path: PathBuf, reason: String },
    #[error("{path} holds no {expected}: {reason}", path = path.display())]
    Content { path: PathBuf, expected: &'static str, reason: String },
    #[error(
        "{key} is not the key of {certificate}: copy the two that `gpuledger ca issue` wrote together",
        key = key.display(), certificate = certificate.display()
    )]
    NotItsKey { certificate: PathBuf, key: PathBuf },
    #[error("{path} cannot be used: {reason}", path = path.display())]
    Unusable { path: PathBuf, reason: String },
}

/// What the files hold, as it was read.
#[derive(Clone)]
pub struct Pem {
    /// For messages.
    pub files: Files,
    pub ca: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// What an agent connects with.
#[derive(Debug, Clone)]
pub struct Client {
    pub config: Arc<ClientConfig>,
    pub facts: Facts,
}

/// What a collector accepts with.
#[derive(Debug, Clone)]
pub struct Server {
    pub config: Arc<ServerConfig>,
    pub facts: Facts,
}

/// What is known of the files in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The own certificate.
    pub own: Certificate,
    /// Second after which the first of the CA's certificates is no longer valid.
    pub ca_not_after_s: u64,
    /// What is allowed and will not work, or should not be as it is: one sentence each.
    pub warnings: Vec<String>,
}

impl Files {
    /// Reads all three, as an agent uses them.
    pub fn client(&self) -> Result<Client, FileError> {
        let mut client = Pem::read(self, Purpose::Client)?.client()?;
        client.facts.warnings.extend(readable_by_all(&self.key));
        Ok(client)
    }

    /// Reads all three, as a collector uses them.
    pub fn server(&self) -> Result<Server, FileError> {
        let mut server = Pem::read(self, Purpose::Server)?.server()?;
        server.facts.warnings.extend(readable_by_all(&self.key));
        Ok(server)
    }
}

impl Pem {
    fn read(files: &Files, purpose: Purpose) -> Result<Self, FileError> {
        Ok(Self {
            files: files.clone(),
            ca: read(&files.ca, purpose)?,
            certificate: read(&files.certificate, purpose)?,
            key: read(&files.key, purpose)?,
        })
    }

    /// What an agent makes of it.
    pub fn client(&self) -> Result<Client, FileError> {
        let Parts { roots, chain, key, facts } = self.parts(Purpose::Client)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.unusable(&error))?
            .with_root_certificates(roots);
        let mut config = builder.with_client_auth_cert(chain, key).map_err(|error| self.refused(&error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // One connection for hours: what a resumption saves is less than what its memory costs.
        config.resumption = Resumption::disabled();
        Ok(Client { config: Arc::new(config), facts })
    }

    /// What a collector makes of it: whoever connects has to show a certificate.
    pub fn server(&self) -> Result<Server, FileError> {
        let Parts { roots, chain, key, facts } = self.parts(Purpose::Server)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER));
        let verifier = verifier.build().map_err(|error| FileError::Unusable {
            path: self.files.ca.clone(),
            reason: error.to_string(),
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.unusable(&error))?
            .with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.refused(&error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Server { config: Arc::new(config), facts })
    }

    fn parts(&self, purpose: Purpose) -> Result<Parts, FileError> {
        let authorities = certificates(&self.files.ca, &self.ca)?;
        let mut roots = RootCertStore::empty();
        let mut ca_not_after_s = u64::MAX;
        for der in authorities {
            let content = |reason: String| FileError::Content {
                path: self.files.ca.clone(),
                expected: "certificate of a CA",
                reason,
            };
            let read = Certificate::from_der(&der).map_err(|error| content(error.to_string()))?;
            ca_not_after_s = ca_not_after_s.min(read.not_after_s);
            roots.add(der).map_err(|error| content(error.to_string()))?;
        }
        let chain = certificates(&self.files.certificate, &self.certificate)?;
        let own = chain.first().map_or(Err(NotACertificate::default()), |der| Certificate::from_der(der));
        let own = own.map_err(|error| FileError::Content {
            path: self.files.certificate.clone(),
            expected: "certificate",
            reason: error.to_string(),
        })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| FileError::Content {
            path: self.files.key.clone(),
            expected: "private key in PEM form",
            reason: told(&error),
        })?;
        let warnings = self.warnings(&own, ca_not_after_s, purpose);
        Ok(Parts { roots, chain, key, facts: Facts { own, ca_not_after_s, warnings } })
    }

    /// What the other side will not take.
    fn warnings(&self, own: &Certificate, ca_not_after_s: u64, purpose: Purpose) -> Vec<String> {
        let (certificate, ca, now_s) = (self.files.certificate.display(), self.files.ca.display(), now_s());
        let mut warnings = Vec::new();
        if own.not_after_s < now_s {
            let day = day(own.not_after_s);
            warnings.push(format!("{certificate} has expired on {day}: {} anew", purpose.issue()));
        }
        if own.not_before_s > now_s {
            let day = day(own.not_before_s);
            warnings.push(format!("{certificate} is valid from {day} on only: look at this machine's clock"));
        }
        if ca_not_after_s < now_s {
            let day = day(ca_not_after_s);
            warnings.push(format!("{ca} has expired on {day}: begin a new CA with `gpuledger ca init`"));
        }
        if !own.is_for(purpose) {
            let (is, issue) = (purpose.other().whose(), purpose.issue());
            warnings.push(format!(
                "{certificate} is {is} certificate and of no use here: {issue} as it has to be"
            ));
        }
        warnings
    }

    fn refused(&self, error: &rustls::Error) -> FileError {
        match error {
            rustls::Error::InconsistentKeys(_) => FileError::NotItsKey {
                certificate: self.files.certificate.clone(),
                key: self.files.key.clone(),
            },
            error => FileError::Unusable { path: self.files.key.clone(), reason: error.to_string() },
        }
    }

    fn unusable(&self, error: &rustls::Error) -> FileError {
        FileError::Unusable { path: self.files.certificate.clone(), reason: error.to_string() }
    }
}

/// What both sides build their settings from.
struct Parts {
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    facts: Facts,
}

fn read(path: &Path, purpose: Purpose) -> Result<Vec<u8>, FileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned(), make: purpose.issue() },
        io::ErrorKind::PermissionDenied => FileError::Permission { path: path.to_owned() },
        _ => FileError::Read { path: path.to_owned(), reason: error.to_string() },
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        let reason =
            format!("it has {bytes} bytes, and no file of certificates has more than {FILE_BYTES_MAX}");
        return Err(FileError::Read { path: path.to_owned(), reason });
    }
    std::fs::read(path).map_err(failed)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let content = |reason: String| FileError::Content {
        path: path.to_owned(),
        expected: "certificate in PEM form",
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| content(told(&error)))?;
    if found.is_empty() { Err(content("it is empty or of another kind".to_owned())) } else { Ok(found) }
}

fn told(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "it is empty or of another kind".to_owned(),
        error => error.to_string(),
    }
}

fn readable_by_all(key: &Path) -> Option<String> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    let key = key.display();
    (mode & 0o007 != 0).then(|| format!("{key} can be read by every user of this machine: chmod 600 {key}"))
}

#[cfg(test)]
pub(crate) mod tests;
