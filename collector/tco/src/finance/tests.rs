//! Worked values from the manuals of spreadsheets and from numpy-financial, refusals, and laws.

use super::*;
use jiff::civil::{Date, date};
use proptest::prelude::*;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn close(got: Result<Decimal, TcoError>, expected: &str, tolerance: &str) {
    let got = got.unwrap();
    assert!((got - dec(expected)).abs() <= dec(tolerance), "{got} is not {expected} ± {tolerance}");
}

fn whole(numbers: &[i64]) -> Vec<Decimal> {
    numbers.iter().map(|&number| Decimal::from(number)).collect()
}

const ZERO: Decimal = Decimal::ZERO;
const CENT: &str = "0.005";

/// Help of `LibreOffice`, Financial Functions.
#[test]
fn annuities_agree_with_the_help_of_libreoffice() {
    let d = dec;
    close(pmt(d("0.0199") / d("12"), d("36"), d("25000"), ZERO, When::End), "-715.96", CENT);
    close(fv(d("0.04"), d("2"), d("750"), d("2500"), When::End), "-4234.00", CENT);
    close(pv(d("0.08") / d("12"), d("48"), d("500"), d("20000"), When::End), "-35019.37", CENT);
    close(nper(d("0.06"), d("153.75"), d("2600"), ZERO, When::End), "-12.02", CENT);
    close(ipmt(d("0.05"), d("5"), d("7"), d("15000"), ZERO, When::End), "-352.97", CENT);
    close(ppmt(d("0.0875") / d("12"), d("1"), d("36"), d("5000"), d("8000"), When::Begin), "-350.99", CENT);
    close(mirr(&whole(&[-5, 10, 15, 8]), d("0.5"), d("0.1")), "0.9416", "0.00005");
    close(rate(d("3"), d("-10"), d("900"), ZERO, When::End, None), "-0.7563", "0.00005");
}

/// Excel, IPMT, PPMT, RATE, MIRR and IRR.
#[test]
fn annuities_and_rates_agree_with_the_help_of_excel() {
    let d = dec;
    let monthly = d("0.1") / d("12");
    close(ipmt(monthly, d("1"), d("36"), d("8000"), ZERO, When::End), "-66.67", CENT);
    close(ipmt(d("0.1"), d("3"), d("3"), d("8000"), ZERO, When::End), "-292.45", CENT);
    close(ppmt(monthly, d("1"), d("24"), d("2000"), ZERO, When::End), "-75.62", CENT);
    close(ppmt(d("0.08"), d("10"), d("10"), d("200000"), ZERO, When::End), "-27598.05", CENT);
    close(rate(d("48"), d("-200"), d("8000"), ZERO, When::End, None), "0.007701", "0.0000005");
    let flows = whole(&[-120_000, 39_000, 30_000, 21_000, 37_000, 46_000]);
    close(mirr(&flows, d("0.1"), d("0.12")), "0.126094", "0.0000005");
    let flows = whole(&[-70_000, 12_000, 15_000, 18_000, 21_000, 26_000]);
    close(irr(&flows, None), "0.0866", "0.00005");
    close(irr(&flows[..5], None), "-0.0212", "0.00005");
    close(irr(&flows[..3], Some(d("-0.1"))), "-0.4435", "0.00005");
}

/// Docstrings of numpy-financial 1.0.
#[test]
fn annuities_and_rates_agree_with_numpy_financial() {
    let d = dec;
    close(
        rate(d("10"), ZERO, d("-3500"), d("10000"), When::End, None),
        "0.11069085371075",
        "0.00000000000001",
    );
    let monthly = d("0.0824") / d("12");
    let interest = [(1, "-17.17"), (2, "-15.79"), (6, "-10.18"), (12, "-1.49")];
    for (per, expected) in interest {
        close(ipmt(monthly, Decimal::from(per), d("12"), d("2500"), ZERO, When::End), expected, CENT);
    }
    close(ppmt(monthly, d("1"), d("12"), d("2500"), ZERO, When::End), "-200.58", CENT);
    let flows = whole(&[-4_500, -800, 800, 800, 600, 600, 800, 800, 700, 3_000]);
    close(mirr(&flows, d("0.08"), d("0.055")), "0.0666", "0.00005");
    close(npv_at_start(d("0.281"), &whole(&[-100, 39, 59, 55, 20])), "-0.0085", "0.00005");
}

#[test]
fn a_rate_where_the_worth_only_touches_zero_is_named_once() {
    // −1·(1 − y)², and the same at 25 %, a point of the search's grid.
    assert_eq!(irr_all(&whole(&[-1, 2, -1])).unwrap(), [ZERO]);
    assert_eq!(irr_all(&whole(&[-16, 40, -25])).unwrap(), [dec("0.25")]);
    assert_eq!(irr_all(&whole(&[-9, 24, -16])).unwrap().len(), 1);
}

/// Excel, NPER.
#[test]
fn nper_agrees_with_the_help_of_excel() {
    let d = dec;
    close(nper(d("0.01"), d("-100"), d("-1000"), d("10000"), When::Begin), "59.6738657", "0.0000001");
    close(nper(d("0.01"), d("-100"), d("-1000"), d("10000"), When::End), "60.0821229", "0.0000001");
    close(nper(d("0.01"), d("-100"), d("-1000"), ZERO, When::End), "-9.57859404", "0.0000001");
    close(nper(ZERO, d("-100"), d("1000"), ZERO, When::End), "10", "0");
}

#[test]
fn a_rate_of_zero_is_plain_addition() {
    let d = dec;
    assert_eq!(pmt(ZERO, d("10"), d("1000"), d("200"), When::Begin).unwrap(), d("-120"));
    assert_eq!(fv(ZERO, d("10"), d("-5"), d("-100"), When::End).unwrap(), d("150"));
    assert_eq!(pv(ZERO, d("10"), d("-5"), d("-100"), When::End).unwrap(), d("150"));
    assert_eq!(ipmt(ZERO, d("3"), d("10"), d("100"), ZERO, When::End).unwrap(), ZERO);
    assert_eq!(irr(&whole(&[-100, 60, 40]), None).unwrap(), ZERO);
}

#[test]
fn two_rates_are_refused_by_name_and_a_guess_picks_one() {
    // −1000 + 2300/1.1 − 1320/1.21 = 0, and at 20 % as well.
    let flows = whole(&[-1_000, 2_300, -1_320]);
    assert_eq!(irr_all(&flows).unwrap(), [dec("0.1"), dec("0.2")]);
    assert_eq!(
        irr(&flows, None).unwrap_err().to_string(),
        "the flows of irr change sign 2 times, so that no single rate tells their return (they are worth \
         nothing at 0.1 and 0.2): name a guess to take the nearest, or compare npv at a stated rate"
    );
    assert_eq!(irr(&flows, Some(dec("0.12"))).unwrap(), dec("0.1"));
    assert_eq!(irr(&flows, Some(dec("0.19"))).unwrap(), dec("0.2"));
    assert_eq!(irr(&flows, Some(dec("0.15"))).unwrap(), dec("0.2"));
}

#[test]
fn no_rate_is_said_as_such() {
    assert_eq!(irr(&whole(&[10, -10, 10]), Some(ZERO)), Err(TcoError::NoRate { function: "irr" }));
    for flows in [&[-1_i64, -2][..], &[1, 2], &[0, 0]] {
        let error = irr(&whole(flows), None).unwrap_err().to_string();
        assert_eq!(error, "flows of irr is all of one sign: expected at least one paid and one received");
    }
    assert!(irr(&[], None).is_err());
    let swinging: Vec<Decimal> = (0..30).map(|k| Decimal::from(if k % 2 == 0 { -1 } else { 1 })).collect();
    assert!(irr(&swinging, Some(ZERO)).unwrap_err().to_string().contains("29: expected at most 24"));
    let mut long = vec![Decimal::ONE; 39_000];
    (0..12).for_each(|k| long[k * 3_000 + 1] = Decimal::NEGATIVE_ONE);
    assert!(irr_all(&long).unwrap_err().to_string().contains("24: expected fewer for so many flows"));
}

#[test]
fn extreme_rates_of_return_are_found() {
    close(irr(&whole(&[-1, 100_000]), None), "99999", "0.000001");
    close(irr(&whole(&[-1_000_000, 1_000]), None), "-0.999", "0.000000000000001");
    let mut flows = vec![dec("-100000")];
    flows.extend(vec![dec("500"); 3_650]);
    let rate = irr(&flows, None).unwrap();
    assert!(npv_at_start(rate, &flows).unwrap().abs() < dec("0.00000001"));
}

#[test]
fn dates_are_days_by_365_and_may_be_unsorted_but_not_before_the_first() {
    let flows = whole(&[-10_000, 2_750, 4_250, 3_250, 2_750]);
    let dates: Vec<Date> =
        [date(2008, 1, 1), date(2008, 3, 1), date(2008, 10, 30), date(2009, 2, 15), date(2009, 4, 1)].into();
    let sorted = xirr(&flows, &dates, None).unwrap();
    let order = [0, 3, 1, 4, 2];
    let (other_flows, other_dates): (Vec<_>, Vec<_>) = order.iter().map(|&k| (flows[k], dates[k])).unzip();
    assert_eq!(xirr(&other_flows, &other_dates, None).unwrap(), sorted);
    let at = dec("0.09");
    let values = [xnpv(at, &flows, &dates).unwrap(), xnpv(at, &other_flows, &other_dates).unwrap()];
    assert!((values[0] - values[1]).abs() < dec("0.00000000000000000001"));
    assert_eq!(
        xnpv(at, &flows[..2], &[date(2024, 1, 2), date(2024, 1, 1)]).unwrap_err().to_string(),
        "date 2 of xnpv is 2024-01-01: expected none before the first"
    );
    assert!(xirr(&flows, &dates[1..], None).unwrap_err().to_string().contains("one date for each flow"));
    // A leap year is 366 days of 365.
    close(xirr(&whole(&[-100, 110]), &[date(2024, 1, 1), date(2025, 1, 1)], None), "0.0997136", "0.0000001");
}

#[test]
fn refusals_name_the_argument_and_what_was_expected() {
    let says = |result: Result<Decimal, TcoError>| result.unwrap_err().to_string();
    let (one, minus_one) = (Decimal::ONE, Decimal::NEGATIVE_ONE);
    assert_eq!(
        says(fv(minus_one, one, one, one, When::End)),
        "rate of fv is -1: expected more than -1 (-100 %)"
    );
    assert_eq!(says(pmt(one, ZERO, one, one, When::End)), "nper of pmt is 0: expected more than zero");
    assert_eq!(
        says(ipmt(one, dec("4"), dec("3"), one, one, When::End)),
        "per of ipmt is 4: expected a whole number from 1 to nper"
    );
    assert!(says(ppmt(one, dec("1.5"), dec("3"), one, one, When::End)).starts_with("per of ppmt is 1.5"));
    assert!(says(nper(one, ZERO, one, one, When::End)).contains("leads from pv to fv"));
    assert!(says(nper(ZERO, ZERO, one, one, When::End)).contains("leads from pv to fv"));
    assert!(says(npv(one, &[])).starts_with("number of flows of npv is 0"));
    assert!(says(mirr(&[one, one], one, one)).contains("at least one paid"));
    assert!(says(wacc(ZERO, ZERO, one, one, one)).contains("equity + debt of wacc is 0"));
    assert!(says(wacc(one, one, one, one, dec("1.01"))).contains("tax_rate of wacc is 1.01"));
    assert!(says(fv(one, dec("500"), one, one, When::End)).contains("the future value leaves the range"));
    assert!(When::try_from(Decimal::TWO).unwrap_err().to_string().contains("type of a payment is 2"));
}

/// 700,000 of servers that save 1.9 million a year.
#[test]
fn payback_is_cash_against_cash() {
    let saving = dec("1900000") / dec("12");
    close(payback_periods(dec("700000"), saving).map(Option::unwrap), "4.42", CENT);
    assert_eq!(payback_periods(dec("700000"), ZERO).unwrap(), None);
}

#[test]
fn capital_recovery_is_the_payment_of_a_loan_with_a_balloon() {
    let recovered = capital_recovery(dec("300000"), dec("60000"), dec("0.08"), dec("4")).unwrap();
    let paid = pmt(dec("0.08"), dec("4"), dec("-300000"), dec("60000"), When::End).unwrap();
    assert!((recovered - paid).abs() < dec("0.00000000000000000001"));
    assert_eq!(capital_recovery(dec("100"), dec("20"), ZERO, dec("4")).unwrap(), dec("20"));
}

#[test]
fn levelised_cost_discounts_hours_as_it_does_money() {
    // At 100 %: (100 + 10/2) ÷ (0 + 50/2).
    let (costs, hours) = (whole(&[100, 10]), whole(&[0, 50]));
    assert_eq!(levelised(Decimal::ONE, &costs, &hours).unwrap(), dec("4.2"));
    assert!(levelised(Decimal::ONE, &costs, &whole(&[0, 0])).is_err());
    assert!(levelised(Decimal::ONE, &costs, &whole(&[1])).is_err());
}

/// Any number with four places up to ten million, also zero.
fn amount() -> impl Strategy<Value = Decimal> {
    (-100_000_000_000_i64..100_000_000_000).prop_map(|number| Decimal::new(number, 4))
}

fn small_rate() -> impl Strategy<Value = Decimal> {
    (-1_000_i64..20_000).prop_map(|number| Decimal::new(number, 5))
}

fn due() -> impl Strategy<Value = When> {
    prop_oneof![Just(When::End), Just(When::Begin)]
}

fn near(a: Decimal, b: Decimal, size: Decimal) -> bool {
    (a - b).abs() <= size.max(Decimal::ONE) * dec("0.000000000000001")
}

proptest! {
    #[test]
    fn interest_and_principal_are_the_payment_and_pay_the_loan_back(
        r in small_rate(), n in 1_u32..120, loan in amount(), balloon in amount(), when in due(),
    ) {
        let nper = Decimal::from(n);
        let payment = pmt(r, nper, loan, balloon, when).unwrap();
        let mut principal = ZERO;
        for per in (1..=n).map(Decimal::from) {
            let part = ppmt(r, per, nper, loan, balloon, when).unwrap();
            let interest = ipmt(r, per, nper, loan, balloon, when).unwrap();
            prop_assert!((interest + part - payment).abs() <= payment.abs() * dec("0.000000000000000000000001"));
            principal += part;
        }
        let size = loan.abs() + balloon.abs() + payment.abs() * nper;
        // In advance, the last period's interest is paid with what is left at its end.
        if when == When::End {
            prop_assert!(near(principal, -(loan + balloon), size), "{} {}", principal, loan);
        }
        prop_assert!(near(fv(r, nper, payment, loan, when).unwrap(), balloon, size * dec("1000")));
    }

    #[test]
    fn present_and_future_value_undo_each_other(
        r in small_rate(), n in 0_u32..24_000, payment in amount(), value in amount(), when in due(),
    ) {
        let nper = Decimal::new(n.into(), 2);
        let future = fv(r, nper, payment, value, when).unwrap();
        let size = value.abs() + payment.abs() * dec("1000") + future.abs();
        prop_assert!(near(pv(r, nper, payment, future, when).unwrap(), value, size));
    }

    #[test]
    fn nper_counts_the_periods_that_the_future_value_takes(
        r in small_rate(), n in 1_u32..6_000, payment in 1_i64..1_000_000, value in 0_i64..1_000_000, when in due(),
    ) {
        let (nper_given, payment, value) = (Decimal::new(n.into(), 2), Decimal::from(-payment), Decimal::from(-value));
        // Where interest eats the payments nothing grows, and no number of periods is told.
        prop_assume!(r >= ZERO);
        let future = fv(r, nper_given, payment, value, when).unwrap();
        let found = nper(r, payment, value, future, when).unwrap();
        prop_assert!((found - nper_given).abs() < dec("0.000000000001"), "{} {}", found, nper_given);
        if n % 100 == 0 {
            let found = rate(Decimal::from(n / 100), payment, value, future, when, Some(r));
            // A single payment at its own end has any rate.
            if let Ok(found) = found {
                prop_assert!((found - r).abs() < dec("0.000000001"), "{} {}", found, r);
            }
        }
    }

    #[test]
    fn flows_are_worth_nothing_at_their_rate_of_return(
        paid in 1_i64..1_000_000_000, received in proptest::collection::vec(0_i64..100_000_000, 1..60),
    ) {
        prop_assume!(received.iter().any(|&r| r > 0));
        let mut flows = vec![Decimal::new(-paid, 2)];
        flows.extend(received.iter().map(|&r| Decimal::new(r, 2)));
        // A rate outside what is looked for is refused, not made up.
        let Ok(rate) = irr(&flows, None) else { return Ok(()) };
        let worth = npv_at_start(rate, &flows).unwrap();
        let size: Decimal = flows.iter().map(Decimal::abs).sum();
        // What a change of the last digit of the rate makes.
        let digit = Decimal::new(1, 17);
        let (low, high) = (npv_at_start(rate - digit, &flows).unwrap(), npv_at_start(rate + digit, &flows).unwrap());
        prop_assert!(low >= -size * Decimal::new(1, 20) && high <= size * Decimal::new(1, 20), "{} {} {}", low, worth, high);
    }

    #[test]
    fn the_order_of_magnitude_changes_no_rate(flows in proptest::collection::vec(-1_000_i64..1_000, 2..12)) {
        let thousandfold: Vec<i64> = flows.iter().map(|flow| flow * 1_000).collect();
        prop_assert_eq!(irr(&whole(&flows), Some(ZERO)).ok(), irr(&whole(&thousandfold), Some(ZERO)).ok());
    }

    #[test]
    fn xnpv_at_equal_spacing_is_npv(r in small_rate(), flows in proptest::collection::vec(amount(), 1..8)) {
        let start = date(2001, 1, 1);
        let dates: Vec<Date> =
            (0_i64..).take(flows.len()).map(|k| start.checked_add(jiff::Span::new().days(365 * k)).unwrap()).collect();
        let (by_date, by_period) = (xnpv(r, &flows, &dates).unwrap(), npv_at_start(r, &flows).unwrap());
        let size: Decimal = flows.iter().map(Decimal::abs).sum();
        prop_assert!(near(by_date, by_period, size));
        let later = npv(r, &flows).unwrap() * (Decimal::ONE + r);
        prop_assert!(near(later, by_period, size));
        if let (Ok(a), Ok(b)) = (xirr(&flows, &dates, None), irr(&flows, None)) {
            prop_assert!((a - b).abs() < dec("0.0000000000001"), "{} {}", a, b);
        }
    }

    #[test]
    fn a_lease_costs_its_payments(
        r in 0_i64..5_000, payments in proptest::collection::vec(0_i64..10_000_000, 1..72), when in due(),
    ) {
        let payments: Vec<Decimal> = payments.into_iter().map(|p| Decimal::new(p, 2)).collect();
        let lease = lease(Decimal::new(r, 5), &payments, when).unwrap();
        let paid: Decimal = payments.iter().sum();
        let cost: Decimal = lease.periods.iter().map(|period| period.interest + period.depreciation).sum();
        prop_assert!(near(cost, paid, paid));
        prop_assert!(near(lease.periods.last().unwrap().liability, ZERO, paid));
    }

    #[test]
    fn nothing_panics_whatever_is_given(numbers in proptest::array::uniform5(any::<[u8; 16]>()), begin in any::<bool>()) {
        let [a, b, c, d, e] = numbers.map(Decimal::deserialize);
        let when = if begin { When::Begin } else { When::End };
        let _ = (fv(a, b, c, d, when), pv(a, b, c, d, when), pmt(a, b, c, d, when), nper(a, b, c, d, when));
        let _ = (ipmt(a, b, c, d, e, when), ppmt(a, b, c, d, e, when));
        let _ = (npv(a, &[b, c, d, e]), mirr(&[a, b, c], d, e), irr(&[a, b, c, d], Some(e)), irr_all(&[a, b, c, d, e]));
        let _ = (wacc(a, b, c, d, e), capital_recovery(a, b, c, d), levelised(a, &[b, c], &[d, e]), lease(a, &[b, c], when));
        let days = [date(-9999, 1, 1), date(9999, 12, 31)];
        let _ = (xnpv(a, &[b, c], &days), xirr(&[a, b], &days, Some(c)));
    }
}
