//! The sheets of the reports beside the statement: what each shows, in which columns, and why.
//!
//! | report | function |
//! |---|---|
//! | `depreciation` | [`books()`](books()), [`lives`] |
//! | `assets` | [`condition()`](condition()) |
//! | `compare` | [`verdict`], [`tornado`], [`models`], [`market`] |
//! | `split` | [`split`] |
//! | `showback` | [`showback`] |
//! | `utilization`, `energy` | [`utilization`] |
//! | `scenario` | [`crate::scenario::Scenario::sheets`] |

mod books;
mod condition;
mod decisions;
mod use_of;

pub use books::{books, lives};
pub use condition::{Condition, condition};
pub use decisions::{market, models, quantiles, split, tornado, verdict};
pub use use_of::{showback, utilization};

#[cfg(test)]
mod tests;
