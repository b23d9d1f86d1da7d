//! The fleet's own certificate authority: who may send as which node, and what a collector is.
//!
//! [`Authority`] is one CA: a self-signed certificate of ten years and its key, both P-256. What it
//! issues names either one node (a URI [`NODE_URI`](gpuledger_tls::NODE_URI)`NAME`, for use as a client
//! alone) or the hosts of a collector (DNS names and addresses, for use as a server alone), so that no
//! node can pose as the collector and no collector as a node. Nothing here touches the disk but
//! [`Authority::open`]; what to write where is the command's business (`cli/ca.rs`).
//!
//! A CA that was made elsewhere issues with its own tools: agents and collectors take any certificate
//! that says the same.

mod host;
mod issue;
#[cfg(test)]
mod tests;

pub use host::{HostName, NotAHost};
pub use issue::Issued;

use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

/// File names of a CA in its folder.
pub const CERTIFICATE_FILE: &str = "ca.pem";
pub const KEY_FILE: &str = "ca.key";

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A new CA means new files on every node, so it should be rare.
pub const CA_DAYS: u32 = 3_650;
/// Long enough to renew once a year, short enough that a lost key does not open the door for ever.
pub const LEAF_DAYS: u32 = 365;
/// Certificates begin in the past: clocks of nodes that were just switched on are behind.
const BEGINS_BEFORE: Duration = Duration::from_secs(3_600);

/// Why there is no such CA or certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("cannot read {path}: {reason}; make a CA with `gpuledger ca init`, or say with --ca where it is", path = path.display())]
    Read { path: PathBuf, reason: String },
    #[error(
        "{certificate} and {key} are not a CA that `gpuledger ca init` made: {reason}",
        certificate = certificate.display(), key = key.display()
    )]
    NotACa { certificate: PathBuf, key: PathBuf, reason: String },
    #[error(
        "the CA has expired or expires within the hour: begin a new one with `gpuledger ca init --out DIR`"
    )]
    Expired,
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Between when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: SystemTime,
    pub to: SystemTime,
}

impl Validity {
    /// From an hour ago until so many days from now.
    pub fn days(days: u32) -> Self {
        let now = SystemTime::now();
        Self { from: now - BEGINS_BEFORE, to: now + DAY * days }
    }

    /// In whole seconds, as certificates have it. What is before 1970 begins then.
    fn put(self, params: &mut CertificateParams) {
        let instant = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
        };
        (params.not_before, params.not_after) = (instant(self.from), instant(self.to));
    }
}

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
    expires: SystemTime,
}

impl Authority {
    /// A new CA with a key of its own.
    pub fn create(validity: Validity) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        // Two CAs of one fleet are told apart by their names, in messages and by TLS alike. The last
        // half of such a number is random.
        let mark = Uuid::now_v7().as_u64_pair().1;
        let mut params = parameters(&format!("gpuledger CA {mark:016x}"));
        validity.put(&mut params);
        let certificate_pem = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem, key_pem, expires: validity.to })
    }

    /// The CA in a folder.
    pub fn open(folder: &Path) -> Result<Self, CaError> {
        let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| CaError::Read { path: path.to_owned(), reason: error.to_string() })
        };
        let (certificate_pem, key_pem) = (read(&certificate)?, read(&key)?);
        Self::from_pem(certificate_pem, key_pem).map_err(|reason| CaError::NotACa {
            certificate,
            key,
            reason,
        })
    }

    fn from_pem(certificate_pem: String, key_pem: String) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let key = KeyPair::from_pem(&key_pem).map_err(|error| told(&error))?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| told(&error))?;
        let given = x509_cert::Certificate::from_der(&der).map_err(|error| told(&error))?.tbs_certificate;
        let name = given.subject.to_string();
        let name = name.strip_prefix("CN=").ok_or("its subject is not one common name")?;
        // What is issued must name this very subject and be signed by this very key: a twin shows both.
        let params = parameters(name);
        let twin = params.self_signed(&key).map_err(|error| told(&error))?;
        let twin =
            x509_cert::Certificate::from_der(twin.der()).map_err(|error| told(&error))?.tbs_certificate;
        if twin.subject_public_key_info != given.subject_public_key_info {
            return Err("the key is not this certificate's".to_owned());
        }
        let constraints = given.get::<BasicConstraints>().map_err(|error| told(&error))?;
        if twin.subject != given.subject || !constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err("the certificate is no CA's, or another tool's".to_owned());
        }
        let expires = SystemTime::UNIX_EPOCH + given.validity.not_after.to_unix_duration();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem, key_pem, expires })
    }

    /// What agents and collectors know the CA by.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Who has this can be any node.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    pub fn expires(&self) -> SystemTime {
        self.expires
    }
}

/// What makes a certificate a CA's: it signs certificates that sign nothing themselves.
fn parameters(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
