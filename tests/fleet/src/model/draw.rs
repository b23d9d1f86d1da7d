//! Chance without state: the same question always gets the same answer.

/// 64 even bits that depend on the seed and on every part of the question (splitmix64's finaliser,
/// applied after each part).
pub fn draw(seed: u64, question: &[u64]) -> u64 {
    question.iter().fold(mix(seed), |state, &part| mix(state ^ part))
}

/// Whether something that happens in so many of a thousand cases happens in this one.
pub fn happens(permille: u64, seed: u64, question: &[u64]) -> bool {
    draw(seed, question) % 1_000 < permille
}

/// A number in `[low, high)`.
pub fn between(low: u64, high: u64, seed: u64, question: &[u64]) -> u64 {
    low + draw(seed, question) % (high - low).max(1)
}

const fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_question_are_not_interchangeable() {
        assert_ne!(draw(1, &[2, 3]), draw(1, &[3, 2]));
        assert_ne!(draw(1, &[2]), draw(2, &[1]));
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
    }

    #[test]
    fn what_happens_in_a_tenth_of_the_cases_does() {
        let times = (0..100_000).filter(|&n| happens(100, 5, &[n])).count();
        assert!((9_500..10_500).contains(&times), "{times}");
    }

    #[test]
    fn numbers_stay_between_their_bounds_and_an_empty_range_is_its_lower_bound() {
        assert!((0..1_000).all(|n| (10..20).contains(&between(10, 20, 1, &[n]))));
        assert_eq!(between(10, 10, 1, &[2]), 10);
    }
}
