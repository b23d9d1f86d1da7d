//! What a certificate says: whose it is, for which names, until when and for what.
//!
//! Nothing here is a proof. That a certificate comes from the CA, and that who shows it has its key, is
//! what the handshake checks.

use gpuledger_proto::ids::NodeName;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

/// What stands before a node's name in the alternative name that says it.
pub const NODE_URI: &str = "gpuledger://node/";

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// One certificate, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// First and last second since the Unix epoch in which it is valid.
    pub not_before_s: u64,
    pub not_after_s: u64,
    /// DNS names and addresses that it is for.
    pub hosts: Vec<String>,
    /// Names of a kind that a node's own is not.
    node_uris: Vec<String>,
    dns_names: Vec<String>,
    /// What it may be used for; `None` where it does not say, which is for anything.
    purposes: Option<Vec<ObjectIdentifier>>,
}

/// Which side a certificate may be shown by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A node's, towards the collector.
    Client,
    /// A collector's, towards the nodes.
    Server,
}

impl Purpose {
    /// How to get a certificate for it.
    pub(crate) const fn issue(self) -> &'static str {
        match self {
            Self::Client => "`gpuledger ca issue NODE` makes it",
            Self::Server => "`gpuledger ca issue --collector NAME` makes it",
        }
    }

    pub(crate) const fn whose(self) -> &'static str {
        match self {
            Self::Client => "a node's",
            Self::Server => "a collector's",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The bytes are not an X.509 certificate that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("not a certificate: {0}")]
pub struct NotACertificate(String);

/// A certificate that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoNode {
    #[error("the certificate names no node: neither {NODE_URI}NAME nor a DNS name")]
    Nameless,
    #[error("the certificate names more than one node")]
    Ambiguous,
    #[error("the certificate's {0}")]
    Name(#[from] gpuledger_proto::ids::InvalidId),
}

impl Certificate {
    pub fn from_der(der: &[u8]) -> Result<Self, NotACertificate> {
        let unreadable = |error: x509_cert::der::Error| NotACertificate(error.to_string());
        let read = x509_cert::Certificate::from_der(der).map_err(unreadable)?.tbs_certificate;
        let names = read.get::<SubjectAltName>().map_err(unreadable)?.map_or_else(Vec::new, |(_, n)| n.0);
        let purposes = read.get::<ExtendedKeyUsage>().map_err(unreadable)?.map(|(_, usage)| usage.0);
        let mut certificate = Self {
            not_before_s: read.validity.not_before.to_unix_duration().as_secs(),
            not_after_s: read.validity.not_after.to_unix_duration().as_secs(),
            hosts: Vec::new(),
            node_uris: Vec::new(),
            dns_names: Vec::new(),
            purposes,
        };
        for name in &names {
            certificate.add(name);
        }
        Ok(certificate)
    }

    fn add(&mut self, name: &GeneralName) {
        match name {
            GeneralName::DnsName(name) => {
                self.hosts.push(name.to_string());
                self.dns_names.push(name.to_string());
            }
            GeneralName::IpAddress(address) => {
                self.hosts.extend(ip_address(address.as_bytes()).map(|ip| ip.to_string()));
            }
            GeneralName::UniformResourceIdentifier(uri) => {
                self.node_uris.extend(uri.as_str().strip_prefix(NODE_URI).map(str::to_owned));
            }
            _ => {}
        }
    }

    /// The node whose certificate this is.
    pub fn node(&self) -> Result<NodeName, NoNode> {
        let names = if self.node_uris.is_empty() { &self.dns_names } else { &self.node_uris };
        match names.as_slice() {
            [] => Err(NoNode::Nameless),
            [name] => Ok(NodeName::new(name)?),
            _ => Err(NoNode::Ambiguous),
        }
    }

    /// Whether this side may show it.
    pub fn is_for(&self, purpose: Purpose) -> bool {
        let wanted = match purpose {
            Purpose::Client => CLIENT_AUTH,
            Purpose::Server => SERVER_AUTH,
        };
        self.purposes.as_ref().is_none_or(|purposes| purposes.contains(&wanted))
    }
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};

    fn certificate(dns: &[&str], uris: &[&str], purposes: &[ExtendedKeyUsagePurpose]) -> Certificate {
        let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.extended_key_usages = purposes.to_vec();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::from_der(made.der()).unwrap()
    }

    #[test]
    fn a_node_is_named_by_its_uri_and_else_by_its_only_dns_name() {
        let node = |dns: &[&str], uris: &[&str]| certificate(dns, uris, &[]).node();
        assert_eq!(node(&["other"], &["gpuledger://node/a:1_b"]).unwrap().as_str(), "a:1_b");
        assert_eq!(node(&["gpu-01.example"], &["https://example"]).unwrap().as_str(), "gpu-01.example");
        assert_eq!(node(&[], &[]), Err(NoNode::Nameless));
        assert_eq!(node(&["10.0.0.1"], &[]), Err(NoNode::Nameless), "an address is no node");
        assert_eq!(node(&["a", "b"], &[]), Err(NoNode::Ambiguous));
        assert_eq!(node(&[], &["gpuledger://node/a", "gpuledger://node/b"]), Err(NoNode::Ambiguous));
        for bad in ["gpuledger://node/", "gpuledger://node/a/b", "gpuledger://node/a%20b"] {
            assert!(matches!(node(&[], &[bad]), Err(NoNode::Name(_))), "{bad}");
        }
    }

    #[test]
    fn hosts_and_times_are_those_of_the_certificate() {
        let certificate = certificate(&["ledger.example", "10.0.0.1", "fd00::1"], &[], &[]);
        assert_eq!(certificate.hosts, ["ledger.example", "10.0.0.1", "fd00::1"]);
        assert_eq!(certificate.not_before_s, 1_767_225_600);
        assert_eq!(certificate.not_after_s, 1_798_761_600);
    }

    #[test]
    fn a_certificate_is_for_what_it_says_and_for_all_where_it_says_nothing() {
        let client = certificate(&["a"], &[], &[ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!([client.is_for(Purpose::Client), client.is_for(Purpose::Server)], [true, false]);
        let silent = certificate(&["a"], &[], &[]);
        assert_eq!([silent.is_for(Purpose::Client), silent.is_for(Purpose::Server)], [true, true]);
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        for bytes in [&b""[..], b"-----BEGIN", &[0x30, 0x82, 0xff, 0xff]] {
            assert!(Certificate::from_der(bytes).is_err());
        }
    }
}
