//! Time as money sees it: UTC hours, calendar months of a time zone, and the cuts between them.
//!
//! The ledger's grid is the UTC hour, so a cut (start of a month, a price change) that falls within
//! an hour is moved to the next full hour: the hour belongs to the side in which it began. This only
//! concerns zones that are half an hour off.

use crate::error::TcoError;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt;

pub const HOUR_MS: i64 = 3_600_000;

/// Longest period of a statement: 50 years.
pub const PERIOD_HOURS_MAX: u32 = 50 * 366 * 24;

/// Hours since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcHour(pub u32);

impl UtcHour {
    pub fn start_ms(self) -> i64 {
        i64::from(self.0).saturating_mul(HOUR_MS)
    }

    pub fn start(self) -> Timestamp {
        Timestamp::from_millisecond(self.start_ms()).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for UtcHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.start().fmt(f)
    }
}

/// A half-open range of whole UTC hours: `from` is in it, `to` is not. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: UtcHour,
    to: UtcHour,
}

impl Period {
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, TcoError> {
        let period = Self { from: full_hour("start", from)?, to: full_hour("end", to)? };
        if period.from >= period.to {
            return Err(invalid("end of the period", to.to_string(), "a time after its start"));
        }
        if period.hours() > PERIOD_HOURS_MAX {
            return Err(invalid(
                "length of the period",
                format!("{} hours", period.hours()),
                "at most 50 years",
            ));
        }
        Ok(period)
    }

    pub fn from(self) -> UtcHour {
        self.from
    }

    pub fn to(self) -> UtcHour {
        self.to
    }

    pub fn hours(self) -> u32 {
        self.to.0.saturating_sub(self.from.0)
    }
}

fn full_hour(what: &str, at: Timestamp) -> Result<UtcHour, TcoError> {
    let ms = at.as_millisecond();
    let whole = ms.checked_rem(HOUR_MS) == Some(0) && at.subsec_nanosecond() == 0;
    let hour = ms.checked_div(HOUR_MS).and_then(|hour| u32::try_from(hour).ok());
    match hour {
        Some(hour) if whole => Ok(UtcHour(hour)),
        _ => Err(invalid(&format!("{what} of the period"), at.to_string(), "a full UTC hour from 1970 on")),
    }
}

fn invalid(what: &str, given: String, expected: &'static str) -> TcoError {
    TcoError::Invalid { what: what.to_owned(), given, expected }
}

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

impl Month {
    pub fn of(date: Date) -> Self {
        Self { year: date.year(), month: date.month() }
    }

    /// Months since year zero; differences of it count months.
    pub fn index(self) -> i32 {
        i32::from(self.year).saturating_mul(12).saturating_add(i32::from(self.month)).saturating_sub(1)
    }

    fn from_index(index: i32) -> Result<Self, TcoError> {
        let year = i16::try_from(index.div_euclid(12)).ok();
        let month = i8::try_from(index.rem_euclid(12).saturating_add(1)).ok();
        match (year, month) {
            (Some(year), Some(month)) => Ok(Self { year, month }),
            _ => Err(TcoError::Overflow("a calendar month")),
        }
    }

    pub fn plus(self, months: i32) -> Result<Self, TcoError> {
        Self::from_index(self.index().saturating_add(months))
    }

    pub fn first_day(self) -> Result<Date, TcoError> {
        Date::new(self.year, self.month, 1).map_err(|_| TcoError::Overflow("a calendar month"))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// The part of a period that lies in one calendar month and, where asked for, in one price regime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Position in the list of months.
    pub month: usize,
    pub from: UtcHour,
    pub to: UtcHour,
}

/// Calendar of the statement: which zone its days and months are days and months of.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
}

impl Calendar {
    pub fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    pub fn utc() -> Self {
        Self::new(TimeZone::UTC)
    }

    /// Name of the zone, for notes.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The day that an instant lies in.
    pub fn date(&self, ms: i64) -> Date {
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone()).date()
    }

    /// First instant of a day. A midnight that a clock change skips begins when the clock goes on.
    pub fn day_start_ms(&self, date: Date) -> Result<i64, TcoError> {
        let zoned = date.to_zoned(self.zone.clone()).map_err(|_| TcoError::Overflow("a calendar day"))?;
        Ok(zoned.timestamp().as_millisecond())
    }

    pub fn month_start_ms(&self, month: Month) -> Result<i64, TcoError> {
        self.day_start_ms(month.first_day()?)
    }

    pub fn month_ms(&self, month: Month) -> Result<i64, TcoError> {
        let (from, to) = (self.month_start_ms(month)?, self.month_start_ms(month.plus(1)?)?);
        Ok(to.saturating_sub(from))
    }

    /// Hour from which a day counts: the first full one that begins in it.
    fn day_hour(&self, date: Date) -> Result<UtcHour, TcoError> {
        let ms = self.day_start_ms(date)?;
        let up = ms.checked_add(HOUR_MS - 1).and_then(|ms| ms.checked_div(HOUR_MS));
        up.and_then(|hour| u32::try_from(hour).ok()).map(UtcHour).ok_or(TcoError::Overflow("a calendar day"))
    }

    /// Cuts a period at the starts of months and of the given days. The months are listed once each,
    /// in order; every segment lies in one of them.
    pub fn segments(&self, period: Period, cuts: &[Date]) -> Result<(Vec<Month>, Vec<Segment>), TcoError> {
        // A period that starts within the hour a month starts in belongs to the month before it.
        let mut month = Month::of(self.date(period.from().start_ms()));
        if self.day_hour(month.first_day()?)? > period.from() {
            month = month.plus(-1)?;
        }
        let mut hours: Vec<UtcHour> = cuts.iter().map(|&day| self.day_hour(day)).collect::<Result<_, _>>()?;
        hours.sort_unstable();
        hours.dedup();
        let (mut months, mut segments) = (Vec::new(), Vec::new());
        let mut from = period.from();
        while from < period.to() {
            let next = month.plus(1)?;
            let end = self.day_hour(next.first_day()?)?.min(period.to());
            for cut in hours.iter().copied().filter(|&cut| cut < end).chain([end]) {
                if cut > from {
                    segments.push(Segment { month: months.len(), from, to: cut });
                    from = cut;
                }
            }
            months.push(month);
            month = next;
        }
        Ok((months, segments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn period(from: &str, to: &str) -> Period {
        Period::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_period_is_whole_hours_and_never_empty() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(period("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z").hours(), 29 * 24);
        assert!(Period::new(at("2024-02-01T00:30:00Z"), at("2024-03-01T00:00:00Z")).is_err());
        assert!(Period::new(at("2024-02-01T00:00:00Z"), at("2024-02-01T00:00:00Z")).is_err());
        assert!(Period::new(at("2024-02-01T00:00:00Z"), at("2094-02-01T00:00:00Z")).is_err());
        assert!(Period::new(at("1960-02-01T00:00:00Z"), at("1970-02-01T00:00:00Z")).is_err());
    }

    #[test]
    fn segments_cover_the_period_once_and_cut_at_months_and_days() {
        let whole = period("2024-01-15T06:00:00Z", "2024-03-02T00:00:00Z");
        let (months, segments) = Calendar::utc()
            .segments(whole, &[date(2024, 2, 10), date(2024, 2, 1), date(2023, 1, 1)])
            .unwrap();
        let names: Vec<String> = months.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["2024-01", "2024-02", "2024-03"]);
        assert_eq!(segments.iter().map(|s| s.month).collect::<Vec<_>>(), [0, 1, 1, 2]);
        assert_eq!(segments[0].from, whole.from());
        assert_eq!(segments.last().unwrap().to, whole.to());
        assert!(segments.windows(2).all(|pair| pair[0].to == pair[1].from));
    }

    #[test]
    fn a_month_of_a_clock_change_has_its_real_length() {
        let berlin = Calendar::new(TimeZone::get("Europe/Berlin").unwrap());
        let march = Month { year: 2024, month: 3 };
        assert_eq!(berlin.month_ms(march).unwrap(), (31 * 24 - 1) * HOUR_MS);
        assert_eq!(berlin.month_ms(march.plus(7).unwrap()).unwrap(), (31 * 24 + 1) * HOUR_MS);
    }

    #[test]
    fn months_of_a_half_hour_zone_begin_at_the_next_full_hour() {
        let india = Calendar::new(TimeZone::get("Asia/Kolkata").unwrap());
        let whole = period("2024-01-31T17:00:00Z", "2024-01-31T21:00:00Z");
        let (months, segments) = india.segments(whole, &[]).unwrap();
        assert_eq!(months.len(), 2);
        assert_eq!(segments[1].from.to_string(), "2024-01-31T19:00:00Z");
        let inside = period("2024-01-31T18:00:00Z", "2024-01-31T19:00:00Z");
        assert_eq!(india.segments(inside, &[]).unwrap().0[0].to_string(), "2024-01");
    }
}
