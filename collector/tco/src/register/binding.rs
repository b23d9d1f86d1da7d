//! Which serial stood on which node when.

use crate::error::TcoError;
use jiff::civil::Date;
use std::collections::BTreeMap;

/// One stay of a serial on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub serial: String,
    pub node: String,
    /// Slot or index, where two serials of a node are told apart by it.
    pub slot: Option<u32>,
    pub from: Date,
    /// Not bound on this day any more; `None` while it stands there.
    pub to: Option<Date>,
    pub source: String,
}

impl Binding {
    pub fn covers(&self, day: Date) -> bool {
        self.from <= day && self.to.is_none_or(|to| day < to)
    }

    fn overlaps(&self, later: &Self) -> bool {
        self.to.is_none_or(|to| later.from < to)
    }
}

/// Every mistake of a set of bindings: stays that end before they begin, a serial in two places at once,
/// a slot with two serials at once.
pub fn check_bindings(bindings: &[Binding]) -> Vec<TcoError> {
    let mut mistakes = Vec::new();
    for binding in bindings {
        if binding.to.is_some_and(|to| to <= binding.from) {
            mistakes.push(TcoError::Invalid {
                what: format!(
                    "end of the binding of {} to {} ({})",
                    binding.serial, binding.node, binding.source
                ),
                given: binding.to.unwrap_or_default().to_string(),
                expected: "a day after its start: the first day on which it is not bound any more",
            });
        }
    }
    let mut by_serial: BTreeMap<&str, Vec<&Binding>> = BTreeMap::new();
    let mut by_slot: BTreeMap<(&str, u32), Vec<&Binding>> = BTreeMap::new();
    for binding in bindings {
        by_serial.entry(&binding.serial).or_default().push(binding);
        if let Some(slot) = binding.slot {
            by_slot.entry((&binding.node, slot)).or_default().push(binding);
        }
    }
    for (serial, mut of) in by_serial {
        mistakes.extend(overlaps(
            &mut of,
            &format!("serial {serial}"),
            "one place at a time: end the earlier binding first",
        ));
    }
    for ((node, slot), mut of) in by_slot {
        mistakes.extend(overlaps(
            &mut of,
            &format!("slot {slot} of {node}"),
            "one serial at a time: end the earlier binding first",
        ));
    }
    mistakes
}

fn overlaps(bindings: &mut [&Binding], what: &str, expected: &'static str) -> Vec<TcoError> {
    bindings.sort_by_key(|binding| (binding.from, binding.source.as_str()));
    let mut mistakes = Vec::new();
    for pair in bindings.windows(2) {
        if let [earlier, later] = pair
            && earlier.overlaps(later)
        {
            let until = earlier.to.map_or_else(|| "today".to_owned(), |to| to.to_string());
            mistakes.push(TcoError::Invalid {
                what: format!("binding of {what} ({})", later.source),
                given: format!(
                    "{} at {} from {}, while {} is at {} from {} to {until} ({})",
                    later.serial,
                    later.node,
                    later.from,
                    earlier.serial,
                    earlier.node,
                    earlier.from,
                    earlier.source
                ),
                expected,
            });
        }
    }
    mistakes
}
