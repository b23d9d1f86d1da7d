//! The sheets of the reports beside the statement: what each shows, in which columns, and why.
//!
//! | report | function |
//! |---|---|
//! | `depreciation` | [`register_of`], [`books()`](books()), [`lives`], [`lives_of`] |
//! | `assets` | [`condition()`](condition()) |
//! | `compare` | [`owning`], [`offers`], [`tornado`], [`quantiles`], [`models`] |
//! | `split` | [`split`], [`market`] |
//! | `showback` | [`showback`], [`tenants`] |
//! | `utilization` | [`utilization`] |
//! | `scenario` | [`crate::scenario::Scenario::sheets`] |

mod books;
mod compare;
mod condition;
mod decisions;
mod use_of;

pub use books::{AssetSums, LivesOf, books, lives, lives_of, register_of};
pub use compare::{offers, owning};
pub use condition::{Condition, condition};
pub use decisions::{market, models, quantiles, split, tornado};
pub use use_of::{showback, tenants, utilization};

#[cfg(test)]
mod tests;
