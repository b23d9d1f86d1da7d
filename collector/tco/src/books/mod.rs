//! Three books side by side for each asset and month: book, tax and economic value.
//!
//! | module | |
//! |---|---|
//! | [`terms`] | method, convention and events of an asset, and their checks |
//! | [`book`] | the book: depreciation and book value at every instant |
//! | [`booking`] | impairments, reversals and disposals as entries |
//! | [`tax`] | MACRS with its conventions, bonus, the 40 % test and the year of disposal |
//! | [`economic`] | what the asset is worth: its rents to come and its resale |
//! | [`side_by_side`] | the three as one table, month by month |
//! | [`life`] | what other useful lives would mean, as one table |

pub mod book;
pub mod booking;
pub mod economic;
pub mod life;
mod plan;
pub mod side_by_side;
mod spread;
pub mod tax;
pub mod terms;

pub use book::Book;
pub use booking::{Booked, Booking};
pub use economic::{Economy, RentPath};
pub use life::{LifeRow, life_table};
pub use side_by_side::{BooksOfMonth, side_by_side};
pub use tax::{Property, TaxAsset, TaxBook, tax_books};
pub use terms::{BookMethod, Change, Event, Regime, Stay, Terms, Unit, Units, UnitsDone};

#[cfg(test)]
mod tests;
