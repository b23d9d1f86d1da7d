//! Currencies: amounts keep theirs; a conversion shows its rate, its day and its source.
//!
//! The rate of a day is the latest one of that pair on or before it; a pair that is only known the other
//! way round is turned round. Nothing is guessed across a third currency: a missing rate is an error that
//! names pair and day.

use crate::allocation::settle;
use crate::decimal::{div, mul, round, sum};
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::facility::Charge;
use crate::finance::refuse;
use crate::money::{Currency, Money};
use crate::statement::{self, Input, Statement};
use jiff::civil::Date;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// One unit of `from` is `rate` of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    pub from: Currency,
    pub to: Currency,
    pub rate: Decimal,
    pub on: Date,
    /// "ECB reference rate, rates.csv line 7".
    pub source: String,
}

/// Rates by pair and day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates(BTreeMap<(Currency, Currency), BTreeMap<Date, Rate>>);

/// An amount in another currency, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    pub money: Money,
    pub original: Money,
    pub rate: Decimal,
    /// Day of the rate, on or before the one that was asked for.
    pub on: Date,
    pub source: String,
}

impl Converted {
    /// "300000 USD at 0.92 EUR of 2024-01-02 (ECB)".
    pub fn explained(&self) -> String {
        if self.original.currency == self.money.currency {
            return String::new();
        }
        format!(
            "{} {} at {} {} of {} ({})",
            self.original.amount,
            self.original.currency,
            self.rate.normalize(),
            self.money.currency,
            self.on,
            self.source
        )
    }
}

impl Rates {
    pub fn new(rates: impl IntoIterator<Item = Rate>) -> Result<Self, TcoError> {
        let mut all = Self::default();
        for rate in rates {
            let name = format!("the rate {} to {} of {} ({})", rate.from, rate.to, rate.on, rate.source);
            if rate.rate <= Decimal::ZERO {
                return refuse(&name, "value", &rate.rate, "more than zero");
            }
            if rate.from == rate.to {
                return refuse(&name, "pair", &rate.from, "two currencies");
            }
            let known = all.0.entry((rate.from, rate.to)).or_default();
            if let Some(first) = known.get(&rate.on).filter(|first| first.rate != rate.rate) {
                return refuse(&name, "value", &rate.rate, "one rate a pair and day").map_err(
                    |error: TcoError| match error {
                        TcoError::Invalid { what, given, expected } => TcoError::Invalid {
                            what,
                            given: format!("{given}, and {} in {}", first.rate, first.source),
                            expected,
                        },
                        other => other,
                    },
                );
            }
            known.insert(rate.on, rate);
        }
        Ok(all)
    }

    /// An amount in another currency by the rate in force on a day.
    pub fn convert(&self, original: Money, to: Currency, day: Date) -> Result<Converted, TcoError> {
        let from = original.currency;
        if from == to {
            return Ok(Converted {
                money: original,
                original,
                rate: Decimal::ONE,
                on: day,
                source: String::new(),
            });
        }
        let of = |from, to| {
            self.0.get(&(from, to)).and_then(|days| days.range(..=day).next_back()).map(|(_, rate)| rate)
        };
        let (direct, inverse) = (of(from, to), of(to, from));
        let (rate, found) = match (direct, inverse) {
            (Some(direct), Some(inverse)) if inverse.on > direct.on => {
                (div(Decimal::ONE, inverse.rate, "one")?, inverse)
            }
            (Some(direct), _) => (direct.rate, direct),
            (None, Some(inverse)) => (div(Decimal::ONE, inverse.rate, "one")?, inverse),
            (None, None) => return Err(self.missing(from, to, day)),
        };
        let money = Money::new(mul(original.amount, rate)?, to);
        Ok(Converted { money, original, rate, on: found.on, source: found.source.clone() })
    }

    fn missing(&self, from: Currency, to: Currency, day: Date) -> TcoError {
        let days = [(from, to), (to, from)]
            .map(|pair| self.0.get(&pair).and_then(|days| days.keys().next().copied()));
        TcoError::NoExchangeRate { from, to, day, earliest: days.into_iter().flatten().min() }
    }
}

/// Inputs whose foreign amounts are in the statement's currency: assets by the rate of the day they were
/// bought (in service, where no purchase is known), everything else by that of `on`. What was converted
/// says so in its source.
pub fn localise(inputs: &Inputs, rates: &Rates, on: Date) -> Result<Inputs, TcoError> {
    let mut local = inputs.clone();
    let to = inputs.currency;
    let convert = |money: &mut Money, source: &mut String, day: Date| -> Result<(), TcoError> {
        let converted = rates.convert(*money, to, day)?;
        if money.currency != to {
            *source = format!("{source}: {}", converted.explained());
        }
        *money = converted.money;
        Ok(())
    };
    for asset in &mut local.assets {
        let bought = asset.terms.purchased.unwrap_or(asset.in_service);
        let from = asset.cost.currency;
        let amount =
            |value: Decimal| rates.convert(Money::new(value, from), to, bought).map(|c| c.money.amount);
        if from != to {
            for event in &mut asset.terms.events {
                event.what.convert(&amount)?;
            }
        }
        asset.salvage = rates.convert(asset.salvage, to, bought)?.money.rounded();
        convert(&mut asset.cost, &mut asset.source, bought)?;
        asset.cost = asset.cost.rounded();
    }
    for site in &mut local.sites {
        if let Some(contract) = &mut site.colocation {
            convert(&mut contract.price_per_kw_month, &mut contract.source, on)?;
            if let Some(overage) = &mut contract.overage {
                overage.per_kwh = rates.convert(overage.per_kwh, to, on)?.money;
            }
        }
        if let Some(demand) = &mut site.supply.demand {
            convert(&mut demand.per_kw, &mut demand.source, on)?;
        }
        if let Some((money, source)) = &mut site.supply.fixed_per_month {
            convert(money, source, on)?;
        }
    }
    for overhead in &mut local.overheads {
        match &mut overhead.charge {
            Charge::PerYear(money)
            | Charge::PerMonth(money)
            | Charge::PerGpuYear(money)
            | Charge::Failures { cost: money, .. } => {
                convert(money, &mut overhead.source, on)?;
            }
            Charge::ShareOfCost(_) => {}
        }
    }
    for price in &mut local.prices {
        let mut money = Money::new(price.per_gpu_hour, price.currency);
        convert(&mut money, &mut price.source, on)?;
        (price.per_gpu_hour, price.currency) = (money.amount, to);
    }
    Ok(local)
}

/// A statement in another currency, by the rate in force on a day. Lines are settled anew, so that they sum
/// to groups and groups to the total again; rates and comparisons are converted one by one.
pub fn in_currency(
    statement: &Statement,
    rates: &Rates,
    to: Currency,
    day: Date,
) -> Result<Statement, TcoError> {
    if statement.currency == to {
        return Ok(statement.clone());
    }
    let total = rates.convert(statement.total, to, day)?;
    let of = |amount: Decimal| mul(amount, total.rate);
    let money = |money: Money| Ok::<_, TcoError>(Money::new(of(money.amount)?, to).rounded());
    let mut other = statement.clone();
    let exact = statement.lines.iter().map(|line| of(line.amount)).collect::<Result<Vec<_>, _>>()?;
    let settled = settle(total.money.rounded().amount, &exact, to.minor_digits())?;
    for ((line, amount), exact) in other.lines.iter_mut().zip(settled).zip(exact) {
        (line.amount, line.exact, line.currency) = (amount, exact, to);
        line.inputs.push(Input {
            name: "rate".to_owned(),
            value: total.rate,
            unit: format!("{to}/{}", statement.currency),
            source: format!("{} of {}", total.source, total.on),
        });
    }
    for group in &mut other.groups {
        let own = sum(other.lines.iter().filter(|line| line.group == group.name).map(|line| line.amount))?;
        group.total = Money::new(own, to).rounded();
        group.rates = rates_in(group.rates, total.rate)?;
    }
    for comparison in &mut other.comparisons {
        comparison.price_per_gpu_hour = of(comparison.price_per_gpu_hour)?;
        comparison.own = money(comparison.own)?;
        comparison.same_capacity = money(comparison.same_capacity)?;
        comparison.same_work = money(comparison.same_work)?;
    }
    (other.currency, other.total, other.rates) =
        (to, total.money.rounded(), rates_in(statement.rates, total.rate)?);
    other.notes.insert(0, format!("Amounts are converted: {}.", total.explained()));
    Ok(other)
}

fn rates_in(of: statement::Rates, rate: Decimal) -> Result<statement::Rates, TcoError> {
    let each = |hour: Option<Decimal>| {
        hour.map(|hour| Ok::<_, TcoError>(round(mul(hour, rate)?, hour.scale()))).transpose()
    };
    Ok(statement::Rates {
        per_hour_in_service: each(of.per_hour_in_service)?,
        per_hour_active: each(of.per_hour_active)?,
        per_hour_owned: each(of.per_hour_owned)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn rate(value: &str, on: Date) -> Rate {
        Rate {
            from: Currency::USD,
            to: Currency::EUR,
            rate: value.parse().unwrap(),
            on,
            source: "ECB".to_owned(),
        }
    }

    fn rates() -> Rates {
        Rates::new([rate("0.92", date(2024, 1, 2)), rate("0.80", date(2024, 2, 1))]).unwrap()
    }

    fn usd(amount: i64) -> Money {
        Money::new(Decimal::from(amount), Currency::USD)
    }

    #[test]
    fn a_conversion_shows_rate_day_and_source() {
        let converted = rates().convert(usd(100), Currency::EUR, date(2024, 1, 31)).unwrap();
        assert_eq!(converted.money.amount, Decimal::from(92));
        assert_eq!(converted.explained(), "100 USD at 0.92 EUR of 2024-01-02 (ECB)");
        let back = rates()
            .convert(Money::new(Decimal::from(80), Currency::EUR), Currency::USD, date(2024, 3, 1))
            .unwrap();
        assert_eq!((back.money.amount, back.on), (Decimal::from(100), date(2024, 2, 1)));
        assert_eq!(rates().convert(usd(1), Currency::USD, date(2020, 1, 1)).unwrap().money, usd(1));
    }

    #[test]
    fn a_missing_rate_names_pair_and_day() {
        let says =
            |to: &str, day| rates().convert(usd(1), Currency::new(to).unwrap(), day).unwrap_err().to_string();
        assert_eq!(
            says("EUR", date(2024, 1, 1)),
            "no rate from USD to EUR is known on 2024-01-01: the earliest is of 2024-01-02; import the rate of that day"
        );
        assert_eq!(
            says("GBP", date(2024, 5, 1)),
            "no rate from USD to GBP is known on 2024-05-01: import one, with its date and source"
        );
    }

    #[test]
    fn two_rates_of_one_day_and_rates_of_nothing_are_refused() {
        let says = |rates: Vec<Rate>| Rates::new(rates).unwrap_err().to_string();
        let twice = says(vec![rate("0.92", date(2024, 1, 2)), rate("0.93", date(2024, 1, 2))]);
        assert!(twice.contains("is 0.93, and 0.92 in ECB: expected one rate a pair and day"), "{twice}");
        assert!(says(vec![rate("0", date(2024, 1, 2))]).contains("expected more than zero"));
        assert!(
            says(vec![Rate { to: Currency::USD, ..rate("1", date(2024, 1, 2)) }])
                .contains("expected two currencies")
        );
    }
}
