//! Chance with a seed: the same seed rolls the same numbers in every run.

/// A generator of repeatable randomness (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice of their own for each part of a run, so that one more roll here changes nothing there.
    pub fn new(seed: u64, part: &str) -> Self {
        let mut dice = Self(seed);
        for byte in part.bytes() {
            dice.0 ^= u64::from(byte);
            dice.next();
        }
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[low, high)`; `low` where that is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % high.saturating_sub(low).max(1)
    }

    /// A place in a list of so many.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.between(0, length as u64)).unwrap_or(0)
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, cases: u64) -> bool {
        self.between(0, 1_000) < cases
    }

    /// A number in `[-most, most]`.
    pub fn around_zero(&mut self, most: i64) -> i64 {
        let width = most.unsigned_abs() * 2 + 1;
        i64::try_from(self.next() % width).unwrap_or(0) - most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_and_another_part_rolls_other_numbers() {
        let rolls = |seed, part| {
            let mut dice = Dice::new(seed, part);
            (0..8).map(|_| dice.next()).collect::<Vec<_>>()
        };
        assert_eq!(rolls(1, "links"), rolls(1, "links"));
        assert_ne!(rolls(1, "links"), rolls(1, "plan"));
        assert_ne!(rolls(1, "links"), rolls(2, "links"));
    }

    #[test]
    fn numbers_stay_between_their_bounds() {
        let mut dice = Dice::new(3, "");
        assert!((0..1_000).all(|_| (10..20).contains(&dice.between(10, 20))));
        assert!((0..1_000).all(|_| (-5..=5).contains(&dice.around_zero(5))));
        assert_eq!(dice.between(7, 7), 7);
    }
}
