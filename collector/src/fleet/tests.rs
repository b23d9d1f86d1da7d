//! The register: what it means, and what each mistake says.

use super::*;
use gpuledger_tco::asset::Place;
use gpuledger_tco::energy::{Intensity, Missing, Tariff};
use jiff::civil::date;
use rust_decimal::Decimal;

/// A folder with a register and the files that it names.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub(super) fn load(register: &str, files: &[(&str, &str)]) -> Result<Fleet, FleetError> {
    let folder = folder(files);
    let path = folder.path().join("fleet.toml");
    std::fs::write(&path, register).unwrap();
    Fleet::load(&path)
}

/// The message of a refused register, without the folder's name.
pub(super) fn refused(register: &str, files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let path = folder.path().join("fleet.toml");
    std::fs::write(&path, register).unwrap();
    let message = Fleet::load(&path).unwrap_err().to_string();
    message.replace(&format!("{}/", folder.path().display()), "")
}

pub(super) fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

const HOURLY: &str = "hour_utc,price_per_mwh,carbon\n\
    2024-05-01T02:00Z,-12.5,300\n2024-05-01T00:00Z,50.31,211.08\n2024-05-01T05:00+02:00,,\n";

const HOURLY_SITE: &str = "currency = \"EUR\"\n[[site]]\nname = \"dc1\"\n\
    tariff = { file = \"p.csv\", hour_column = \"hour_utc\", price_column = \"price_per_mwh\", per = \"MWh\" }\n\
    carbon_g_per_kwh = { column = \"carbon\" }\n";

#[test]
fn the_packaged_example_is_valid_and_means_what_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/fleet.toml");
    let fleet = Fleet::load(Path::new(path)).unwrap();
    assert_eq!(fleet.time_zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(fleet.sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>(), ["dc1", "colo1"]);
    assert_eq!(
        (fleet.site_of("gpu-17"), fleet.site_of("colo-1"), fleet.site_of("x")),
        (Some(0), Some(1), None)
    );
    assert!(!fleet.sites[0].power_included() && fleet.sites[1].power_included());
    let assets = fleet.holdings.assets().unwrap();
    let server = &assets[0];
    assert_eq!((server.life_months, server.in_service, server.gpus), (60, date(2026, 1, 15), 8));
    assert_eq!((server.cost.amount, server.salvage.amount), (dec("290000.00"), dec("29000.00")));
    assert_eq!(assets[1].place, Place::Site("dc1".to_owned()));
    assert_eq!(fleet.prices[0].per_gpu_hour, dec("2.95"));
    assert_eq!(fleet.capital_rate.unwrap().rate, dec("0.06"));
}

/// The packaged example with everything in it that stands behind a `#` and is no sentence.
fn uncommented(text: &str) -> String {
    let is_key = |line: &str| {
        let word = line.split_once(" = ").map_or("", |(key, _)| key);
        let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        line.starts_with('[') || is_word
    };
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_key(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn what_the_packaged_example_has_behind_a_hash_is_valid_too_and_no_key_is_missing() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/fleet.toml")).unwrap();
    let files = [
        (
            "prices.csv",
            "offer,kind,model,per_gpu_hour,currency,effective_from,source\no,spot,H100,1,EUR,2026-01-01,s\n",
        ),
        ("assets.csv", "serial,node,cost,currency,life_years,in_service\nSN9,n9,100,EUR,5,2026-01-15\n"),
        ("bindings.csv", "serial,node,from\nSN9,n10,2026-03-01\n"),
        ("rates.csv", "from,to,rate,date,source\nGBP,EUR,1.15,2026-01-15,ECB\n"),
        ("centres.csv", "owner,centre\nops,operations\n"),
        ("prices_hourly.csv", "hour_utc,price_per_mwh,carbon_direct_g_per_kwh\n2026-01-01T00:00Z,-5,300\n"),
        ("pue_hourly.csv", "hour_utc,pue\n2026-01-01T00:00Z,1.2\n"),
    ];
    let fleet = load(&uncommented(&text), &files).unwrap();
    assert_eq!(
        fleet.sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>(),
        ["dc1", "colo1", "hall2", "hall3"]
    );
    assert_eq!((fleet.holdings.entries.len(), fleet.holdings.bindings.len(), fleet.centres.len()), (5, 3, 3));
    assert_eq!(fleet.models.len(), 3);
    let words: std::collections::BTreeSet<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for key in read::every_key() {
        assert!(words.contains(key), "{key} is not in packaging/fleet.toml");
    }
}

#[test]
fn an_hourly_file_gives_price_and_carbon_by_utc_hour() {
    let fleet = load(HOURLY_SITE, &[("p.csv", HOURLY)]).unwrap();
    let Some(Tariff::Hourly { per_kwh, missing }) = &fleet.sites[0].tariff else { panic!("not hourly") };
    assert_eq!(per_kwh.first.to_string(), "2024-05-01T00:00:00Z");
    assert_eq!(per_kwh.values, [Some(dec("0.05031")), None, Some(dec("-0.0125")), None]);
    assert_eq!(*missing, Missing::Refuse);
    let Some(Intensity::Hourly(carbon)) = &fleet.sites[0].intensity else { panic!("not hourly") };
    assert_eq!(carbon.values, [Some(dec("211.08")), None, Some(dec("300")), None]);
}

#[test]
fn local_hours_are_those_of_the_site_and_a_doubtful_one_is_refused() {
    let site = HOURLY_SITE.replace("[[site]]\n", "[[site]]\ntime_zone = \"Europe/Berlin\"\n");
    let file = |hour: &str| format!("hour_utc,price_per_mwh,carbon\n{hour},1,1\n");
    let fleet = load(&site, &[("p.csv", &file("2023-07-01 01:00:00"))]).unwrap();
    let Some(Tariff::Hourly { per_kwh, .. }) = &fleet.sites[0].tariff else { panic!("not hourly") };
    assert_eq!(per_kwh.first.to_string(), "2023-06-30T23:00:00Z");
    for doubtful in ["2023-10-29 02:00:00", "2023-03-26 02:00:00"] {
        let message = refused(&site, &[("p.csv", &file(doubtful))]);
        assert!(message.starts_with("p.csv:2: column hour_utc: 2023-"), "{message}");
        assert!(message.contains("Europe/Berlin") && message.contains("give UTC"), "{message}");
    }
}

#[test]
fn each_mistake_in_an_hourly_file_names_file_line_and_column() {
    let table = [
        ("hour_utc,price_per_mwh,carbon\nx,1,1\n", "p.csv:2: column hour_utc: \"x\" is not an hour"),
        ("hour_utc,price_per_mwh,carbon\n2024-05-01T00:30Z,1,1\n", "is not the start of an hour"),
        (
            "hour_utc,price_per_mwh,carbon\n2024-05-01T00:00Z,\"1,5\",1\n",
            "p.csv:2: column price_per_mwh: \"1,5\" is not a number",
        ),
        (
            "hour_utc,price_per_mwh,carbon\n2024-05-01T00:00Z,1,1e3\n",
            "p.csv:2: column carbon: \"1e3\" is not a number",
        ),
        (
            "hour_utc,price_per_mwh,carbon\n2024-05-01T00:00Z,1,1\n2024-05-01T00:00Z,2,1\n",
            "p.csv:3: column hour_utc: 2024-05-01T00:00:00Z stands in line 2 already",
        ),
        (
            "hour_utc,price,carbon\n2024-05-01T00:00Z,1,1\n",
            "p.csv:1: has no column \"price_per_mwh\"; the columns are hour_utc, price, carbon; did you mean \"price\"?",
        ),
        ("hour_utc;price_per_mwh;carbon\n", "separated by semicolons; expected commas"),
        ("hour_utc,price_per_mwh,carbon\n2024-05-01T00:00Z,1\n", "p.csv:2: has 2 cells; expected 3"),
        ("hour_utc,price_per_mwh,carbon\n", "has a header and no rows"),
        ("", "is empty; expected a header"),
        ("hour_utc,price_per_mwh,carbon\n1999-01-01T00:00Z,1,1\n2060-01-01T00:00Z,1,1\n", "at most 50 years"),
    ];
    for (file, expected) in table {
        let message = refused(HOURLY_SITE, &[("p.csv", file)]);
        assert!(message.contains(expected), "{file:?} gives {message:?}, which does not say {expected:?}");
    }
}

/// A register whose last table gets one more line; the line is the seventh of the file.
fn with(table: &str, line: &str) -> String {
    let start = "currency = \"EUR\"\n[[site]]\nname = \"dc1\"\n\n\n";
    match table {
        "site" => start.replace("\n\n\n", &format!("\n\n\n\n{line}\n")),
        _ => format!("{start}[[{table}]]\n{line}\n"),
    }
}

const ASSET: &str =
    "serial = \"SN1\"\nnode = \"n1\"\ncost = \"100\"\nlife_months = 12\nin_service = 2026-01-15";
const PRICE: &str = "offer = \"o\"\nkind = \"spot\"\nmodel = \"H100\"\nper_gpu_hour = \"1\"\neffective_from = 2026-01-01\nsource = \"s\"";

/// Every register gives a message that says where it is wrong and how to mend it.
fn all_refused(table: &[(String, &str)]) {
    for (register, expected) in table {
        let message = refused(register, &[]);
        assert!(
            message.contains(expected),
            "{register:?}\ngives {message:?}\nwhich does not say {expected:?}"
        );
    }
}

#[test]
fn each_mistake_in_a_site_or_node_names_the_line_and_how_to_mend_it() {
    all_refused(&[
        (with("site", "pu = 1.2"), "fleet.toml:7: site: unknown key \"pu\"; did you mean \"pue\"?"),
        (with("site", "pue = 0.9"), "fleet.toml:7: site: pue: 0.9 is out of range"),
        (with("site", "pue = \"130 %\""), "\"130 %\" is not a number"),
        (with("site", "tariff = 0.21"), "fleet.toml:7: site: tariff: money is written in quotes"),
        (with("site", "tariff = \"-0.21\""), "-0.21 is negative"),
        (
            with("site", "tariff = { file = \"p.csv\", hour_column = \"h\", price_column = \"p\" }"),
            "per is missing; add per = \"MWh\" or \"kWh\"",
        ),
        (with("site", "tariff = { currency = \"USD\" }"), "USD is not the currency of the register, EUR"),
        (with("site", "carbon_g_per_kwh = -1"), "-1 is negative"),
        (with("site", "carbon_g_per_kwh = { column = \"c\" }"), "file is missing, and the tariff has none"),
        (with("site", "colocation = \"180\""), "expected { contracted_kw = 40"),
        (
            with("site", "colocation = { contracted_kw = 40, price_per_kw_month = \"180\" }"),
            "power_included is missing",
        ),
        (with("site", "time_zone = \"Berlin\""), "\"Berlin\" is not a time zone"),
        (with("site", "[[site]]\nname = \"dc1\""), "site \"dc1\" stands at"),
        (with("node", "name = \"n\"\nsite = \"dc2\""), "there is no site \"dc2\"; the sites are dc1"),
        (with("node", "name = \"n\"\npower_only = \"active\""), "power_only says nothing without gpus"),
        (with("node", "name = \"n\"\ngpus = 8"), "model is missing"),
        (with("site", "site_name = 1"), "fleet.toml:7: site: unknown key"),
    ]);
}

#[test]
fn each_mistake_in_an_asset_names_the_line_and_how_to_mend_it() {
    let asset = |from: &str, to: &str| with("asset", &ASSET.replace(from, to));
    all_refused(&[
        (
            asset("in_service = 2026-01-15", ""),
            "fleet.toml:6: asset: SN1 has no in-service date; add in_service = ",
        ),
        (
            asset("2026-01-15", "\"15.01.2026\""),
            "fleet.toml:11: asset: in_service: \"15.01.2026\" is not a day",
        ),
        (asset("\"100\"", "\"-100\""), "fleet.toml:9: asset: cost: -100 is negative"),
        (asset("\"100\"", "100.0"), "money is written in quotes"),
        (
            asset("\"100\"", "\"100\"\nsalvage = \"101\""),
            "salvage of asset SN1 is 101: expected at most its cost",
        ),
        (asset("= 12", "= 0"), "life in months of asset SN1 is 0: expected 1 to 600"),
        (asset("life_months = 12", ""), "life_months is missing; add life_months = 60"),
        (asset("= 12", "= 12\nlife_years = 1"), "life_months and life_years say the same thing"),
        (asset("\"100\"", "\"100\"\ncurrency = \"USD\""), "asset SN1 costs USD; give it in EUR"),
        (
            asset("2026-01-15", &format!("2026-01-15\n[[asset]]\n{ASSET}")),
            "asset \"SN1\" stands at fleet.toml line 6 already",
        ),
    ]);
}

#[test]
fn each_mistake_in_the_rest_of_the_register_names_the_line_and_how_to_mend_it() {
    let price = |from: &str, to: &str| with("price", &PRICE.replace(from, to));
    all_refused(&[
        (String::new(), "currency is missing; add currency = \"EUR\""),
        ("currency = \"Euro\"".to_owned(), "fleet.toml:1: currency: \"Euro\" is not a currency"),
        ("currency = ".to_owned(), "fleet.toml:1: "),
        (
            "currency = \"EUR\"\n\nsites = 1".to_owned(),
            "fleet.toml:3: unknown key \"sites\"; did you mean \"site\"?",
        ),
        (
            with(
                "site",
                "tariff = { file = \"p.csv\", hour_column = \"h\", price_column = \"p\", per = \"GWh\" }",
            ),
            "\"GWh\" is not a unit of energy here",
        ),
        (
            with(
                "site",
                "tariff = { file = \"p.csv\", hour_column = \"h\", price_column = \"p\", per = \"kWh\" }",
            ),
            "p.csv: cannot be read: ",
        ),
        (with("overhead", "kind = \"staff\"\nper_year = 9"), "money is written in quotes"),
        (with("overhead", "kind = \"staff\"\nper_year = \"-9\""), "-9 is negative"),
        (price("\"1\"", "\"0\""), "expected a price above zero"),
        (price("spot", "spott"), "\"spott\" is not a kind of price; expected on_demand, spot"),
        (price("per_gpu_hour", "per_hour"), "add gpus, the number of GPUs that it pays for"),
        (
            price("source = \"s\"", "source = \"s\"\ncurrency = \"USD\""),
            "the price of o is in USD and the register in EUR",
        ),
        (
            price("source = \"s\"", &format!("source = \"s\"\n[[price]]\n{PRICE}")),
            "o has a price from 2026-01-01 at fleet.toml line 6 already",
        ),
        ("currency = \"EUR\"\nsite = 1".to_owned(), "expected tables, each headed [[site]]"),
        ("currency = \"EUR\"\ncapital_rate = 6".to_owned(), "6 is out of range; expected a share a year"),
    ]);
}

#[test]
fn a_register_that_is_not_there_is_named() {
    let error = Fleet::load(Path::new("/nowhere/fleet.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/fleet.toml: cannot be read: "), "{error}");
}

#[test]
fn prices_come_from_tables_and_from_a_file() {
    let csv = "offer,kind,model,per_hour,gpus,currency,effective_from,fetched_at,source,licence\n\
        aws p5.48xlarge us-east-1,on_demand,H100,98.32,8,EUR,2024-04-25,,https://example.com,Apache-2.0\n";
    let register = format!("currency = \"EUR\"\nprices = \"prices.csv\"\n[[price]]\n{PRICE}");
    let fleet = load(&register, &[("prices.csv", csv)]).unwrap();
    assert_eq!(fleet.prices.iter().map(|p| p.per_gpu_hour).collect::<Vec<_>>(), [dec("12.29"), dec("1")]);
    assert_eq!(fleet.prices[0].fetched_at, date(2024, 4, 25));
    for (from, to, expected) in [
        ("98.32", "free", "prices.csv:2: column per_hour: \"free\" is not a number"),
        ("98.32", "0", "prices.csv:2: column per_hour: expected a price above zero"),
        (",8,", ",,", "prices.csv:2: column gpus: how many GPUs"),
        ("2024-04-25", "25/04/2024", "prices.csv:2: column effective_from: \"25/04/2024\" is not a day"),
        ("licence", "license", "prices.csv:1: unknown column \"license\"; did you mean \"licence\"?"),
        (",EUR,", ",EURO,", "prices.csv:2: column currency: \"EURO\" is not a currency"),
    ] {
        let message = refused(&register, &[("prices.csv", &csv.replace(from, to))]);
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}

#[test]
fn each_mistake_in_rates_centres_and_comparisons_names_the_line_and_how_to_mend_it() {
    let rate = "from = \"USD\"\nto = \"EUR\"\nrate = 0.9\ndate = 2026-01-01\nsource = \"ECB\"";
    let rates = |more: &str| with("exchange_rate", &format!("{rate}\n{more}"));
    let overhead = |line: &str| with("overhead", &format!("kind = \"staff\"\n{line}"));
    let model = |line: &str| {
        with("business_model", &format!("name = \"m\"\nkind = \"rent\"\nper_gpu_hour = \"2\"\n{line}"))
    };
    all_refused(&[
        (
            rates(&format!("[[exchange_rate]]\n{}", rate.replace("0.9", "0.8"))),
            "fleet.toml:12: USD to EUR of 2026-01-01 is 0.8, and 0.9 at fleet.toml:6: leave one out",
        ),
        (rates("").replace("rate = 0.9", "rate = 0"), "fleet.toml:9: exchange_rate: rate: 0 is not a rate"),
        (rates("").replace("\"EUR\"\nrate", "\"USD\"\nrate"), "expected another currency than USD"),
        (
            with(
                "cost_centre",
                "owner = \"ml-*\"\ncentre = \"a\"\n[[cost_centre]]\nowner = \"ml-*\"\ncentre = \"b\"",
            ),
            "fleet.toml:9: owner \"ml-*\" goes to b here and to a at fleet.toml line 6: leave one out",
        ),
        (with("cost_centre", "owner = \"x\"\ncentre = \"(none)\""), "looks like a row of a report"),
        (with("cost_centre", "owner = \"x\""), "centre is missing; add centre = \"research\""),
        (
            with("site", "").replace("currency = \"EUR\"", "currency = \"EUR\"\ncharge_basis = \"both\""),
            "\"both\" is not known; expected one of allocation, usage, larger",
        ),
        (
            overhead("share_of_cost = 5"),
            "fleet.toml:8: overhead: share_of_cost: 5 is out of range; expected a share from 0 to 1",
        ),
        (
            overhead("per_year = \"5\"\nper_month = \"5\""),
            "per_month: per_year says the amount already: leave one out",
        ),
        (
            overhead("per_year = \"5\"\ncost_per_failure = \"5\""),
            "says nothing beside per_year; it needs failures",
        ),
        (overhead("failures = 2\ncost_per_failure = \"5\""), "gpu_hours is missing"),
        (overhead("per_year = \"5\"\ncurrency = \"USD\""), "no rate from USD to EUR is known"),
        (
            overhead("per_year = \"5\"\nshared_by = \"heads\""),
            "expected one of gpu_hours_in_service, gpu_hours_owned",
        ),
        (
            overhead("per_year = \"5\"\nfrom = 2026-01-01\nto = 2026-01-01"),
            "overhead: to: expected a day after from",
        ),
        (
            overhead("per_year = \"5\"\n[[overhead]]\nkind = \"staff\"\nper_month = \"1\""),
            "\"staff\" stands at fleet.toml line 6 already, for the same time",
        ),
        (with("rent_terms", "offer = \"*\"\nidle = 1"), "expected less than 1"),
        (
            with("rent_terms", "offer = \"*\"\ntrend = -15"),
            "fleet.toml:8: rent_terms: trend: -15 is out of range",
        ),
        (with("rent_terms", "offer = \"*\"\ngoodput = 0"), "goodput: expected more than zero"),
        (with("site", "[comparison]\nyears = 0"), "fleet.toml:8: comparison: years: expected 1 to 50"),
        (with("site", "[comparison]\nkw = 1\nidle_kw = 2"), "idle_kw: 2 is more than in use, 1"),
        (with("site", "[market]\nfee = 20\nsold = 1"), "market: fee: 20 is out of range"),
        (model("gpus = 4"), "gpus: says nothing here; it needs kind = \"own\" or \"lease\""),
        (model("goodput = 0"), "goodput of the offer m is 0: expected more than zero"),
        (
            with("business_model", "name = \"m\"\nkind = \"buy\""),
            "\"buy\" is not known; expected one of own, lease, rent",
        ),
    ]);
}

#[test]
fn an_overhead_may_change_its_amount_from_a_day_on() {
    let text = with(
        "overhead",
        "kind = \"staff\"\nper_year = \"5\"\nto = 2026-07-01\n[[overhead]]\nkind = \"staff\"\nper_year = \"6\"\nfrom = 2026-07-01",
    );
    assert_eq!(load(&text, &[]).unwrap().overheads.len(), 2);
}

#[test]
fn an_offer_has_its_terms_and_its_price_in_the_currency_of_the_register() {
    let text = with(
        "price",
        &format!(
            "{}\n[[rent_terms]]\noffer = \"o*\"\nidle = 0.2\ntrend = -0.1\n\
             [[exchange_rate]]\nfrom = \"USD\"\nto = \"EUR\"\nrate = 0.5\ndate = 2025-01-01\nsource = \"ECB\"",
            PRICE.replace("source = \"s\"", "source = \"s\"\ncurrency = \"USD\"")
        ),
    );
    let fleet = load(&text, &[]).unwrap();
    let offer = fleet.offer(&fleet.prices[0]).unwrap();
    assert_eq!(
        (offer.per_gpu_hour, offer.idle, offer.trend, offer.goodput),
        (dec("0.5"), dec("0.2"), dec("-0.1"), Decimal::ONE)
    );
    assert!(offer.source.contains("1 USD at 0.5 EUR of 2025-01-01 (ECB, "), "{}", offer.source);
    assert_eq!(
        fleet
            .offer(&gpuledger_tco::rent::RentPrice { offer: "x".to_owned(), ..fleet.prices[0].clone() })
            .unwrap()
            .idle,
        Decimal::ZERO
    );
}
