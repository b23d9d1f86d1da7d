//! Instants, periods and durations as people type them.

use super::Failure;
use gpuledger_ledger::{HOUR_MS, Hour, HourRange};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// A moment as typed: a day still needs a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Midnight(Date),
    Instant(Timestamp),
}

impl Moment {
    /// The instant in a time zone. A day that begins within an hour of UTC, as in India, begins with the
    /// hour after it: the ledger's rows are whole hours, and statements cut months there.
    pub fn at(self, zone: &TimeZone) -> Result<Timestamp, Failure> {
        match self {
            Self::Instant(time) => Ok(time),
            Self::Midnight(date) => date
                .to_zoned(zone.clone())
                .and_then(|midnight| {
                    let up = TimestampRound::new().smallest(Unit::Hour).mode(RoundMode::Ceil);
                    midnight.timestamp().round(up)
                })
                .map_err(|error| Failure::Usage(format!("{date} is out of range: {error}"))),
        }
    }
}

/// Parses `2026-10`, `2026-10-01` or RFC 3339.
pub fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Moment::Instant(time));
    }
    let date = if text.len() == 7 { format!("{text}-01") } else { text.to_owned() };
    let date = date.parse::<Date>().ok().filter(|_| date.len() == 10);
    date.map(Moment::Midnight)
        .ok_or_else(|| "expected a date such as 2026-10-01 or a time such as 2026-10-01T00:00:00Z".to_owned())
}

/// Parses `500ms`, `60s`, `5m`, `1h` into milliseconds.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let expected = || "expected a duration such as 500ms, 60s, 5m or 1h".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| expected())?;
    u64::try_from(duration.as_millis()).map_err(|_| expected())
}

/// A checked period on the ledger's grid of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Period {
    /// Refuses a period that is empty or lies before 1970.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, Failure> {
        if from >= to {
            return Err(Failure::Usage(format!(
                "--from {from} is not before --to {to}; --to is the first instant after the period"
            )));
        }
        if from.as_millisecond() < 0 {
            return Err(Failure::Usage(format!(
                "--from {from} lies before 1970: the ledger holds nothing there"
            )));
        }
        Ok(Self { from, to })
    }

    /// The hours that the period touches: the ledger's rows are whole hours.
    pub fn hours(self) -> HourRange {
        let from = u64::try_from(self.from.as_millisecond()).unwrap_or(0);
        let to = u64::try_from(self.to.as_millisecond()).unwrap_or(0);
        HourRange { from: Hour::of(from), to: Hour::of(to.saturating_add(HOUR_MS - 1)) }
    }

    /// True where the period begins and ends on full hours.
    pub fn is_whole_hours(self) -> bool {
        let whole = |time: Timestamp| {
            time.as_millisecond().rem_euclid(3_600_000) == 0 && time.subsec_nanosecond() == 0
        };
        whole(self.from) && whole(self.to)
    }
}

/// The instant at which an hour begins.
pub fn start_of(hour: Hour) -> Timestamp {
    let ms = i64::try_from(hour.start_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_a_date_and_an_instant_mean_the_same_moment() {
        let at = |text: &str, zone: &TimeZone| moment(text).unwrap().at(zone).unwrap().to_string();
        for text in ["2026-10", "2026-10-01", "2026-10-01T00:00:00Z", "2026-10-01T02:00:00+02:00"] {
            assert_eq!(at(text, &TimeZone::UTC), "2026-10-01T00:00:00Z", "{text}");
        }
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(at("2026-10-01", &east), "2026-09-30T22:00:00Z", "a day begins where the site is");
        assert_eq!(at("2026-10-01T00:00:00Z", &east), "2026-10-01T00:00:00Z");
        for bad in ["2026", "2026-13-01", "2026-10-1", "october", "2026-10-01T00:00:00", ""] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_month_that_begins_within_an_hour_of_utc_begins_with_the_next() {
        let india = TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).unwrap());
        let at = |text: &str| moment(text).unwrap().at(&india).unwrap().to_string();
        assert_eq!(at("2026-10"), "2026-09-30T19:00:00Z");
        assert_eq!(at("2026-09-30T18:30:00Z"), "2026-09-30T18:30:00Z", "an instant is what it says");
    }

    #[test]
    fn durations_need_a_unit_and_are_not_negative() {
        for (text, ms) in [("500ms", 500), ("60s", 60_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(duration_ms(text), Ok(ms));
        }
        for bad in ["60", "-5s", "1 fortnight", ""] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_period_within_an_hour_touches_that_hour() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let part = Period::new(time("2024-05-17T15:10:00Z"), time("2024-05-17T16:20:00Z")).unwrap();
        assert_eq!(part.hours().to.0 - part.hours().from.0, 2);
        assert!(!part.is_whole_hours());
        let whole = Period::new(time("2024-05-17T15:00:00Z"), time("2024-05-17T16:00:00Z")).unwrap();
        assert_eq!(whole.hours().to.0 - whole.hours().from.0, 1);
        assert!(whole.is_whole_hours());
    }

    #[test]
    fn an_empty_or_reversed_period_is_refused() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (a, b) = (time("2024-05-17T15:00:00Z"), time("2024-05-17T16:00:00Z"));
        assert!(Period::new(b, a).is_err());
        assert!(Period::new(a, a).is_err());
    }
}
