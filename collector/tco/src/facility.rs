//! What a site costs beside its electricity: colocation, yearly overheads and capital.
//!
//! - Colocation: contracted kW × price a kW and month × months. It is owed for the commitment, not
//!   the draw. Where the contract includes power, measured energy is shown but not paid again, up to what
//!   is included.
//! - Overheads: by year (amount × time in the period ÷ length of that calendar year), month, GPU and year,
//!   share of cost, or failures; while they are owed. Amounts by year and month are differences of rounded
//!   amounts to date, so that the months of a year sum to the amount. Each is shared by its key.
//! - Capital charge: rate × average net book value × (time ÷ length of that calendar year). The
//!   average is that of the values at the start and the end of each calendar month's part in the
//!   period in which the asset was in service; after its life an asset still binds its salvage.

use crate::asset::Asset;
use crate::books::Book;
use crate::calendar::{Calendar, Month, UtcHour};
use crate::decimal::{Fraction, add, div, mul, round, sub};
use crate::energy::{Intensity, Tariff};
use crate::error::TcoError;
use crate::finance::{check_not_negative, check_share, refuse};
use crate::money::Money;
use crate::supply::Supply;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// Where servers stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub name: String,
    /// Power usage effectiveness: energy of the facility over energy of its IT; at least 1.
    pub pue: Decimal,
    /// `None` where electricity is not paid by the kWh: nothing is known of its price, or the
    /// colocation contract includes it.
    pub tariff: Option<Tariff>,
    pub intensity: Option<Intensity>,
    pub colocation: Option<Colocation>,
    /// Demand, fixed amounts, taxes, and the PUE by hour.
    pub supply: Supply,
    /// Where the entry stands.
    pub source: String,
}

impl Site {
    /// PUE of an hour: the series' where it has one, else the site's.
    pub fn pue_at(&self, hour: UtcHour) -> Decimal {
        self.supply.pue.as_ref().and_then(|series| series.at(hour)).unwrap_or(self.pue)
    }

    /// What a sum of priced energy is still to be multiplied by: a series is in the prices already.
    pub(crate) fn pue_factor(&self) -> Decimal {
        if self.supply.pue.is_some() { Decimal::ONE } else { self.pue }
    }

    /// True where the colocation price already pays for the power.
    pub fn power_included(&self) -> bool {
        self.colocation.as_ref().is_some_and(|contract| contract.power_included)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colocation {
    pub contracted_kw: Decimal,
    pub price_per_kw_month: Money,
    pub power_included: bool,
    pub overage: Option<Overage>,
    pub source: String,
}

/// What a contract with included energy asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overage {
    /// Energy of the facility (PUE included) that a month's price pays for.
    pub included_kwh_per_month: Decimal,
    pub per_kwh: Money,
}

/// What an overhead is: how its amount comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    PerYear(Money),
    PerMonth(Money),
    /// For each GPU in service and year.
    PerGpuYear(Money),
    /// A year, of the purchase cost of the assets in service: support at 5 % is 0.05.
    ShareOfCost(Decimal),
    /// Spares: failures a GPU and year ([`crate::failures::yearly_rate`]) × cost of one.
    Failures {
        per_gpu_year: Decimal,
        cost: Money,
    },
}

impl Charge {
    pub fn money(&self) -> Option<Money> {
        match self {
            Self::PerYear(money) | Self::PerMonth(money) | Self::PerGpuYear(money) => Some(*money),
            Self::Failures { cost, .. } => Some(*cost),
            Self::ShareOfCost(_) => None,
        }
    }
}

/// What a shared cost is shared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Key {
    /// GPU-hours in service, whoever has them.
    #[default]
    InService,
    /// GPU-hours that somebody owned.
    Owned,
    /// GPU-hours in which something ran.
    Active,
    /// Energy.
    Energy,
}

impl Key {
    pub const fn name(self) -> &'static str {
        match self {
            Self::InService => "in service",
            Self::Owned => "owned",
            Self::Active => "active",
            Self::Energy => "by energy",
        }
    }
}

/// A cost beside hardware and electricity: staff, network, support, software, spares, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overhead {
    pub kind: String,
    /// Site that pays it; `None` for the whole fleet.
    pub site: Option<String>,
    pub charge: Charge,
    pub key: Key,
    /// First day on which it is owed, and first one on which it is not any more.
    pub from: Option<Date>,
    pub to: Option<Date>,
    pub source: String,
}

impl Overhead {
    pub fn per_year(kind: &str, site: Option<&str>, amount: Money, source: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            site: site.map(str::to_owned),
            charge: Charge::PerYear(amount),
            key: Key::default(),
            from: None,
            to: None,
            source: source.to_owned(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), TcoError> {
        let name = format!("overhead {} ({})", self.kind, self.source);
        match self.charge {
            Charge::ShareOfCost(share) => check_share(&name, "share of cost", share)?,
            Charge::Failures { per_gpu_year, .. } => {
                check_not_negative(&name, "failures a GPU and year", per_gpu_year)?;
            }
            Charge::PerYear(_) | Charge::PerMonth(_) | Charge::PerGpuYear(_) => {}
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if to <= from => {
                refuse(&name, "end", &to, "a day after its start: the first on which it is not owed")
            }
            _ => Ok(()),
        }
    }
}

/// Interest that the money bound in assets costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapitalRate {
    /// A year: 0.06 is 6 %.
    pub rate: Decimal,
    pub source: String,
}

/// The part of an amount that belongs to a stretch of time within the time that the whole amount is for:
/// a difference of rounded amounts to date, so that the parts of any split sum to the amount.
pub fn portion(amount: Money, whole: (i64, i64), from_ms: i64, to_ms: i64) -> Result<Decimal, TcoError> {
    let to_date = |at_ms: i64| -> Result<Decimal, TcoError> {
        let part = at_ms.clamp(whole.0, whole.1).saturating_sub(whole.0);
        let fraction = Fraction { part, whole: whole.1.saturating_sub(whole.0) };
        Ok(round(fraction.of(amount.amount)?, amount.currency.minor_digits()))
    };
    sub(to_date(to_ms)?, to_date(from_ms)?)
}

/// Start and end of the calendar year that an instant lies in.
pub fn year_of(calendar: &Calendar, at_ms: i64) -> Result<(i64, i64), TcoError> {
    let january = Month { month: 1, ..Month::of(calendar.date(at_ms)) };
    Ok((calendar.month_start_ms(january)?, calendar.month_start_ms(january.plus(12)?)?))
}

/// Share of the calendar year that a stretch within it is.
pub fn year_share(calendar: &Calendar, from_ms: i64, to_ms: i64) -> Result<Fraction, TcoError> {
    let (start, end) = year_of(calendar, from_ms)?;
    Ok(Fraction { part: to_ms.saturating_sub(from_ms).max(0), whole: end.saturating_sub(start) })
}

/// The capital charge of one asset and what it was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapitalCharge {
    pub amount: Decimal,
    pub average_book_value: Decimal,
    pub years: Fraction,
}

/// Charge of an asset for a stretch within one calendar month; `None` before it is in service.
pub fn capital_charge(
    book: &Book,
    asset: &Asset,
    rate: Decimal,
    calendar: &Calendar,
    (from_ms, to_ms): (i64, i64),
) -> Result<Option<CapitalCharge>, TcoError> {
    let start = from_ms.max(calendar.day_start_ms(asset.in_service)?);
    if start >= to_ms {
        return Ok(None);
    }
    let average_book_value =
        div(add(book.net(start)?, book.net_before(to_ms)?)?, Decimal::TWO, "book value")?;
    let years = year_share(calendar, start, to_ms)?;
    let amount = years.of(mul(rate, average_book_value)?)?;
    Ok(Some(CapitalCharge { amount, average_book_value, years }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::tests::server;
    use crate::money::Currency;

    fn book(asset: &Asset) -> Book {
        Book::new(asset, &Calendar::utc(), &[]).unwrap()
    }

    #[test]
    fn a_year_of_charges_is_the_rate_on_the_mean_book_value() {
        // 300,000 falls by 60,000 in the first of five years: 270,000 on average, at 10 %.
        let (asset, calendar) = (server("SN1", "n1"), Calendar::utc());
        let mut month = Month { year: 2024, month: 1 };
        let mut total = Decimal::ZERO;
        for _ in 0..12 {
            let (from, next) = (calendar.month_start_ms(month).unwrap(), month.plus(1).unwrap());
            let to = calendar.month_start_ms(next).unwrap();
            let charge = capital_charge(&book(&asset), &asset, Decimal::new(10, 2), &calendar, (from, to))
                .unwrap()
                .unwrap();
            total += charge.amount;
            month = next;
        }
        // The months of a leap year are not equally long, so the mean is not to the cent.
        assert!((total - Decimal::from(27_000)).abs() < Decimal::from(10), "{total}");
    }

    #[test]
    fn the_months_of_a_year_sum_to_the_yearly_amount() {
        let calendar = Calendar::utc();
        let amount = Money::new(Decimal::from(1_000), Currency::EUR);
        let months = (1..=12).map(|month| {
            let month = Month { year: 2023, month };
            let from = calendar.month_start_ms(month).unwrap();
            let to = from + calendar.month_ms(month).unwrap();
            portion(amount, year_of(&calendar, from).unwrap(), from, to).unwrap()
        });
        let months: Vec<Decimal> = months.collect();
        assert_eq!(months[1], Decimal::new(7_671, 2), "28 of 365 days");
        assert_eq!(months.iter().sum::<Decimal>(), amount.amount);
    }

    #[test]
    fn nothing_is_charged_before_service_and_salvage_is_charged_after_life() {
        let (mut asset, calendar) = (server("SN1", "n1"), Calendar::utc());
        asset.salvage.amount = Decimal::from(36_500);
        let charge = |year: i16| {
            let from = calendar.month_start_ms(Month { year, month: 1 }).unwrap();
            capital_charge(&book(&asset), &asset, Decimal::new(10, 2), &calendar, (from, from + 86_400_000))
                .unwrap()
        };
        assert_eq!(charge(2023), None);
        assert_eq!(charge(2031).unwrap().amount.normalize(), Decimal::TEN);
    }
}
