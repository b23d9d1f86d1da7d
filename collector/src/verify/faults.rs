//! What is wrong: told one by one up to a limit, and counted beyond.

use std::fmt;

/// Faults of one check that are told one by one; the rest is counted.
const TOLD_MAX: usize = 20;

/// The faults that one check has found. A damaged ledger may have millions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    told: Vec<String>,
    more: u64,
}

impl Faults {
    /// Adds one; it is put into words only where it will be told.
    pub fn add(&mut self, fault: impl FnOnce() -> String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(fault());
        } else {
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Those that are told.
    pub fn told(&self) -> &[String] {
        &self.told
    }
}

impl FromIterator<String> for Faults {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut faults = Self::default();
        for text in texts {
            faults.add(|| text);
        }
        faults
    }
}

/// Each on a line of its own, below the check.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.told {
            write!(f, "\n       {fault}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n       … and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_faults_are_counted_and_not_all_told() {
        let faults: Faults = (0..1_000).map(|n| format!("fault {n}")).collect();
        let text = faults.to_string();
        assert_eq!(text.lines().count(), 1 + TOLD_MAX + 1);
        assert!(text.ends_with("fault 19\n       … and 980 more"), "{text}");
        assert!(!faults.is_empty() && Faults::default().to_string().is_empty());
    }
}
