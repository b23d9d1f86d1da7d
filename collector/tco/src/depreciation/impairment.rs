//! Impairment tests in both regimes, and the gain of a disposal. At the level of the cluster.
//!
//! Sources: ASC 360 for US GAAP, IAS 36 for IFRS.

use crate::decimal::sub;
use crate::error::TcoError;
use crate::finance::{check_not_negative, named, refuse};
use rust_decimal::Decimal;

/// What a test says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impairment {
    pub impaired: bool,
    /// What is written off; zero where nothing is.
    pub loss: Decimal,
    /// What the book value is held against: fair value (US) or recoverable amount (IFRS).
    pub recoverable: Decimal,
}

/// US GAAP: impaired where the undiscounted cash flows are below the book value; the loss is book value
/// − fair value, and is never reversed. Range: book value and fair value zero or more.
pub fn impairment_us(
    book_value: Decimal,
    undiscounted_flows: Decimal,
    fair_value: Decimal,
) -> Result<Impairment, TcoError> {
    check_not_negative("impairment_us", "book_value", book_value)?;
    check_not_negative("impairment_us", "fair_value", fair_value)?;
    let over = sub(book_value, fair_value)?;
    let impaired = undiscounted_flows < book_value && over > Decimal::ZERO;
    Ok(Impairment { impaired, loss: if impaired { over } else { Decimal::ZERO }, recoverable: fair_value })
}

/// IFRS: impaired where the book value is above the recoverable amount, max(fair value − cost of
/// disposal, value in use); the loss is the difference. Range: book value and cost zero or more.
pub fn impairment_ifrs(
    book_value: Decimal,
    fair_value: Decimal,
    disposal_cost: Decimal,
    value_in_use: Decimal,
) -> Result<Impairment, TcoError> {
    check_not_negative("impairment_ifrs", "book_value", book_value)?;
    check_not_negative("impairment_ifrs", "disposal_cost", disposal_cost)?;
    let recoverable = named(sub(fair_value, disposal_cost), "the recoverable amount")?.max(value_in_use);
    // Nothing is written off below zero, whatever the recoverable amount.
    let loss = named(sub(book_value, recoverable.max(Decimal::ZERO)), "the loss")?.max(Decimal::ZERO);
    Ok(Impairment { impaired: loss > Decimal::ZERO, loss, recoverable })
}

/// IFRS: what an earlier impairment is reversed by: up to the recoverable amount, but not above the
/// book value that there would be without the impairment. Range: book values zero or more, the one
/// without impairment at least the one with it.
pub fn impairment_reversal_ifrs(
    book_value: Decimal,
    recoverable: Decimal,
    book_value_unimpaired: Decimal,
) -> Result<Decimal, TcoError> {
    const NAME: &str = "impairment_reversal_ifrs";
    check_not_negative(NAME, "book_value", book_value)?;
    if book_value_unimpaired < book_value {
        let expected = "at least the book value after impairment";
        return refuse(NAME, "book_value_unimpaired", &book_value_unimpaired, expected);
    }
    let reversed = sub(recoverable.min(book_value_unimpaired), book_value);
    Ok(named(reversed, "the reversal")?.max(Decimal::ZERO))
}

/// Gain of a disposal, negative for a loss: proceeds − selling cost − book value. Of a part, the book
/// value is the part's own share by weight. Range: selling cost and book value zero or more.
pub fn disposal_gain(
    proceeds: Decimal,
    selling_cost: Decimal,
    book_value: Decimal,
) -> Result<Decimal, TcoError> {
    check_not_negative("disposal_gain", "selling_cost", selling_cost)?;
    check_not_negative("disposal_gain", "book_value", book_value)?;
    named(sub(proceeds, selling_cost).and_then(|net| sub(net, book_value)), "the gain")
}
