//! The section `[remote_write]`: without an address there is none of it.

use super::{ConfigError, Given, duration_ms, file_path};
use crate::export::remote_write::{Access, Choice, Labels, Options, Protocol, Target, names};
use crate::fleet::pattern::Pattern;
use crate::store::Location;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Every sample, or one in so long: a day is as good as none.
const RESOLUTION_MS: RangeInclusive<u64> = 0..=86_400_000;
/// Below the least, a minute's outage of a fleet does not fit; the most is a file system.
const QUEUE_BYTES: RangeInclusive<u64> = 64 << 20..=1 << 40;
/// The queue of a ledger that is no file.
const QUEUE: &str = "/var/lib/gpuledger/remote_write";
/// Labels that series have already.
const TAKEN: [&str; 15] = [
    "account",
    "driver_version",
    "gpu",
    "hostname",
    "kind",
    "model",
    "node",
    "os",
    "owner",
    "pci_bus_id",
    "reading",
    "reason",
    "serial",
    "simulated",
    "uuid",
];

/// What the section says, where it names a receiver.
pub(super) fn read(given: &Given<'_>, ledger: &Location) -> Result<Option<Options>, ConfigError> {
    let target = target(given)?;
    let choice = given.parse("remote_write.protocol", protocol)?;
    let families = given.parse("remote_write.families", families)?;
    let resolution_ms = given.parse("remote_write.resolution", |text| duration_ms(text, &RESOLUTION_MS))?;
    let labels = given.parse_given("remote_write.labels", labels)?.unwrap_or_default();
    let queue = given.parse_given("remote_write.queue", file_path)?.unwrap_or_else(|| queue_of(ledger));
    let queue_bytes = given.parse("remote_write.queue_bytes", bytes)?;
    Ok(target.map(|target| Options { target, choice, families, resolution_ms, labels, queue, queue_bytes }))
}

fn target(given: &Given<'_>) -> Result<Option<Target>, ConfigError> {
    let url = given.parse_given("remote_write.url", url)?;
    let user = given.parse_given("remote_write.user", |text| Ok(text.to_owned()))?;
    let secret = given.parse_given("remote_write.secret_file", file_path)?;
    let ca = given.parse_given("remote_write.ca", file_path)?;
    let access = match (user, secret) {
        (Some(user), Some(password_file)) => Access::Basic { user, password_file },
        (None, Some(token_file)) => Access::Bearer { token_file },
        (None, None) => Access::Open,
        (Some(_), None) => {
            let refuse = |_: &str| Err("has no password; name its file with secret_file".to_owned());
            given.parse("remote_write.user", refuse)?
        }
    };
    Ok(url.map(|url| Target { url, access, ca }))
}

fn url(text: &str) -> Result<reqwest::Url, String> {
    const EXPECTED: &str = "http://HOST:PORT/api/v1/write or https://…";
    let url: reqwest::Url =
        text.parse().map_err(|error| format!("{text:?} is no address ({error}); expected {EXPECTED}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{text:?} is no address of HTTP; expected {EXPECTED}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password; write them into user and the file secret_file".to_owned());
    }
    Ok(url)
}

fn protocol(text: &str) -> Result<Choice, String> {
    match text {
        "auto" => Ok(Choice::Auto),
        "1.0" => Ok(Choice::Only(Protocol::V1)),
        "2.0" => Ok(Choice::Only(Protocol::V2)),
        _ => Err(format!("{text:?} is no version; expected auto, 2.0 or 1.0")),
    }
}

/// Names with stars, in any order, as the families that they fit.
fn families(text: &str) -> Result<Vec<&'static str>, String> {
    let mut patterns = Vec::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let pattern = Pattern::new(word);
        if !names().any(|name| pattern.fits(name)) {
            let near = names().min_by_key(|name| strsim::damerau_levenshtein(word, name)).unwrap_or_default();
            return Err(format!("{word:?} fits no family; the nearest is {near:?}"));
        }
        patterns.push(pattern);
    }
    if patterns.is_empty() {
        return Err("names no family; expected names with stars, such as \"gpuledger_gpu_*\"".to_owned());
    }
    Ok(names().filter(|name| patterns.iter().any(|pattern| pattern.fits(name))).collect())
}

/// `site=berlin, cluster=a`.
fn labels(text: &str) -> Result<Labels, String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let expected =
            || format!("{pair:?} is no label; expected name=value, the name of small letters, digits and _");
        let (name, value) = pair.split_once('=').ok_or_else(expected)?;
        let (name, value) = (name.trim(), value.trim());
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !begins || !fits || value.is_empty() || value.chars().any(char::is_control) {
            return Err(expected());
        }
        if TAKEN.contains(&name) || pairs.iter().any(|pair| pair.0 == name) {
            return Err(format!("the label {name:?} is there already; choose another name"));
        }
        pairs.push((name, value));
    }
    Ok(Labels::new(pairs))
}

/// `64MiB`, `1GiB` in bytes.
fn bytes(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "a size such as 64MiB or 10GiB";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} is not {EXPECTED}"))?;
    let shift = match text[digits..].trim() {
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(format!("{text:?} is not {EXPECTED}")),
    };
    let value = number.checked_mul(1 << shift).filter(|value| QUEUE_BYTES.contains(value));
    value.ok_or_else(|| format!("{text:?} is out of range; expected 64MiB to 1TiB"))
}

/// Beside the file of a ledger, under its name.
fn queue_of(ledger: &Location) -> PathBuf {
    ledger.file().map_or_else(
        || PathBuf::from(QUEUE),
        |file| {
            let mut folder = file.as_os_str().to_owned();
            folder.push(".remote_write");
            PathBuf::from(folder)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides};
    use super::*;
    use std::path::Path;

    fn read(section: &str) -> Result<Option<Options>, String> {
        let text = format!("ledger = \"/l/ledger.db\"\n[remote_write]\n{section}");
        let config = Config::from_text(Path::new("c.toml"), &text, &Overrides::default());
        config.map(|config| config.remote_write).map_err(|error| error.to_string())
    }

    #[test]
    fn without_an_address_there_is_no_remote_write() {
        assert_eq!(read("resolution = \"1min\""), Ok(None));
    }

    #[test]
    fn an_address_is_enough() {
        let options = read("url = \"https://p.example/api/v1/write\"").unwrap().unwrap();
        assert_eq!(options.target.access, Access::Open);
        assert_eq!((options.choice, options.resolution_ms), (Choice::Auto, 15_000));
        assert_eq!(options.families, names().collect::<Vec<_>>());
        assert_eq!(options.queue, Path::new("/l/ledger.db.remote_write"));
        assert_eq!(options.queue_bytes, 1 << 30);
    }

    #[test]
    fn what_is_given_is_taken() {
        let section = "url = \"http://h:1/w\"\nfamilies = \"*e_power_watts gpuledger_gpu_up\"\nlabels = \"site = b, x=1\"\n\
                       secret_file = \"/t\"\nprotocol = \"1.0\"\nresolution = \"0s\"\nqueue = \"/q\"\nqueue_bytes = \"2GiB\"";
        let options = read(section).unwrap().unwrap();
        let families = ["gpuledger_gpu_up", "gpuledger_node_power_watts", "gpuledger_gpu_module_power_watts"];
        assert_eq!(options.families, families);
        assert_eq!(options.labels, Labels::new([("site", "b"), ("x", "1")]));
        assert_eq!(options.target.access, Access::Bearer { token_file: "/t".into() });
        assert_eq!((options.choice, options.resolution_ms), (Choice::Only(Protocol::V1), 0));
        assert_eq!((options.queue, options.queue_bytes), ("/q".into(), 2 << 30));
    }

    #[test]
    fn each_mistake_is_told_with_how_to_mend_it() {
        let table = [
            ("url = \"p.example\"", "is no address"),
            ("url = \"ftp://h/x\"", "is no address of HTTP; expected http://HOST:PORT/api/v1/write"),
            ("url = \"http://u:p@h/x\"", "write them into user and the file secret_file"),
            ("families = \"gpuledger_gpu_powr_watts\"", "the nearest is \"gpuledger_gpu_power_watts\""),
            ("families = \" \"", "names no family"),
            ("labels = \"Site=a\"", "expected name=value"),
            ("labels = \"node=a\"", "\"node\" is there already"),
            ("labels = \"a=1,a=2\"", "\"a\" is there already"),
            ("protocol = \"3\"", "expected auto, 2.0 or 1.0"),
            ("queue_bytes = \"1MiB\"", "expected 64MiB to 1TiB"),
            ("queue_bytes = \"1000\"", "is not a size such as"),
            ("user = \"u\"", "name its file with secret_file"),
            ("resolution = \"2d\"", "is out of range"),
            ("endpoint = \"x\"", "unknown key \"remote_write.endpoint\""),
        ];
        for (section, expected) in table {
            let message = read(section).unwrap_err();
            assert!(message.contains(expected), "{section}: {message}");
        }
    }
}
