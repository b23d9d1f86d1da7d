//! Books in worked cases and laws.

use super::*;
use crate::asset::Asset;
use crate::asset::tests::server;
use crate::calendar::{Calendar, Month};
use crate::depreciation::{Convention, by_month};
use jiff::civil::{Date, date};
use proptest::prelude::*;
use rust_decimal::Decimal;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// 300,000 over five years from the start of 2024, by these terms.
fn asset(method: BookMethod, convention: Convention) -> Asset {
    let terms = Terms { method, convention, ..Terms::default() };
    Asset { terms, ..server("SN1", "n1") }
}

fn event(on: Date, what: Change) -> Event {
    Event { on, what, source: "minutes of the board".to_owned() }
}

fn estimate(life: u32, salvage: &str) -> Change {
    Change::Estimate { life: life.into(), salvage: dec(salvage) }
}

fn book(asset: &Asset) -> Book {
    Book::new(asset, &Calendar::utc(), &[]).unwrap()
}

fn at(day: Date) -> i64 {
    Calendar::utc().day_start_ms(day).unwrap()
}

/// Depreciation of each of these calendar years.
fn years(asset: &Asset, years: std::ops::Range<i16>) -> Vec<String> {
    let book = book(asset);
    let charged = |year| book.charged(at(date(year, 1, 1))).unwrap();
    years.map(|year| (charged(year + 1) - charged(year)).normalize().to_string()).collect()
}

fn months_of_2024(asset: &Asset) -> Vec<String> {
    let months = by_month(asset, &Calendar::utc()).unwrap();
    let months = months.into_iter().filter(|(month, _)| month.year == 2024);
    months.map(|(month, amount)| format!("{month} {}", amount.normalize())).collect()
}

fn refused(asset: &Asset) -> String {
    Book::new(asset, &Calendar::utc(), &[]).unwrap_err().to_string()
}

#[test]
fn sum_of_years_gives_the_first_year_five_fifteenths() {
    let asset = asset(BookMethod::SumOfYears, Convention::FullMonth);
    assert_eq!(years(&asset, 2024..2030), ["100000", "80000", "60000", "40000", "20000", "0"]);
}

#[test]
fn double_declining_switches_where_the_straight_line_is_more() {
    let double = BookMethod::Declining { factor: Decimal::TWO, switch: true };
    // 40 % of 300,000, 180,000, 108,000; then 64,800 over two years.
    let of = asset(double, Convention::FullMonth);
    assert_eq!(years(&of, 2024..2029), ["120000", "72000", "43200", "32400", "32400"]);
    let without = BookMethod::Declining { factor: Decimal::TWO, switch: false };
    let of = asset(without, Convention::FullMonth);
    // The last year takes the residue.
    assert_eq!(years(&of, 2024..2029), ["120000", "72000", "43200", "25920", "38880"]);
}

#[test]
fn conventions_say_where_a_life_begins() {
    let first_year = |convention| {
        let mut asset = asset(BookMethod::StraightLine, convention);
        asset.in_service = date(2024, 11, 16);
        (years(&asset, 2024..2025)[0].clone(), months_of_2024(&asset))
    };
    let months =
        |amounts: [&str; 2]| vec![format!("2024-11 {}", amounts[0]), format!("2024-12 {}", amounts[1])];
    assert_eq!(first_year(Convention::FullMonth), ("10000".into(), months(["5000", "5000"])));
    assert_eq!(first_year(Convention::MidMonth), ("7500".into(), months(["2500", "5000"])));
    assert_eq!(first_year(Convention::ActualDays), ("7500".into(), months(["2500", "5000"])));
    // Half a year from July on: what the months before service would have had comes in the first one.
    assert_eq!(first_year(Convention::HalfYear), ("30000".into(), months(["25000", "5000"])));
    assert_eq!(first_year(Convention::MidQuarter), ("7500".into(), months(["2500", "5000"])));
}

#[test]
fn a_half_year_that_begins_after_service_waits_for_july() {
    let mut asset = asset(BookMethod::StraightLine, Convention::HalfYear);
    asset.in_service = date(2024, 3, 5);
    assert_eq!(years(&asset, 2024..2030), ["30000", "60000", "60000", "60000", "60000", "30000"]);
    assert_eq!(book(&asset).charged(at(date(2024, 7, 1))).unwrap(), Decimal::ZERO);
}

#[test]
fn a_shorter_life_counts_from_its_day_and_closed_years_stay() {
    // Golden case: six years become five after two; 200,000 are left for three years.
    let mut asset = asset(BookMethod::StraightLine, Convention::FullMonth);
    asset.life_months = 72;
    asset.terms.events = vec![event(date(2026, 1, 1), estimate(60, "0"))];
    let charged = |day| book(&asset).charged(at(day)).unwrap();
    // Months of 4,166.67, whose residue would have come at the end: 24 of them are 8 cents over 100,000.
    assert_eq!(book(&asset).net(at(date(2026, 1, 1))).unwrap(), dec("199999.92"));
    assert_eq!(charged(date(2025, 1, 1)), dec("50000.04"));
    let third = charged(date(2027, 1, 1)) - charged(date(2026, 1, 1));
    assert!((third - dec("66666.67")).abs() < dec("0.1"), "{third}");
    assert_eq!(charged(date(2029, 1, 1)), dec("300000"));
    // Sum of years' digits goes on with the digits of what is left: 3, 2, 1.
    asset.terms.method = BookMethod::SumOfYears;
    asset.life_months = 48;
    assert_eq!(years(&asset, 2024..2029), ["120000", "90000", "45000", "30000", "15000"]);
}

#[test]
fn a_life_that_is_over_already_is_charged_at_once() {
    let mut asset = asset(BookMethod::StraightLine, Convention::FullMonth);
    asset.terms.events = vec![event(date(2027, 1, 1), estimate(24, "0"))];
    assert_eq!(years(&asset, 2024..2028), ["60000", "60000", "60000", "120000"]);
}

#[test]
fn an_impairment_lowers_what_is_left_and_ifrs_may_bring_it_back() {
    let loss = |regime| Change::Impairment { loss: dec("60000"), regime };
    let mut asset = asset(BookMethod::StraightLine, Convention::FullMonth);
    asset.terms.events = vec![event(date(2026, 1, 1), loss(Regime::Ifrs))];
    // 180,000 − 60,000 over three years of equal months, the residue in the last one.
    assert_eq!(years(&asset, 2024..2029), ["60000", "60000", "39999.96", "39999.96", "40000.08"]);
    let back = |amount: &str| event(date(2027, 1, 1), Change::Reversal { amount: dec(amount) });
    asset.terms.events.push(back("39999.96"));
    assert_eq!(years(&asset, 2024..2029), ["60000", "60000", "39999.96", "60000", "60000"]);
    asset.terms.events[1] = back("40000");
    assert!(refused(&asset).contains("reversal of asset SN1 (test) is 40000: expected at most what brings"));
    asset.terms.events = vec![event(date(2026, 1, 1), loss(Regime::UsGaap)), back("0.01")];
    assert!(refused(&asset).contains("(IFRS only)"));
}

#[test]
fn a_replaced_gpu_leaves_by_its_weight_and_the_rest_goes_on() {
    let mut asset = asset(BookMethod::StraightLine, Convention::FullMonth);
    let sold = Change::Disposal { share: dec("0.1"), proceeds: dec("8000"), selling_cost: dec("500") };
    asset.terms.events = vec![event(date(2025, 7, 1), sold)];
    let book = book(&asset);
    let booking = &book.bookings()[0];
    // A tenth of 210,000 is 21,000.
    assert_eq!((booking.amount, booking.net_after), (dec("-13500"), dec("189000")));
    assert_eq!(booking.cost().unwrap(), dec("13500"));
    assert_eq!(book.net(at(date(2025, 7, 1))).unwrap(), dec("189000"));
    assert_eq!(years(&asset, 2024..2029), ["60000", "57000", "54000", "54000", "54000"]);
}

#[test]
fn after_a_disposal_within_a_month_nothing_is_charged() {
    let mut asset = asset(BookMethod::StraightLine, Convention::FullMonth);
    let sold = Change::Disposal { share: Decimal::ONE, proceeds: dec("200000"), selling_cost: Decimal::ZERO };
    asset.terms.events = vec![event(date(2024, 2, 16), sold.clone())];
    // 15 of 29 days of February.
    let sum = dec("5000") + dec("2586.21");
    assert_eq!(book(&asset).charged(at(date(2030, 1, 1))).unwrap(), sum);
    assert_eq!(book(&asset).net(at(date(2024, 2, 16))).unwrap(), Decimal::ZERO);
    assert_eq!(asset.terms.disposed(), Some(date(2024, 2, 16)));
    asset.terms.events.push(event(date(2024, 3, 1), sold));
    assert!(refused(&asset).contains("expected a day before it was disposed of"));
}

fn units(of_months: &[&str]) -> Vec<UnitsDone> {
    let mut month = Month { year: 2024, month: 1 };
    let mut done = Vec::new();
    for units in of_months {
        let (from_ms, next) = (at(month.first_day().unwrap()), month.plus(1).unwrap());
        done.push(UnitsDone { from_ms, to_ms: at(next.first_day().unwrap()), units: dec(units) });
        month = next;
    }
    done
}

#[test]
fn use_depreciates_and_a_month_without_use_does_not() {
    let method = Units { unit: Unit::GpuHours, life: dec("100000"), before: units(&["5000", "0"]) };
    let asset = asset(BookMethod::Units(method), Convention::FullMonth);
    let measured = &units(&["0", "0", "5000", "1000000"])[2..];
    let book = Book::new(&asset, &Calendar::utc(), measured).unwrap();
    let charged = |month| book.charged(at(date(2024, month, 1))).unwrap().normalize();
    assert_eq!([2, 3, 4, 5].map(charged), ["15000", "15000", "30000", "300000"].map(dec));
    let twice = Book::new(&asset, &Calendar::utc(), &units(&["1"]));
    assert!(twice.unwrap_err().to_string().contains("leave out of the register what the ledger measured"));
}

#[test]
fn terms_that_make_no_book_are_refused_by_asset_and_field() {
    let says = |edit: fn(&mut Asset)| {
        let mut asset = asset(BookMethod::StraightLine, Convention::FullMonth);
        edit(&mut asset);
        refused(&asset)
    };
    assert_eq!(
        says(|a| a.terms.purchased = Some(date(2024, 2, 1))),
        "in-service date of asset SN1 (test) is 2024-01-01: expected a day on or after the purchase: correct the \
         in-service or the purchase date"
    );
    let whole_years = "expected whole years (a multiple of 12), or the straight-line method";
    assert!(says(|a| (a.terms.method, a.life_months) = (BookMethod::SumOfYears, 30)).contains(whole_years));
    let disposal = |share| Change::Disposal { share, proceeds: Decimal::ZERO, selling_cost: Decimal::ZERO };
    let too_much = event(date(2024, 5, 5), disposal(dec("1.01")));
    let mut over = asset(BookMethod::StraightLine, Convention::FullMonth);
    over.terms.events = vec![too_much];
    assert!(refused(&over).contains("disposed share of asset SN1 (test) is 1.01"));
    over.terms.events = vec![event(date(2024, 5, 2), estimate(48, "0"))];
    assert!(refused(&over).contains("expected the first day of a month"));
    over.terms.events = vec![event(date(2023, 5, 1), estimate(48, "0"))];
    assert!(refused(&over).contains("a day on or after its in-service date"));
    assert!(
        says(|a| a.terms.method = BookMethod::Declining { factor: Decimal::ZERO, switch: true })
            .contains("factor")
    );
}

fn method() -> impl Strategy<Value = BookMethod> {
    prop_oneof![
        Just(BookMethod::StraightLine),
        Just(BookMethod::SumOfYears),
        (10_u32..40, any::<bool>()).prop_map(|(factor, switch)| BookMethod::Declining {
            factor: Decimal::new(factor.into(), 1),
            switch
        }),
    ]
}

fn convention() -> impl Strategy<Value = Convention> {
    use Convention::{ActualDays, FullMonth, HalfYear, MidMonth, MidQuarter};
    proptest::sample::select(vec![FullMonth, MidMonth, ActualDays, HalfYear, MidQuarter])
}

fn some_event() -> impl Strategy<Value = Event> {
    let change = prop_oneof![
        (12_u32..90, 0_u32..50).prop_map(|(life, salvage)| estimate(life, &(salvage * 100).to_string())),
        (0_i64..2_000_000)
            .prop_map(|cents| Change::Impairment { loss: Decimal::new(cents, 2), regime: Regime::Ifrs }),
        (1_i64..=1_000, 0_i64..9_000_000).prop_map(|(share, cents)| Change::Disposal {
            share: Decimal::new(share, 3),
            proceeds: Decimal::new(cents, 2),
            selling_cost: Decimal::ZERO
        }),
    ];
    (0_i32..70, change).prop_map(|(month, change)| {
        event(Month { year: 2024, month: 2 }.plus(month).unwrap().first_day().unwrap(), change)
    })
}

proptest! {
    #[test]
    fn a_life_sums_to_cost_minus_salvage_by_every_method_and_convention(
        method in method(), convention in convention(), years in 1_u32..8, day in 1_i8..=28, month in 1_i8..=12,
        cents in 1_i64..5_000_000_000, salvage in 0_i64..100,
    ) {
        let mut asset = asset(method, convention);
        asset.cost.amount = Decimal::new(cents, 2);
        asset.salvage.amount = Decimal::new(cents * salvage / 100, 2);
        (asset.life_months, asset.in_service) = (years * 12, date(2024, month, day));
        let months = by_month(&asset, &Calendar::utc()).unwrap();
        prop_assert!(months.iter().all(|(_, amount)| *amount >= Decimal::ZERO));
        prop_assert_eq!(months.iter().map(|(_, amount)| amount).sum::<Decimal>(), asset.base().unwrap());
        let book = book(&asset);
        prop_assert_eq!(book.net(at(date(2040, 1, 1))).unwrap(), asset.salvage.amount);
    }

    #[test]
    fn whatever_happens_cost_is_charged_booked_disposed_of_or_still_there(
        method in method(), convention in convention(), events in proptest::collection::vec(some_event(), 0..5),
    ) {
        let mut asset = asset(method, convention);
        for event in events {
            asset.terms.events.push(event);
            if Book::new(&asset, &Calendar::utc(), &[]).is_err() {
                asset.terms.events.pop();
            }
        }
        let book = book(&asset);
        let end = at(date(2060, 1, 1));
        let booked: Decimal = book.bookings().iter().map(|booking| match booking.what {
            Booked::Impairment(_) => booking.amount,
            Booked::Reversal => -booking.amount,
            Booked::Disposal { book_value, .. } => book_value,
        }).sum();
        prop_assert_eq!(book.charged(end).unwrap() + booked + book.net(end).unwrap(), asset.cost.amount);
        let mut last = Decimal::ZERO;
        for month in 0..120 {
            let now = at(Month { year: 2024, month: 1 }.plus(month).unwrap().first_day().unwrap());
            let charged = book.charged(now).unwrap();
            prop_assert!(charged >= last && book.net(now).unwrap() >= Decimal::ZERO);
            last = charged;
        }
    }
}
