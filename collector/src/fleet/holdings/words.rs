//! Keys of an asset and the words of their values, for reading and for writing. They are the same in
//! `[[asset]]`, `[[asset.component]]`, CSV files and the ledger.

use super::Tax;
use gpuledger_tco::books::{BookMethod, Property, Unit};
use gpuledger_tco::depreciation::Convention;
use gpuledger_tco::finance::When;
use rust_decimal::Decimal;

/// Of the whole item. In a CSV file all lines of a serial say the same, or nothing.
pub const ITEM: [&str; 13] = [
    "serial",
    "node",
    "site",
    "model",
    "currency",
    "purchased",
    "financing",
    "principal",
    "payment_per_month",
    "payment_due",
    "interest_rate",
    "term_months",
    "first_month",
];

/// Of a component. Those that an item with components gives itself hold for components that don't.
pub const COMPONENT: [&str; 18] = [
    "gpus",
    "cost",
    "salvage",
    "life_months",
    "life_years",
    "in_service",
    "method",
    "declining_factor",
    "switch_to_straight_line",
    "unit",
    "life_units",
    "convention",
    "tax_class",
    "tax_life_years",
    "bonus",
    "disposed",
    "proceeds",
    "selling_cost",
];

/// How cost − salvage is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    StraightLine,
    SumOfYears,
    Declining,
    DoubleDeclining,
    Units,
}

pub const METHODS: [(&str, Method); 5] = [
    ("straight_line", Method::StraightLine),
    ("sum_of_years_digits", Method::SumOfYears),
    ("declining_balance", Method::Declining),
    ("double_declining_balance", Method::DoubleDeclining),
    ("units_of_production", Method::Units),
];

impl Method {
    pub fn of(method: &BookMethod) -> Self {
        match method {
            BookMethod::StraightLine => Self::StraightLine,
            BookMethod::SumOfYears => Self::SumOfYears,
            BookMethod::Declining { factor, switch: true } if *factor == Decimal::TWO => {
                Self::DoubleDeclining
            }
            BookMethod::Declining { .. } => Self::Declining,
            BookMethod::Units(_) => Self::Units,
        }
    }
}

pub const CONVENTIONS: [(&str, Convention); 5] = [
    ("actual_days", Convention::ActualDays),
    ("full_month", Convention::FullMonth),
    ("mid_month", Convention::MidMonth),
    ("half_year", Convention::HalfYear),
    ("mid_quarter", Convention::MidQuarter),
];

pub const UNITS: [(&str, Unit); 2] = [("gpu_hours", Unit::GpuHours), ("kwh", Unit::Kwh)];

/// Years that buildings are recovered over where nothing else is said.
const BUILDING_YEARS: u32 = 39;

pub const TAX_CLASSES: [(&str, Property); 4] = [
    ("macrs_3", Property::Macrs { years: 3 }),
    ("macrs_5", Property::Macrs { years: 5 }),
    ("macrs_7", Property::Macrs { years: 7 }),
    ("real_property", Property::MidMonth { years: BUILDING_YEARS }),
];

impl Tax {
    /// The word of its class, and its years where the class leaves them open.
    pub(super) fn class(&self) -> (&'static str, Option<u32>) {
        match self.property {
            Property::Macrs { .. } => (word(&TAX_CLASSES, &self.property), None),
            Property::MidMonth { years } => ("real_property", Some(years)),
        }
    }
}

/// Which payments an item needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paid {
    Cash,
    Loan,
    Lease,
}

pub const FINANCING: [(&str, Paid); 3] = [("cash", Paid::Cash), ("loan", Paid::Loan), ("lease", Paid::Lease)];

pub const DUE: [(&str, When); 2] = [("end", When::End), ("start", When::Begin)];

/// The word of a value; of what has none, nothing.
pub fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, of)| of == value).map_or("", |(word, _)| word)
}
