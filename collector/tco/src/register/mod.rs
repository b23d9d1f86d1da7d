//! The register: what was bought, what it is made of, where it stood when, and how it was paid.
//!
//! An item is a server, a cluster or a switch; its components have costs and lives of their own (a GPU
//! tray 4–6 years, a chassis 5–6, a network 8–12, a facility 15–20). [`Register::assets`] gives them to
//! the engine, one asset a component and stay. Nothing of the register changes by itself: what telemetry
//! sees of serials becomes a proposal ([`proposals`]).
//!
//! | module | |
//! |---|---|
//! | [`item`] | items, components and their checks |
//! | [`binding`] | which serial stood on which node when |
//! | [`proposals`] | moves, swaps, replacements and losses that telemetry's serials suggest |
//! | [`financing`] | cash, loan and lease: schedules by month |

pub mod binding;
pub mod financing;
pub mod item;
pub mod proposals;

pub use binding::{Binding, check_bindings};
pub use financing::{Financing, Payment};
pub use item::{Component, Item};
pub use proposals::{Observation, Proposal, propose};

use crate::asset::Asset;
use crate::error::TcoError;
use std::collections::BTreeMap;

/// Everything that was bought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    pub items: Vec<Item>,
    pub bindings: Vec<Binding>,
}

impl Register {
    /// Every mistake, each with item, field, what was expected and how to mend it.
    pub fn mistakes(&self) -> Vec<TcoError> {
        let mut mistakes: Vec<TcoError> = self.items.iter().flat_map(Item::mistakes).collect();
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for item in &self.items {
            if let Some(first) = known.insert(&item.serial, &item.source) {
                mistakes.push(TcoError::Invalid {
                    what: format!("serial {} ({})", item.serial, item.source),
                    given: format!("used already ({first})"),
                    expected: "one entry a serial: rename one of them, or join them",
                });
            }
        }
        mistakes.extend(check_bindings(&self.bindings));
        mistakes
    }

    /// The components as assets of the engine: one for each stay of their item. Fails with the first
    /// mistake.
    pub fn assets(&self) -> Result<Vec<Asset>, TcoError> {
        if let Some(first) = self.mistakes().into_iter().next() {
            return Err(first);
        }
        let mut assets = Vec::new();
        for item in &self.items {
            let mut stays: Vec<&Binding> = self.bindings.iter().filter(|b| b.serial == item.serial).collect();
            stays.sort_by_key(|binding| binding.from);
            for component in &item.components {
                assets.extend(item.assets_of(component, &stays));
            }
        }
        assets.iter().try_for_each(Asset::check)?;
        Ok(assets)
    }
}

#[cfg(test)]
mod tests;
