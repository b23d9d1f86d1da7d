//! The formulas that results are computed by, each with an id that stays.
//!
//! A line of a result names its formula; together with its inputs that is the derivation that `--explain`
//! prints.

use serde::{Serialize, Serializer};

/// One formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formula {
    /// `depreciation.straight_line`: family and name.
    pub id: &'static str,
    /// In words and signs: how the inputs make the amount.
    pub text: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

impl Serialize for Formula {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

macro_rules! formulas {
    ($($name:ident $id:literal $text:literal $source:literal;)*) => {
        $(pub const $name: Formula = Formula { id: $id, text: $text, source: $source };)*
        /// All of them, by name.
        pub const ALL: &[Formula] = &[$($name),*];
    };
}

formulas! {
    STRAIGHT_LINE "depreciation.straight_line"
        "(cost − salvage) ÷ life for each month in service, the residue in the last month"
        "straight line; ASC 360, IAS 16";
    SUM_OF_YEARS "depreciation.sum_of_years"
        "(cost − salvage) × 2(n − k + 1) ÷ (n(n + 1)) in year k of n, evenly over its months"
        "sum of the years' digits";
    DECLINING "depreciation.declining"
        "book value × factor ÷ life in each year, or the straight line of what is left where the method switches to it, evenly over its months"
        "declining balance";
    UNITS "depreciation.units_of_production"
        "(cost − salvage) × units ÷ life in units, until cost − salvage is used up"
        "units of production";
    ANEW "depreciation.changed_estimate"
        "(book value − salvage) over what is left of the life, from the change on; closed months stay"
        "prospective change of estimate; ASC 250, IAS 8";
    IMPAIRMENT "book.impairment"
        "what the test wrote off, less what was reversed"
        "ASC 360, IAS 36";
    DISPOSAL "book.disposal"
        "book value − (proceeds − selling cost): a loss is positive, a gain negative"
        "ASC 360, IAS 16";
    CAPITAL_CHARGE "capital.charge"
        "rate × average net book value × years, for each month"
        "cost of capital on the money bound";
    ENERGY "energy.hourly"
        "energy × PUE × price of the hour, for each month"
        "metered energy by the tariff in force";
    ENERGY_PUE_SERIES "energy.hourly_pue_series"
        "energy × PUE of the hour × price of the hour, for each month"
        "metered energy by the tariff in force";
    ENERGY_INCLUDED "energy.included" "energy, included in the colocation price" "contract";
    ENERGY_UNPRICED "energy.unpriced" "energy, without a price: the site has no tariff" "register";
    DEMAND "energy.demand"
        "max(highest mean power of the month, ratchet × highest of the eleven months before) × price a kW × months"
        "tariffs with a demand charge";
    SUPPLY_FIXED "energy.fixed" "monthly amount × months" "tariff";
    ENERGY_TAX "energy.tax" "tax rate × amount taxed, for each month" "tariff";
    COLOCATION "site.colocation" "contracted power × price × months" "contract: owed for the commitment, not the draw";
    COLOCATION_OVERAGE "site.colocation_overage"
        "energy of the facility above what is included × price of overage" "contract";
    OVERHEAD_YEAR "overhead.per_year" "yearly amount × years" "register";
    OVERHEAD_MONTH "overhead.per_month" "monthly amount × months" "register";
    OVERHEAD_GPU "overhead.per_gpu_year" "amount a GPU and year × GPU-hours in service ÷ hours of the year" "register";
    OVERHEAD_COST "overhead.share_of_cost" "share of the purchase cost a year × cost × years" "register";
    SPARES "overhead.spares"
        "failures a GPU and year × cost of one × GPU-hours in service ÷ hours of the year"
        "failure rate; 8760 hours a year, 8784 in leap years";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_formula_has_an_id_of_its_own_and_says_how_and_from_where() {
        let mut ids: Vec<&str> = ALL.iter().map(|formula| formula.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ALL.len());
        for formula in ALL {
            assert!(!formula.text.is_empty() && !formula.source.is_empty(), "{}", formula.id);
            assert!(
                formula.id.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.'),
                "{}",
                formula.id
            );
        }
    }
}
