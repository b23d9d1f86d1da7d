//! The scenario files that come with the engine, and what is wrong with others.

use super::*;

const FILES: [(&str, &str); 2] = [
    ("37signals", include_str!("../../scenarios/37signals.toml")),
    ("bare_metal", include_str!("../../scenarios/bare_metal_saves_30_to_70_percent.toml")),
];

fn read(name: &str) -> Scenario {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name).unwrap();
    toml::from_str(text).unwrap()
}

#[test]
fn everything_that_the_scenario_files_expect_holds() {
    for (name, _) in FILES {
        let scenario = read(name);
        assert!(!scenario.conclusion.is_empty() && !scenario.facts.is_empty(), "{name}");
        let findings = scenario.findings().unwrap();
        assert!(!findings.is_empty(), "{name}");
        for finding in findings {
            assert!(finding.holds, "{name}: {} is {:?}", finding.expectation.says, finding.value);
        }
    }
}

#[test]
fn the_golden_case_of_the_cloud_exit_is_in_its_scenario() {
    let scenario = read("37signals");
    let value = |id: &str| {
        scenario.figures().unwrap().into_iter().find(|found| found.figure.id == id).unwrap().figure.value
    };
    assert_eq!(value("annual_saving"), Some(Decimal::from(1_900_000)));
    assert_eq!(value("payback"), Some(Decimal::new(442, 2)));
    assert_eq!(value("net"), Some(Decimal::from(8_800_000)));
}

#[test]
fn sheets_of_a_scenario_have_an_id_for_each_row() {
    for (name, _) in FILES {
        for sheet in read(name).sheets().unwrap() {
            sheet.check().unwrap();
            assert!(sheet.rows.iter().all(|row| !row.why.is_empty()) && !sheet.rows.is_empty(), "{name}");
        }
    }
}

#[test]
fn a_scenario_that_cannot_be_computed_says_why() {
    let mut neither = read("37signals");
    neither.spend = None;
    assert!(
        neither
            .figures()
            .unwrap_err()
            .to_string()
            .contains("expected either [spend] or [own] with [[offer]]")
    );
    let mut nobody = read("bare_metal");
    nobody.expectations[0].offer = Some("nobody".to_owned());
    let error = nobody.findings().unwrap_err().to_string();
    assert!(error.contains("of nobody"), "{error}");
    let mut alone = read("bare_metal");
    alone.offers.clear();
    assert!(alone.figures().unwrap_err().to_string().contains("at least one [[offer]]"));
    let unknown =
        toml::from_str::<Scenario>("title = \"t\"\nclaim = \"c\"\ncurrency = \"USD\"\nutilisation = []\n");
    assert!(unknown.unwrap_err().to_string().contains("unknown field `utilisation`"));
}
