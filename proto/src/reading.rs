//! A reading is a value or the reason for its absence. Unknown is never zero.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why there is no value. The code travels on the wire and is never used again for another reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Absence {
    /// The device, its mode or its driver does not have this reading.
    Unsupported = 1,
    /// The driver has it, and this user may not read it.
    NoPermission = 2,
    /// The device has fallen off the bus or needs a reset.
    Lost = 3,
    /// The call failed in another way.
    Failed = 4,
    /// The last value is too old to be told as current.
    Stale = 5,
    /// The call did not return in time.
    TimedOut = 6,
    /// Not read yet: the first sample of a reading that needs two, or a metric added later.
    Pending = 7,
}

impl Absence {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 7] = [
        Self::Unsupported,
        Self::NoPermission,
        Self::Lost,
        Self::Failed,
        Self::Stale,
        Self::TimedOut,
        Self::Pending,
    ];

    /// The code on the wire, from 1.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this code. A code from a newer peer reads as [`Absence::Failed`]: the value
    /// is absent for a reason that this build has no word for.
    pub fn from_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|a| a.code() == code).unwrap_or(Self::Failed)
    }

    /// For people and labels: `unsupported`, `no_permission`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::NoPermission => "no_permission",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::TimedOut => "timed_out",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A measured value, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    Value(T),
    Absent(Absence),
}

impl<T> Reading<T> {
    /// The value, if there is one. What to do without it is the caller's decision: there is no
    /// way to turn absence into a number here.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent(_) => None,
        }
    }

    /// The same reading in another unit or type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Value(value) => Reading::Value(f(value)),
            Self::Absent(reason) => Reading::Absent(reason),
        }
    }
}

impl<T> From<Result<T, Absence>> for Reading<T> {
    fn from(result: Result<T, Absence>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(reason) => Self::Absent(reason),
        }
    }
}
