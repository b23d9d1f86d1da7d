//! A mistake in the register or in a file that it names.

/// Where it stands, what is wrong and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct FleetError {
    /// "fleet.toml:12" or "prices.csv:4: column price".
    pub place: String,
    pub message: String,
}

impl FleetError {
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// Names the key or column nearest to one that does not exist, or else all of them.
pub(super) fn suggestion(unknown: &str, known: &[&str]) -> String {
    let begins = |name: &str| unknown.len() >= 4 && (name.starts_with(unknown) || unknown.starts_with(name));
    let distance = |name: &str| strsim::damerau_levenshtein(unknown, name);
    let best = known.iter().copied().min_by_key(|name| (!begins(name), distance(name)));
    // A third of its letters may be wrong, or it begins like a name.
    match best.filter(|name| begins(name) || distance(name) * 3 <= name.len().max(unknown.len())) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("expected {}", known.join(", ")),
    }
}
