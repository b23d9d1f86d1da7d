//! Electricity prices by season, weekday, holiday and hour of the day, in the site's time zone.
//!
//! A band holds on its days from its first hour to its last; every hour of every kind of day of every
//! season has exactly one band, which [`TimeOfUse::check`] makes sure of. The ledger's grid is the UTC
//! hour: it takes the band of the local hour in which it begins, which only matters in zones that are
//! half an hour off. On the day of a clock change an hour is there twice, or not at all, and each hour
//! that is there is priced by its local time.

use crate::calendar::UtcHour;
use crate::error::TcoError;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// Days of the week and holidays on which something holds. A holiday is no weekday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// Monday first.
    pub weekdays: [bool; 7],
    pub holidays: bool,
}

impl Days {
    pub const ALL: Self = Self { weekdays: [true; 7], holidays: true };
    /// Monday to Friday, but no holiday.
    pub const WORKING: Self =
        Self { weekdays: [true, true, true, true, true, false, false], holidays: false };
    /// Saturday, Sunday and holidays.
    pub const OFF: Self = Self { weekdays: [false, false, false, false, false, true, true], holidays: true };

    fn has(self, day: Date, holidays: &[Date]) -> bool {
        if holidays.binary_search(&day).is_ok() { self.holidays } else { self.on(day.weekday()) }
    }

    fn on(self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).ok().and_then(|day| self.weekdays.get(day))
            == Some(&true)
    }
}

/// Part of the year, by month and day; both ends are in it, and it may go over New Year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Season {
    pub name: String,
    pub from: (i8, i8),
    pub to: (i8, i8),
}

impl Season {
    fn has(&self, day: (i8, i8)) -> bool {
        if self.from <= self.to {
            (self.from..=self.to).contains(&day)
        } else {
            day >= self.from || day <= self.to
        }
    }
}

/// Hours of some days: from the start of `from_hour` to the start of `to_hour`, which may be 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub days: Days,
    pub from_hour: i8,
    pub to_hour: i8,
}

impl Window {
    pub const ALWAYS: Self = Self { days: Days::ALL, from_hour: 0, to_hour: 24 };

    fn has_hour(&self, hour: i8) -> bool {
        (self.from_hour..self.to_hour).contains(&hour)
    }

    /// Whether an hour lies in it.
    pub fn has(&self, hour: UtcHour, zone: &TimeZone, holidays: &[Date]) -> bool {
        let local = hour.start().to_zoned(zone.clone());
        self.days.has(local.date(), holidays) && self.has_hour(local.hour())
    }
}

/// One price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// "peak".
    pub name: String,
    /// `None` in every season.
    pub season: Option<String>,
    pub window: Window,
    pub per_kwh: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOfUse {
    pub zone: TimeZone,
    /// None at all is one season, the year.
    pub seasons: Vec<Season>,
    /// In order.
    pub holidays: Vec<Date>,
    pub bands: Vec<Band>,
    pub source: String,
}

impl TimeOfUse {
    /// The band of an hour.
    pub fn band(&self, hour: UtcHour) -> Option<&Band> {
        let local = hour.start().to_zoned(self.zone.clone());
        let (day, of_day) = (local.date(), local.hour());
        let season = self.seasons.iter().find(|season| season.has((day.month(), day.day())));
        self.bands.iter().find(|band| {
            let in_season =
                band.season.is_none() || band.season.as_deref() == season.map(|s| s.name.as_str());
            in_season && band.window.days.has(day, &self.holidays) && band.window.has_hour(of_day)
        })
    }

    pub fn at(&self, hour: UtcHour) -> Option<Decimal> {
        self.band(hour).map(|band| band.per_kwh)
    }

    /// Refuses days without a season or with two, and hours without a band or with two, by name.
    pub fn check(&self) -> Result<(), TcoError> {
        self.check_seasons()?;
        if self.holidays.windows(2).any(|pair| matches!(pair, [a, b] if a >= b)) {
            return self.wrong("holidays", "out of order", "dates in order, each once");
        }
        for band in &self.bands {
            let Window { from_hour, to_hour, .. } = band.window;
            if !(0..24).contains(&from_hour) || to_hour <= from_hour || to_hour > 24 {
                let given = format!("{from_hour} to {to_hour}");
                return self.wrong(
                    &format!("hours of band {}", band.name),
                    &given,
                    "0 to 24, the end after the start; a night is two bands",
                );
            }
            if let Some(season) = &band.season
                && !self.seasons.iter().any(|known| known.name == *season)
            {
                return self.wrong(
                    &format!("season of band {}", band.name),
                    season,
                    "the name of a season of the tariff",
                );
            }
        }
        let names: Vec<Option<&str>> = if self.seasons.is_empty() {
            vec![None]
        } else {
            self.seasons.iter().map(|s| Some(s.name.as_str())).collect()
        };
        names.into_iter().try_for_each(|season| self.check_bands(season))
    }

    fn check_seasons(&self) -> Result<(), TcoError> {
        if self.seasons.is_empty() {
            return Ok(());
        }
        // A leap year has every day that any year has.
        let mut day = jiff::civil::date(2024, 1, 1);
        while day.year() == 2024 {
            let of: Vec<&str> = self
                .seasons
                .iter()
                .filter(|s| s.has((day.month(), day.day())))
                .map(|s| s.name.as_str())
                .collect();
            if of.len() != 1 {
                let given = if of.is_empty() {
                    "in no season".to_owned()
                } else {
                    format!("in {}", of.join(" and "))
                };
                return self.wrong(
                    &format!("{:02}-{:02}", day.month(), day.day()),
                    &given,
                    "exactly one season for each day of the year",
                );
            }
            day = day.tomorrow().map_err(|_| TcoError::Overflow("a day"))?;
        }
        Ok(())
    }

    fn check_bands(&self, season: Option<&str>) -> Result<(), TcoError> {
        const NAMES: [&str; 8] =
            ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "holiday"];
        for (kind, name) in NAMES.iter().enumerate() {
            for hour in 0..24 {
                let holds = |band: &&Band| {
                    let days = band.window.days;
                    let on = days.weekdays.get(kind).copied().unwrap_or(days.holidays);
                    (band.season.is_none() || band.season.as_deref() == season)
                        && on
                        && band.window.has_hour(hour)
                };
                let of: Vec<&str> = self.bands.iter().filter(holds).map(|band| band.name.as_str()).collect();
                if of.len() != 1 {
                    let place = format!(
                        "{hour:02}:00 of a {name}{}",
                        season.map(|s| format!(" in {s}")).unwrap_or_default()
                    );
                    let given = if of.is_empty() {
                        "without a price".to_owned()
                    } else {
                        format!("priced by {}", of.join(" and "))
                    };
                    return self.wrong(&place, &given, "exactly one band for each hour of each kind of day");
                }
            }
        }
        Ok(())
    }

    fn wrong<T>(&self, what: &str, given: &str, expected: &'static str) -> Result<T, TcoError> {
        let what = format!("{what} ({})", self.source);
        Err(TcoError::Invalid { what, given: given.to_owned(), expected })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use jiff::civil::date;

    fn band(name: &str, season: Option<&str>, days: Days, hours: (i8, i8), cents: i64) -> Band {
        let window = Window { days, from_hour: hours.0, to_hour: hours.1 };
        Band {
            name: name.to_owned(),
            season: season.map(str::to_owned),
            window,
            per_kwh: Decimal::new(cents, 2),
        }
    }

    /// Peak from 16 to 20 of working days, dearer in summer.
    pub(crate) fn tariff(zone: &str) -> TimeOfUse {
        let season = |name: &str, from, to| Season { name: name.to_owned(), from, to };
        TimeOfUse {
            zone: TimeZone::get(zone).unwrap(),
            seasons: vec![season("summer", (6, 1), (9, 30)), season("winter", (10, 1), (5, 31))],
            holidays: vec![date(2024, 7, 4)],
            bands: vec![
                band("night", None, Days::WORKING, (0, 16), 7),
                band("summer peak", Some("summer"), Days::WORKING, (16, 20), 30),
                band("winter peak", Some("winter"), Days::WORKING, (16, 20), 18),
                band("evening", None, Days::WORKING, (20, 24), 7),
                band("off", None, Days::OFF, (0, 24), 5),
            ],
            source: "tariff.toml".to_owned(),
        }
    }

    fn price(tariff: &TimeOfUse, at: &str) -> String {
        let ms = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        tariff.band(UtcHour(u32::try_from(ms / 3_600_000).unwrap())).unwrap().name.clone()
    }

    #[test]
    fn hours_are_priced_by_local_season_weekday_and_holiday() {
        let of = tariff("America/Los_Angeles");
        of.check().unwrap();
        assert_eq!(price(&of, "2024-07-03T23:00:00Z"), "summer peak", "16:00 on a Wednesday");
        assert_eq!(price(&of, "2024-07-04T23:00:00Z"), "off", "a holiday");
        assert_eq!(price(&of, "2024-07-06T23:00:00Z"), "off", "a Saturday");
        assert_eq!(price(&of, "2024-12-04T00:00:00Z"), "winter peak", "16:00 in winter is a UTC hour later");
        assert_eq!(price(&of, "2024-12-03T23:00:00Z"), "night");
    }

    #[test]
    fn both_hours_of_an_october_night_and_the_missing_one_of_march_have_their_price() {
        let berlin = tariff("Europe/Berlin");
        let hours = |day: &str| -> Vec<String> {
            let start = format!("{day}T00:00[Europe/Berlin]").parse::<jiff::Zoned>();
            let start = start.unwrap_or_else(|_| {
                date(2024, 10, 27).to_zoned(TimeZone::get("Europe/Berlin").unwrap()).unwrap()
            });
            let next = start.tomorrow().unwrap();
            let (from, to) = (start.timestamp().as_second() / 3600, next.timestamp().as_second() / 3600);
            (from..to)
                .map(|hour| berlin.band(UtcHour(u32::try_from(hour).unwrap())).unwrap().name.clone())
                .collect()
        };
        assert_eq!(hours("2024-10-27").len(), 25);
        assert_eq!(hours("2024-03-31").len(), 23);
        // On Monday after the change the peak is again from 16 to 20 local time.
        assert_eq!(hours("2024-10-28").iter().position(|name| name == "winter peak"), Some(16));
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let says = |edit: fn(&mut TimeOfUse)| {
            let mut tariff = tariff("Europe/Berlin");
            edit(&mut tariff);
            tariff.check().unwrap_err().to_string()
        };
        let gap = says(|t| drop(t.bands.remove(3)));
        assert_eq!(
            gap,
            "20:00 of a Monday in summer (tariff.toml) is without a price: expected exactly one band for each hour of each kind of day"
        );
        assert!(
            says(|t| t.bands[0].window.to_hour = 17)
                .contains("16:00 of a Monday in summer (tariff.toml) is priced by night and summer peak")
        );
        assert!(says(|t| t.bands[4].window.days.holidays = false).contains("00:00 of a holiday in summer"));
        assert!(says(|t| t.seasons[0].to = (9, 29)).contains("09-30 (tariff.toml) is in no season"));
        assert!(says(|t| t.seasons[0].to = (10, 1)).contains("10-01 (tariff.toml) is in summer and winter"));
        assert!(
            says(|t| t.bands[1].season = Some("autumn".to_owned())).contains("season of band summer peak")
        );
        assert!(says(|t| t.bands[0].window.from_hour = 16).contains("hours of band night"));
    }
}
