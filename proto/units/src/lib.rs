//! Checked integer quantities.
//!
//! Every measurement that is added up travels as an integer in one fixed unit: energy in
//! millijoules, power in milliwatts, time in milliseconds, shares in parts per million.
//! Arithmetic is checked: a sum that does not fit is an error, never a wrapped number.
//!
//! | type | unit | 64-bit range means |
//! |---|---|---|
//! | [`Millijoules`] | mJ | 5.1 TWh |
//! | [`Milliwatts`] | mW | 18 PW |
//! | [`Millis`] | ms | 584 million years |
//! | [`Ppm`] | 1/1,000,000 | |
//! | [`PpmMillis`] | ppm·ms: a share integrated over time | 584 years at 100 % |
//! | [`ByteMillis`] | byte·ms: memory held over time | 128-bit |
#![forbid(unsafe_code)]

mod quantity;
mod split;

pub use quantity::{
    ByteMillis, Bytes, Millicelsius, Millijoules, Millis, Milliwatts, Overflow, Ppm, PpmMillis,
};
pub use split::{largest_remainder, prorate};
