//! Validated names and identities.

use crate::limits::NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A name that a peer or a person gave does not fit its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: expected {expected}")]
pub struct InvalidId {
    pub what: &'static str,
    pub given: String,
    pub expected: &'static str,
}

fn checked(what: &'static str, given: &str, expected: &'static str, ok: bool) -> Result<String, InvalidId> {
    if ok && !given.is_empty() && given.len() <= NAME_BYTES_MAX {
        Ok(given.to_owned())
    } else {
        Err(InvalidId { what, given: given.chars().take(80).collect(), expected })
    }
}

/// A text as the wire takes it: without control characters and not longer than a name may be. What a
/// driver or a system tells is cleaned with it, so that an odd byte there never stops a node.
pub fn clean_text(text: &str) -> String {
    let mut clean: String = text.chars().filter(|c| !c.is_control()).collect();
    while clean.len() > NAME_BYTES_MAX {
        clean.pop();
    }
    clean
}

/// The name of a node: what operators call the machine. Unique within a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Letters, digits, `.`, `_`, `-` and `:`; 1 to 253 bytes.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let ok = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b));
        checked("node name", name, "1 to 253 letters, digits, '.', '_', '-' or ':'", ok).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A GPU's identity as the driver gives it: `GPU-8a6a2f3c-…`. The key of everything that is
/// counted for a GPU; index, minor number and PCI address all change between boots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GpuUuid(String);

impl GpuUuid {
    /// Printable ASCII without spaces, quotes or backslashes; 1 to 253 bytes.
    pub fn new(uuid: &str) -> Result<Self, InvalidId> {
        let ok = uuid.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        checked("GPU UUID", uuid, "1 to 253 printable characters without spaces or quotes", ok).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! string_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(name: String) -> Result<Self, InvalidId> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

string_id!(NodeName);
string_id!(GpuUuid);

/// One run of one agent (or one imported file). Sequences count within it, so that a sequence is
/// never used for two contents: a process that starts again begins a new epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub Uuid);

impl Epoch {
    /// A new epoch, never seen before.
    pub fn begin() -> Self {
        Self(Uuid::now_v7())
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
        Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId {
            what: "epoch",
            given: format!("{} bytes", bytes.len()),
            expected: "16 bytes",
        })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a batch in its epoch, from 1 without holes. 0 stands for "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    pub const NONE: Self = Self(0);

    /// The sequence after this one. `u64` outlasts the machine: it saturates instead of wrapping.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_with_a_path_or_a_quote_is_refused() {
        for bad in ["", "a/b", "a b", "a\"b", "ä", &"x".repeat(254)] {
            assert!(NodeName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(NodeName::new("gpu-01.rack:4_b").unwrap().as_str(), "gpu-01.rack:4_b");
    }

    #[test]
    fn a_cleaned_text_is_one_that_the_wire_takes() {
        assert_eq!(clean_text("NVIDIA\0 H100\n"), "NVIDIA H100");
        let long = clean_text(&"ä".repeat(200));
        assert_eq!((long.len(), long.chars().count()), (252, 126));
    }

    #[test]
    fn a_serialised_bad_name_does_not_come_in_by_the_back_door() {
        let refused = NodeName::try_from("a/b".to_owned()).unwrap_err();
        assert!(refused.to_string().contains("node name \"a/b\""), "{refused}");
    }
}
