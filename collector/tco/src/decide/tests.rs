//! Decisions in worked cases and laws.

use super::case::Case;
use super::market::{FreeHours, Terms};
use super::sensitivity::Lever;
use super::split::Prices;
use super::way::{Fleet, Lease, Offer, Own, Running, Way};
use super::*;
use crate::money::Currency;
use crate::rent::{PriceKind, RentPrice};
use jiff::civil::date;
use proptest::prelude::*;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn fleet(utilization: &str) -> Fleet {
    Fleet { gpus: dec("8"), availability: Decimal::ONE, utilization: dec(utilization), goodput: Decimal::ONE }
}

/// Golden case tco-own-vs-rent: 300 k, 20 % residual after four years, 10.2 kW at 75 %, PUE 1.3.
fn own(utilization: &str) -> Own {
    let running = Running {
        // 10.2 kW × 196 × 12 of colocation and 6 % of the purchase.
        fixed_per_year: dec("41990.4"),
        kw: dec("0.95625"),
        idle_kw: dec("0.95625"),
        pue: dec("1.3"),
        price_per_kwh: dec("0.08"),
    };
    Own {
        fleet: fleet(utilization),
        running,
        purchase: dec("300000"),
        residual: dec("0.2"),
        tax_depreciation: ["60000", "96000", "57600", "34560"].map(dec).to_vec(),
    }
}

fn offer(price: &str) -> Offer {
    Offer {
        name: "cloud".to_owned(),
        per_gpu_hour: dec(price),
        throughput: Decimal::ONE,
        goodput: Decimal::ONE,
        idle: Decimal::ZERO,
        support: Decimal::ZERO,
        egress_per_month: Decimal::ZERO,
        storage_per_month: Decimal::ZERO,
        trend: Decimal::ZERO,
        source: "price list of 2026-07-20".to_owned(),
    }
}

fn case(utilization: &str, price: &str) -> Case {
    Case {
        name: "8 × H100".to_owned(),
        currency: Currency::USD,
        own: own(utilization),
        offer: offer(price),
        years: 4,
        discount: dec("0.08"),
        tax_rate: dec("0.25"),
        source: "quote".to_owned(),
    }
}

#[test]
fn the_golden_case_breaks_even_where_it_is_published() {
    for (price, even) in [("6.88", "0.225987"), ("2.95", "0.527048"), ("2.6", "0.597997")] {
        let verdict = judge(&case("0.75", price)).unwrap();
        assert_eq!(verdict.value("break_even"), Some(dec(even)), "{price}");
    }
}

#[test]
fn at_break_even_both_cost_the_same_without_interest_and_tax() {
    let mut case = case("0.527048", "2.95");
    (case.discount, case.tax_rate) = (Decimal::ZERO, Decimal::ZERO);
    let advantage = judge(&case).unwrap().value("advantage").unwrap();
    assert!(advantage.abs() < dec("1"), "{advantage}");
}

#[test]
fn every_figure_has_a_formula_and_inputs_with_sources() {
    let verdict = judge(&case("0.75", "6.88")).unwrap();
    let ids: Vec<&str> = verdict.figures.iter().map(|figure| figure.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "own_cash",
            "paid_hours",
            "same_work",
            "same_capacity",
            "break_even",
            "payback",
            "npv_own",
            "npv_rent",
            "advantage",
            "levelised_own",
            "levelised_rent",
            "irr",
        ]
    );
    for figure in &verdict.figures {
        assert!(
            !figure.inputs.is_empty() && figure.inputs.iter().all(|input| !input.source.is_empty()),
            "{}",
            figure.id
        );
    }
    assert_eq!(verdict.value("levelised_rent"), Some(dec("6.88")));
    assert_eq!(verdict.value("same_capacity"), Some(dec("482150.40")));
    assert!(verdict.value("levelised_own").unwrap() < dec("2.5"));
    // 300,000 ÷ ((52,560 h × 6.88 − 48,959.86)/12).
    assert_eq!(verdict.value("payback"), Some(dec("11.51")));
}

#[test]
fn what_an_offer_leaves_out_is_counted() {
    let plain = offer("2").cost_of(dec("100"), 1).unwrap();
    let mut all_in = offer("2");
    (all_in.support, all_in.egress_per_month, all_in.storage_per_month) = (dec("0.1"), dec("5"), dec("3"));
    assert_eq!((plain, all_in.cost_of(dec("100"), 1).unwrap()), (dec("200"), dec("316")));
    (all_in.throughput, all_in.goodput, all_in.idle) = (dec("2"), dec("0.9"), dec("0.2"));
    assert_eq!(all_in.paid_hours(dec("144")).unwrap(), dec("100"));
    all_in.trend = dec("-0.5");
    assert_eq!(all_in.cost_of(dec("100"), 3).unwrap(), dec("151"));
    all_in.idle = Decimal::ONE;
    assert!(all_in.check().unwrap_err().to_string().contains("less than 1 (100 %)"));
}

#[test]
fn a_rate_of_return_with_two_roots_is_told() {
    // A purchase, a saving, and rents that fall below the own cash cost afterwards.
    let mut case = case("0.75", "9.7");
    (case.tax_rate, case.own.residual, case.own.tax_depreciation) =
        (Decimal::ZERO, Decimal::ZERO, Vec::new());
    (case.offer.trend, case.years, case.own.running.fixed_per_year) = (dec("-0.8"), 2, dec("250000"));
    case.own.purchase = dec("100000");
    let verdict = judge(&case).unwrap();
    assert_eq!(verdict.rates_of_return.len(), 2, "{:?}", case.savings().unwrap());
    assert_eq!(verdict.value("irr"), None);
    assert!(verdict.notes[0].contains("has 2 rates of return"), "{:?}", verdict.notes);
}

#[test]
fn utilization_moves_more_than_the_pue_and_the_tornado_is_in_order() {
    let swings = tornado(&case("0.6", "2.95"), dec("0.2")).unwrap();
    assert_eq!(swings.len(), Lever::ALL.len());
    assert!(swings.windows(2).all(|pair| pair[0].swing >= pair[1].swing));
    let of = |lever| swings.iter().find(|swing| swing.lever == lever).unwrap();
    assert!(of(Lever::Utilization).swing > of(Lever::Pue).swing);
    assert_eq!((of(Lever::Life).low.0, of(Lever::Life).high.0), (dec("3"), dec("5")));
    assert_eq!(of(Lever::Pue).low.0, dec("1.24"));
    assert!(tornado(&case("0.6", "2.95"), Decimal::ZERO).unwrap().iter().all(|swing| swing.swing.is_zero()));
}

#[test]
fn a_seed_gives_its_quantiles_again() {
    let of = |seed| quantiles(&case("0.6", "2.95"), dec("0.2"), 200, seed).unwrap();
    assert_eq!(of(7), of(7));
    let (p, q) = (of(7), of(8));
    assert_ne!(p.p50, q.p50);
    assert!(p.p10 <= p.p50 && p.p50 <= p.p90 && p.owning_better <= Decimal::ONE);
    let still = quantiles(&case("0.6", "2.95"), Decimal::ZERO, 10, 7).unwrap();
    let (own, rent) = case("0.6", "2.95").present_values().unwrap();
    assert_eq!((still.p10, still.p90), (own - rent, own - rent));
    assert!(quantiles(&case("0.6", "2.95"), dec("0.2"), 0, 7).is_err());
}

const PRICES: Prices = Prices {
    own_per_year: Decimal::from_parts(8_760, 0, 0, false, 0),
    own_per_hour: Decimal::ZERO,
    rent_per_hour: Decimal::TWO,
};

#[test]
fn the_base_is_owned_and_the_peaks_are_rented() {
    // Four GPUs always, twelve for one hour in ten; owning pays above half of the hours.
    let loads: Vec<u32> = (0..1_680).map(|hour| if hour % 10 == 0 { 12 } else { 4 }).collect();
    let split = best_split(&loads, PRICES, 1).unwrap();
    assert_eq!((split.own, split.peak, split.threshold_hours), (4, 12, Some(dec("4380"))));
    assert_eq!((split.own_p10, split.own_p90), (4, 4), "every week is alike");
    assert_eq!(split.cost, dec("4") * dec("8760") + dec("8") * dec("876") * dec("2"));
    assert_eq!(split.saving, split.cost_rent_all - split.cost);
    let never = Prices { rent_per_hour: Decimal::ONE, own_per_hour: Decimal::ONE, ..PRICES };
    assert_eq!(best_split(&loads, never, 1).unwrap().own, 0);
    assert!(best_split(&[], PRICES, 1).is_err());
}

#[test]
fn business_models_stand_on_one_page_best_first() {
    let work = case("0.75", "6.88").work().unwrap();
    let lease = Lease {
        fleet: fleet("0.75"),
        running: own("0.75").running,
        payment_per_month: dec("9000"),
        upfront: dec("10000"),
    };
    let mut small = own("0.75");
    small.fleet.gpus = dec("4");
    let ways = [
        ("own in colocation".to_owned(), Way::Own(own("0.75"))),
        ("lease".to_owned(), Way::Lease(lease)),
        ("GPU cloud".to_owned(), Way::Rent(offer("2.95"))),
        ("hyperscaler".to_owned(), Way::Rent(offer("6.88"))),
        ("small site".to_owned(), Way::Own(small)),
    ];
    let page = compare_models(&ways, &work).unwrap();
    let names: Vec<&str> = page.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["own in colocation", "GPU cloud", "lease", "hyperscaler", "small site"]);
    assert!(page[4].too_small && page[0].over_best.is_zero());
    assert_eq!(page[3].per_useful_hour.round_dp(6), dec("6.88"));
    assert_eq!(page[0].upfront, dec("300000"));
}

#[test]
fn free_hours_earn_the_lowest_price_of_their_day() {
    let price = |offer: &str, cents: i64, from| RentPrice {
        offer: offer.to_owned(),
        kind: PriceKind::MarketIndex,
        model: "H100".to_owned(),
        per_gpu_hour: Decimal::new(cents, 2),
        currency: Currency::USD,
        effective_from: from,
        fetched_at: from,
        source: "index".to_owned(),
        licence: "CC0".to_owned(),
        entry: "prices.csv line 2".to_owned(),
    };
    let prices = [
        price("a", 200, date(2024, 1, 2)),
        price("a", 300, date(2024, 1, 4)),
        price("b", 250, date(2024, 1, 2)),
    ];
    let free = |day| FreeHours {
        day: date(2024, 1, day),
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        hours: Decimal::TEN,
    };
    let terms = Terms { fee: dec("0.2"), sold: dec("0.5"), cost_per_hour: dec("0.1") };
    let earned = &market_value(&[free(1), free(2), free(4)], &prices, terms).unwrap()[0];
    // 5 h × (1.60 − 0.10) and 5 h × (2.00 − 0.10); the first day has no price.
    assert_eq!(
        (earned.earned, earned.sold_hours, earned.unpriced_hours),
        (dec("17"), dec("10"), Decimal::TEN)
    );
    assert_eq!(earned.sources.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_other_number_of_gpus_is_cheaper(loads in proptest::collection::vec(0_u32..20, 1..400), rent in 1_i64..500, own in 0_i64..20_000) {
        let prices = Prices { own_per_year: Decimal::from(own), own_per_hour: dec("0.05"), rent_per_hour: Decimal::new(rent, 2) };
        let split = best_split(&loads, prices, 3).unwrap();
        let year = dec("8760") / Decimal::from(loads.len());
        for n in 0..=split.peak {
            let done: u32 = loads.iter().map(|load| (*load).min(n)).sum();
            let rented: u32 = loads.iter().map(|load| load.saturating_sub(n)).sum();
            let cost = Decimal::from(n) * prices.own_per_year + Decimal::from(done) * year * prices.own_per_hour + Decimal::from(rented) * year * prices.rent_per_hour;
            prop_assert!(split.cost <= cost + dec("0.000001"), "{} GPUs: {} against {}", n, cost, split.cost);
        }
        prop_assert!(split.own_p10 <= split.own_p90);
    }

    #[test]
    fn more_use_helps_owning_and_a_higher_rent_does_too(use_percent in 5_i64..95, cents in 50_i64..900) {
        let share = |percent: i64| Decimal::new(percent, 2).to_string();
        let advantage = |percent: i64, cents: i64| {
            let (own, rent) = case(&share(percent), &share(cents)).present_values().unwrap();
            own - rent
        };
        prop_assert!(advantage(use_percent + 1, cents) >= advantage(use_percent, cents));
        prop_assert!(advantage(use_percent, cents + 1) >= advantage(use_percent, cents));
    }

    #[test]
    fn ten_times_the_money_is_ten_times_the_value(use_percent in 5_i64..95, cents in 50_i64..900) {
        let mut once = case(&Decimal::new(use_percent, 2).to_string(), &Decimal::new(cents, 2).to_string());
        let (own, rent) = once.present_values().unwrap();
        let even = judge(&once).unwrap().value("break_even");
        for amount in [&mut once.own.purchase, &mut once.own.running.fixed_per_year, &mut once.own.running.price_per_kwh, &mut once.offer.per_gpu_hour] {
            *amount *= Decimal::TEN;
        }
        once.own.tax_depreciation.iter_mut().for_each(|amount| *amount *= Decimal::TEN);
        let (own_ten, rent_ten) = once.present_values().unwrap();
        prop_assert!((own_ten - own * Decimal::TEN).abs() < dec("0.0001") && (rent_ten - rent * Decimal::TEN).abs() < dec("0.0001"));
        prop_assert_eq!(judge(&once).unwrap().value("break_even"), even);
    }
}
