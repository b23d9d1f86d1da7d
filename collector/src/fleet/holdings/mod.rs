//! What was bought, as the register and the ledger have it together: items with components, where they
//! stood when, how they were paid, and what each of their books needs.
//!
//! An [`Entry`] is one item with its tax book and its economic value beside the book that
//! [`gpuledger_tco::register`] keeps. [`Holdings::assets`] gives the engine's assets, one for each
//! component and stay; a serial is one entry, whichever of the two says it.

mod economic;
mod entry;
mod read;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod words;

pub(super) use economic::Market;
pub(super) use read::holdings;
pub use table::{from_document, read_assets, to_document, unwritten, write_assets};

use super::FleetError;
use gpuledger_tco::TcoError;
use gpuledger_tco::asset::Asset;
use gpuledger_tco::books::economic::Economy;
use gpuledger_tco::books::{Property, TaxAsset};
use gpuledger_tco::exchange::Rates;
use gpuledger_tco::money::Currency;
use gpuledger_tco::register::{Binding, Component, Item, Register};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// How the tax recovers the cost of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tax {
    pub property: Property,
    /// Share of the basis that is deducted in the first year.
    pub bonus: Decimal,
}

/// One item and what its books need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub item: Item,
    /// Of each component, in the order of the item's; `None` where no tax book is kept.
    pub tax: Vec<Option<Tax>>,
    /// What its economic value is computed from, in the currency of its cost.
    pub economy: Option<Economy>,
}

/// Everything that was bought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    pub entries: Vec<Entry>,
    pub bindings: Vec<Binding>,
}

impl Holdings {
    /// Items and bindings as the engine takes them.
    pub fn register(&self) -> Register {
        let items = self.entries.iter().map(|entry| entry.item.clone()).collect();
        Register { items, bindings: self.bindings.clone() }
    }

    /// One asset for each component and stay.
    pub fn assets(&self) -> Result<Vec<Asset>, TcoError> {
        self.register().assets()
    }

    /// The entry and the component that an asset of the engine is a part of.
    pub fn of_asset(&self, asset: &Asset) -> Option<(&Entry, &Component)> {
        self.entries.iter().find_map(|entry| {
            let of = |component: &&Component| serial(&entry.item, component) == asset.of_register();
            entry.item.components.iter().find(of).map(|component| (entry, component))
        })
    }

    /// Every component with a tax book, wherever it stood; costs in one currency at the rate of the
    /// purchase, since all of a year decide its convention together.
    pub fn tax_assets(&self, rates: &Rates, currency: Currency) -> Result<Vec<TaxAsset>, TcoError> {
        let mut assets = Vec::new();
        for entry in &self.entries {
            for (component, tax) in entry.item.components.iter().zip(&entry.tax) {
                let Some(tax) = tax else { continue };
                let basis = rates.convert(component.cost, currency, entry.item.purchased)?.money;
                assets.push(TaxAsset {
                    serial: serial(&entry.item, component),
                    in_service: component.in_service.unwrap_or(entry.item.in_service),
                    basis: basis.rounded().amount,
                    property: tax.property,
                    bonus: tax.bonus,
                    disposed: component.terms.disposed(),
                });
            }
        }
        Ok(assets)
    }

    /// Adds what the ledger keeps. A serial that the register has too is refused with both
    /// places, and so is a binding of what nobody bought.
    pub fn join(&mut self, imported: Vec<Entry>) -> Result<(), FleetError> {
        let known: BTreeMap<&str, &str> =
            self.entries.iter().map(|e| (e.item.serial.as_str(), e.item.source.as_str())).collect();
        for entry in &imported {
            if let Some(register) = known.get(entry.item.serial.as_str()) {
                let message = format!(
                    "asset {} stands in the register ({register}) and in the ledger ({}): \
                     take it out of the register, or give one of them another serial",
                    entry.item.serial, entry.item.source
                );
                return Err(FleetError::new(register.replace(" line ", ":"), message));
            }
        }
        self.entries.extend(imported);
        let known = |serial: &str| self.entries.iter().any(|entry| entry.item.serial == serial);
        match self.bindings.iter().find(|binding| !known(&binding.serial)) {
            Some(binding) => {
                let message = format!(
                    "no asset has the serial {:?}, neither here nor in the ledger: correct it, or import the asset",
                    binding.serial
                );
                Err(FleetError::new(binding.source.replace(" line ", ":"), message))
            }
            None => Ok(()),
        }
    }
}

/// Serial of a component, as the engine's assets have it.
fn serial(item: &Item, component: &Component) -> String {
    if component.name.is_empty() {
        item.serial.clone()
    } else {
        format!("{}/{}", item.serial, component.name)
    }
}

#[cfg(test)]
pub(super) fn every_key() -> Vec<&'static str> {
    [&words::ITEM[..], &words::COMPONENT, &terms::EVENT_KEYS, &economic::KEYS, &read::BINDING_KEYS].concat()
}
