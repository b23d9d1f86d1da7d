//! Where nodes stand, by the register.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Nodes whose site is remembered: more than a ledger is meant for. Then all are looked up again.
const REMEMBERED_MAX: usize = 65_536;

type Lookup = dyn Fn(&str) -> Option<usize> + Send + Sync;

/// The sites of the register; empty where there is none.
pub struct Sites {
    names: Vec<String>,
    lookup: Box<Lookup>,
    /// A register may have a rule for every node, and a lookup tries one after the other.
    remembered: Mutex<BTreeMap<String, Option<usize>>>,
}

impl Sites {
    /// The lookup gives a node's position among the names.
    pub fn new(names: Vec<String>, lookup: impl Fn(&str) -> Option<usize> + Send + Sync + 'static) -> Self {
        Self { names, lookup: Box::new(lookup), remembered: Mutex::default() }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The position of a node's site; `None` where it has none.
    pub fn of(&self, node: &str) -> Option<usize> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = remembered.get(node) {
            return *site;
        }
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        let site = (self.lookup)(node);
        remembered.insert(node.to_owned(), site);
        site
    }
}

impl Default for Sites {
    fn default() -> Self {
        Self::new(Vec::new(), |_| None)
    }
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sites").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_node_is_looked_up_once() {
        let lookups = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&lookups);
        let sites = Sites::new(vec!["dc1".to_owned()], move |node| {
            counted.fetch_add(1, Ordering::Relaxed);
            (node == "n1").then_some(0)
        });
        assert_eq!(
            [sites.of("n1"), sites.of("n2"), sites.of("n1"), sites.of("n2")],
            [Some(0), None, Some(0), None]
        );
        assert_eq!(lookups.load(Ordering::Relaxed), 2);
    }
}
