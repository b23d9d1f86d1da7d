//! The quantity types. One macro writes them all, so that they cannot differ in behaviour.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A sum or product left the range of its type. It names the quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow(pub &'static str);

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} overflows its integer", self.0)
    }
}

impl std::error::Error for Overflow {}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($int:ty), $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// Nothing at all; the neutral element of [`Self::plus`].
            pub const ZERO: Self = Self(0);

            /// The sum.
            pub fn plus(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_add(other.0).map(Self).ok_or(Overflow(stringify!($name)))
            }

            /// The difference, or `None` where it would leave the range.
            pub fn minus(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// Adds in place; on overflow nothing is changed.
            pub fn add(&mut self, other: Self) -> Result<(), Overflow> {
                *self = self.plus(other)?;
                Ok(())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $unit)
            }
        }
    };
}

quantity!(
    /// Energy in millijoules. 1 kWh = 3,600,000,000 mJ.
    Millijoules(u64), "mJ");
quantity!(
    /// Power in milliwatts.
    Milliwatts(u64), "mW");
quantity!(
    /// A duration, or an instant since the Unix epoch, in milliseconds.
    Millis(u64), "ms");
quantity!(
    /// Memory or traffic in bytes.
    Bytes(u64), "B");
quantity!(
    /// Temperature in thousandths of a degree Celsius.
    Millicelsius(i64), "m°C");
quantity!(
    /// A share in parts per million; 1,000,000 is the whole.
    Ppm(u64), "ppm");
quantity!(
    /// A share integrated over time: ppm × ms.
    PpmMillis(u64), "ppm·ms");
quantity!(
    /// Memory integrated over time: byte × ms.
    ByteMillis(u128), "B·ms");

impl Ppm {
    /// The whole: 100 %.
    pub const WHOLE: Self = Self(1_000_000);

    /// This share held for a time.
    pub fn over(self, time: Millis) -> Result<PpmMillis, Overflow> {
        self.0.checked_mul(time.0).map(PpmMillis).ok_or(Overflow("PpmMillis"))
    }
}

impl Bytes {
    /// This much memory held for a time. Cannot overflow: 64 × 64 bits fit in 128.
    pub fn over(self, time: Millis) -> ByteMillis {
        ByteMillis(u128::from(self.0) * u128::from(time.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_does_not_fit_is_refused_and_changes_nothing() {
        let mut energy = Millijoules(u64::MAX - 1);
        assert_eq!(energy.add(Millijoules(2)), Err(Overflow("Millijoules")));
        assert_eq!(energy, Millijoules(u64::MAX - 1));
        energy.add(Millijoules(1)).unwrap();
        assert_eq!(energy, Millijoules(u64::MAX));
    }

    #[test]
    fn a_difference_below_zero_is_none() {
        assert_eq!(Millis(3).minus(Millis(4)), None);
        assert_eq!(Millis(4).minus(Millis(3)), Some(Millis(1)));
        assert_eq!(Millicelsius(-5).minus(Millicelsius(5)), Some(Millicelsius(-10)));
    }

    #[test]
    fn a_quantity_prints_its_unit() {
        assert_eq!(Millijoules(7).to_string(), "7 mJ");
        assert_eq!(Ppm::WHOLE.over(Millis(2)).unwrap().to_string(), "2000000 ppm·ms");
    }
}
