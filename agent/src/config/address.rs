//! Where the collector is.

/// The port that a collector listens on unless told otherwise.
const PORT: u16 = 9_841;

/// The collector's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorAddress {
    host: String,
    port: u16,
    insecure: bool,
}

impl CollectorAddress {
    /// `host`, `host:port`, `https://host:port`; an IPv6 address in brackets. `http://` and plain text
    /// are for those who set `insecure`, and `https://` is not.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        match (scheme, insecure) {
            (Some("http"), false) => {
                return Err(format!(
                    "{text:?} is plain text: write https:// or the host alone, or set insecure = true here and at the \
                     collector if what lies between is yours alone"
                ));
            }
            (Some("https"), true) => {
                return Err(format!(
                    "{text:?} is TLS, and insecure = true is plain text: take one of them away"
                ));
            }
            _ => {}
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = || format!("{text:?} is not an address; expected host, host:port or https://host:port");
        if !matches!(scheme, None | Some("http" | "https")) || rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong());
        }
        let (host, port) = split(rest).ok_or_else(wrong)?;
        let port = port.map_or(Ok(PORT), str::parse).ok().filter(|&port| port != 0).ok_or_else(wrong)?;
        Ok(Self { host: host.to_owned(), port, insecure })
    }

    /// As an HTTP client wants it.
    pub fn uri(&self) -> String {
        let scheme = if self.insecure { "http" } else { "https" };
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{}", self.host, self.port)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
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
        for (text, rest) in [
            ("localhost", "localhost:9841"),
            ("127.0.0.1:1234", "127.0.0.1:1234"),
            ("[::1]", "[::1]:9841"),
            ("ledger.example", "ledger.example:9841"),
        ] {
            assert_eq!(CollectorAddress::parse(text, false).unwrap().uri(), format!("https://{rest}"));
            assert_eq!(CollectorAddress::parse(text, true).unwrap().uri(), format!("http://{rest}"));
        }
        assert_eq!(CollectorAddress::parse("https://[::1]:7/", false).unwrap().uri(), "https://[::1]:7");
        assert_eq!(CollectorAddress::parse("http://[::1]:7/", true).unwrap().uri(), "http://[::1]:7");
    }

    #[test]
    fn plain_text_has_to_be_asked_for_even_on_this_machine_and_contradictions_are_told() {
        for text in ["http://ledger.example", "http://127.0.0.1:9841", "http://localhost"] {
            let refused = CollectorAddress::parse(text, false).unwrap_err();
            assert!(refused.contains("insecure = true"), "{refused}");
        }
        let refused = CollectorAddress::parse("https://ledger.example", true).unwrap_err();
        assert!(refused.contains("take one of them away"), "{refused}");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "a b",
            "host:port",
            "host:0",
            "host:70000",
            "ftp://host",
            "https://host/path",
            "https://https://host",
            "[1.2.3.4]",
            "u@host",
            "::1",
        ] {
            for insecure in [false, true] {
                assert!(CollectorAddress::parse(text, insecure).is_err(), "{text}");
            }
        }
    }
}
