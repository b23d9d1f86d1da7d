//! Every positive root of a sum of powers with few changes of sign.
//!
//! A series of cash flows is worth p(y) = Σ cₖ·y^eₖ, with y = 1/(1 + rate of the smallest period). The
//! number of its roots is at most that of the changes of sign of its coefficients (Descartes). Let a
//! change lie between the terms i and j: the derivative of p(y)·y^−eᵢ, which is
//! Σ cₖ·(eₖ − eᵢ)·y^(eₖ−eᵢ−1), has one change less. So its roots are found in the same way, and
//! between two of them p(y)·y^−eᵢ rises or falls all the way: there it has one root or none, which
//! its signs at both ends tell. No root is missed and none depends on where a search begins.
//!
//! A root where p only touches zero is found as a root of the derivative.

use super::minus;
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::powers::power_of_whole;
use rust_decimal::Decimal;

/// A bracket is halved at every third step at least: this many would do for 28 digits twice.
const STEPS_MAX: u32 = 600;

/// What p is worth, against its largest coefficient, where it counts as touching zero.
const TOUCHES: Decimal = Decimal::from_parts(1, 0, 0, false, 22);

/// Points nearer than this are one.
const SAME: Decimal = Decimal::from_parts(1, 0, 0, false, 20);

/// Σ coefficient·y^exponent: exponents rise from zero, no coefficient is zero, the largest is 1 or −1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Powers {
    terms: Vec<(u32, Decimal)>,
}

impl Powers {
    /// Flows with their time, in the order of time. A factor of a power of y, or of a positive
    /// number, changes no root.
    pub(super) fn new(flows: impl IntoIterator<Item = (u32, Decimal)>) -> Result<Self, TcoError> {
        let mut terms: Vec<(u32, Decimal)> = Vec::new();
        for (exponent, flow) in flows {
            match terms.last_mut() {
                Some((last, sum)) if *last == exponent => *sum = add(*sum, flow)?,
                _ => terms.push((exponent, flow)),
            }
        }
        terms.retain(|(_, coefficient)| !coefficient.is_zero());
        let first = terms.first().map_or(0, |(exponent, _)| *exponent);
        let largest = terms.iter().map(|(_, coefficient)| coefficient.abs()).max().unwrap_or(Decimal::ONE);
        for (exponent, coefficient) in &mut terms {
            *exponent = exponent.saturating_sub(first);
            *coefficient = div(*coefficient, largest, "a flow")?;
        }
        terms.retain(|(_, coefficient)| !coefficient.is_zero());
        Ok(Self { terms })
    }

    /// Number of powers with a coefficient other than zero.
    pub(super) fn terms(&self) -> usize {
        self.terms.len()
    }

    pub(super) fn sign_changes(&self) -> usize {
        self.terms.windows(2).filter(|pair| changes(pair)).count()
    }

    /// p(y), or p(y)·y^−degree where y is above 1: the sign is the same and nothing overflows.
    fn at(&self, y: Decimal) -> Result<Decimal, TcoError> {
        if y <= Decimal::ONE {
            return horner(self.terms.iter().rev(), y);
        }
        horner(self.terms.iter(), div(Decimal::ONE, y, "one")?)
    }

    /// The derivative of p·y^−e, with e the exponent before the first change of sign, by a factor.
    fn with_one_change_less(&self) -> Result<Self, TcoError> {
        let before = self.terms.windows(2).find(|pair| changes(pair));
        let about = before.and_then(|pair| pair.first()).map_or(0, |(exponent, _)| *exponent);
        let degree = self.terms.last().map_or(1, |(exponent, _)| *exponent);
        let mut terms = Vec::new();
        for &(exponent, coefficient) in &self.terms {
            let factor = sub(Decimal::from(exponent), Decimal::from(about))?;
            // Divided by the degree, so that derivatives of derivatives stay small.
            terms.push((exponent, div(mul(coefficient, factor)?, Decimal::from(degree), "a term")?));
        }
        Self::new(terms)
    }

    /// All roots between the first and the last point of a rising grid, which also cuts the search
    /// into pieces. Rising; a touching root once.
    pub(super) fn roots(&self, grid: &[Decimal]) -> Result<Vec<Decimal>, TcoError> {
        if self.sign_changes() == 0 {
            return Ok(Vec::new());
        }
        let turns = self.with_one_change_less()?.roots(grid)?;
        let mut points: Vec<(Decimal, bool)> = turns.into_iter().map(|y| (y, true)).collect();
        points.extend(grid.iter().map(|&y| (y, false)));
        points.sort_by_key(|(y, _)| *y);
        // A turn on a point of the grid is one point, or the noise of its value would be taken for a sign.
        points.dedup_by(|later, kept| {
            let same = sub(later.0, kept.0).is_ok_and(|gap| gap <= SAME);
            kept.1 |= same && later.1;
            same
        });
        let mut roots = Vec::new();
        let mut last: Option<(Decimal, Decimal)> = None;
        for (y, turn) in points {
            let mut value = self.at(y)?;
            if turn && value.abs() <= TOUCHES {
                value = Decimal::ZERO;
            }
            if value.is_zero() {
                roots.push(y);
            } else if let Some(before) = last
                && opposite(before.1, value)
            {
                roots.push(self.within(before, (y, value))?);
            }
            last = Some((y, value));
        }
        roots.dedup();
        Ok(roots)
    }

    /// The root within a bracket, at whose ends p has opposite signs: the false position with halved
    /// weight of an end that stays (Illinois), and bisection at every third step.
    fn within(&self, low: (Decimal, Decimal), high: (Decimal, Decimal)) -> Result<Decimal, TcoError> {
        let ((mut a, mut at_a), (mut b, mut at_b)) = (low, high);
        // Next to the last place that a number of this size has.
        let tolerance = mul(b, Decimal::new(1, 26))?.max(Decimal::new(1, 28));
        let mut moved_a = None;
        for step in 0..STEPS_MAX {
            let width = sub(b, a)?;
            if width <= tolerance {
                break;
            }
            let middle = add(a, div(width, Decimal::TWO, "a bracket")?)?;
            let guess = if step % 3 == 2 { middle } else { false_position((a, at_a), (b, at_b), middle)? };
            let y = guess.max(add(a, tolerance)?).min(sub(b, tolerance)?).max(a).min(b);
            let value = self.at(y)?;
            if value.is_zero() {
                return Ok(y);
            }
            if opposite(value, at_b) {
                (a, at_a) = (y, value);
                if moved_a == Some(true) {
                    at_b = div(at_b, Decimal::TWO, "a weight")?;
                }
                moved_a = Some(true);
            } else {
                (b, at_b) = (y, value);
                if moved_a == Some(false) {
                    at_a = div(at_a, Decimal::TWO, "a weight")?;
                }
                moved_a = Some(false);
            }
        }
        add(a, div(sub(b, a)?, Decimal::TWO, "a bracket")?)
    }
}

/// Where the straight line through both ends crosses zero; the middle where that cannot be told.
fn false_position(
    (a, at_a): (Decimal, Decimal),
    (b, at_b): (Decimal, Decimal),
    middle: Decimal,
) -> Result<Decimal, TcoError> {
    let slope = sub(at_b, at_a)?;
    if slope.is_zero() {
        return Ok(middle);
    }
    Ok(div(mul(minus(at_a), sub(b, a)?)?, slope, "a step").and_then(|step| add(a, step)).unwrap_or(middle))
}

/// Whether two neighbouring terms differ in sign.
fn changes(pair: &[(u32, Decimal)]) -> bool {
    matches!(pair, [(_, a), (_, b)] if opposite(*a, *b))
}

fn opposite(a: Decimal, b: Decimal) -> bool {
    !a.is_zero() && !b.is_zero() && a.is_sign_negative() != b.is_sign_negative()
}

/// The terms from the far end to the near one: what is summed so far, times y to the power of the gap.
fn horner<'a>(terms: impl Iterator<Item = &'a (u32, Decimal)>, y: Decimal) -> Result<Decimal, TcoError> {
    let mut sum = Decimal::ZERO;
    let mut last = None;
    for &(exponent, coefficient) in terms {
        let gap = last.map_or(0, |last: u32| last.abs_diff(exponent));
        sum = add(mul(sum, power_of_whole(y, gap)?)?, coefficient)?;
        last = Some(exponent);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid() -> Vec<Decimal> {
        ["0.001", "0.5", "1", "2", "1000"].map(|y| y.parse().unwrap()).to_vec()
    }

    /// The polynomial with these roots, by multiplying (y − root) out.
    fn with_roots(roots: &[Decimal]) -> Powers {
        let mut coefficients = vec![Decimal::ONE];
        for root in roots {
            let mut next = vec![Decimal::ZERO; coefficients.len() + 1];
            for (k, c) in coefficients.iter().enumerate() {
                next[k + 1] += c;
                next[k] -= c * root;
            }
            coefficients = next;
        }
        Powers::new((0..).zip(coefficients)).unwrap()
    }

    #[test]
    fn a_root_where_the_sum_only_touches_zero_is_found_once() {
        assert_eq!(with_roots(&[Decimal::TWO, Decimal::TWO]).roots(&grid()).unwrap(), [Decimal::TWO]);
        let third = Decimal::ONE / Decimal::from(3);
        let found = with_roots(&[third, third]).roots(&grid()).unwrap();
        assert_eq!(found.len(), 1);
        assert!((found[0] - third).abs() < Decimal::new(1, 10));
    }

    #[test]
    fn nothing_is_found_where_all_terms_have_one_sign_or_none_are_there() {
        let powers = |flows: &[i64]| Powers::new((0..).zip(flows.iter().map(|&f| Decimal::from(f)))).unwrap();
        assert!(powers(&[1, 2, 3]).roots(&grid()).unwrap().is_empty());
        assert!(powers(&[0, 0]).roots(&grid()).unwrap().is_empty());
        assert!(powers(&[]).roots(&grid()).unwrap().is_empty());
        // Two changes of sign and no root: y² − y + 1.
        assert!(powers(&[1, -1, 1]).roots(&grid()).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn all_roots_of_a_product_are_found(roots in proptest::collection::btree_set(2_i64..400, 1..6)) {
            let roots: Vec<Decimal> = roots.into_iter().map(|root| Decimal::new(root, 1)).collect();
            let found = with_roots(&roots).roots(&grid()).unwrap();
            prop_assert_eq!(found.len(), roots.len(), "{:?}", found);
            for (found, root) in found.iter().zip(&roots) {
                prop_assert!((found - root).abs() < Decimal::new(1, 9), "{} {}", found, root);
            }
        }
    }
}
