//! Powers against numbers that are known to more digits than a decimal has, and against each other.

use super::*;
use proptest::prelude::*;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn close(got: Decimal, expected: &str, tolerance: &str) {
    assert!((got - dec(expected)).abs() <= dec(tolerance), "{got} is not {expected}");
}

#[test]
fn logarithms_and_exponentials_have_26_digits() {
    let tolerance = "0.0000000000000000000000000002";
    close(ln_1p(dec("1")).unwrap(), "0.6931471805599453094172321215", tolerance);
    close(ln_1p(dec("9")).unwrap(), "2.3025850929940456840179914547", "0.000000000000000000000000001");
    close(ln_1p(dec("-0.9")).unwrap(), "-2.3025850929940456840179914547", "0.000000000000000000000000001");
    close(ln_1p(dec("0.00000001")).unwrap(), "0.0000000099999999500000003333", tolerance);
    close(exp(Decimal::ONE).unwrap(), "2.7182818284590452353602874714", "0.000000000000000000000000002");
    close(exp(dec("-1")).unwrap(), "0.3678794411714423215955237702", tolerance);
    close(exp(dec("50")).unwrap(), "5184705528587072464087.453323", "0.0001");
}

#[test]
fn whole_powers_are_exact_where_they_fit() {
    assert_eq!(power(dec("1.1"), dec("3")).unwrap(), dec("1.331"));
    assert_eq!(power(dec("0.5"), dec("-4")).unwrap(), dec("16"));
    assert_eq!(power(dec("0"), dec("0.5")).unwrap(), Decimal::ZERO);
    assert_eq!(power(dec("7"), dec("0")).unwrap(), Decimal::ONE);
}

#[test]
fn too_small_is_zero_and_too_large_an_error_never_a_panic() {
    assert_eq!(power(dec("10"), dec("-40")).unwrap(), Decimal::ZERO);
    assert_eq!(power(dec("10"), dec("40")), Err(TOO_LARGE));
    assert_eq!(power(dec("10"), dec("40.5")), Err(TOO_LARGE));
    assert_eq!(power(dec("10"), dec("-40.5")).unwrap(), Decimal::ZERO);
    assert_eq!(power(Decimal::MAX, Decimal::MAX), Err(TOO_LARGE));
    assert_eq!(power(Decimal::MAX, Decimal::MIN).unwrap(), Decimal::ZERO);
    assert!(ln_1p(dec("-1")).is_err() && ln_1p(Decimal::MIN).is_err() && ln_1p(Decimal::MAX).is_err());
}

#[test]
fn an_annuity_at_a_rate_of_nearly_nothing_keeps_its_digits() {
    let tiny = dec("0.00000000000000000001");
    // n + n(n−1)/2·r.
    close(annuity_future(tiny, dec("360")).unwrap(), "360.0000000000000006462", "0.000000000000000000000001");
    assert_eq!(annuity_future(Decimal::ZERO, dec("12")).unwrap(), dec("12"));
    assert_eq!(annuity_present(Decimal::ZERO, dec("12")).unwrap(), dec("12"));
}

proptest! {
    #[test]
    fn a_fractional_power_undoes_the_whole_one(x in 1_i64..5_000_000, n in 1_u32..12) {
        let x = Decimal::new(x, 6);
        let raised = power(x, Decimal::from(n)).unwrap();
        prop_assume!(raised > dec("0.0000000001"));
        let back = power(raised, Decimal::ONE / Decimal::from(n)).unwrap();
        prop_assert!((back - x).abs() <= dec("0.0000000000000001"), "{x} {n} {back}");
    }

    #[test]
    fn exponents_add(x in 100_000_i64..3_000_000, a in -400_i64..400, b in -400_i64..400) {
        let (x, a, b) = (Decimal::new(x, 6), Decimal::new(a, 2), Decimal::new(b, 2));
        let product = power(x, a).unwrap() * power(x, b).unwrap();
        let direct = power(x, a + b).unwrap();
        prop_assert!((product - direct).abs() <= direct.max(Decimal::ONE) * dec("0.00000000000000000001"));
    }

    #[test]
    fn the_series_and_the_formula_of_an_annuity_meet(n in 1_u32..20, r in 400_i64..600) {
        // Around the border between the two, next to each other.
        let (n, r) = (Decimal::from(n), Decimal::new(r, 5) / Decimal::from(n));
        let plain = (power(Decimal::ONE + r, n).unwrap() - Decimal::ONE) / r;
        prop_assert!((annuity_future(r, n).unwrap() - plain).abs() < dec("0.0000000000000000000001"));
        let future = annuity_present(r, n).unwrap() * power(Decimal::ONE + r, n).unwrap();
        prop_assert!((future - plain).abs() < dec("0.0000000000000000000001"));
    }
}
