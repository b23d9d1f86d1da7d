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
    MACRS "books.macrs" "basis × percentage of the year, bonus first, evenly over the months in service" "IRS Publication 946; not tax advice";
    ECONOMIC "books.economic" "Σ (use × hours × rent − cash cost) ÷ (1 + r)^j + resale ÷ (1 + r)^n" "rents to come and resale";
    STRANDED "books.stranded" "book value − economic value, where that is more than zero" "books side by side";
    LIFE "books.what_if_life" "the method of each asset with this life from its first day, events left out" "what-if";
    SUM "books.sum" "sum of the column over all assets" "books";
    SHOWBACK "showback.row" "share of each cost by its key, held idle time apart by time, rounded by largest remainder" "allocation";
    CONCENTRATION "showback.concentration" "share of each owner in what all owners pay; HHI = Σ share²" "Herfindahl–Hirschman index";
    STATES "time.states" "hours of the state ÷ hours in service" "ledger and register";
    CONDITION "assets.condition" "sums over the rows of the GPU" "ledger";
    OWN_CASH "decide.own_cash" "fixed costs + GPUs × hours × (use × kW + (1 − use) × idle kW) × PUE × price a kWh" "cash cost of a year of owning";
    RENT_YEAR "decide.rent_year" "paid hours × price × (1 + trend)^(k − 1) × (1 + support) + 12 × (egress + storage)" "rent of year k";
    PAID_HOURS "decide.paid_hours" "useful hours ÷ (throughput × goodput × (1 − idle share))" "hours that must be paid for the same work";
    SAME_CAPACITY "decide.same_capacity" "GPUs × hours of the year ÷ throughput × price × (1 + support) + 12 × (egress + storage)" "rent of the capacity that is owned";
    BREAK_EVEN "decide.break_even" "F ÷ (N × 8760 × (p − v)): fixed cost of a year, GPUs, rent and variable cost of a useful hour" "above it owning is cheaper; above 1 renting always is";
    PAYBACK "decide.payback" "purchase ÷ (rent − own cash cost), in months" "cash against cash: depreciation is no part of it";
    NPV_OWN "decide.npv_own" "−C + Σ(−cash(1 − t) + tax depreciation × t) ÷ (1 + r)^k + (S − t(S − tax basis)) ÷ (1 + r)^n" "after tax, at the end of each year";
    NPV_RENT "decide.npv_rent" "−Σ rent(1 − t) ÷ (1 + r)^k" "after tax, at the end of each year";
    ADVANTAGE "decide.advantage" "present value of owning − present value of renting" "positive: owning is better";
    IRR "decide.irr" "the rate at which what owning saves is worth its purchase" "every root is told where there are several";
    LEVELISED "decide.levelised" "Σ costₜ ÷ (1 + r)^t ÷ Σ useful hoursₜ ÷ (1 + r)^t, the residual as a negative cost" "levelised cost of a useful GPU-hour";
    SAVING "decide.saving" "1 − levelised cost of owning ÷ levelised cost of renting" "same work";
    SPEND_SAVING "scenario.saving" "spending before − spending after" "as told";
    SPEND_NET "scenario.net" "saving × years − investment, and the same of what comes later" "as told";
    EXPECTED "scenario.expected" "holds where the figure is at least, and at most, what is expected of it" "the scenario file";
    SPLIT "decide.split" "own the n-th GPU where its hours of use a year exceed F ÷ (p − v); rent the hours above" "load duration curve";
    MARKET "decide.market" "free hours × price of the day × (1 − fee) × sold share − energy of those hours" "what free time would have earned";
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
