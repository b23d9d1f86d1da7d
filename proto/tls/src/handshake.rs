//! Why a connection was not made, or broke, for the sake of certificates: one sentence, with the file
//! and how to mend it, instead of the chain of errors that TLS gives.

use crate::files::Files;
use crate::time::day;
use rustls::{AlertDescription as Alert, CertificateError as Wrong, Error};
use std::io;

/// The TLS error in an I/O error, if that is what it is.
fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What an agent tells of a connection to `host` that failed; `None` where TLS has no part in it.
pub fn told_by_client(error: &io::Error, files: &Files, host: &str) -> Option<String> {
    Some(match cause(error)? {
        Error::InvalidCertificate(wrong) => wrong_collector(wrong, files, host),
        Error::AlertReceived(alert) => refused_node(*alert, files),
        Error::InvalidMessage(_) => format!(
            "what answers at {host} does not speak TLS: if the collector has insecure = true, set it here too"
        ),
        Error::NoCertificatesPresented => {
            format!("what answers at {host} shows no certificate: is it a collector?")
        }
        other => format!("no TLS connection to {host}: {other}"),
    })
}

/// What is wrong with the collector's certificate, as the agent sees it.
fn wrong_collector(wrong: &Wrong, files: &Files, host: &str) -> String {
    let ca = files.ca.display();
    match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => format!(
            "the collector's certificate does not come from the CA in {ca}: copy the ca.pem that belongs to it here"
        ),
        Wrong::ExpiredContext { not_after, .. } => format!(
            "the collector's certificate has expired on {}: issue it anew there (gpuledger ca issue --collector \
             {host} --force)",
            day(not_after.as_secs())
        ),
        Wrong::NotValidYetContext { not_before, .. } => format!(
            "the collector's certificate is valid from {} on only: look at the clocks of both machines",
            day(not_before.as_secs())
        ),
        Wrong::NotValidForNameContext { presented, .. } => format!(
            "the collector's certificate is not for {host} (key collector) but for {}: use one of these names, or \
             issue one for it (gpuledger ca issue --collector {host})",
            names(presented)
        ),
        Wrong::InvalidPurposeContext { .. } => format!(
            "what answers at {host} shows a certificate that is not a collector's: is it a node, or was a node's \
             certificate installed there?"
        ),
        other => format!("the collector's certificate cannot be used: {other}"),
    }
}

/// `DnsName("ledger.example")` and `IpAddress(10.0.0.5)` as what is within.
fn names(presented: &[String]) -> String {
    let within = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    if presented.is_empty() {
        "no name".to_owned()
    } else {
        presented.iter().map(within).collect::<Vec<_>>().join(", ")
    }
}

/// What the collector has against the node's certificate, as far as it says it.
fn refused_node(alert: Alert, files: &Files) -> String {
    let (certificate, ca) = (files.certificate.display(), files.ca.display());
    match alert {
        Alert::UnknownCA => format!(
            "the collector does not know the CA that {certificate} comes from: issue it from the CA that the \
             collector has as its ca.pem"
        ),
        Alert::CertificateExpired => {
            format!(
                "the collector finds {certificate} expired or not yet valid: issue it anew, and look at the clocks"
            )
        }
        Alert::CertificateRequired | Alert::NoCertificate => {
            format!("the collector wants a certificate and did not get {certificate}")
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::DecryptError => {
            format!(
                "the collector does not take {certificate}: it has to be a node's, from the CA that the collector has \
                 as its ca.pem ({alert:?})"
            )
        }
        Alert::ProtocolVersion => "the collector speaks none of TLS 1.2 and 1.3".to_owned(),
        other => format!(
            "the collector ended the TLS connection ({other:?}); {certificate} and {ca} are in use here"
        ),
    }
}

/// Why a collector turned a connection away: a word to count by and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// One of [`REASONS`].
    pub reason: &'static str,
    pub message: String,
}

/// Every reason that [`told_by_server`] gives.
pub const REASONS: [&str; 3] = ["certificate", "not_tls", "broken"];

/// What a collector tells of a handshake that failed.
pub fn told_by_server(error: &io::Error, files: &Files) -> TurnedAway {
    let ca = files.ca.display();
    let Some(cause) = cause(error) else {
        return TurnedAway { reason: "broken", message: format!("the peer went away: {error}") };
    };
    let (reason, message) = match cause {
        Error::NoCertificatesPresented => ("certificate", "it shows no certificate".to_owned()),
        Error::InvalidCertificate(wrong) => ("certificate", wrong_node(wrong, files)),
        Error::AlertReceived(Alert::UnknownCA) => (
            "certificate",
            format!("it does not know the CA of this collector's certificate: copy {ca} to it"),
        ),
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown,
        ) => {
            let own = files.certificate.display();
            (
                "certificate",
                format!("it does not take {own}, whose names, time or purpose are not right for it"),
            )
        }
        Error::AlertReceived(alert) => ("broken", format!("it ended the handshake ({alert:?})")),
        Error::InvalidMessage(_) => ("not_tls", "it does not speak TLS".to_owned()),
        other => ("broken", other.to_string()),
    };
    TurnedAway { reason, message }
}

/// What is wrong with a node's certificate, as the collector sees it.
fn wrong_node(wrong: &Wrong, files: &Files) -> String {
    match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => {
            format!("its certificate does not come from the CA in {}", files.ca.display())
        }
        Wrong::ExpiredContext { not_after, .. } => {
            format!("its certificate has expired on {}: issue it anew", day(not_after.as_secs()))
        }
        Wrong::NotValidYetContext { not_before, .. } => {
            format!("its certificate is valid from {} on only: look at the clocks", day(not_before.as_secs()))
        }
        Wrong::InvalidPurposeContext { .. } => "its certificate is not a node's".to_owned(),
        other => format!("its certificate cannot be used: {other}"),
    }
}

#[cfg(test)]
mod tests;
