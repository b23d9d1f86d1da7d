//! The reports beside the statement: what each asks of the ledger and the register, and its sheets.
//!
//! | report | file |
//! |---|---|
//! | `utilization`, `showback` | [`use_of`] |
//! | `depreciation` | [`depreciation`](mod@depreciation) |
//! | `assets` | [`condition`] |
//! | `compare` | [`compare`](mod@compare), from the [`case`] of each model |
//! | `split` | [`split`](mod@split) |

mod case;
mod compare;
mod condition;
mod depreciation;
mod split;
mod use_of;

pub use compare::{CompareOptions, compare};
pub use condition::condition;
pub use depreciation::depreciation;
pub use split::split;
pub use use_of::{Payers, ShowbackOptions, showback, utilization};

use super::CostingError;
use crate::fleet::Fleet;
use gpuledger_ledger::Ledger;
use gpuledger_tco::calendar::Period;
use gpuledger_tco::sheet::Sheet;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a report is made from.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub ledger: &'a dyn Ledger,
    pub fleet: &'a Fleet,
    pub period: Period,
    /// Nothing is counted after it.
    pub now: Timestamp,
}

/// The sheets of a report.
#[derive(Debug, Default)]
pub struct Sheets {
    pub sheets: Vec<Sheet>,
    pub notes: Vec<String>,
    pub simulated: bool,
    /// Owners of each row of a showback, where cost centres pay for them.
    pub owners: BTreeMap<String, Vec<String>>,
}

impl Sheets {
    /// Refuses sheets that do not fit, before anything is printed.
    fn checked(mut self) -> Result<Self, CostingError> {
        for sheet in &mut self.sheets {
            sheet.check()?;
            sheet.simulated = self.simulated;
        }
        Ok(self)
    }
}
