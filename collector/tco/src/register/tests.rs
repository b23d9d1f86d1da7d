//! The register in worked cases: components, stays, mistakes, proposals and financing.

use super::*;
use crate::asset::Place;
use crate::books::Terms;
use crate::calendar::Month;
use crate::finance::When;
use crate::money::{Currency, Money};
use jiff::civil::{Date, date};
use proptest::prelude::*;
use rust_decimal::Decimal;

fn component(name: &str, cost: i64, years: u32) -> Component {
    Component {
        name: name.to_owned(),
        gpus: if name == "gpu-tray" { 8 } else { 0 },
        cost: Money::new(Decimal::from(cost), Currency::USD),
        salvage: Money::zero(Currency::USD),
        life_months: years * 12,
        in_service: None,
        terms: Terms::default(),
    }
}

fn server() -> Item {
    Item {
        serial: "SN1".to_owned(),
        place: Place::Node("n1".to_owned()),
        model: Some("H100".to_owned()),
        purchased: date(2023, 12, 1),
        in_service: date(2024, 1, 15),
        components: vec![component("gpu-tray", 240_000, 5), component("chassis", 60_000, 6)],
        financing: Financing::Cash,
        source: "assets.csv line 2".to_owned(),
    }
}

fn bound(serial: &str, node: &str, from: Date, to: Option<Date>) -> Binding {
    let source = format!("bindings.csv: {serial} {node}");
    Binding { serial: serial.to_owned(), node: node.to_owned(), slot: None, from, to, source }
}

#[test]
fn each_component_is_an_asset_with_its_own_life_and_weight() {
    let register = Register { items: vec![server()], bindings: Vec::new() };
    let assets = register.assets().unwrap();
    let shown: Vec<_> =
        assets.iter().map(|asset| (asset.serial.as_str(), asset.life_months, asset.gpus)).collect();
    assert_eq!(shown, [("SN1/gpu-tray", 60, 8), ("SN1/chassis", 72, 0)]);
    assert_eq!(server().weight("gpu-tray").unwrap(), Decimal::new(8, 1));
}

#[test]
fn a_server_that_moved_is_an_asset_for_each_stay() {
    let bindings = vec![
        bound("SN1", "n2", date(2024, 6, 1), Some(date(2024, 9, 1))),
        bound("SN1", "n3", date(2024, 10, 1), None),
    ];
    let item = Item { components: vec![component("", 300_000, 5)], ..server() };
    let register = Register { items: vec![item], bindings };
    let stays: Vec<String> = register
        .assets()
        .unwrap()
        .iter()
        .map(|asset| {
            let day = |day: Option<Date>| day.map_or_else(|| "…".to_owned(), |day| day.to_string());
            format!("{} {}..{}", asset.serial, day(asset.terms.stay.from), day(asset.terms.stay.to))
        })
        .collect();
    assert_eq!(
        stays,
        [
            "SN1@n1/2024-01-15 …..2024-06-01",
            "SN1@n2/2024-06-01 2024-06-01..2024-09-01",
            "SN1@n1/2024-09-01 2024-09-01..2024-10-01",
            "SN1@n3/2024-10-01 2024-10-01..…",
        ]
    );
}

#[test]
fn a_binding_from_before_service_is_one_stay() {
    let bindings = vec![bound("SN1", "n9", date(2023, 12, 20), None)];
    let item = Item { components: vec![component("", 300_000, 5)], ..server() };
    let assets = Register { items: vec![item], bindings }.assets().unwrap();
    assert_eq!(assets.len(), 1);
    assert_eq!((assets[0].serial.as_str(), &assets[0].place), ("SN1", &Place::Node("n9".to_owned())));
}

#[test]
fn every_mistake_names_item_field_and_mending() {
    let mut item = server();
    item.in_service = date(2023, 11, 1);
    item.components[0].salvage.amount = Decimal::from(-1);
    item.components[1].life_months = 0;
    item.components.push(component("chassis", 1, 5));
    item.financing = Financing::Loan {
        principal: Decimal::TEN,
        rate: Decimal::from(7),
        months: 12,
        first: Month { year: 2024, month: 1 },
    };
    let bindings = vec![
        bound("SN1", "n1", date(2024, 1, 1), None),
        bound("SN1", "n2", date(2024, 6, 1), Some(date(2024, 6, 1))),
    ];
    let register = Register { items: vec![item, server()], bindings };
    let says: Vec<String> = register.mistakes().iter().map(ToString::to_string).collect();
    for part in [
        "salvage of asset SN1/gpu-tray is -1: expected zero or more",
        "life in months of asset SN1/chassis is 0: expected 1 to 600",
        "component of SN1 (assets.csv line 2) is \"chassis\" twice: expected a name of its own",
        "in-service date of asset SN1/chassis (assets.csv line 2) is 2023-11-01: expected a day on or after the purchase",
        "rate of the financing of SN1 is 7: expected 0 to 1 (100 %) a year: 0.07 is 7 %",
        "serial SN1 (assets.csv line 2) is used already (assets.csv line 2): expected one entry a serial",
        "end of the binding of SN1 to n2 (bindings.csv: SN1 n2) is 2024-06-01: expected a day after its start",
        "SN1 at n2 from 2024-06-01, while SN1 is at n1 from 2024-01-01 to today (bindings.csv: SN1 n1): expected one place",
    ] {
        assert!(says.iter().any(|text| text.contains(part)), "{part} is missing in {says:#?}");
    }
    assert!(register.assets().is_err());
}

fn seen(serial: &str, node: &str, first: Date, last: Date) -> Observation {
    Observation { serial: serial.to_owned(), node: node.to_owned(), first, last }
}

#[test]
fn a_replaced_gpu_a_move_a_swap_and_a_loss_are_proposed() {
    let (start, today) = (date(2024, 1, 1), date(2024, 3, 1));
    let bindings: Vec<Binding> =
        [("A", "n1"), ("B", "n1"), ("C", "n1"), ("D", "n2"), ("E", "n2"), ("F", "n3")]
            .map(|(serial, node)| bound(serial, node, start, None))
            .to_vec();
    let observations = [
        seen("A", "n1", start, date(2024, 2, 1)), // went back …
        seen("X", "n1", date(2024, 2, 3), today), // … and X came for it
        seen("B", "n1", start, date(2024, 2, 10)),
        seen("B", "n2", date(2024, 2, 10), today), // B and D changed places
        seen("D", "n2", start, date(2024, 2, 9)),
        seen("D", "n1", date(2024, 2, 10), today),
        seen("C", "n1", start, today),
        seen("Y", "n2", date(2024, 2, 20), today), // E was never seen: Y stands in
        seen("F", "n4", date(2024, 1, 5), today),
        seen("Z", "n4", date(2024, 1, 5), today),
    ];
    let proposals = propose(&observations, &bindings, today);
    let mut reversed = observations.to_vec();
    reversed.reverse();
    assert_eq!(propose(&reversed, &bindings, today), proposals, "the order changes nothing");
    let s = |text: &str| text.to_owned();
    assert_eq!(
        proposals,
        [
            Proposal::Move { serial: s("F"), from: s("n3"), to: s("n4"), on: date(2024, 1, 5) },
            Proposal::Swap {
                serial: s("B"),
                other: s("D"),
                node: s("n2"),
                other_node: s("n1"),
                on: date(2024, 2, 10)
            },
            Proposal::Replacement { node: s("n1"), old: s("A"), new: s("X"), on: date(2024, 2, 3) },
            Proposal::Replacement { node: s("n2"), old: s("E"), new: s("Y"), on: date(2024, 2, 20) },
            Proposal::New { serial: s("Z"), node: s("n4"), on: date(2024, 1, 5) },
        ]
    );
}

#[test]
fn a_serial_of_a_silent_node_is_not_gone_and_one_of_a_talking_node_is() {
    let (start, today) = (date(2024, 1, 1), date(2024, 3, 1));
    let bindings = [bound("A", "n1", start, None), bound("B", "n1", start, None)];
    let last = date(2024, 2, 1);
    assert_eq!(propose(&[seen("A", "n1", start, last), seen("B", "n1", start, last)], &bindings, today), []);
    let gone = propose(&[seen("A", "n1", start, last), seen("B", "n1", start, today)], &bindings, today);
    assert_eq!(gone, [Proposal::Gone { serial: "A".to_owned(), node: "n1".to_owned(), last_seen: last }]);
}

#[test]
fn a_loan_is_repaid_to_the_cent_and_a_lease_settles_its_liability() {
    let first = Month { year: 2024, month: 1 };
    let loan =
        Financing::Loan { principal: Decimal::from(10_000), rate: Decimal::new(8, 2), months: 10, first };
    let schedule = loan.schedule(2).unwrap();
    // Excel: PMT(8 %/12; 10; 10000) = −1037.03.
    assert_eq!(schedule[0].payment, Decimal::new(103_703, 2));
    assert_eq!(schedule[0].interest, Decimal::new(6_667, 2));
    assert_eq!(schedule.iter().map(|row| row.principal).sum::<Decimal>(), Decimal::from(10_000));
    assert_eq!(schedule[9].balance, Decimal::ZERO);
    let lease = Financing::Lease {
        payment: Decimal::from(1_000),
        rate: Decimal::new(12, 2),
        months: 12,
        first,
        when: When::Begin,
    };
    let schedule = lease.schedule(2).unwrap();
    let total = |of: fn(&Payment) -> Decimal| schedule.iter().map(of).sum::<Decimal>();
    assert_eq!(total(|row| row.interest) + total(|row| row.depreciation), Decimal::from(12_000));
    assert_eq!(schedule[11].balance, Decimal::ZERO);
}

proptest! {
    #[test]
    fn stays_cover_the_time_in_service_once(days in proptest::collection::btree_set(1_i32..700, 0..8)) {
        let day = |number: i32| date(2023, 12, 1).saturating_add(jiff::Span::new().days(number));
        let days: Vec<i32> = days.into_iter().collect();
        let bindings = days.chunks(2).enumerate().map(|(k, pair)| {
            bound("SN1", &format!("n{k}"), day(pair[0]), pair.get(1).map(|to| day(*to)))
        }).collect();
        let item = Item { components: vec![component("", 300_000, 5)], ..server() };
        let assets = Register { items: vec![item], bindings }.assets().unwrap();
        let of = |number: i32| assets.iter().filter(|asset| {
            let stay = asset.terms.stay;
            stay.from.is_none_or(|from| from <= day(number)) && stay.to.is_none_or(|to| day(number) < to)
        }).count();
        for number in 46..720 {
            prop_assert_eq!(of(number), 1, "day {}", number);
        }
    }
}
