//! Worked values from manuals, refusals, and laws that hold of every method.

use super::schedule::to_smallest_unit;
use super::*;
use crate::decimal::Fraction;
use jiff::civil::date;
use proptest::prelude::*;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn close(got: Result<Decimal, TcoError>, expected: &str) {
    let got = got.unwrap();
    assert!((got - dec(expected)).abs() <= dec("0.005"), "{got} is not {expected}");
}

fn sum(amounts: &[Decimal]) -> Decimal {
    amounts.iter().sum()
}

const ZERO: Decimal = Decimal::ZERO;

/// Help of `LibreOffice`, Financial Functions.
#[test]
fn depreciation_agrees_with_the_help_of_libreoffice() {
    let d = dec;
    close(sln(d("50000"), d("3500"), d("84")), "553.57");
    close(syd(d("50000"), d("10000"), d("5"), d("1")), "13333.33");
    close(ddb(d("75000"), d("1"), d("60"), d("12"), d("2")), "1721.81");
    close(db(d("25000"), d("1000"), d("36"), d("1"), d("6")), "1075.00");
    close(vdb(d("35000"), d("7500"), d("36"), d("10"), d("20"), d("2"), false), "8603.80");
}

#[test]
fn double_declining_stops_at_the_salvage_and_takes_all_at_a_rate_of_one() {
    let d = dec;
    let of = |period: &str| ddb(d("1000"), d("300"), d("4"), d(period), d("2")).unwrap();
    assert_eq!([of("1"), of("2"), of("3"), of("4")], [d("500"), d("200"), ZERO, ZERO]);
    assert_eq!(ddb(d("1000"), d("100"), d("2"), d("1"), d("2")).unwrap(), d("900"));
    assert_eq!(ddb(d("1000"), d("100"), d("2"), d("2"), d("2")).unwrap(), ZERO);
    assert_eq!(ddb(ZERO, ZERO, d("5"), d("1"), d("2")).unwrap(), ZERO);
}

#[test]
fn a_switch_depreciates_down_to_the_salvage_and_no_switch_need_not() {
    let d = dec;
    assert_eq!(vdb(d("1000"), ZERO, d("5"), ZERO, d("5"), d("2"), false).unwrap(), d("1000"));
    let alone = vdb(d("1000"), ZERO, d("5"), ZERO, d("5"), d("2"), true).unwrap();
    assert_eq!(alone.normalize(), d("922.24"), "1000·(1 − 0.6⁵)");
    // The last, half period of a life of three and a half.
    assert_eq!(vdb(d("700"), ZERO, d("3.5"), d("3"), d("3.5"), d("0.1"), false).unwrap(), d("100"));
}

/// What the published source of `LibreOffice` computes for parts of periods.
#[test]
fn parts_of_periods_agree_with_libreoffice() {
    let of = |start: &str, end: &str, factor: &str| {
        vdb(dec("2400"), dec("300"), dec("10"), dec(start), dec(end), dec(factor), false)
    };
    close(of("0.5", "3.25", "1.5"), "801.37");
    close(of("2.25", "2.75", "2"), "153.60");
    close(of("7.5", "10", "2"), "152.98");
}

#[test]
fn a_month_of_the_first_year_moves_the_rest_of_it_behind_the_life() {
    let (cost, salvage, life, month) = (dec("1000000"), dec("100000"), dec("6"), dec("7"));
    close(db(cost, salvage, life, dec("7"), month), "15845.10");
    let refused =
        |period: &str, month: &str| db(cost, salvage, life, dec(period), dec(month)).unwrap_err().to_string();
    assert!(refused("8", "7").starts_with("period of db is 8: expected"));
    assert!(refused("7", "12").starts_with("period of db is 7: expected"));
    assert!(refused("1", "13").starts_with("month of db is 13"));
    assert_eq!(db(cost, ZERO, life, Decimal::ONE, dec("12")).unwrap(), cost, "a rate of one");
}

#[test]
fn use_beyond_the_life_and_months_without_use_depreciate_nothing() {
    let of = |before: &str, units: &str| {
        units_of_production(dec("300000"), dec("50000"), dec("50000"), dec(before), dec(units)).unwrap()
    };
    assert_eq!(of("0", "1000"), dec("5000"));
    assert_eq!(of("10000", "0"), ZERO);
    assert_eq!(of("49000", "3000"), dec("5000"));
    assert_eq!(of("60000", "3000"), ZERO);
}

#[test]
fn refusals_name_the_argument_and_what_was_expected() {
    let (one, two) = (Decimal::ONE, Decimal::TWO);
    let says = |result: Result<Decimal, TcoError>| result.unwrap_err().to_string();
    assert_eq!(says(sln(one, ZERO, ZERO)), "life of sln is 0: expected more than zero");
    assert_eq!(says(sln(one, two, one)), "salvage of sln is 2: expected at most the cost");
    assert_eq!(says(syd(one, two, one, one)), "salvage of syd is 2: expected at most the cost");
    assert_eq!(says(syd(one, one, one, two)), "per of syd is 2: expected 1 to the life");
    assert_eq!(says(ddb(one, one, one, ZERO, two)), "period of ddb is 0: expected 1 to the life");
    assert_eq!(says(ddb(one, one, one, one, ZERO)), "factor of ddb is 0: expected more than zero");
    assert_eq!(
        says(vdb(one, -one, one, ZERO, one, two, false)),
        "salvage of vdb is -1: expected zero or more"
    );
    assert_eq!(
        says(vdb(one, one, one, one, two, two, false)),
        "end of vdb is 2: expected from the start to the life"
    );
    assert_eq!(says(db(ZERO, ZERO, one, one, one)), "cost of db is 0: expected more than zero");
    assert_eq!(
        says(db(one, one, dec("2.5"), one, one)),
        "life of db is 2.5: expected a whole number from 1 to 36525"
    );
    assert_eq!(
        says(vdb(one, one, dec("40000"), ZERO, one, two, false)),
        "life of vdb is 40000: expected at most 36525 periods"
    );
    assert_eq!(
        says(units_of_production(one, one, ZERO, one, one)),
        "units_life of units_of_production is 0: expected more than zero"
    );
    let tables = |years: &str, convention| macrs(one, dec(years), convention, ZERO).map(|years| sum(&years));
    assert_eq!(
        says(tables("4", TaxConvention::HalfYear)),
        "recovery_years of macrs is 4: expected 3, 5 or 7 years"
    );
    assert_eq!(says(tables("5", TaxConvention::MidQuarter(5))), "quarter of macrs is 5: expected 1 to 4");
    assert_eq!(
        says(macrs(one, dec("5"), TaxConvention::HalfYear, dec("1.2")).map(|years| sum(&years))),
        "bonus of macrs is 1.2: expected 0 to 1 (100 %)"
    );
}

#[test]
fn every_printed_row_sums_to_a_hundred_and_agrees_with_the_formula() {
    for years in ["3", "5", "7"].map(dec) {
        let quarters = (1..=4).map(TaxConvention::MidQuarter);
        for convention in quarters.chain([TaxConvention::HalfYear]) {
            let printed = macrs_percentages(years, convention).unwrap();
            assert_eq!(sum(&printed), Decimal::ONE_HUNDRED);
            let formula = macrs_without_tables(Decimal::ONE_HUNDRED, years, convention).unwrap();
            assert_eq!(formula.len(), printed.len());
            for (a, b) in printed.iter().zip(&formula) {
                assert!((a - b).abs() <= dec("0.02"), "{years} {convention:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn more_than_forty_percent_in_the_last_quarter_is_mid_quarter_and_forty_is_not() {
    let year = |last: &str| [(date(2025, 3, 31), dec("60")), (date(2025, 10, 1), dec(last))];
    assert!(!mid_quarter_applies(&year("40")).unwrap());
    assert!(mid_quarter_applies(&year("40.01")).unwrap());
    assert!(!mid_quarter_applies(&[]).unwrap());
    assert_eq!(TaxConvention::of(date(2025, 3, 31), true), TaxConvention::MidQuarter(1));
    assert_eq!(TaxConvention::of(date(2025, 10, 1), true), TaxConvention::MidQuarter(4));
    assert_eq!(TaxConvention::of(date(2025, 10, 1), false), TaxConvention::HalfYear);
    let two_years = [(date(2024, 1, 1), dec("1")), (date(2025, 1, 1), dec("1"))];
    assert!(
        mid_quarter_applies(&two_years)
            .unwrap_err()
            .to_string()
            .contains("day of mid_quarter_applies is 2025-01-01")
    );
    assert!(mid_quarter_applies(&[(date(2024, 1, 1), dec("-1"))]).is_err());
}

#[test]
fn conventions_count_their_part_of_the_first_year() {
    let share = |convention, month, day| {
        let Fraction { part, whole } = first_year_share(convention, date(2024, month, day));
        (part, whole)
    };
    assert_eq!(share(Convention::FullMonth, 3, 31), (10, 12));
    assert_eq!(share(Convention::MidMonth, 3, 31), (19, 24));
    assert_eq!(share(Convention::ActualDays, 2, 29), (307, 366));
    assert_eq!(share(Convention::HalfYear, 12, 31), (1, 2));
    assert_eq!([1, 4, 7, 10].map(|month| share(Convention::MidQuarter, month, 1).0), [7, 5, 3, 1]);

    let thirds = [dec("100"), dec("100"), dec("100")];
    let half = Fraction { part: 1, whole: 2 };
    assert_eq!(over_years(&thirds, half, 0).unwrap(), [dec("50"), dec("100"), dec("100"), dec("50")]);
    assert_eq!(over_years(&thirds, Fraction { part: 12, whole: 12 }, 0).unwrap(), thirds);
    assert!(over_years(&thirds, Fraction { part: 3, whole: 2 }, 0).is_err());
}

#[test]
fn an_impairment_is_tested_in_both_regimes() {
    let d = dec;
    // The undiscounted flows cover the book value: nothing is written off, however low the fair value.
    assert!(!impairment_us(d("100"), d("100"), d("1")).unwrap().impaired);
    assert_eq!(impairment_us(d("100"), d("99"), d("60")).unwrap().loss, d("40"));
    assert_eq!(impairment_us(d("100"), d("99"), d("120")).unwrap().loss, ZERO);
    let ifrs = impairment_ifrs(d("100"), d("90"), d("5"), d("80")).unwrap();
    assert_eq!((ifrs.recoverable, ifrs.loss), (d("85"), d("15")));
    assert_eq!(impairment_ifrs(d("100"), d("3"), d("5"), d("-1")).unwrap().loss, d("100"));
    assert_eq!(impairment_reversal_ifrs(d("85"), d("99"), d("92")).unwrap(), d("7"));
    assert_eq!(impairment_reversal_ifrs(d("85"), d("80"), d("92")).unwrap(), ZERO);
    assert_eq!(disposal_gain(d("50"), d("4"), d("60")).unwrap(), d("-14"));
}

#[test]
fn a_change_of_estimate_looks_ahead_only() {
    let revised = revise(dec("300000"), dec("100000"), ZERO, dec("3")).unwrap();
    assert_eq!(revised.book_value, dec("200000"));
    assert_eq!(revised.per_period.round_dp(2), dec("66666.67"));
    assert_eq!(revise(dec("300"), dec("100"), dec("250"), dec("3")).unwrap().per_period, ZERO);
    assert!(revise(dec("300"), dec("301"), ZERO, dec("3")).is_err());
    assert!(
        revise(dec("300"), dec("100"), ZERO, ZERO)
            .unwrap_err()
            .to_string()
            .starts_with("remaining of revise")
    );
}

#[test]
fn amounts_below_the_smallest_unit_never_sum_to_more_than_the_total() {
    let rounded = to_smallest_unit(&vec![dec("0.005"); 100], dec("0.5"), 2).unwrap();
    assert_eq!((sum(&rounded), rounded[0], rounded[99]), (dec("0.5"), dec("0.01"), ZERO));
}

/// Cost, salvage, life.
fn asset() -> impl Strategy<Value = (Decimal, Decimal, u32)> {
    (0_i64..1_000_000_000_000, 0_i64..=100, 1_u32..130).prop_map(|(cents, percent, life)| {
        (Decimal::new(cents, 2), Decimal::new(cents / 100 * percent, 2), life)
    })
}

proptest! {
    #[test]
    fn every_life_sums_to_its_base_and_no_period_is_negative(
        (cost, salvage, life) in asset(), factor in 1_i64..40, months in 1_u32..=12, switch in any::<bool>(),
        used in proptest::collection::vec(0_u32..1_000, 130),
    ) {
        let units: Vec<Decimal> = used.into_iter().take(life as usize).map(Decimal::from).collect();
        let all = sum(&units).max(Decimal::ONE);
        let methods = [
            Method::StraightLine,
            Method::SumOfYears,
            Method::FixedDeclining { months: Decimal::from(months) },
            Method::Declining { factor: Decimal::new(factor, 1), switch },
            Method::Units { life: all, of_periods: &units },
        ];
        for method in methods {
            let amounts = schedule(method, cost, salvage, Decimal::from(life), 2).unwrap();
            prop_assert!(amounts.iter().all(|amount| *amount >= ZERO && amount.scale() <= 2), "{:?}", method);
            let done = !matches!(method, Method::Units { .. }) || sum(&units) >= all;
            prop_assert!(!done || sum(&amounts) == cost - salvage, "{:?} {:?}", method, amounts);
        }
    }

    #[test]
    fn declining_methods_never_go_below_the_salvage(
        (cost, salvage, life) in asset(), factor in 1_i64..40, switch in any::<bool>(),
    ) {
        let (factor, n, tiny) = (Decimal::new(factor, 1), Decimal::from(life), dec("0.0000000001"));
        let (mut by_ddb, mut by_vdb) = (ZERO, ZERO);
        for k in 1..=life {
            let (from, to) = (Decimal::from(k - 1), Decimal::from(k));
            by_ddb += ddb(cost, salvage, n, to, factor).unwrap();
            by_vdb += vdb(cost, salvage, n, from, to, factor, !switch).unwrap();
            prop_assert!(by_ddb <= cost - salvage + tiny && by_vdb <= cost - salvage + tiny);
            prop_assert!(switch || (by_ddb - by_vdb).abs() <= tiny, "{} {}", by_ddb, by_vdb);
        }
        prop_assert!(!switch || (by_vdb - (cost - salvage)).abs() <= tiny);
    }

    #[test]
    fn stretches_of_a_life_that_meet_add_up(
        (cost, salvage, life) in asset(), cuts in proptest::collection::vec(0_i64..=1_000, 0..6), tenths in 1_i64..10,
    ) {
        let n = Decimal::from(life) + Decimal::new(tenths, 1);
        let mut cuts: Vec<Decimal> = cuts.into_iter().map(|cut| n * Decimal::new(cut, 3)).collect();
        cuts.extend([ZERO, n]);
        cuts.sort_unstable();
        let part = |pair: &[Decimal]| vdb(cost, salvage, n, pair[0], pair[1], Decimal::TWO, false).unwrap();
        let parts: Decimal = cuts.windows(2).map(part).sum();
        prop_assert!((parts - (cost - salvage)).abs() <= dec("0.0000000001"), "{} {}", parts, cost - salvage);
    }

    #[test]
    fn deductions_sum_to_the_basis_whatever_the_bonus(
        cents in 0_i64..1_000_000_000_000, bonus in 0_i64..=100, years in 0_usize..3, quarter in 0_u8..5,
    ) {
        let basis = Decimal::new(cents, 2);
        let years = Decimal::from([3, 5, 7][years]);
        let convention = if quarter == 0 { TaxConvention::HalfYear } else { TaxConvention::MidQuarter(quarter) };
        let deductions = macrs(basis, years, convention, Decimal::new(bonus, 2)).unwrap();
        prop_assert_eq!(sum(&deductions), basis);
        prop_assert_eq!(sum(&to_smallest_unit(&deductions, basis, 2).unwrap()), basis);
        let formula = macrs_without_tables(basis, years, convention).unwrap();
        prop_assert!((sum(&formula) - basis).abs() < dec("0.0000000001"));
    }

    #[test]
    fn nothing_panics_whatever_is_given(numbers in proptest::array::uniform6(any::<[u8; 16]>()), switch in any::<bool>()) {
        let [a, b, c, d, e, f] = numbers.map(Decimal::deserialize);
        let _ = (sln(a, b, c), syd(a, b, c, d), db(a, b, c, d, e), ddb(a, b, c, d, e), vdb(a, b, c, d, e, f, switch));
        let _ = (units_of_production(a, b, c, d, e), macrs(a, b, TaxConvention::HalfYear, c), revise(a, b, c, d));
        let _ = (impairment_us(a, b, c), impairment_ifrs(a, b, c, d), disposal_gain(a, b, c), impairment_reversal_ifrs(a, b, c));
        let _ = schedule(Method::Declining { factor: a, switch }, b, c, d, 2);
        let _ = (over_years(&[a, b], Fraction { part: 1, whole: 3 }, 2), mid_quarter_applies(&[(date(2024, 1, 1), a), (date(2024, 12, 1), b)]));
    }
}
