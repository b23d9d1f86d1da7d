//! Settings as given: the file's keys with their lines, flags, environment, defaults.

use super::keys::{self, KEYS, Key, Kind, Spec};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A configuration that cannot be used. Each names the place and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {message}")]
    Read { path: PathBuf, message: String },
    #[error("{path}:{line}: {message}")]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{path}:{line}: unknown key {key:?}{}", suggestion(*.nearest))]
    UnknownKey { path: PathBuf, line: usize, key: String, nearest: Option<&'static str> },
    #[error("{origin}: {key}: {message}")]
    Value { origin: Origin, key: &'static str, message: String },
    #[error("{key}: {message}")]
    Default { key: &'static str, message: String },
}

fn suggestion(nearest: Option<&'static str>) -> String {
    if let Some(name) = nearest {
        return format!("; did you mean {name:?}?");
    }
    let names: Vec<&str> = KEYS.iter().map(|spec| spec.name).collect();
    format!("; the keys are {}", names.join(", "))
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File { path: PathBuf, line: usize },
    Flag(String),
    Environment(&'static str),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Default => write!(f, "default"),
        }
    }
}

/// One setting as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    key: Key,
    pub text: String,
    pub origin: Origin,
}

impl Setting {
    /// The checked value, or an error that says where the setting stands.
    pub fn parse<T>(&self, check: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        check(&self.text).map_err(|message| self.refuse(message))
    }

    /// Says what is wrong with this setting.
    pub fn refuse(&self, message: String) -> ConfigError {
        ConfigError::Value { origin: self.origin.clone(), key: self.key.name(), message }
    }
}

/// Everything that was given, at most once a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    settings: BTreeMap<Key, Setting>,
}

impl Given {
    /// Reads a file. One that is missing is an error only where it was asked for by name.
    pub fn from_file(path: &Path, must_exist: bool) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(Self::default()),
            Err(error) => Err(ConfigError::Read { path: path.to_owned(), message: error.to_string() }),
        }
    }

    fn from_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line(span.start)),
            message: error.message().to_owned(),
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            let (at, name) = (key.span().start, key.get_ref().to_string());
            match value.get_ref() {
                DeValue::Table(section) if keys::is_section(&name) => {
                    let within = |(key, value): (&Spanned<DeString<'_>>, _)| {
                        (key.span().start, format!("{name}.{}", key.get_ref()), value)
                    };
                    entries.extend(section.iter().map(within));
                }
                _ => entries.push((at, name, value)),
            }
        }
        // The first mistake in the file is told, not the first by name.
        entries.sort_by_key(|(at, ..)| *at);
        let mut given = Self::default();
        for (at, name, value) in entries {
            let line = line(at);
            let spec = keys::find(&name).ok_or_else(|| ConfigError::UnknownKey {
                path: path.to_owned(),
                line,
                nearest: keys::nearest(&name),
                key: name,
            })?;
            let origin = Origin::File { path: path.to_owned(), line };
            let text = text_of(spec, value.get_ref()).map_err(|message| ConfigError::Value {
                origin: origin.clone(),
                key: spec.name,
                message,
            })?;
            given.set(spec.key, text, origin);
        }
        Ok(given)
    }

    /// Sets a key, in place of what stood there.
    pub fn set(&mut self, key: Key, text: String, origin: Origin) {
        self.settings.insert(key, Setting { key, text, origin });
    }

    /// What was given for a key.
    pub fn get(&self, key: Key) -> Option<&Setting> {
        self.settings.get(&key)
    }

    /// What was given for a key, or its default.
    pub fn required(&self, key: Key) -> Result<Setting, ConfigError> {
        if let Some(setting) = self.get(key) {
            return Ok(setting.clone());
        }
        let text = key.spec().default.ok_or_else(|| ConfigError::Default {
            key: key.name(),
            message: "is not set and has no default".to_owned(),
        })?;
        Ok(Setting { key, text: text.to_owned(), origin: Origin::Default })
    }
}

impl Given {
    /// Every setting in force with its value and where it comes from, one a line.
    pub fn in_force(&self) -> String {
        let line = |spec: &Spec| {
            let setting = self.required(spec.key).ok();
            let (value, origin) = setting.map_or_else(
                || ("(chosen at start)".to_owned(), Origin::Default),
                |setting| (setting.text, setting.origin),
            );
            format!("{:<16} {value:<32} {origin}\n", spec.name)
        };
        KEYS.iter().map(line).collect()
    }
}

/// A value of the right type as text.
fn text_of(spec: &Spec, value: &DeValue<'_>) -> Result<String, String> {
    match (spec.kind, value) {
        (Kind::Text, DeValue::String(text)) => Ok(text.to_string()),
        (Kind::Boolean, DeValue::Boolean(value)) => Ok(value.to_string()),
        (Kind::Text, other) => {
            let example = spec.default.unwrap_or(spec.example);
            Err(format!("expected text in quotes, such as {example:?}, and found {}", found(other)))
        }
        (Kind::Boolean, other) => {
            Err(format!("expected true or false without quotes, and found {}", found(other)))
        }
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
