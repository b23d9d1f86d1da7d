//! Sites: contracts, demand, seasons, emissions; and what each mistake in them says.

use crate::fleet::tests::{dec, load, refused};
use gpuledger_tco::calendar::{Month, UtcHour};
use gpuledger_tco::energy::Tariff;
use jiff::civil::date;

/// A site whose lines begin at the fourth of the file.
fn site(lines: &str) -> String {
    format!("currency = \"EUR\"\n[[site]]\nname = \"dc1\"\n{lines}")
}

fn hour(text: &str) -> UtcHour {
    let time: jiff::Timestamp = text.parse().unwrap();
    UtcHour(u32::try_from(time.as_second() / 3600).unwrap())
}

const BANDS: &str = "time_zone = \"Europe/Berlin\"\nholidays = [2026-12-25]\n\
    [[site.tariff.season]]\nname = \"summer\"\nfrom = \"04-01\"\nto = \"09-30\"\n\
    [[site.tariff.season]]\nname = \"winter\"\nfrom = \"10-01\"\nto = \"03-31\"\n\
    [[site.tariff.band]]\nname = \"night\"\ndays = \"working\"\nhours = \"20-6\"\nper_kwh = \"0.10\"\n\
    [[site.tariff.band]]\nname = \"day\"\nseason = \"summer\"\ndays = \"working\"\nhours = [\"6-8\", \"8-20\"]\nper_kwh = \"0.20\"\n\
    [[site.tariff.band]]\nname = \"winter day\"\nseason = \"winter\"\ndays = \"working\"\nhours = \"6-20\"\nper_kwh = \"0.30\"\n\
    [[site.tariff.band]]\nname = \"off\"\ndays = \"off\"\nper_kwh = \"0.05\"\n";

#[test]
fn bands_hold_by_local_season_day_and_hour() {
    let fleet = load(&site(BANDS), &[]).unwrap();
    let Some(Tariff::TimeOfUse(tariff)) = &fleet.sites[0].tariff else { panic!("not by time of use") };
    let at = |text: &str| tariff.at(hour(text)).unwrap().to_string();
    assert_eq!(at("2026-07-15T17:00:00Z"), "0.20", "19:00 on a Wednesday of summer");
    assert_eq!(at("2026-07-15T18:00:00Z"), "0.10", "20:00");
    assert_eq!(at("2026-12-24T10:00:00Z"), "0.30", "a Thursday of winter");
    assert_eq!(at("2026-12-25T10:00:00Z"), "0.05", "a holiday");
    assert_eq!(at("2026-07-18T10:00:00Z"), "0.05", "a Saturday");
}

#[test]
fn a_gap_and_an_overlap_of_bands_are_named_with_hour_and_season() {
    let gap = BANDS.replace("\"20-6\"", "\"20-5\"");
    let message = refused(&site(&gap), &[]);
    assert!(message.starts_with("fleet.toml:"), "{message}");
    assert!(
        message.contains("05:00 of a Monday in summer (fleet.toml line 6) is without a price"),
        "{message}"
    );
    let overlap = BANDS.replace("\"20-6\"", "\"20-7\"");
    let message = refused(&site(&overlap), &[]);
    assert!(
        message.contains("06:00 of a Monday in summer") && message.contains("priced by night and day"),
        "{message}"
    );
    let season = BANDS.replace("\"03-31\"", "\"03-30\"");
    assert!(refused(&site(&season), &[]).contains("03-31 (fleet.toml line 6) is in no season"));
}

#[test]
fn contracts_follow_each_other_without_gap_or_overlap() {
    let contracts = |second: &str| {
        site(&format!(
            "time_zone = \"Europe/Berlin\"\n[[site.contract]]\nfrom = 2025-01-01\nto = 2026-01-01\ntariff = \"0.20\"\n\
             [[site.contract]]\nfrom = {second}\ntariff = \"0.25\"\n"
        ))
    };
    let fleet = load(&contracts("2026-01-01"), &[]).unwrap();
    let Some(Tariff::Contracts(list)) = &fleet.sites[0].tariff else { panic!("no contracts") };
    assert_eq!(
        (list[0].to, list[1].from),
        (Some(hour("2025-12-31T23:00:00Z")), hour("2025-12-31T23:00:00Z"))
    );
    for second in ["2026-02-01", "2025-12-01"] {
        let message = refused(&contracts(second), &[]);
        assert!(
            message.starts_with("fleet.toml:9: contract: start of the contract fleet.toml line 11 is "),
            "{message}"
        );
        assert!(
            message.ends_with("the hour in which the contract before it ends: no gap and no overlap"),
            "{message}"
        );
    }
}

#[test]
fn a_whole_contract_of_supply_is_read() {
    let lines = "currency = \"USD\"\nfixed_per_month = \"450.00\"\ntaxes = { levy = 0.02, vat = 0.19 }\n\
        pue = { file = \"pue.csv\", hour_column = \"hour\", column = \"pue\", otherwise = 1.3 }\n\
        colocation = { contracted_kw = 40, price_per_kw_month = \"180\", power_included = true, \
        included_kwh_per_month = 20000, overage_per_kwh = \"0.30\" }\n\
        [site.demand]\nper_kw_month = \"14.50\"\ninterval_minutes = 15\nratchet = 0.8\nmetered_kw = { \"2026-01\" = 412 }\n\
        [[site.demand.window]]\ndays = [\"monday\", \"holiday\"]\nhours = \"8-20\"\n\
        [site.carbon_market]\nresidual_g_per_kwh = 420\n\
        [[site.carbon_market.contract]]\nname = \"wind\"\nkwh = 1000\nfrom = 2026-01-01\nto = 2027-01-01\n\
        [[exchange_rate]]\nfrom = \"USD\"\nto = \"EUR\"\nrate = 0.9\ndate = 2026-01-01\nsource = \"ECB\"\n";
    let pue = "hour,pue\n2026-01-01T00:00Z,1.21\n2026-01-01T01:00Z,1.19\n";
    let fleet = load(&site(lines), &[("pue.csv", pue)]).unwrap();
    let dc1 = &fleet.sites[0];
    assert_eq!(
        (dc1.pue_at(hour("2026-01-01T01:00:00Z")), dc1.pue_at(hour("2026-01-01T02:00:00Z"))),
        (dec("1.19"), dec("1.3"))
    );
    let demand = dc1.supply.demand.as_ref().unwrap();
    assert_eq!((demand.per_kw.amount, demand.per_kw.currency.code()), (dec("14.50"), "USD"));
    assert_eq!(demand.metered(Month { year: 2026, month: 1 }), Some(dec("412")));
    assert!(demand.windows[0].days.weekdays[0] && !demand.windows[0].days.weekdays[1]);
    let taxes: Vec<_> = dc1.supply.taxes.iter().map(|tax| (tax.name.as_str(), tax.share)).collect();
    assert_eq!(taxes, [("levy", dec("0.02")), ("vat", dec("0.19"))]);
    assert_eq!(dc1.colocation.as_ref().unwrap().overage.unwrap().included_kwh_per_month, dec("20000"));
    let market = fleet.market_carbon[0].as_ref().unwrap();
    assert_eq!(market.instruments(date(2026, 1, 1), date(2027, 1, 1))[0].kwh, dec("1000"));
}

#[test]
fn each_mistake_in_a_contract_of_supply_names_the_line_and_how_to_mend_it() {
    for (lines, expected) in [
        (
            "taxes = { vat = 19 }",
            "fleet.toml:4: site: taxes: vat: 19 is out of range; expected a share from 0 to 1: 19 % is 0.19",
        ),
        (
            "demand = { per_kw_month = \"14\", ratchet = 80 }",
            "ratchet: 80 is out of range; expected a share from 0 to 1",
        ),
        ("demand = { per_kw_month = 14 }", "money is written in quotes"),
        ("demand = { per_kw_month = \"14\", interval_minutes = 15 }", "add metered_kw = "),
        ("demand = { per_kw_month = \"14\", interval_minutes = 20 }", "expected 15, 30 or 60"),
        ("demand = { per_kw_month = \"14\", metered_kw = { \"Jan\" = 4 } }", "Jan: is not a month"),
        (
            "demand = { per_kw_month = \"14\", window = [{ hours = \"8-25\" }] }",
            "\"8-25\" is not a stretch of hours",
        ),
        (
            "demand = { per_kw_month = \"14\", window = [{ days = \"weekend\" }] }",
            "\"weekend\" is no day; expected",
        ),
        (
            "tariff = \"0.2\"\ncontract = [{ from = 2026-01-01, tariff = \"0.2\" }]",
            "fleet.toml:5: site: contract: says the tariff",
        ),
        ("pue = { file = \"p.csv\", hour_column = \"h\", column = \"p\" }", "otherwise is missing"),
        ("carbon_market = { contract = [] }", "residual_g_per_kwh is missing"),
        ("holidays = [\"25.12.2026\"]", "\"25.12.2026\" is not a day"),
        (
            "colocation = { contracted_kw = 4, price_per_kw_month = \"1\", power_included = true, included_kwh_per_month = 2 }",
            "overage_per_kwh is missing",
        ),
        ("fixed_per_month = \"-1\"", "fleet.toml:4: site: fixed_per_month: -1 is negative"),
    ] {
        let message = refused(&site(lines), &[]);
        assert!(message.contains(expected), "{lines}\ngives {message:?}\nwhich does not say {expected:?}");
    }
}
