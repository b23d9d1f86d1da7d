//! Where the server is and how to log in: libpq's forms of an address.
//!
//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE&…` or `host=… port=… user=… …`, with the
//! options that tokio-postgres knows and `sslmode` and `sslrootcert` as [`tls`](super::tls) explains
//! them. A password that is not given is taken from the environment variable `PGPASSWORD`, so that
//! none need stand in a file or a command line. Nothing here or later shows a password.

use super::tls::{TlsMode, Verify};
use crate::LedgerError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// For making a connection, where the address does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is silent for this long is asked whether it still lives: a server that vanished
/// without a word is noticed within a minute instead of two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// An address as it was understood.
pub struct Address {
    pub config: Config,
    pub tls: TlsMode,
    /// For messages: user, hosts and database; no password.
    pub label: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("label", &self.label).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Address {
    /// Understands an address. `password` is taken where it names none.
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self, LedgerError> {
        let (rest, own) = split(text).map_err(|reason| refused(&reason))?;
        // The reason is not passed on: it may quote a piece of what was given, password included.
        let mut config: Config = rest.parse().map_err(|_| refused(FORM))?;
        let tls = own.apply(&mut config).map_err(|reason| refused(&reason))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refused("it names no host"));
        }
        if let (None, Some(password)) = (config.get_password(), password) {
            config.password(password);
        }
        complete(&mut config);
        let label = label(&config);
        Ok(Self { config, tls, label })
    }

    /// The error that opening fails with.
    pub fn failed(&self, reason: impl fmt::Display) -> LedgerError {
        LedgerError::Open { path: PathBuf::from(&self.label), reason: reason.to_string() }
    }
}

const FORM: &str = "the address is not understood: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special \
                    characters as %XX and options after ?, or host=HOST port=PORT dbname=DATABASE user=USER";

fn refused(reason: &str) -> LedgerError {
    LedgerError::Open { path: PathBuf::from("postgres://…"), reason: reason.to_owned() }
}

/// The options that are ours.
#[derive(Default)]
struct Own {
    mode: Option<String>,
    roots: Option<String>,
}

impl Own {
    /// Keeps an option that is ours and says whether it was.
    fn take(&mut self, name: &str, value: &str) -> bool {
        match name {
            "sslmode" => self.mode = Some(value.to_owned()),
            "sslrootcert" => self.roots = Some(value.to_owned()),
            _ => return false,
        }
        true
    }

    fn apply(self, config: &mut Config) -> Result<TlsMode, String> {
        let (mode, verify) = match self.mode.as_deref() {
            Some("disable") => (SslMode::Disable, Verify::Nothing),
            Some("prefer") | None => (SslMode::Prefer, Verify::Nothing),
            Some("require") if self.roots.is_some() => (SslMode::Require, Verify::Authority),
            Some("require") => (SslMode::Require, Verify::Nothing),
            Some("verify-ca") => (SslMode::Require, Verify::Authority),
            Some("verify-full") => (SslMode::Require, Verify::Full),
            Some(other) => {
                return Err(format!(
                    "sslmode {other:?} is not known: expected disable, prefer, require, verify-ca or verify-full"
                ));
            }
        };
        config.ssl_mode(mode);
        // libpq's word for the system's authorities.
        let roots = self.roots.filter(|roots| roots != "system").map(PathBuf::from);
        Ok(TlsMode { verify, roots })
    }
}

/// Takes our options out of an address.
fn split(text: &str) -> Result<(String, Own), String> {
    let mut own = Own::default();
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    if is_url {
        let Some((place, query)) = text.split_once('?') else { return Ok((text.to_owned(), own)) };
        let mut others = Vec::new();
        for option in query.split('&') {
            let (name, value) = option.split_once('=').ok_or(FORM)?;
            if !own.take(name, &decoded(value)?) {
                others.push(option);
            }
        }
        let mark = if others.is_empty() { "" } else { "?" };
        return Ok((format!("{place}{mark}{}", others.join("&")), own));
    }
    let mut others = Vec::new();
    for (name, value) in pairs(text)? {
        if !own.take(&name, &value) {
            others.push(format!("{name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")));
        }
    }
    Ok((others.join(" "), own))
}

/// `%XX` in a URL.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        bytes.push(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(FORM)?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| FORM.to_owned())
}

/// `name=value name='quoted value' …`; a backslash takes the next character as it is.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(FORM)?;
        let after = after.trim_start();
        let (quoted, value) = after.strip_prefix('\'').map_or((false, after), |inner| (true, inner));
        let mut taken = String::new();
        let mut characters = value.char_indices();
        let mut end = None;
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => taken.extend(characters.next().map(|(_, next)| next)),
                '\'' if quoted => end = Some(at + 1),
                c if c.is_whitespace() && !quoted => end = Some(at),
                c => taken.push(c),
            }
            if end.is_some() {
                break;
            }
        }
        let end = match end {
            Some(end) => end,
            None if quoted => return Err(FORM.to_owned()),
            None => value.len(),
        };
        pairs.push((name.trim().to_owned(), taken));
        rest = value[end..].trim_start();
    }
    Ok(pairs)
}

fn complete(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name("gpuledger");
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

fn label(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).map_or(5432, |port| *port);
    let hosts: Vec<String> = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().enumerate().map(|(at, host)| format!("{host}:{}", port(at))).collect()
    } else {
        let name = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.display().to_string(),
        };
        config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| format!("{}:{}", name(host), port(at)))
            .collect()
    };
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    format!("postgres://{user}{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        Address::parse(text, None).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn both_forms_mean_the_same() {
        let url = parse(
            "postgres://anna:s%40fe%27@db.example:6432/ledger?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem",
        );
        let keys = parse(
            "host=db.example port = 6432 user=anna password='s@fe\\'' dbname=ledger sslmode=verify-full sslrootcert='/etc/my ca.pem'",
        );
        for address in [url, keys] {
            assert_eq!(address.label, "postgres://anna@db.example:6432/ledger");
            assert_eq!(address.config.get_password(), Some(&b"s@fe'"[..]));
            assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
            assert_eq!(address.tls, TlsMode { verify: Verify::Full, roots: Some("/etc/my ca.pem".into()) });
        }
    }

    #[test]
    fn each_mode_verifies_what_its_name_says() {
        let table = [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=prefer", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            ("?sslmode=require&sslrootcert=a", SslMode::Require, Verify::Authority),
            ("?sslrootcert=a&sslmode=verify-ca", SslMode::Require, Verify::Authority),
            ("?connect_timeout=3&sslmode=verify-full", SslMode::Require, Verify::Full),
        ];
        for (query, mode, verify) in table {
            let address = parse(&format!("postgres://h/d{query}"));
            assert_eq!((address.config.get_ssl_mode(), address.tls.verify), (mode, verify), "{query}");
        }
    }

    #[test]
    fn a_bad_address_is_told_without_what_is_secret() {
        let table = [
            "postgres://anna:hidden@h:port/d",
            "postgres://anna:hidden@h/d?hidden=1",
            "postgres://anna:hidden@h/d?sslmode=maybe",
            "postgres://anna:hidden@h/d?sslrootcert=%zz",
            "postgres://",
            "host=h password=a hidden",
            "host=h password=a hidden=b",
            "host=h password='hidden",
            "ledger.db",
        ];
        for text in table {
            let error = Address::parse(text, None).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{text}: {error}");
            assert!(error.contains("postgres://"), "{text}: {error}");
        }
    }

    #[test]
    fn neither_debug_nor_label_shows_a_password() {
        let address = parse("postgresql://anna:hidden@h1:1,h2:2/d");
        assert_eq!(address.label, "postgres://anna@h1:1,h2:2/d");
        assert!(!format!("{address:?}").contains("hidden"));
        assert!(!address.failed("no").to_string().contains("hidden"));
    }

    #[test]
    fn a_password_of_the_environment_stands_in_for_none() {
        let given = Address::parse("postgres://a:own@h/d", Some("other")).unwrap();
        assert_eq!(given.config.get_password(), Some(&b"own"[..]));
        let taken = Address::parse("postgres://a@h/d", Some("other")).unwrap();
        assert_eq!(taken.config.get_password(), Some(&b"other"[..]));
    }
}
