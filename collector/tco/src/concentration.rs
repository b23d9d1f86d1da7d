//! How much depends on few tenants: a risk to whoever owns the hardware.
//!
//! Shares are of the cost (or hours) of tenants; free, down and unmonitored time is nobody's and left
//! out. HHI = Σ share², from 1/n to 1; above 0.25 regulators call a market highly concentrated. Source:
//! Herfindahl–Hirschman index.

use crate::decimal::{add, div, mul, sum};
use crate::error::TcoError;
use crate::finance::check_not_negative;
use rust_decimal::Decimal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concentration {
    pub tenants: usize,
    /// Name and share of the largest.
    pub largest: (String, Decimal),
    /// Share of the two largest together.
    pub top_two: Decimal,
    /// Herfindahl–Hirschman index.
    pub hhi: Decimal,
}

/// `None` where there is no tenant with an amount. Of equal ones the first by name is the largest.
pub fn concentration(amounts: &[(String, Decimal)]) -> Result<Option<Concentration>, TcoError> {
    for (name, amount) in amounts {
        check_not_negative("concentration", &format!("amount of {name}"), *amount)?;
    }
    let mut tenants: Vec<&(String, Decimal)> =
        amounts.iter().filter(|(_, amount)| !amount.is_zero()).collect();
    tenants.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let whole = sum(tenants.iter().map(|(_, amount)| *amount))?;
    let Some((name, amount)) = tenants.first() else { return Ok(None) };
    let share = |amount: Decimal| div(amount, whole, "an amount");
    let largest = share(*amount)?;
    let second = tenants.get(1).map(|(_, amount)| share(*amount)).transpose()?.unwrap_or_default();
    let mut hhi = Decimal::ZERO;
    for (_, amount) in &tenants {
        hhi = add(hhi, mul(share(*amount)?, share(*amount)?)?)?;
    }
    let top_two = add(largest, second)?;
    Ok(Some(Concentration { tenants: tenants.len(), largest: (name.clone(), largest), top_two, hhi }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(amounts: &[i64]) -> Option<Concentration> {
        let named = |(k, a): (usize, &i64)| (format!("t{k}"), Decimal::from(*a));
        concentration(&amounts.iter().enumerate().map(named).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn one_tenant_is_all_and_four_equal_ones_are_a_quarter_each() {
        let one = of(&[0, 7]).unwrap();
        assert_eq!((one.tenants, one.top_two, one.hhi), (1, Decimal::ONE, Decimal::ONE));
        let four = of(&[5, 5, 5, 5]).unwrap();
        assert_eq!(
            (four.largest, four.top_two, four.hhi),
            (("t0".to_owned(), Decimal::new(25, 2)), Decimal::new(5, 1), Decimal::new(25, 2))
        );
        assert_eq!(of(&[0]), None);
    }

    proptest! {
        #[test]
        fn neither_order_nor_scale_changes_it(amounts in proptest::collection::vec(1_i64..1_000, 1..12)) {
            let of = |scale: i64| of(&amounts.iter().map(|a| a * scale).collect::<Vec<_>>()).unwrap();
            let (once, ten) = (of(1), of(10));
            prop_assert!((once.hhi - ten.hhi).abs() < Decimal::new(1, 20));
            prop_assert!(once.hhi <= Decimal::ONE + Decimal::new(1, 20) && once.top_two >= once.largest.1);
            let mut named: Vec<_> = amounts.iter().enumerate().map(|(k, a)| (format!("t{k}"), Decimal::from(*a))).collect();
            named.reverse();
            prop_assert_eq!(concentration(&named).unwrap().unwrap(), once);
        }
    }
}
