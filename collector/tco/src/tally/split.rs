//! Splitting a signed integer without losing a unit of it.

use crate::error::TcoError;

/// Splits an integer, of either sign, in proportion to weights by largest remainder.
pub(super) fn split(total: i128, weights: &[u64]) -> Result<Vec<i128>, TcoError> {
    let overflow = TcoError::Overflow("a share of energy");
    let whole: i128 = weights.iter().map(|&weight| i128::from(weight)).fold(0, i128::saturating_add);
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut left = total;
    // Quotient and remainder of the total apart, so that the products stay small.
    let (each, rest) = (total.checked_div_euclid(whole), total.checked_rem_euclid(whole));
    let (Some(each), Some(rest)) = (each, rest) else { return Err(overflow) };
    for (position, &weight) in weights.iter().enumerate() {
        let weight = i128::from(weight);
        let product = rest.checked_mul(weight).ok_or(overflow.clone())?;
        let (down, over) = (product.checked_div_euclid(whole), product.checked_rem_euclid(whole));
        let share = each.checked_mul(weight).zip(down).and_then(|(a, b)| a.checked_add(b));
        let (Some(share), Some(over)) = (share, over) else { return Err(overflow) };
        left = left.saturating_sub(share);
        shares.push(share);
        remainders.push((over, position));
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, position) in remainders.into_iter().take(usize::try_from(left).unwrap_or_default()) {
        if let Some(share) = shares.get_mut(position) {
            *share = share.saturating_add(1);
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_to_give_to_is_an_error() {
        assert!(split(5, &[]).is_err());
        assert!(split(5, &[0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_total_of_either_sign(
            total in -1_i128 << 100..1_i128 << 100,
            weights in proptest::collection::vec(0_u64..1 << 40, 1..20),
        ) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let shares = split(total, &weights).unwrap();
            prop_assert_eq!(shares.iter().sum::<i128>(), total);
            prop_assert!(weights.iter().zip(&shares).all(|(&weight, &share)| weight > 0 || share == 0));
        }
    }
}
