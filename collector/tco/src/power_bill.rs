//! Parts of an electricity bill: energy by price, and demand with its interval and ratchet.
//!
//! Bill = Σ kWh·price + billed demand·price a kW. Source: the usual terms of tariffs with demand charges.

use crate::decimal::{add, div, mul};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, named, refuse};
use rust_decimal::Decimal;

/// Months before this one that a ratchet looks back on.
pub const RATCHET_MONTHS: usize = 11;

/// Energy of the facility: IT energy·PUE. Range: energy zero or more, PUE at least 1.
pub fn facility_kwh(it_kwh: Decimal, pue: Decimal) -> Result<Decimal, TcoError> {
    check_not_negative("facility_kwh", "it_kwh", it_kwh)?;
    if pue < Decimal::ONE {
        return refuse("facility_kwh", "pue", &pue, "1 or more");
    }
    named(mul(it_kwh, pue), "the energy")
}

/// Cost of energy: Σ kWh·price a kWh. Prices may be negative. Range: no energy negative.
pub fn energy_cost(parts: &[(Decimal, Decimal)]) -> Result<Decimal, TcoError> {
    parts.iter().try_fold(Decimal::ZERO, |cost, &(kwh, price)| {
        check_not_negative("energy_cost", "kwh", kwh)?;
        named(mul(kwh, price).and_then(|part| add(cost, part)), "the energy cost")
    })
}

/// Demand: the highest mean power of an interval, in kW, from the energy of each interval in kWh.
///
/// Range: at least one interval, none negative; `interval_hours` above zero (0.25 for a quarter).
pub fn peak_kw(interval_kwh: &[Decimal], interval_hours: Decimal) -> Result<Decimal, TcoError> {
    check_positive("peak_kw", "interval_hours", interval_hours)?;
    for &kwh in interval_kwh {
        check_not_negative("peak_kw", "interval_kwh", kwh)?;
    }
    match interval_kwh.iter().max() {
        Some(&highest) => named(div(highest, interval_hours, "energy"), "the demand"),
        None => refuse("peak_kw", "number of intervals", &0, "at least one"),
    }
}

/// Demand that is billed: max(this month's peak, ratchet·highest peak of the eleven months before).
///
/// `earlier` are the peaks of the months before, the latest last; older ones are left out. Range: peaks
/// zero or more, ratchet from 0 (none) to 1.
pub fn billed_demand_kw(peak: Decimal, earlier: &[Decimal], ratchet: Decimal) -> Result<Decimal, TcoError> {
    crate::finance::check_share("billed_demand_kw", "ratchet", ratchet)?;
    check_not_negative("billed_demand_kw", "peak", peak)?;
    let mut billed = peak;
    for &before in earlier.iter().rev().take(RATCHET_MONTHS) {
        check_not_negative("billed_demand_kw", "earlier peak", before)?;
        billed = billed.max(mul(before, ratchet)?);
    }
    Ok(billed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_ratchet_bills_part_of_the_highest_peak_of_eleven_months() {
        let mut earlier = vec![dec("900"), dec("200")];
        earlier.extend(vec![dec("80"); 10]);
        // 900 lies twelve months back.
        assert_eq!(billed_demand_kw(dec("100"), &earlier, dec("0.8")).unwrap(), dec("160"));
        assert_eq!(billed_demand_kw(dec("170"), &earlier, dec("0.8")).unwrap(), dec("170"));
        assert_eq!(billed_demand_kw(dec("100"), &earlier, Decimal::ZERO).unwrap(), dec("100"));
        assert!(billed_demand_kw(dec("100"), &[], dec("1.1")).is_err());
    }

    #[test]
    fn demand_is_the_highest_mean_of_an_interval() {
        assert_eq!(peak_kw(&["30", "37.5", "0"].map(dec), dec("0.25")).unwrap(), dec("150"));
        assert!(peak_kw(&[], dec("0.25")).is_err() && peak_kw(&[dec("1")], Decimal::ZERO).is_err());
    }

    #[test]
    fn negative_prices_lower_the_bill_and_negative_energy_is_refused() {
        let parts = [(dec("100"), dec("0.07")), (dec("50"), dec("-0.02"))];
        assert_eq!(energy_cost(&parts).unwrap(), dec("6"));
        assert!(energy_cost(&[(dec("-1"), dec("0.07"))]).is_err());
        assert_eq!(facility_kwh(dec("80"), dec("1.25")).unwrap(), dec("100"));
        assert!(facility_kwh(dec("80"), dec("0.99")).is_err());
    }
}
