//! How the connection is secured: libpq's modes by rustls.
//!
//! | `sslmode` | encrypted | server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (default) | where the server offers it | not verified |
//! | `require` | yes | not verified; with `sslrootcert` as `verify-ca` |
//! | `verify-ca` | yes | signed by a known authority |
//! | `verify-full` | yes | signed by a known authority, for this host name |
//!
//! Authorities are those in the file `sslrootcert`, or the system's where none is named.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    Nothing,
    Authority,
    Full,
}

/// What is verified, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsMode {
    pub verify: Verify,
    /// File with the certificates of the authorities; the system's where there is none.
    pub roots: Option<PathBuf>,
}

impl TlsMode {
    /// Reads the authorities. The error names the file and what is wrong with it.
    pub fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self.verify {
            Verify::Nothing => Arc::new(Trusting { provider: Arc::clone(&provider), chain: None }),
            verify => {
                let roots = Arc::new(self.authorities()?);
                let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|error| format!("the authorities cannot be used: {error}"))?;
                match verify {
                    Verify::Full => chain,
                    _ => Arc::new(Trusting { provider: Arc::clone(&provider), chain: Some(chain) }),
                }
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be used: {error}"))?;
        // "Dangerous" is the builder's word for a verifier of one's own; the modes above say what
        // each does and does not verify.
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    fn authorities(&self) -> Result<RootCertStore, String> {
        let certificates = match &self.roots {
            Some(path) => from_file(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates);
        match &self.roots {
            _ if added > 0 => Ok(roots),
            Some(path) => Err(format!("sslrootcert {} holds no certificate", path.display())),
            None => {
                Err("the system has no certificates of authorities; name a file with sslrootcert".to_owned())
            }
        }
    }
}

fn from_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("sslrootcert {}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    certificates.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
}

/// Verifies less than everything: no host name, and where there is no chain nothing but that the
/// peer has the key of the certificate that it shows.
#[derive(Debug)]
struct Trusting {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
