//! Where the collector is.

use std::net::IpAddr;

/// The port that a collector listens on unless told otherwise.
const PORT: u16 = 9_841;

/// The collector's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorAddress {
    host: String,
    port: u16,
}

impl CollectorAddress {
    /// `host`, `host:port`, `http://host:port`; an IPv6 address in brackets. Plain text may leave
    /// this machine only where `insecure` says so.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err(format!(
                "{text:?}: TLS comes in a later version; write http://, and set insecure = true \
                 if the collector is on another machine"
            ));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = || format!("{text:?} is not an address; expected host, host:port or http://host:port");
        if rest.contains("://") || rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong());
        }
        let (host, port) = split(rest).ok_or_else(wrong)?;
        let port = port.map_or(Ok(PORT), str::parse).ok().filter(|&port| port != 0).ok_or_else(wrong)?;
        let address = Self { host: host.to_owned(), port };
        if !insecure && !address.is_loopback() {
            return Err(format!(
                "{text:?} is on another machine, and this version sends plain text: set insecure = true \
                 if the network between is yours to trust; TLS comes in a later version"
            ));
        }
        Ok(address)
    }

    /// As an HTTP client wants it.
    pub fn uri(&self) -> String {
        if self.host.contains(':') {
            format!("http://[{}]:{}", self.host, self.port)
        } else {
            format!("http://{}:{}", self.host, self.port)
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Host and port, as text. The host is a name or an address without brackets.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after {
            "" => Some((host, None)),
            after => after.strip_prefix(':').map(|port| (host, Some(port))),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let valid = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (valid && !host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_gives_its_uri() {
        for (text, uri) in [
            ("localhost", "http://localhost:9841"),
            ("127.0.0.1:1234", "http://127.0.0.1:1234"),
            ("http://[::1]:7/", "http://[::1]:7"),
            ("[::1]", "http://[::1]:9841"),
            ("127.3.2.1", "http://127.3.2.1:9841"),
        ] {
            assert_eq!(CollectorAddress::parse(text, false).unwrap().uri(), uri);
        }
        assert_eq!(
            CollectorAddress::parse("ledger.example", true).unwrap().uri(),
            "http://ledger.example:9841"
        );
    }

    #[test]
    fn plain_text_to_another_machine_has_to_be_allowed() {
        for text in ["ledger.example", "10.0.0.1:9841", "http://[fe80::1]", "localhost.example"] {
            let refused = CollectorAddress::parse(text, false).unwrap_err();
            assert!(refused.contains("insecure = true") && refused.contains("TLS"), "{refused}");
            assert!(CollectorAddress::parse(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_even_where_plain_text_is_allowed() {
        for text in [
            "",
            "a b",
            "host:port",
            "host:0",
            "host:70000",
            "ftp://host",
            "http://host/path",
            "[1.2.3.4]",
            "u@host",
            "::1",
            "https://host",
        ] {
            assert!(CollectorAddress::parse(text, true).is_err(), "{text}");
        }
    }
}
