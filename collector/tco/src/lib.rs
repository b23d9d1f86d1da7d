//! Total cost of ownership: pure, decimal and explained. No I/O, no clock, no floats, no hash order.
#![forbid(unsafe_code)]

pub mod money;
pub mod statement;
