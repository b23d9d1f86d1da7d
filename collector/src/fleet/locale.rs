//! How a file writes numbers and dates: named by the user, never guessed.
//!
//! [`Locale::ISO`] is what every file of the register is read with: commas between cells, a point in
//! numbers, no groups of digits, days as 2026-01-15. A day as 2026-01-15 is understood in every locale,
//! since it can mean nothing else; 03/04/2026 only where the order of day and month is named.

use gpuledger_tco::money::Currency;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// Which part of a date comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    Ymd,
    Dmy,
    Mdy,
}

impl DateOrder {
    const fn example(self) -> &'static str {
        match self {
            Self::Ymd => "2026-01-15 or 2026/01/15",
            Self::Dmy => "15.01.2026 or 15/01/2026",
            Self::Mdy => "01/15/2026",
        }
    }
}

/// One way of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locale {
    pub name: &'static str,
    /// Between cells.
    pub delimiter: char,
    /// Between whole and fraction.
    pub decimal: char,
    /// Between thousands, any one of these; each group has three digits.
    groups: &'static [char],
    /// Of days that are not written as 2026-01-15; `None`: such days are refused.
    pub dates: Option<DateOrder>,
    /// Between the parts of a date, for writing.
    date_separator: char,
}

const BLANKS: &[char] = &[' ', '\u{a0}', '\u{202f}'];
const QUOTES: &[char] = &['\'', '\u{2019}'];

impl Locale {
    pub const ISO: Self =
        Self { name: "iso", delimiter: ',', decimal: '.', groups: &[], dates: None, date_separator: '-' };

    pub const ALL: [Self; 8] = [
        Self::ISO,
        Self::new("en-US", (',', '.', &[',']), DateOrder::Mdy, '/'),
        Self::new("en-GB", (',', '.', &[',']), DateOrder::Dmy, '/'),
        Self::new("de-DE", (';', ',', &['.']), DateOrder::Dmy, '.'),
        Self::new("de-CH", (';', '.', QUOTES), DateOrder::Dmy, '.'),
        Self::new("fr-FR", (';', ',', BLANKS), DateOrder::Dmy, '/'),
        Self::new("sv-SE", (';', ',', BLANKS), DateOrder::Ymd, '-'),
        Self::new("ja-JP", (',', '.', &[',']), DateOrder::Ymd, '/'),
    ];

    const fn new(
        name: &'static str,
        (delimiter, decimal, groups): (char, char, &'static [char]),
        order: DateOrder,
        date_separator: char,
    ) -> Self {
        Self { name, delimiter, decimal, groups, dates: Some(order), date_separator }
    }

    pub fn named(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|locale| locale.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|locale| locale.name).collect();
            format!("{name:?} is not a way of writing that is known; expected {}", names.join(", "))
        })
    }

    /// The same with a decimal sign of its own; what was its group sign is none any more.
    #[must_use]
    pub fn with_decimal(self, decimal: char) -> Self {
        let groups = if self.groups.contains(&decimal) { &[] } else { self.groups };
        Self { decimal, groups, ..self }
    }

    /// The same with an order of dates of its own.
    #[must_use]
    pub fn with_dates(self, order: DateOrder) -> Self {
        let date_separator = if self.date_separator == '-' { '/' } else { self.date_separator };
        Self { dates: Some(order), date_separator, ..self }
    }

    /// "cells by ';', decimal ',', dates as 15.01.2026".
    pub fn described(&self) -> String {
        let dates = self.dates.map_or("2026-01-15", DateOrder::example);
        format!("cells by {:?}, decimals by {:?}, days as {dates}", self.delimiter, self.decimal)
    }

    /// A number without exponents and signs of currency.
    pub fn number(&self, text: &str) -> Result<Decimal, String> {
        let wrong = || {
            let groups = match self.groups.first() {
                Some(group) => format!(", at most {group:?} between thousands"),
                None => " and no separators".to_owned(),
            };
            let sign = if self.decimal == '.' { "a point" } else { "a comma" };
            let example = format!("1234{}50", self.decimal);
            format!("{text:?} is not a number; expected digits with {sign}{groups}, such as {example}")
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match digits.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let all_digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let whole = self.ungrouped(whole).filter(|whole| all_digits(whole)).ok_or_else(wrong)?;
        if fraction.is_some_and(|fraction| !all_digits(fraction)) {
            return Err(wrong());
        }
        let sign = if digits.len() < text.len() { "-" } else { "" };
        let plain = match fraction {
            Some(fraction) => format!("{sign}{whole}.{fraction}"),
            None => format!("{sign}{whole}"),
        };
        Decimal::from_str_exact(&plain).map_err(|_| wrong())
    }

    /// The digits without group signs; `None` where the groups are not of three or of two kinds.
    fn ungrouped(&self, whole: &str) -> Option<String> {
        let Some(sign) = whole.chars().find(|c| self.groups.contains(c)) else {
            return Some(whole.to_owned());
        };
        let mut groups = whole.split(sign);
        let first = groups.next().filter(|first| (1..=3).contains(&first.len()))?;
        let mut digits = first.to_owned();
        for group in groups {
            if group.len() != 3 {
                return None;
            }
            digits.push_str(group);
        }
        Some(digits)
    }

    /// A day; years have four digits.
    pub fn date(&self, text: &str) -> Result<Date, String> {
        if let Some(day) = text.parse::<Date>().ok().filter(|_| text.len() == 10) {
            return Ok(day);
        }
        let parts = || -> Option<[i16; 3]> {
            let sign = text.chars().find(|c| matches!(c, '-' | '.' | '/'))?;
            let parts: Vec<&str> = text.split(sign).collect();
            let number =
                |part: &str| part.parse::<i16>().ok().filter(|_| part.chars().all(|c| c.is_ascii_digit()));
            match parts[..] {
                [a, b, c] => Some([number(a)?, number(b)?, number(c)?]),
                _ => None,
            }
        };
        let Some(order) = self.dates else {
            let unsaid = match parts() {
                Some([a, b, year]) if year > 999 && a <= 12 && b <= 12 => ": it may be of two months",
                _ => "",
            };
            return Err(format!(
                "{text:?} is not a day{unsaid}; expected year, month and day, such as 2026-01-15"
            ));
        };
        let day = parts().and_then(|[a, b, c]| {
            let (year, month, day) = match order {
                DateOrder::Ymd => (a, b, c),
                DateOrder::Dmy => (c, b, a),
                DateOrder::Mdy => (c, a, b),
            };
            let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
            (year > 999).then(|| Date::new(year, month, day).ok()).flatten()
        });
        day.ok_or_else(|| format!("{text:?} is not a day; expected one such as {}", order.example()))
    }

    /// A number as this locale writes it, without groups.
    pub fn write_number(&self, number: Decimal) -> String {
        number.to_string().replace('.', &self.decimal.to_string())
    }

    pub fn write_date(&self, day: Date) -> String {
        let (y, m, d) = (day.year(), day.month(), day.day());
        let s = self.date_separator;
        match self.dates {
            None => day.to_string(),
            Some(DateOrder::Ymd) => format!("{y:04}{s}{m:02}{s}{d:02}"),
            Some(DateOrder::Dmy) => format!("{d:02}{s}{m:02}{s}{y:04}"),
            Some(DateOrder::Mdy) => format!("{m:02}{s}{d:02}{s}{y:04}"),
        }
    }
}

/// A currency by its code, with what is wrong otherwise.
pub fn currency(text: &str) -> Result<Currency, String> {
    Currency::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn of(name: &str) -> Locale {
        Locale::named(name).unwrap()
    }

    #[test]
    fn the_same_amount_is_read_as_each_locale_writes_it() {
        let written = [
            ("iso", "1234567.50"),
            ("en-US", "1,234,567.50"),
            ("en-GB", "1234567.50"),
            ("de-DE", "1.234.567,50"),
            ("de-CH", "1'234'567.50"),
            ("de-CH", "1\u{2019}234\u{2019}567.50"),
            ("fr-FR", "1\u{202f}234\u{202f}567,50"),
            ("fr-FR", "1 234 567,50"),
            ("ja-JP", "1,234,567.50"),
        ];
        for (locale, text) in written {
            assert_eq!(of(locale).number(text), Ok(Decimal::new(123_456_750, 2)), "{locale} {text}");
        }
        assert_eq!(of("de-DE").number("-1.000"), Ok(Decimal::from(-1000)));
    }

    #[test]
    fn a_number_of_another_locale_is_refused_and_never_read_as_another_number() {
        for (locale, text) in [
            ("iso", "1,234.50"),
            ("iso", "1e5"),
            ("iso", ".5"),
            ("iso", "5."),
            ("iso", "$5"),
            ("en-US", "1.234,50"),
            ("en-US", "12,34"),
            ("en-US", "1,2345"),
            ("de-DE", "1,234.50"),
            ("de-DE", "1234.5"),
            ("de-DE", "12.34"),
            ("fr-FR", "1 234\u{202f}567,50"),
            ("fr-FR", "1234.50"),
        ] {
            let message = of(locale).number(text).unwrap_err();
            assert!(message.contains("is not a number; expected digits with"), "{locale} {text}: {message}");
        }
        assert_eq!(
            of("de-DE").number("1234.5").unwrap_err(),
            "\"1234.5\" is not a number; expected digits with a comma, at most '.' between thousands, such as 1234,50"
        );
    }

    #[test]
    fn a_day_is_read_in_the_named_order_or_not_at_all() {
        let day = date(2026, 4, 3);
        for (locale, text) in [
            ("iso", "2026-04-03"),
            ("de-DE", "2026-04-03"),
            ("de-DE", "03.04.2026"),
            ("en-GB", "3/4/2026"),
            ("en-US", "04/03/2026"),
            ("ja-JP", "2026/04/03"),
        ] {
            assert_eq!(of(locale).date(text), Ok(day), "{locale} {text}");
        }
        let says = |locale, text| of(locale).date(text).unwrap_err();
        assert!(says("iso", "03/04/2026").contains("it may be of two months"));
        assert!(!says("iso", "01/15/2026").contains("two months"));
        for (locale, text) in
            [("en-US", "15/01/2026"), ("de-DE", "01.15.2026"), ("de-DE", "03.04.26"), ("de-DE", "3.4/2026")]
        {
            assert!(says(locale, text).contains("is not a day; expected one such as"), "{locale} {text}");
        }
    }

    #[test]
    fn what_a_locale_writes_it_reads() {
        for locale in Locale::ALL {
            let number = Decimal::new(-123_456_789, 2);
            assert_eq!(locale.number(&locale.write_number(number)), Ok(number), "{}", locale.name);
            let day = date(2026, 4, 3);
            assert_eq!(locale.date(&locale.write_date(day)), Ok(day), "{}", locale.name);
        }
        assert!(Locale::named("xx").unwrap_err().contains("expected iso, en-US"));
        assert_eq!(of("de-DE").with_decimal('.').number("1234.5"), Ok(Decimal::new(12_345, 1)));
    }
}
