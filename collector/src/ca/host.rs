//! Where a collector is reached, as agents have it in their configuration.

use rustls::pki_types::ServerName;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A DNS name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    Name(String),
    Address(IpAddr),
}

/// What was given is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a host name nor an IP address; expected what agents have as `collector`, without the port"
)]
pub struct NotAHost(String);

impl FromStr for HostName {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        match ServerName::try_from(text) {
            Ok(ServerName::DnsName(name)) => Ok(Self::Name(name.as_ref().to_owned())),
            Ok(ServerName::IpAddress(address)) => Ok(Self::Address(address.into())),
            Ok(_) | Err(_) => Err(NotAHost(text.to_owned())),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_without_port_scheme_or_brackets() {
        for good in ["ledger.example", "localhost", "10.0.0.1", "fd00::1"] {
            assert_eq!(good.parse::<HostName>().unwrap().to_string(), good);
        }
        for bad in ["", "ledger.example:9841", "https://ledger", "[::1]", "a b", "*", "10.0.0.1/8"] {
            let refused = bad.parse::<HostName>().unwrap_err().to_string();
            assert!(refused.contains("without the port"), "{bad}: {refused}");
        }
    }
}
