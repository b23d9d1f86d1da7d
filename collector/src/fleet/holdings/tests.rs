//! Assets: what each way of writing them means, and what each mistake says.

use super::*;
use crate::fleet::locale::Locale;
use crate::fleet::tests::{dec, load, refused};
use gpuledger_tco::asset::Place;
use gpuledger_tco::books::BookMethod;
use gpuledger_tco::books::terms::{Change, Unit};
use gpuledger_tco::calendar::Month;
use gpuledger_tco::register::Financing;
use jiff::civil::date;
use std::path::Path;

const CSV: &str = "serial,node,model,gpus,cost,currency,salvage,life_years,in_service\n\
    SN1,n1,H100,8,290000.00,EUR,29000,5,2026-01-15\nSN2,n2,,,1200,EUR,,3,2026-02-01\n";

fn read(text: &str) -> Result<Vec<Entry>, FleetError> {
    read_assets(Path::new("a.csv"), text, Locale::ISO)
}

/// A register with one asset, whose first line is the third of the file.
fn asset(lines: &str) -> String {
    format!(
        "currency = \"EUR\"\n[[asset]]\nserial = \"SN1\"\nnode = \"n1\"\ncost = \"100000\"\nlife_years = 5\n\
         in_service = 2026-01-15\n{lines}\n"
    )
}

const SERVER: &str = "currency = \"EUR\"\n[[asset]]\nserial = \"SN1\"\nnode = \"n1\"\nmodel = \"H100\"\n\
    purchased = 2025-12-01\nin_service = 2026-01-15\nlife_years = 5\ntax_class = \"macrs_5\"\nbonus = 0.4\n\
    convention = \"half_year\"\nfinancing = \"loan\"\ninterest_rate = 0.07\nterm_months = 48\nprincipal = \"200000\"\n\
    [[asset.component]]\nname = \"gpu-tray\"\ngpus = 8\ncost = \"240000\"\nsalvage = \"20000\"\n\
    method = \"double_declining_balance\"\n\
    [[asset.component]]\nname = \"chassis\"\ncost = \"60000\"\nlife_years = 6\n\
    [[asset.event]]\non = 2028-01-01\nkind = \"estimate\"\ncomponent = \"gpu-tray\"\nlife_years = 6\nsalvage = \"10000\"\n\
    [[asset.event]]\non = 2030-06-30\nkind = \"disposal\"\nproceeds = \"10000\"\n";

#[test]
fn components_have_what_their_asset_says_unless_they_say_it_themselves() {
    let fleet = load(SERVER, &[]).unwrap();
    let entry = &fleet.holdings.entries[0];
    let [tray, chassis] = &entry.item.components[..] else { panic!("two components") };
    assert_eq!((tray.life_months, chassis.life_months), (60, 72));
    assert_eq!(tray.terms.method, BookMethod::Declining { factor: dec("2"), switch: true });
    assert_eq!(chassis.terms.method, BookMethod::StraightLine);
    assert_eq!(entry.tax[1], entry.tax[0]);
    assert_eq!(entry.tax[0].unwrap().bonus, dec("0.4"));
    // The whole was sold: what it brought goes by cost.
    let brought =
        |component: &gpuledger_tco::register::Component| match component.terms.events.last().unwrap().what {
            Change::Disposal { proceeds, .. } => proceeds,
            _ => panic!("not a disposal"),
        };
    assert_eq!((brought(tray), brought(chassis)), (dec("8000.00"), dec("2000.00")));
    assert_eq!((tray.terms.events.len(), chassis.terms.events.len()), (2, 1));
    let first = Month { year: 2026, month: 1 };
    let loan = Financing::Loan { principal: dec("200000"), rate: dec("0.07"), months: 48, first };
    assert_eq!(entry.item.financing, loan);
    let assets = fleet.holdings.assets().unwrap();
    let (of, component) = fleet.holdings.of_asset(&assets[1]).unwrap();
    assert_eq!((of.item.serial.as_str(), component.name.as_str()), ("SN1", "chassis"));
    let tax = fleet.holdings.tax_assets(&fleet.rates, fleet.currency).unwrap();
    assert_eq!(
        (tax[0].serial.as_str(), tax[0].basis, tax[0].disposed),
        ("SN1/gpu-tray", dec("240000.00"), Some(date(2030, 6, 30)))
    );
}

#[test]
fn a_serial_that_moved_is_one_asset_for_each_stay() {
    let bindings = "[[binding]]\nserial = \"SN1\"\nnode = \"n1\"\nfrom = 2026-01-15\nto = 2026-06-01\n\
        [[binding]]\nserial = \"SN1\"\nnode = \"n2\"\nfrom = 2026-06-01\n";
    let assets = load(&asset(bindings), &[]).unwrap().holdings.assets().unwrap();
    let places: Vec<_> = assets.iter().map(|asset| (asset.place.clone(), asset.terms.stay.to)).collect();
    assert_eq!(
        places,
        [(Place::Node("n1".to_owned()), Some(date(2026, 6, 1))), (Place::Node("n2".to_owned()), None)]
    );
    let overlap = refused(&asset(&bindings.replace("to = 2026-06-01", "to = 2026-07-01")), &[]);
    assert!(
        overlap.starts_with(
            "fleet.toml:13: binding of serial SN1 (fleet.toml line 13) is SN1 at n2 from 2026-06-01, while"
        ),
        "{overlap}"
    );
    assert!(overlap.ends_with("one place at a time: end the earlier binding first"), "{overlap}");
    let ends = refused(&asset(&bindings.replace("to = 2026-06-01", "to = 2026-01-15")), &[]);
    assert!(ends.starts_with("fleet.toml:12: binding: to: expected a day after from"), "{ends}");
    let file = "serial,node,slot,from,to\nSN1,n1,,2026-01-15,2026-07-01\nSN1,n2,,2026-06-01,\n";
    let register = asset("").replace("[[asset]]", "bindings = \"b.csv\"\n[[asset]]");
    let message = refused(&register, &[("b.csv", file)]);
    assert!(message.starts_with("b.csv:3: ") && message.contains("b.csv line 2"), "{message}");
}

#[test]
fn what_the_ledger_keeps_joins_the_register_once() {
    let binding = "[[binding]]\nserial = \"SN2\"\nnode = \"n5\"\nfrom = 2026-03-01";
    let imported = read(CSV).unwrap();
    let mut holdings = load(&asset(binding), &[]).unwrap().holdings;
    let error = holdings.clone().join(Vec::new()).unwrap_err().to_string();
    assert!(error.contains("fleet.toml:8: no asset has the serial \"SN2\""), "{error}");
    let error = holdings.clone().join(imported.clone()).unwrap_err().to_string();
    assert!(
        error.contains("fleet.toml:2: asset SN1 stands in the register (") && error.contains("a.csv line 2"),
        "{error}"
    );
    holdings.join(imported[1..].to_vec()).unwrap();
    assert_eq!(holdings.assets().unwrap().len(), 3, "SN2 stood at two places");
}

#[test]
fn economic_value_follows_an_offer_of_the_price_list_in_the_currency_of_the_asset() {
    let economic = "gpus = 8\neconomic = { utilization = 0.6, offer = \"index\", growth_per_month = -0.01, resale = \"9000\" }\n\
        [[price]]\noffer = \"index\"\nkind = \"market_index\"\nmodel = \"H100\"\nper_gpu_hour = \"2.00\"\ncurrency = \"USD\"\n\
        effective_from = 2026-02-10\nsource = \"s\"\n\
        [[exchange_rate]]\nfrom = \"USD\"\nto = \"EUR\"\nrate = \"0.9\"\ndate = 2026-01-01\nsource = \"ECB\"";
    let fleet = load(&asset(economic), &[]).unwrap();
    let economy = fleet.holdings.entries[0].economy.as_ref().unwrap();
    assert_eq!(economy.rent.known, [(Month { year: 2026, month: 2 }, dec("1.800"))]);
    assert_eq!((economy.gpus, economy.last_month), (dec("8"), Month { year: 2031, month: 1 }));
    let message = refused(&asset("gpus = 8\neconomic = { utilization = 0.6, offer = \"x\" }"), &[]);
    assert!(
        message.contains("fleet.toml:9: economic: offer: there is no price of an offer \"x\""),
        "{message}"
    );
}

#[test]
fn each_mistake_in_the_books_of_an_asset_names_the_line_and_how_to_mend_it() {
    for (lines, expected) in [
        (
            "purchased = 2026-02-01",
            "fleet.toml:2: asset: in-service date of asset SN1 (fleet.toml line 2) is 2026-01-15: expected a day on or after the purchase",
        ),
        ("salvage = \"-1\"", "fleet.toml:8: asset: salvage: -1 is negative; expected zero or more"),
        (
            "method = \"linear\"",
            "fleet.toml:8: asset: method: \"linear\" is not known; expected one of straight_line, sum_of",
        ),
        ("method = \"declining_balance\"", "declining_factor is missing; add declining_factor = 1.5"),
        (
            "declining_factor = 2",
            "declining_factor: says nothing here; it needs method = \"declining_balance\"",
        ),
        ("method = \"units_of_production\"\nunit = \"kwh\"", "life_units is missing"),
        ("convention = \"half\"", "convention: \"half\" is not known"),
        (
            "tax_class = \"macrs_5\"\nbonus = 40",
            "fleet.toml:9: asset: bonus: 40 is out of range; expected a share from 0 to 1: 19 % is 0.19",
        ),
        ("bonus = 0.4", "bonus: says nothing without tax_class"),
        ("tax_class = \"macrs_5\"\ntax_life_years = 5", "the class says the years already"),
        ("proceeds = \"5\"", "says nothing without disposed"),
        (
            "disposed = 2025-01-01",
            "date of an event of asset SN1 (fleet.toml line 2) is 2025-01-01: expected a day on or after",
        ),
        ("financing = \"loan\"\nterm_months = 4", "interest_rate is missing; add interest_rate = 0.07"),
        ("financing = \"loan\"\ninterest_rate = 7\nterm_months = 4", "interest_rate: 7 is out of range"),
        (
            "financing = \"lease\"\nprincipal = \"5\"",
            "principal: says nothing here; it needs financing = \"loan\"",
        ),
        ("term_months = 4", "it needs financing = \"loan\" or \"lease\""),
        (
            "first_month = \"Jan 2026\"\nfinancing = \"loan\"\ninterest_rate = 0\nterm_months = 4",
            "\"Jan 2026\" is not a month",
        ),
        (
            "[[asset.component]]\nname = \"a\"\ncost = \"5\"",
            "fleet.toml:5: asset: cost: give it in each [[asset.component]]",
        ),
        (
            "[[asset.event]]\non = 2027-01-15\nkind = \"impairment\"\nloss = \"5\"\nregime = \"ifrs\"",
            "expected the first day of a month",
        ),
        (
            "[[asset.event]]\non = 2027-01-01\nkind = \"impairment\"\nloss = \"5\"",
            "fleet.toml:8: event: regime is missing",
        ),
        ("economic = { utilization = 0.6, rent_per_gpu_hour = \"2\" }", "earns no rent"),
        (
            "currency = \"USD\"",
            "fleet.toml:2: asset SN1 costs USD; give it in EUR, or its rate: no rate from USD to EUR is known",
        ),
    ] {
        let message = refused(&asset(lines), &[]);
        assert!(message.contains(expected), "{lines}\ngives {message:?}\nwhich does not say {expected:?}");
    }
    let twice = SERVER.replace("name = \"chassis\"", "name = \"gpu-tray\"");
    assert!(refused(&twice, &[]).contains("component of SN1 (fleet.toml line 2) is \"gpu-tray\" twice"));
    let estimate = SERVER.replace("component = \"gpu-tray\"\n", "");
    assert!(refused(&estimate, &[]).contains("event: kind: names no component, and the asset has several"));
    let unknown = SERVER.replace("component = \"gpu-tray\"", "component = \"fan\"");
    assert!(
        refused(&unknown, &[])
            .contains("there is no component \"fan\"; the components are gpu-tray, chassis")
    );
}

#[test]
fn assets_of_a_file_survive_their_documents_unchanged() {
    let assets = read(CSV).unwrap();
    assert_eq!(assets[0].item.components[0].life_months, 60);
    assert_eq!(
        (assets[1].item.components[0].gpus, assets[1].item.components[0].salvage.amount),
        (0, Decimal::ZERO)
    );
    for entry in assets {
        assert_eq!(from_document(&entry.item.serial, &to_document(&entry).unwrap()), Ok(entry));
    }
}

#[test]
fn what_a_locale_writes_is_read_again_as_the_same() {
    let mut entries = load(SERVER, &[]).unwrap().holdings.entries;
    let lease = "financing = \"lease\"\ninterest_rate = 0.06\nterm_months = 36\npayment_per_month = \"6200.50\"\npayment_due = \"start\"\n\
        method = \"units_of_production\"\nunit = \"kwh\"\nlife_units = 350000\ntax_class = \"real_property\"\ntax_life_years = 27";
    entries.extend(load(&asset(lease).replace("SN1", "SN2"), &[]).unwrap().holdings.entries);
    let BookMethod::Units(units) = &entries[1].item.components[0].terms.method else {
        panic!("not by units")
    };
    assert_eq!(units.unit, Unit::Kwh);
    // A file has no column for a change of estimate, and says so.
    assert_eq!(unwritten(&entries[0]), Some("SN1 (events: 1)".to_owned()));
    assert_eq!(unwritten(&entries[1]), None);
    entries[0].item.components[0].terms.events.remove(0);
    for locale in Locale::ALL {
        let text = write_assets(&entries, &locale).unwrap();
        let mut again = read_assets(Path::new("a.csv"), &text, locale).unwrap();
        for (again, entry) in again.iter_mut().zip(&entries) {
            again.item.source.clone_from(&entry.item.source);
            for (a, b) in again.item.components.iter_mut().zip(&entry.item.components) {
                a.terms.purchased = b.terms.purchased;
                for (a, b) in a.terms.events.iter_mut().zip(&b.terms.events) {
                    a.source.clone_from(&b.source);
                }
            }
        }
        assert_eq!(again, entries, "{}\n{text}", locale.name);
    }
}

#[test]
fn a_document_of_the_first_version_is_read() {
    let old = r#"{"serial":"SN1","node":"n1","model":"H100","gpus":8,"cost":"290000.00","salvage":"29000","currency":"EUR","life_months":60,"in_service":"2026-01-15","source":"a.csv line 2"}"#;
    assert_eq!(from_document("SN1", old).as_ref(), Ok(&read(CSV).unwrap()[0]));
}

#[test]
fn a_garbled_document_is_named() {
    for document in [
        "{}",
        "nothing",
        "{\"rows\":[],\"source\":\"\"}",
        "{\"rows\":[{\"colour\":\"red\"}],\"source\":\"\"}",
    ] {
        let message = from_document("SN1", document).unwrap_err().to_string();
        assert!(message.starts_with("ledger: asset SN1: cannot be read"), "{message}");
    }
}

#[test]
fn each_mistake_in_a_file_of_assets_names_line_and_column() {
    let table = [
        ("290000.00", "290.000,00", "a.csv:2: has 10 cells"),
        ("290000.00", "290.000.00", "a.csv:2: column cost: \"290.000.00\" is not a number"),
        ("290000.00", "", "a.csv:2: column cost: is empty"),
        ("29000,5", "290001,5", "a.csv:2: salvage of asset SN1 is 290001: expected at most its cost"),
        ("29000,5", "-29000,5", "a.csv:2: column salvage: -29000 is negative"),
        ("5,2026-01-15", "0,2026-01-15", "a.csv:2: life in months of asset SN1 is 0"),
        ("2026-01-15", "", "a.csv:2: SN1 has no in-service date; add in_service"),
        ("2026-01-15", "01/15/2026", "a.csv:2: column in_service: \"01/15/2026\" is not a day"),
        (
            "2026-01-15",
            "03/04/2026",
            "a.csv:2: column in_service: \"03/04/2026\" is not a day: it may be of two months",
        ),
        ("SN2", "SN1", "a.csv:3: column node: \"n2\", while it is n1 in line 2: a serial is one asset"),
        ("SN2,n2", "SN1,n1", "a.csv:3: column serial: \"SN1\" stands in line 2 already"),
        (",n1,", ",,", "a.csv:2: give either node or site"),
        ("salvage", "salvege", "a.csv:1: unknown column \"salvege\"; did you mean \"salvage\"?"),
        ("currency", "", "a.csv:1: unknown column \"\""),
        (",8,", ",eight,", "a.csv:2: column gpus: \"eight\" is not a whole number"),
        ("SN1", "SN/1", "a.csv:2: column serial: \"SN/1\" has a / or an @"),
    ];
    for (from, to, expected) in table {
        let message = read(&CSV.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}

#[test]
fn a_file_of_another_locale_is_refused_until_its_locale_is_named() {
    let german = "serial;node;cost;currency;life_years;in_service\nSN1;n1;290.000,50;EUR;5;03.04.2026\n";
    let message = read(german).unwrap_err().to_string();
    assert_eq!(message, "a.csv:1: the file is separated by semicolons; expected commas");
    let de = Locale::named("de-DE").unwrap();
    let entry = read_assets(Path::new("a.csv"), german, de).unwrap().remove(0);
    assert_eq!(
        (entry.item.components[0].cost.amount, entry.item.in_service),
        (dec("290000.50"), date(2026, 4, 3))
    );
    let mixed = german.replace("SN1;n1;290.000,50;EUR;5", "SN1,n1,290000.50,EUR,5");
    let message = read_assets(Path::new("a.csv"), &mixed, de).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "a.csv:2: has 2 cells; expected 6 as in the header: this line is separated by commas"
        ),
        "{message}"
    );
    let american = german.replace("290.000,50", "290,000.50");
    let message = read_assets(Path::new("a.csv"), &american, de).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "a.csv:2: column cost: \"290,000.50\" is not a number; expected digits with a comma"
        ),
        "{message}"
    );
}
