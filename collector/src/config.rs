//! Configuration of the collector: file and flags as given → [`Config`], checked.
//!
//! Every setting is declared once, in [`keys`]. A wrong one ends the program before a port is bound
//! or the ledger is opened, and says where it stands and how to mend it. Precedence: flag, file,
//! default.

pub mod keys;
mod remote_write;
#[cfg(test)]
mod tests;

use crate::export::remote_write::Options as RemoteWriteOptions;
use crate::fold::FoldOptions;
use crate::ingest::IngestOptions;
use crate::store::{Location, LocationError};
use gpuledger_tls::Files;
use gpuledger_units::Millis;
use keys::{KEYS, Kind};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use tracing::Level;

/// Where the file is unless a flag says otherwise. It may be missing there.
pub const DEFAULT_FILE: &str = "/etc/gpuledger/collector.toml";

/// Every commit waits for the disk; a minute is as long as a crash of an agent's disk should cost.
const COMMIT_INTERVAL_MS: RangeInclusive<u64> = 20..=60_000;
/// Below a second every sample at 1 Hz would be a gap.
const LONGEST_GAP_MS: RangeInclusive<u64> = 1_000..=3_600_000;

/// Less than an hour would close a day whose last batches are on their way; a year is as good as never.
const CLOSE_AFTER_MS: RangeInclusive<u64> = 3_600_000..=366 * 86_400_000;
/// A look for days to close asks the ledger one question.
const CLOSE_EVERY_MS: RangeInclusive<u64> = 1_000..=86_400_000;
/// A month is the least that a monthly statement needs; a century is as good as for ever.
const KEEP_DAYS: RangeInclusive<u32> = 31..=36_525;

/// Everything that the collector is told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub ledger: Location,
    pub fleet: Option<PathBuf>,
    pub grpc_listen: SocketAddr,
    pub http_listen: SocketAddr,
    /// Certificate files; `None` is plain text.
    pub tls: Option<Files>,
    pub ingest: IngestOptions,
    pub archive: ArchiveConfig,
    /// Where whole series are sent, if anywhere.
    pub remote_write: Option<RemoteWriteOptions>,
    pub log_level: Level,
}

/// What becomes of days that are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// False where days stay in the store for ever.
    pub enabled: bool,
    /// A folder or the address of an object store, where the configuration names one.
    pub location: Option<String>,
    /// Time after its end that a day is closed.
    pub close_after: Duration,
    /// Time between two looks for days to close.
    pub every: Duration,
    /// Days that closed days are kept for; for ever where there is none.
    pub keep_days: Option<u32>,
}

/// Flags that stand above the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub ledger: Option<Location>,
    pub fleet: Option<PathBuf>,
}

/// A configuration that cannot be used. Each names the place and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {message}")]
    Read { path: PathBuf, message: String },
    #[error("{path}:{line}: {message}")]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{path}:{line}: unknown key {key:?}; {}", suggestion(*nearest))]
    UnknownKey { path: PathBuf, line: usize, key: String, nearest: Option<&'static str> },
    #[error("{place}: {key}: {message}")]
    Value { place: String, key: &'static str, message: String },
}

fn suggestion(nearest: Option<&'static str>) -> String {
    if let Some(name) = nearest {
        return format!("did you mean {name:?}?");
    }
    let names: Vec<&str> = KEYS.iter().map(|spec| spec.name).collect();
    format!("the keys are {}", names.join(", "))
}

impl Config {
    /// Reads the file that is named, which must exist, or the default one, which need not.
    pub fn load(named: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(path, &text, overrides),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                Self::from_text(path, "", overrides)
            }
            Err(error) => Err(ConfigError::Read { path: path.to_owned(), message: error.to_string() }),
        }
    }

    /// Checks the text of a file, with what the flags say in its place.
    pub fn from_text(path: &Path, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let given = Given::read(path, text)?;
        let insecure = given.parse("insecure", boolean)?;
        let fleet = given.parse_given("fleet", file_path)?;
        let ledger = match &overrides.ledger {
            Some(ledger) => ledger.clone(),
            None => given.parse("ledger", location)?,
        };
        let remote_write = remote_write::read(&given, &ledger)?;
        Ok(Self {
            ledger,
            remote_write,
            fleet: overrides.fleet.clone().or(fleet),
            grpc_listen: given.parse("grpc_listen", address)?,
            http_listen: given.parse("http_listen", address)?,
            tls: if insecure { None } else { Some(tls_files(&given)?) },
            ingest: IngestOptions {
                commit_interval: Duration::from_millis(
                    given.parse("commit_interval", |text| duration_ms(text, &COMMIT_INTERVAL_MS))?,
                ),
                fold: FoldOptions {
                    longest_gap: Millis(given.parse("longest_gap", |t| duration_ms(t, &LONGEST_GAP_MS))?),
                },
            },
            archive: ArchiveConfig::from_given(&given)?,
            log_level: given.parse("log_level", level)?,
        })
    }
}

fn tls_files(given: &Given<'_>) -> Result<Files, ConfigError> {
    Ok(Files {
        ca: given.parse("tls.ca", file_path)?,
        certificate: given.parse("tls.certificate", file_path)?,
        key: given.parse("tls.key", file_path)?,
    })
}

impl ArchiveConfig {
    fn from_given(given: &Given<'_>) -> Result<Self, ConfigError> {
        let span = |key, range: &RangeInclusive<u64>| {
            given.parse(key, |text| duration_ms(text, range)).map(Duration::from_millis)
        };
        Ok(Self {
            enabled: given.parse("archive.enabled", boolean)?,
            location: given.parse_given("archive.location", archive_location)?,
            close_after: span("archive.close_after", &CLOSE_AFTER_MS)?,
            every: span("archive.every", &CLOSE_EVERY_MS)?,
            keep_days: given.parse_given("archive.keep_days", keep_days)?,
        })
    }
}

/// Settings as the file gives them, each with its line.
struct Given<'a> {
    path: &'a Path,
    settings: BTreeMap<&'static str, (usize, String)>,
}

impl<'a> Given<'a> {
    fn read(path: &'a Path, text: &str) -> Result<Self, ConfigError> {
        let line_of = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(span.start)),
            message: error.message().to_owned(),
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            let name = key.get_ref().to_string();
            match value.get_ref() {
                DeValue::Table(section) if keys::is_section(&name) => {
                    let within = |(key, value)| entry(Some(&name), key, value);
                    entries.extend(section.iter().map(within));
                }
                _ => entries.push(entry(None, key, value)),
            }
        }
        // The first mistake in the file is told, not the first by name.
        entries.sort_by_key(|entry| entry.at);
        let mut settings = BTreeMap::new();
        for Entry { at, name, value } in entries {
            let line = line_of(at);
            let spec = keys::find(&name).ok_or_else(|| ConfigError::UnknownKey {
                path: path.to_owned(),
                line,
                nearest: keys::nearest(&name),
                key: name,
            })?;
            let text = match (spec.kind, value) {
                (Kind::Text | Kind::Flag, DeValue::String(text)) => text.to_string(),
                (Kind::Flag, DeValue::Boolean(value)) => value.to_string(),
                (Kind::Number, DeValue::Integer(value)) => value.to_string(),
                (kind, other) => {
                    let message = format!("expected {}, not {}", kind.expected(), other.type_str());
                    let place = format!("{}:{line}", path.display());
                    return Err(ConfigError::Value { place, key: spec.name, message });
                }
            };
            settings.insert(spec.name, (line, text));
        }
        Ok(Self { path, settings })
    }

    /// The checked value of a key that has no default, where it is given.
    fn parse_given<T>(
        &self,
        key: &'static str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        if self.settings.contains_key(key) { self.parse(key, check).map(Some) } else { Ok(None) }
    }

    /// The checked value of a key, or of its default.
    fn parse<T>(
        &self,
        key: &'static str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let default = keys::find(key).and_then(|spec| spec.default);
        let (place, text) = match self.settings.get(key) {
            Some((line, text)) => (format!("{}:{line}", self.path.display()), text.as_str()),
            None => ("default".to_owned(), default.unwrap_or_default()),
        };
        check(text).map_err(|message| ConfigError::Value { place, key, message })
    }
}

/// One setting as the file has it.
struct Entry<'a> {
    at: usize,
    name: String,
    value: &'a DeValue<'a>,
}

fn entry<'a>(
    section: Option<&str>,
    key: &Spanned<DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
) -> Entry<'a> {
    let name = match section {
        Some(section) => format!("{section}.{}", key.get_ref()),
        None => key.get_ref().to_string(),
    };
    Entry { at: key.span().start, name, value: value.get_ref() }
}

fn location(text: &str) -> Result<Location, String> {
    text.parse().map_err(|error: LocationError| error.to_string())
}

fn archive_location(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; expected a folder or the address of an object store".to_owned());
    }
    Ok(text.to_owned())
}

fn keep_days(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| KEEP_DAYS.contains(days));
    let (least, most) = (KEEP_DAYS.start(), KEEP_DAYS.end());
    days.ok_or_else(|| format!("{text} is out of range; expected {least} to {most} days"))
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

fn file_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty; expected a path".to_owned()) } else { Ok(text.into()) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an IP address and a port, such as 127.0.0.1:9840 or [::]:9840"))
}

fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|_| format!("{text:?} is not a level; expected error, warn, info, debug or trace"))
}

/// `500ms`, `5s`, `1min`, `1h`, `2d` in milliseconds.
fn duration_ms(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    const EXPECTED: &str = "a duration such as 500ms, 5s, 1min, 1h or 2d";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} is not {EXPECTED}"))?;
    let factor = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{text:?} is not {EXPECTED}")),
    };
    let value = number.checked_mul(factor).filter(|value| range.contains(value));
    value
        .ok_or_else(|| format!("{text:?} is out of range; expected {}ms to {}ms", range.start(), range.end()))
}
