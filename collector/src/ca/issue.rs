//! Certificates of nodes and collectors. Each has a key of its own that was never anywhere else.

use super::{Authority, CaError, HostName, Validity};
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::NODE_URI;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use std::time::SystemTime;

/// Longest common name that X.509 allows. It is for people; the whole name is an alternative name.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// A certificate and its key.
pub struct Issued {
    pub certificate_pem: String,
    pub key_pem: String,
    /// Not later than its CA.
    pub expires: SystemTime,
}

impl Authority {
    /// A certificate with which an agent sends as this node, and as no other.
    pub fn node(&self, node: &NodeName, validity: Validity) -> Result<Issued, CaError> {
        let uri = SanType::URI(format!("{NODE_URI}{node}").try_into()?);
        self.issue(node.as_str(), vec![uri], ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    /// A certificate for a collector that agents reach under these names and addresses.
    pub fn collector(&self, hosts: &[HostName], validity: Validity) -> Result<Issued, CaError> {
        let first = hosts.first().map_or_else(String::new, ToString::to_string);
        let names = hosts.iter().map(|host| match host {
            HostName::Name(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            HostName::Address(address) => Ok(SanType::IpAddress(*address)),
        });
        let names = names.collect::<Result<_, rcgen::Error>>()?;
        self.issue(&first, names, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    fn issue(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        purpose: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Result<Issued, CaError> {
        // What outlives its CA looks valid and is not.
        let expires = validity.to.min(self.expires);
        if expires <= validity.from {
            return Err(CaError::Expired);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let common_name: String = common_name.chars().take(COMMON_NAME_CHARS_MAX).collect();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        Validity { to: expires, ..validity }.put(&mut params);
        let key = KeyPair::generate()?;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate_pem, key_pem: key.serialize_pem(), expires })
    }
}
