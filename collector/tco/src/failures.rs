//! Failure rates, for spares and for what interruptions cost.

use crate::decimal::{div, mul};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_positive, named};
use rust_decimal::Decimal;

/// Hours of a year of 365 days.
const HOURS_PER_YEAR: Decimal = Decimal::from_parts(8_760, 0, 0, false, 0);

/// Mean hours between events: hours/events. Range: hours zero or more, events above zero.
pub fn hours_between(events: Decimal, hours: Decimal) -> Result<Decimal, TcoError> {
    check_positive("hours_between", "events", events)?;
    check_not_negative("hours_between", "hours", hours)?;
    named(div(hours, events, "hours"), "the hours between events")
}

/// Events a device and year of 8760 hours: events·8760/device-hours; 0.09 is nine in a hundred a year.
/// Range: events zero or more, device-hours above zero.
pub fn yearly_rate(events: Decimal, device_hours: Decimal) -> Result<Decimal, TcoError> {
    check_not_negative("yearly_rate", "events", events)?;
    check_positive("yearly_rate", "device_hours", device_hours)?;
    let rate = mul(events, HOURS_PER_YEAR).and_then(|events| div(events, device_hours, "events"));
    named(rate, "the yearly rate")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3: 419 unexpected interruptions in 54 days, 220 of them of GPUs and their memory, of 16,384.
    #[test]
    fn a_large_training_run_is_interrupted_every_three_hours() {
        let hours = Decimal::from(54 * 24);
        let between = hours_between(Decimal::from(419), hours).unwrap();
        assert_eq!(between.round_dp(3), Decimal::new(3_093, 3));
        let rate = yearly_rate(Decimal::from(220), hours * Decimal::from(16_384)).unwrap();
        assert_eq!(rate.round_dp(4), Decimal::new(908, 4));
    }

    #[test]
    fn without_events_or_hours_there_is_no_rate() {
        assert!(hours_between(Decimal::ZERO, Decimal::ONE).unwrap_err().to_string().starts_with("events of"));
        assert!(
            yearly_rate(Decimal::ONE, Decimal::ZERO).unwrap_err().to_string().starts_with("device_hours of")
        );
    }
}
