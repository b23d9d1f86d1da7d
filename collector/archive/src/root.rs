//! Where an archive is, as people write it.

use object_store::ObjectStore;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The place under which all files of a ledger lie. One ledger, one place: what `gc` does not find
/// in the ledger's manifest it takes for left over.
#[derive(Clone)]
pub enum Root {
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Objects {
        url: String,
    },
    /// A store that the caller has opened, under the name that messages give it.
    Given {
        store: Arc<dyn ObjectStore>,
        url: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("{text:?} is no place for an archive: expected a folder, file:///folder or s3://bucket/prefix")]
    Form { text: String },
    #[error("cannot use the archive {url}: {reason}")]
    Store { url: String, reason: String },
}

impl Root {
    /// A folder, `file:///folder` or `s3://bucket/prefix`. A relative folder lies below `beside`.
    pub fn parse(text: &str, beside: &Path) -> Result<Self, RootError> {
        let wrong = || RootError::Form { text: text.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(wrong()) } else { Ok(Self::Folder(beside.join(text))) };
        };
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::Folder(PathBuf::from(rest))),
            "s3" if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', '@']) => {
                Ok(Self::Objects { url: text.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Objects { url } | Self::Given { url, .. } => write!(f, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Root::parse(text, Path::new("/var/lib/gpuledger")).ok().map(|root| root.to_string())
    }

    #[test]
    fn folders_and_buckets_are_places_and_nothing_else_is() {
        assert_eq!(parsed("ledger.db.days").unwrap(), "/var/lib/gpuledger/ledger.db.days");
        assert_eq!(parsed("/srv/days").unwrap(), "/srv/days");
        assert_eq!(parsed("file:///srv/days").unwrap(), "/srv/days");
        assert_eq!(parsed("s3://fleet/gpuledger/days").unwrap(), "s3://fleet/gpuledger/days");
        for text in
            ["", "file://days", "s3://", "s3:///days", "s3://key:secret@fleet", "http://host/days", "ftp://x"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
