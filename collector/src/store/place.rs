//! Where the archive of a ledger is, from the text that a person or the ledger itself gives.

use super::{Location, StoreError};
use gpuledger_archive::Root;
use gpuledger_ledger::{LedgerError, Store};
use std::path::{Path, PathBuf};

/// What a ledger remembers whose archive is in its own folder after it was elsewhere.
pub const OWN_FOLDER: &str = "";

/// Where the ledger's archive is unless somebody says otherwise.
pub async fn of(store: &dyn Store, location: &Location) -> Result<Option<String>, LedgerError> {
    let remembered = store.archive_location().await?;
    Ok(remembered.filter(|text| text != OWN_FOLDER).or_else(|| own(location)))
}

/// The folder that an SQLite ledger has for its closed days unless another place is named.
pub fn own(location: &Location) -> Option<String> {
    let name = real(location.file()?).file_name()?.to_string_lossy().into_owned();
    Some(format!("{name}.days"))
}

/// The file itself where the path is a link to it: the closed days lie beside the file.
fn real(path: &Path) -> PathBuf {
    let target = if path.is_symlink() { std::fs::canonicalize(path).ok() } else { None };
    target.unwrap_or_else(|| path.to_owned())
}

/// The place that a text names for a ledger's archive; a relative folder lies beside the ledger.
pub fn root(text: &str, location: &Location) -> Result<Root, StoreError> {
    let is_relative = !text.contains("://") && Path::new(text).is_relative();
    let beside = match location {
        Location::File(path) => real(path).parent().unwrap_or(Path::new("")).to_owned(),
        Location::Postgres(url) if is_relative => {
            return Err(StoreError::NoFolder { text: text.to_owned(), ledger: url.to_string() });
        }
        Location::Postgres(_) => PathBuf::new(),
    };
    Ok(Root::parse(text, &beside)?)
}
