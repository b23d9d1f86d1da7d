//! Days and hours on which a price or a demand holds: `days = "working", hours = "8-20"`.

use crate::fleet::error::FleetError;
use crate::fleet::section::{Field, Section};
use gpuledger_tco::time_of_use::{Days, Window};

pub const WINDOW_KEYS: [&str; 2] = ["days", "hours"];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The windows of a table: one for each of its hours, and two where these go over midnight. A night of
/// working days is then from 22 to 24 and from 0 to 7 of each of them.
pub fn windows(section: &Section<'_>) -> Result<Vec<Window>, FleetError> {
    let days = match section.get("days") {
        Some(field) => days(&field)?,
        None => Days::ALL,
    };
    let window = |(from_hour, to_hour)| Window { days, from_hour, to_hour };
    let Some(field) = section.get("hours") else { return Ok(vec![window((0, 24))]) };
    let mut windows = Vec::new();
    for text in field.texts()? {
        match hours(text) {
            Some((from, to)) if from < to => windows.push(window((from, to))),
            Some((from, to)) if from > to => {
                windows.push(window((from, 24)));
                windows.extend((to > 0).then(|| window((0, to))));
            }
            _ => {
                let message = format!(
                    "{text:?} is not a stretch of hours; expected one from 0 to 24, such as \"16-20\""
                );
                return Err(field.error(message));
            }
        }
    }
    Ok(windows)
}

fn hours(text: &str) -> Option<(i8, i8)> {
    let (from, to) = text.split_once('-')?;
    let hour = |text: &str| text.trim().parse::<i8>().ok().filter(|hour| (0..=24).contains(hour));
    Some((hour(from).filter(|from| *from < 24)?, hour(to)?))
}

fn days(field: &Field<'_>) -> Result<Days, FleetError> {
    let names = field.texts()?;
    match names[..] {
        ["all"] => return Ok(Days::ALL),
        ["working"] => return Ok(Days::WORKING),
        ["off"] => return Ok(Days::OFF),
        _ => {}
    }
    let mut days = Days { weekdays: [false; 7], holidays: false };
    for name in names {
        match WEEKDAYS.iter().position(|day| *day == name) {
            Some(at) => days.weekdays[at] = true,
            None if name == "holiday" => days.holidays = true,
            None => {
                return Err(field.error(format!(
                    "{name:?} is no day; expected \"all\", \"working\" (Monday to Friday, no holiday), \"off\", \
                     or a list of {} and holiday",
                    WEEKDAYS.join(", ")
                )));
            }
        }
    }
    Ok(days)
}
