//! What was wrong with bytes or a message, where, and what would have been right.

use crate::ids::InvalidId;

/// A peer's bytes or message that this build refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Malformed {
    /// `columns, byte 17` or `inventory.gpus[3].uuid`.
    pub place: String,
    pub fault: Fault,
}

impl Malformed {
    pub(crate) fn at_byte(position: usize, fault: Fault) -> Self {
        Self { place: format!("columns, byte {position}"), fault }
    }

    pub(crate) fn at(place: impl Into<String>, fault: Fault) -> Self {
        Self { place: place.into(), fault }
    }
}

/// What exactly was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("ends early: {wanted} bytes are wanted, {left} are left")]
    Ended { wanted: usize, left: usize },
    #[error("a number is longer than 64 bits")]
    LongNumber,
    #[error("encoding version {given} is unknown, this build reads version {known}")]
    Version { given: u8, known: u8 },
    #[error("{what} {given} is out of range, allowed is {least} to {most}")]
    Range { what: &'static str, given: u64, least: u64, most: u64 },
    #[error("{left} bytes are left over after the last column")]
    Leftover { left: usize },
    #[error("the first column names no device")]
    NoDevice,
    #[error("required field is missing")]
    Missing,
    #[error("{0}")]
    Name(#[from] InvalidId),
    #[error("is {given} bytes long, the limit is {limit}")]
    Long { given: usize, limit: usize },
    #[error("contains a control character")]
    Control,
    #[error("{what} occurs twice")]
    Repeated { what: String },
    #[error("shares sum to {given} ppm, expected is {expected}")]
    Shares { given: u64, expected: u64 },
}

impl Fault {
    pub(crate) fn check_range(what: &'static str, given: u64, least: u64, most: u64) -> Result<(), Self> {
        if (least..=most).contains(&given) { Ok(()) } else { Err(Self::Range { what, given, least, most }) }
    }

    pub(crate) fn check_u16(what: &'static str, given: u64) -> Result<u16, Self> {
        u16::try_from(given).map_err(|_| Self::Range { what, given, least: 0, most: u64::from(u16::MAX) })
    }
}
