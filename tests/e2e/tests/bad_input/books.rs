//! Mistakes in what finance states: assets and their books, tariffs, rates, centres, and files of theirs.

use super::{ASSETS, Case, FLEET, USAGE, broken, case};

/// Prices as clouds list them.
const LIST: &str = "Cloud,InstanceType,AcceleratorName,AcceleratorCount,Price,Region,PriceDate,Source\n\
    aws,p5.48xlarge,H100,8,55.04,us-east-1,2026-07-20,a price list\n";
const ECB: &str = "Date,USD,JPY\n2026-01-16,1.1617,183.5\n";
const STAFF: &str = "login;Cost center\nann;research\nbob;product\n";

pub fn books() -> Vec<Case> {
    let fleet = |more: &str| Some(("wrong.toml", format!("{FLEET}{more}")));
    let changed = |from: &str, to: &str| Some(("wrong.toml", broken(FLEET, from, to)));
    let check = "--fleet wrong.toml check-config";
    vec![
        case(
            "in service before it was bought",
            changed("in_service", "purchased = 2024-02-01\nin_service"),
            check,
            USAGE,
            &["wrong.toml:9", "in-service date of asset SN1", "on or after the purchase"],
        ),
        case(
            "negative salvage",
            changed("salvage = \"0\"", "salvage = \"-1\""),
            check,
            USAGE,
            &["wrong.toml:15: asset: salvage: -1 is negative; expected zero or more"],
        ),
        case(
            "overlapping bindings",
            fleet(
                "[[binding]]\nserial = \"SN1\"\nnode = \"gpu-01\"\nfrom = 2024-01-01\n\
                 [[binding]]\nserial = \"SN1\"\nnode = \"gpu-02\"\nfrom = 2024-06-01\n",
            ),
            check,
            USAGE,
            &["wrong.toml:", "SN1 at gpu-02 from 2024-06-01", "end the earlier binding first"],
        ),
        case(
            "currency without a rate",
            changed("gpus = 8\ncost", "currency = \"USD\"\ngpus = 8\ncost"),
            check,
            USAGE,
            &["wrong.toml:9: asset SN1 costs USD; give it in EUR, or its rate", "2024-01-01"],
        ),
        case(
            "owner with two centres",
            fleet(
                "[[cost_centre]]\nowner = \"ml-*\"\ncentre = \"a\"\n[[cost_centre]]\nowner = \"ml-*\"\ncentre = \"b\"\n",
            ),
            check,
            USAGE,
            &["wrong.toml:", "owner \"ml-*\" goes to b here and to a at", "leave one out"],
        ),
    ]
}

pub fn electricity() -> Vec<Case> {
    let changed = |to: &str| Some(("wrong.toml", broken(FLEET, "tariff = \"0.20\"", to)));
    let check = "--fleet wrong.toml check-config";
    vec![
        case(
            "percentage over 100",
            changed("tariff = \"0.20\"\ntaxes = { vat = 19 }"),
            check,
            USAGE,
            &["wrong.toml:5: site: taxes: vat: 19 is out of range", "19 % is 0.19"],
        ),
        case(
            "hours without a price",
            changed("[[site.tariff.band]]\nname = \"day\"\nhours = \"6-22\"\nper_kwh = \"0.20\""),
            check,
            USAGE,
            &["wrong.toml:", "00:00 of a Monday", "is without a price", "exactly one band"],
        ),
        case(
            "two prices for an hour",
            changed(
                "[[site.tariff.band]]\nname = \"all\"\nper_kwh = \"0.20\"\n\
                 [[site.tariff.band]]\nname = \"noon\"\nhours = \"12-13\"\nper_kwh = \"0.10\"",
            ),
            check,
            USAGE,
            &["12:00 of a Monday", "priced by all and noon"],
        ),
    ]
}

pub fn files() -> Vec<Case> {
    let assets = |from: &str, to: &str| Some(("assets.csv", broken(ASSETS, from, to)));
    let import = "import assets assets.csv";
    vec![
        case(
            "semicolons without a locale",
            Some(("assets.csv", ASSETS.replace(',', ";"))),
            import,
            USAGE,
            &["assets.csv:1", "separated by semicolons; expected commas", "--locale", "Nothing was imported"],
        ),
        case(
            "a line with other separators",
            assets("SN2,gpu-02,8,280000,EUR", "SN2;gpu-02;8;280000;EUR"),
            import,
            USAGE,
            &["assets.csv:2", "this line is separated by semicolons, the header by commas"],
        ),
        case(
            "a decimal comma",
            assets("280000", "\"280.000,50\""),
            import,
            USAGE,
            &["assets.csv:2: column cost: \"280.000,50\" is not a number; expected digits with a point"],
        ),
        case(
            "a day of two months",
            assets("2024-02-01", "02/03/2024"),
            import,
            USAGE,
            &[
                "assets.csv:2: column in_service: \"02/03/2024\" is not a day: it may be of two months",
                "--dates",
            ],
        ),
        case(
            "a day in another order",
            assets("2024-02-01", "13.02.2024"),
            "import assets assets.csv --dates mdy",
            USAGE,
            &["\"13.02.2024\" is not a day; expected one such as 01/15/2026"],
        ),
        case("unknown locale", None, "import assets assets.csv --locale xx", USAGE, &["expected iso, en-US"]),
    ]
}

pub fn lists() -> Vec<Case> {
    let prices = |from: &str, to: &str| Some(("list.csv", broken(LIST, from, to)));
    let list = "import prices list.csv --format list --into prices.csv";
    vec![
        case(
            "no list",
            None,
            "import prices nowhere.csv --format list --into prices.csv",
            USAGE,
            &["nowhere.csv"],
        ),
        case(
            "price that is none",
            prices("55.04", "free"),
            list,
            USAGE,
            &["list.csv:2: column Price: \"free\""],
        ),
        case(
            "catalog without a day",
            prices("2026-07-20", ""),
            list,
            USAGE,
            &["list.csv:2", "--effective-from"],
        ),
        case(
            "no such model",
            prices("55.04", "55.04"),
            format!("{list} --model B200"),
            USAGE,
            &["none of its 1 prices is wanted", "--model"],
        ),
        case(
            "rate that is none",
            Some(("ecb.csv", broken(ECB, "1.1617", "-"))),
            "import rates ecb.csv --format ecb --into rates.csv",
            USAGE,
            &["ecb.csv:2: column USD: \"-\" is not a rate"],
        ),
        case(
            "owner in two centres of a list",
            Some(("staff.csv", broken(STAFF, "bob", "ann"))),
            "import centres staff.csv --delimiter ; --owner-column login --centre-column centre --into c.csv",
            USAGE,
            &["staff.csv:1", "no column \"centre\"", "login, Cost center"],
        ),
        case("export over a file", None, "export assets --out kept.txt", USAGE, &["kept.txt", "--force"]),
    ]
}
