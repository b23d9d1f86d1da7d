//! Reading the collection, and comparing a result with it: numbers as decimals, without a float between.

use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A result, each number under its place in the expectation: "" for a single one, "2" for the third
/// of a list, "H100.acq" within objects.
pub type Got = BTreeMap<String, Decimal>;

/// One worked case.
pub struct Case {
    pub id: String,
    pub inputs: Value,
    pub expected: Value,
    pub tolerance: Decimal,
}

/// All cases; `None`, and a line that says so, where the collection is absent.
pub fn collection() -> Option<Vec<Case>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/money/golden.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: ../shared/money/golden.json is not there");
        return None;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap().iter().map(|case| Case {
        id: case["id"].as_str().unwrap().to_owned(),
        inputs: case["inputs"].clone(),
        expected: case["expected"].clone(),
        tolerance: number(&case["abs_tolerance"]),
    });
    Some(cases.collect())
}

impl Case {
    /// Compares what a function makes of the inputs of the case with this id.
    pub fn check(id: &str, function: fn(&Value) -> Got) {
        let Some(cases) = collection() else { return };
        let case = cases.iter().find(|case| case.id == id);
        case.unwrap_or_else(|| panic!("{id} is not in the collection")).compare(function);
    }

    pub fn compare(&self, function: fn(&Value) -> Got) {
        let got = function(&self.inputs);
        let mut expected = Got::new();
        flatten(&self.expected, String::new(), &mut expected);
        let places = |of: &Got| of.keys().cloned().collect::<Vec<_>>();
        assert_eq!(places(&got), places(&expected), "{}: other results than expected", self.id);
        for (place, expected) in &expected {
            let got = got[place];
            let off = (got - expected).abs();
            assert!(
                off <= self.tolerance,
                "{} {place}: {got}, expected {expected} ± {}",
                self.id,
                self.tolerance
            );
        }
    }
}

fn flatten(value: &Value, place: String, into: &mut Got) {
    let under = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(k, value)| flatten(value, under(&k.to_string()), into));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| flatten(value, under(key), into)),
        Value::Bool(truth) => drop(into.insert(place, Decimal::from(u8::from(*truth)))),
        other => drop(into.insert(place, number(other))),
    }
}

/// A number as it is written.
pub fn number(value: &Value) -> Decimal {
    let text = value.to_string();
    text.parse()
        .or_else(|_| Decimal::from_scientific(&text))
        .unwrap_or_else(|_| panic!("{text} is no number"))
}

/// A number that may be left out.
pub fn number_or(value: &Value, default: i64) -> Decimal {
    if value.is_null() { Decimal::from(default) } else { number(value) }
}

pub fn numbers(value: &Value) -> Vec<Decimal> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(number).collect()
}

/// A single number.
pub fn one(number: Decimal) -> Got {
    Got::from([(String::new(), number)])
}

pub fn list(numbers: impl IntoIterator<Item = Decimal>) -> Got {
    numbers.into_iter().enumerate().map(|(k, number)| (k.to_string(), number)).collect()
}

pub fn named<const N: usize>(numbers: [(&str, Decimal); N]) -> Got {
    numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
}
