//! Splitting an amount by weights: in proportion, and to the smallest unit by largest remainder.

use crate::allocation::settle;
use crate::decimal::{div, mul, round, sum};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, named, refuse};
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

/// Compute slices of a GPU that can be partitioned, and memory slices.
const COMPUTE_SLICES: u32 = 7;
const MEMORY_SLICES: u32 = 8;

/// The part of a GPU that an instance of it is: max(compute slices/7, memory slices/8).
///
/// Source: NVIDIA's multi-instance profiles: 1g.10gb has one compute and one memory slice, 3g.40gb three
/// and four. Range: 1 to 7 and 1 to 8.
pub fn instance_share(compute_slices: u32, memory_slices: u32) -> Result<Decimal, TcoError> {
    if !(1..=COMPUTE_SLICES).contains(&compute_slices) {
        return refuse("instance_share", "compute_slices", &compute_slices, "1 to 7");
    }
    if !(1..=MEMORY_SLICES).contains(&memory_slices) {
        return refuse("instance_share", "memory_slices", &memory_slices, "1 to 8");
    }
    let part = |slices: u32, of: u32| div(Decimal::from(slices), Decimal::from(of), "slices");
    Ok(part(compute_slices, COMPUTE_SLICES)?.max(part(memory_slices, MEMORY_SLICES)?))
}

/// What owners are charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChargeBasis {
    /// What was theirs, whether it ran or not.
    #[default]
    Allocation,
    /// What ran.
    Usage,
    /// The larger of both, owner by owner: for shares of GPUs that can be exceeded.
    Larger,
}

/// What one owner had of a GPU, as shares of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub allocated: Decimal,
    pub used: Decimal,
}

/// The share that each owner of one GPU is charged, and what is left idle: never negative. Where the
/// claims exceed the whole GPU (more replicas than there is, shares that were exceeded), they are cut in
/// proportion. Range: claims zero or more.
pub fn charged(claims: &[Claim], basis: ChargeBasis) -> Result<(Vec<Decimal>, Decimal), TcoError> {
    let mut shares = Vec::with_capacity(claims.len());
    for claim in claims {
        check_not_negative("charged", "allocated", claim.allocated)?;
        check_not_negative("charged", "used", claim.used)?;
        shares.push(match basis {
            ChargeBasis::Allocation => claim.allocated,
            ChargeBasis::Usage => claim.used,
            ChargeBasis::Larger => claim.allocated.max(claim.used),
        });
    }
    let all = named(sum(shares.iter().copied()), "the sum of claims")?;
    if all > Decimal::ONE {
        return Ok((proportional(Decimal::ONE, &shares)?, Decimal::ZERO));
    }
    Ok((shares, crate::decimal::sub(Decimal::ONE, all)?))
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
    fn an_instance_is_the_larger_of_its_compute_and_its_memory() {
        assert_eq!(instance_share(3, 4).unwrap(), Decimal::new(5, 1));
        assert_eq!(instance_share(4, 4).unwrap().round_dp(4), Decimal::new(5_714, 4));
        assert_eq!(instance_share(7, 8).unwrap(), Decimal::ONE);
        assert!(instance_share(0, 1).is_err() && instance_share(1, 9).is_err());
    }

    #[test]
    fn claims_are_charged_by_their_basis_and_idle_is_never_negative() {
        let tenths = |t: i64| Decimal::new(t, 1);
        let claims = [(5, 2), (3, 4)].map(|(a, u)| Claim { allocated: tenths(a), used: tenths(u) });
        let of = |basis| charged(&claims, basis).unwrap();
        assert_eq!(of(ChargeBasis::Allocation), (vec![tenths(5), tenths(3)], tenths(2)));
        assert_eq!(of(ChargeBasis::Usage), (vec![tenths(2), tenths(4)], tenths(4)));
        assert_eq!(of(ChargeBasis::Larger), (vec![tenths(5), tenths(4)], tenths(1)));
        let over = [Claim { allocated: Decimal::ONE, used: Decimal::ONE }; 4];
        assert_eq!(
            charged(&over, ChargeBasis::Larger).unwrap(),
            (vec![Decimal::new(25, 2); 4], Decimal::ZERO)
        );
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
