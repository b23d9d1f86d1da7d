//! Where a ledger is, as `--ledger`, `GPULEDGER_LEDGER` and the configuration name it.
//!
//! A password in an address is for the connection only: neither `Display` nor `Debug` nor an error
//! shows it.

use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const POSTGRES_SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// Where a ledger is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Location {
    /// An SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresUrl),
}

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// A text that names no ledger. Never holds the text itself, which may have a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("the ledger's name is empty; expected the path of a file, or postgres://USER@HOST/DATABASE")]
    Empty,
    #[error(
        "a ledger cannot be at {scheme}://…; expected the path of a file, or postgres://USER@HOST/DATABASE"
    )]
    Scheme { scheme: String },
    #[error(
        "the address postgres://… is ambiguous: write special characters of user and password in percent \
         form (@ is %40, / is %2F, ? is %3F, # is %23)"
    )]
    Ambiguous,
    #[error("the address postgres://… names no database; expected postgres://USER@HOST/DATABASE")]
    NoDatabase,
}

impl Location {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(LocationError::Empty) } else { Ok(Self::File(text.into())) };
        };
        let is_scheme = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if scheme.is_empty() || !is_scheme {
            return Ok(Self::File(text.into()));
        }
        if !POSTGRES_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(LocationError::Scheme { scheme: scheme.to_owned() });
        }
        PostgresUrl::checked(rest).map(Self::Postgres)
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl PostgresUrl {
    /// Takes what follows the scheme. What cannot be told apart for certain is refused, because a part
    /// of a password could be taken for a host and be shown.
    fn checked(rest: &str) -> Result<Self, LocationError> {
        let before_options = rest.split(['?', '#']).next().unwrap_or_default();
        let place = match before_options.rsplit_once('@') {
            Some((user, place)) if !user.contains(['@', '/']) => place,
            Some(_) => return Err(LocationError::Ambiguous),
            None => before_options,
        };
        if rest[before_options.len()..].contains('@') {
            return Err(LocationError::Ambiguous);
        }
        let (host, database) = place.split_once('/').ok_or(LocationError::NoDatabase)?;
        if !host.split(',').all(has_a_port_or_none) {
            return Err(LocationError::Ambiguous);
        }
        if database.is_empty() || database.contains('/') {
            return Err(LocationError::NoDatabase);
        }
        Ok(Self(format!("postgres://{rest}")))
    }

    /// The whole address, for the connection and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What follows the last colon of a host is a number, or it is a password whose host is missing.
fn has_a_port_or_none(host: &str) -> bool {
    let after_address = host.rsplit(']').next().unwrap_or_default();
    after_address.split_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// User, hosts and database: without password and options.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.0.strip_prefix("postgres://").unwrap_or_default();
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((user, place)) => {
                write!(f, "postgres://{}@{place}", user.split(':').next().unwrap_or_default())
            }
            None => write!(f, "postgres://{rest}"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let location: Location = text.parse().unwrap();
        assert!(!format!("{location:?}").contains("secret"), "{location:?}");
        location.to_string()
    }

    #[test]
    fn a_path_is_a_file_however_strange_it_looks() {
        for path in ["ledger.db", "/var/lib/gpuledger/ledger.db", "./a:b/c@d.db", "//host/share/l.db", "a b"]
        {
            assert_eq!(path.parse(), Ok(Location::File(path.into())));
            assert_eq!(shown(path), path);
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password_and_kept_with_it() {
        let table = [
            ("postgres://ledger:secret@db.example:5432/gpu", "postgres://ledger@db.example:5432/gpu"),
            ("postgresql://ledger:secret@db/gpu?sslmode=require", "postgres://ledger@db/gpu"),
            ("POSTGRES://db/gpu?password=secret&user=ledger", "postgres://db/gpu"),
            ("postgres://ledger@[::1]:5432/gpu", "postgres://ledger@[::1]:5432/gpu"),
            ("postgres://ledger:secret@a:1,b:2/gpu", "postgres://ledger@a:1,b:2/gpu"),
            ("postgres:///gpu?host=/run/postgresql", "postgres:///gpu"),
        ];
        for (given, told) in table {
            assert_eq!(shown(given), told);
            let Ok(Location::Postgres(url)) = given.parse() else { panic!("{given}") };
            assert_eq!(url.expose().split_once("://").unwrap().1, given.split_once("://").unwrap().1);
        }
    }

    #[test]
    fn what_is_no_ledger_is_refused_and_no_message_repeats_it() {
        let table = [
            ("", "is empty"),
            ("mysql://u:secret@h/d", "cannot be at mysql://…"),
            ("s3://secret/ledger.db", "cannot be at s3://…"),
            ("postgres://u:p@secret@h/d", "ambiguous"),
            ("postgres://u:p/secret@h/d", "ambiguous"),
            ("postgres://u:p?secret@h/d", "ambiguous"),
            ("postgres://u:p#secret@h/d", "ambiguous"),
            ("postgres://u:secret/d", "ambiguous"),
            ("postgres://u:secret@h", "names no database"),
            ("postgres://h/secret/d", "names no database"),
            ("postgres://", "names no database"),
        ];
        for (given, told) in table {
            let message = given.parse::<Location>().unwrap_err().to_string();
            assert!(message.contains(told) && !message.contains("secret"), "{given}: {message}");
        }
    }

    #[test]
    fn a_configuration_of_another_program_reads_the_same_names() {
        #[derive(serde::Deserialize)]
        struct Named {
            ledger: Location,
        }
        let named: Named = toml::from_str("ledger = \"postgres://u:p@h/d\"").unwrap();
        assert_eq!(named.ledger.to_string(), "postgres://u@h/d");
        assert!(toml::from_str::<Named>("ledger = \"ftp://h/d\"").is_err());
    }
}
