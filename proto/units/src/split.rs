//! Splitting an integer without losing or inventing a unit of it.

/// Splits `total` in proportion to `weights` by the largest-remainder method: every share is the
/// exact quotient rounded down, and the units left over go to the largest remainders, ties to the
/// earlier share. The shares always sum to `total`.
///
/// Returns `None` when there are no weights or all are zero: there is nobody to give it to.
pub fn largest_remainder(total: u64, weights: &[u64]) -> Option<Vec<u64>> {
    let whole: u128 = weights.iter().map(|&w| u128::from(w)).sum();
    if whole == 0 {
        return None;
    }
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut given: u64 = 0;
    for (position, &weight) in weights.iter().enumerate() {
        let product = u128::from(total) * u128::from(weight);
        // weight <= whole, so the quotient is at most `total` and fits.
        let share = u64::try_from(product / whole).unwrap_or(total);
        given += share;
        shares.push(share);
        remainders.push((product % whole, position));
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let left = total - given;
    for (_, position) in remainders.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        shares[position] += 1;
    }
    Some(shares)
}

/// The part of `total` that belongs to the first `part` of `whole`, rounded down. Taking
/// differences of it at rising `part` cuts a total into pieces that sum to it exactly.
/// `part` above `whole` counts as `whole`; a `whole` of zero gives everything to every part.
pub fn prorate(total: u64, part: u64, whole: u64) -> u64 {
    if part >= whole {
        return total;
    }
    // part < whole, so the quotient is below `total` and fits.
    u64::try_from(u128::from(total) * u128::from(part) / u128::from(whole)).unwrap_or(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_over_three_gives_the_odd_cent_to_the_first() {
        assert_eq!(largest_remainder(10_000, &[1, 1, 1]), Some(vec![3334, 3333, 3333]));
    }

    #[test]
    fn nobody_to_give_to_is_none() {
        assert_eq!(largest_remainder(5, &[]), None);
        assert_eq!(largest_remainder(5, &[0, 0]), None);
    }

    #[test]
    fn shares_sum_to_the_whole_at_the_edges_of_the_range() {
        let shares = largest_remainder(u64::MAX, &[u64::MAX, 1, u64::MAX, 0]).unwrap();
        assert_eq!(shares.iter().map(|&s| u128::from(s)).sum::<u128>(), u128::from(u64::MAX));
        assert_eq!(shares[3], 0);
    }

    #[test]
    fn differences_of_prorate_sum_to_the_total() {
        let cuts = [0, 3, 4, 9, 10];
        let pieces: Vec<u64> =
            cuts.windows(2).map(|w| prorate(1_001, w[1], 10) - prorate(1_001, w[0], 10)).collect();
        assert_eq!(pieces.iter().sum::<u64>(), 1_001);
    }
}
