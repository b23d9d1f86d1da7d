//! Splitting an amount by weights: in proportion, and to the smallest unit by largest remainder.

use crate::allocation::settle;
use crate::decimal::{div, mul, round, sum};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, named};
use rust_decimal::Decimal;

/// Shares in proportion to weights, not rounded: total·weight/Σ weights.
///
/// So are component prices scaled to the price of their node (`OpenCost` specification, appendix A).
/// Range: no weight negative, not all zero.
pub fn proportional(total: Decimal, weights: &[Decimal]) -> Result<Vec<Decimal>, TcoError> {
    for &weight in weights {
        check_not_negative("proportional", "weight", weight)?;
    }
    let all = named(sum(weights.iter().copied()), "the sum of weights")?;
    check_positive("proportional", "sum of weights", all)?;
    let share =
        |&weight: &Decimal| named(mul(total, weight).and_then(|part| div(part, all, "a share")), "a share");
    weights.iter().map(share).collect()
}

/// Shares in proportion to weights in units of 10⁻`digits`, which sum to the rounded total: rounded
/// down, and the units left over to the largest remainders, of equal ones to the first. Ranges as those
/// of [`proportional`].
pub fn largest_remainder(total: Decimal, weights: &[Decimal], digits: u32) -> Result<Vec<Decimal>, TcoError> {
    let total = round(total, digits);
    settle(total, &proportional(total, weights)?, digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(numbers: &[i64]) -> Vec<Decimal> {
        numbers.iter().map(|&number| Decimal::from(number)).collect()
    }

    #[test]
    fn the_first_of_equal_remainders_gets_the_cent() {
        let cents = largest_remainder(Decimal::from(100), &whole(&[1, 1, 1]), 2).unwrap();
        assert_eq!(cents, [Decimal::new(3_334, 2), Decimal::new(3_333, 2), Decimal::new(3_333, 2)]);
        assert_eq!(proportional(Decimal::from(35), &whole(&[30, 30, 10])).unwrap(), whole(&[15, 15, 5]));
    }

    #[test]
    fn weights_that_share_nothing_are_refused() {
        let says = |weights: &[i64]| proportional(Decimal::ONE, &whole(weights)).unwrap_err().to_string();
        assert_eq!(says(&[0, 0]), "sum of weights of proportional is 0: expected more than zero");
        assert_eq!(says(&[2, -1]), "weight of proportional is -1: expected zero or more");
        assert!(says(&[]).starts_with("sum of weights"));
    }

    proptest! {
        #[test]
        fn no_cent_is_lost_or_made(cents in -1_000_000_i64..1_000_000, weights in proptest::collection::vec(0_i64..1_000, 1..20)) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let total = Decimal::new(cents, 2);
            let shares = largest_remainder(total, &whole(&weights), 2).unwrap();
            prop_assert_eq!(shares.iter().sum::<Decimal>(), total);
        }
    }
}
