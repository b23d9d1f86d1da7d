//! Own against rent for the same work: what each costs, and where the balance tips.

use super::Derived;
use super::way::{Offer, Own, Way, Work, YEAR_HOURS};
use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{
    break_even_utilization, irr_all, levelised, minus, npv_own_after_tax, npv_rent_after_tax, payback_periods,
};
use crate::formulas::{self, Formula};
use crate::money::Currency;
use crate::pools::input;
use crate::statement::Input;
use rust_decimal::Decimal;

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub currency: Currency,
    pub own: Own,
    pub offer: Offer,
    pub years: u32,
    /// A year.
    pub discount: Decimal,
    pub tax_rate: Decimal,
    /// Where the facts of owning come from.
    pub source: String,
}

/// The comparison, figure by figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub case: String,
    pub figures: Vec<Derived>,
    /// Every rate of return of what owning saves; several where the flows change sign more than once.
    pub rates_of_return: Vec<Decimal>,
    pub notes: Vec<String>,
}

impl Verdict {
    /// The value of a figure.
    pub fn value(&self, id: &str) -> Option<Decimal> {
        self.figures.iter().find(|figure| figure.id == id).and_then(|figure| figure.value)
    }
}

impl Case {
    pub fn work(&self) -> Result<Work, TcoError> {
        let useful_hours = self.own.fleet.useful_hours()?;
        Ok(Work { useful_hours, years: self.years, discount: self.discount, tax_rate: self.tax_rate })
    }

    pub fn check(&self) -> Result<(), TcoError> {
        Way::Own(self.own.clone()).check()?;
        self.offer.check()?;
        self.work()?.check()
    }

    /// Present values after tax: of owning and of renting. The higher is the better.
    pub fn present_values(&self) -> Result<(Decimal, Decimal), TcoError> {
        self.check()?;
        let own = npv_own_after_tax(
            self.discount,
            self.tax_rate,
            self.own.purchase,
            &self.own.periods(self.years)?,
            self.own.sale()?,
        )?;
        Ok((own, npv_rent_after_tax(self.discount, self.tax_rate, &self.rents()?)?))
    }

    /// Rent of each year for the same work.
    pub fn rents(&self) -> Result<Vec<Decimal>, TcoError> {
        let hours = self.offer.paid_hours(self.work()?.useful_hours)?;
        (1..=self.years).map(|year| self.offer.cost_of(hours, year)).collect()
    }

    /// What owning saves, after tax: −purchase, then each year, the sale in the last one.
    pub fn savings(&self) -> Result<Vec<Decimal>, TcoError> {
        let kept = sub(Decimal::ONE, self.tax_rate)?;
        let mut flows = vec![minus(self.own.purchase)];
        let mut basis = self.own.purchase;
        for (rent, period) in self.rents()?.into_iter().zip(self.own.periods(self.years)?) {
            let saved = mul(sub(rent, period.cash_cost)?, kept)?;
            flows.push(add(saved, mul(period.tax_depreciation, self.tax_rate)?)?);
            basis = sub(basis, period.tax_depreciation)?;
        }
        let sale = self.own.sale()?;
        if let Some(last) = flows.last_mut() {
            *last = add(*last, sub(sale, mul(sub(sale, basis)?, self.tax_rate)?)?)?;
        }
        Ok(flows)
    }
}

/// Places after the point of ratios and hourly amounts.
const DIGITS: u32 = 6;

/// Compares. Figures are rounded to six places, amounts to the currency's.
pub fn judge(case: &Case) -> Result<Verdict, TcoError> {
    case.check()?;
    let sheet = Sheet { case, code: case.currency.code() };
    let mut figures = sheet.yearly()?;
    figures.extend(sheet.balance()?);
    figures.extend(sheet.values()?);
    let flows = case.savings()?;
    let rates = irr_all(&flows).unwrap_or_default();
    let mut notes = Vec::new();
    if rates.len() > 1 {
        let told: Vec<String> =
            rates.iter().map(|rate| crate::decimal::round(*rate, 4).to_string()).collect();
        notes.push(format!(
            "What owning saves has {} rates of return ({}): none of them tells alone, compare present values.",
            rates.len(),
            told.join(" and ")
        ));
    }
    let single = if let [rate] = rates[..] { Some(crate::decimal::round(rate, DIGITS)) } else { None };
    let flow = |(year, flow): (usize, &Decimal)| {
        input(format!("flow of year {year}"), *flow, sheet.code, "own − rent, after tax")
    };
    let inputs = flows.iter().enumerate().map(flow).collect();
    figures.push(Derived::new("irr", "rate of return of owning", single, "per year", formulas::IRR, inputs));
    Ok(Verdict { case: case.name.clone(), figures, rates_of_return: rates, notes })
}

struct Sheet<'a> {
    case: &'a Case,
    code: &'a str,
}

impl Sheet<'_> {
    fn money(&self, id: &str, label: &str, value: Decimal, formula: Formula, inputs: Vec<Input>) -> Derived {
        let rounded = crate::decimal::round(value, self.case.currency.minor_digits());
        Derived::new(id, label, Some(rounded), self.code, formula, inputs)
    }

    fn own(&self, name: &str, value: Decimal, unit: &str) -> Input {
        input(name, value, unit, &self.case.source)
    }

    fn offered(&self, name: &str, value: Decimal, unit: &str) -> Input {
        input(name, value, unit, &self.case.offer.source)
    }

    fn running_inputs(&self) -> Vec<Input> {
        let (fleet, running) = (&self.case.own.fleet, &self.case.own.running);
        vec![
            self.own("fixed cost", running.fixed_per_year, &format!("{}/year", self.code)),
            self.own("GPUs", fleet.gpus, ""),
            self.own("availability", fleet.availability, ""),
            self.own("utilization", fleet.utilization, ""),
            self.own("power in use", running.kw, "kW/GPU"),
            self.own("power when idle", running.idle_kw, "kW/GPU"),
            self.own("PUE", running.pue, ""),
            self.own("electricity", running.price_per_kwh, &format!("{}/kWh", self.code)),
        ]
    }

    fn offer_inputs(&self) -> Vec<Input> {
        let offer = &self.case.offer;
        let month = format!("{}/month", self.code);
        vec![
            self.offered("price", offer.per_gpu_hour, &format!("{}/GPU-hour", self.code)),
            self.offered("throughput", offer.throughput, "own hours/hour"),
            self.offered("goodput", offer.goodput, ""),
            self.offered("idle share", offer.idle, ""),
            self.offered("support", offer.support, ""),
            self.offered("egress", offer.egress_per_month, &month),
            self.offered("storage", offer.storage_per_month, &month),
            self.offered("trend", offer.trend, "per year"),
        ]
    }

    fn yearly(&self) -> Result<Vec<Derived>, TcoError> {
        let (own, offer) = (&self.case.own, &self.case.offer);
        let useful = self.case.work()?.useful_hours;
        let paid = offer.paid_hours(useful)?;
        let mut paid_inputs = vec![self.own("useful hours", useful, "GPU-hours/year")];
        paid_inputs.extend(self.offer_inputs().into_iter().skip(1).take(3));
        let capacity = div(mul(own.fleet.gpus, YEAR_HOURS)?, offer.throughput, "hours")?;
        let mut with_hours = self.offer_inputs();
        with_hours.insert(0, input("paid hours", paid, "GPU-hours/year", formulas::PAID_HOURS.id));
        let mut of_capacity = self.offer_inputs();
        of_capacity.insert(0, self.own("GPUs", own.fleet.gpus, ""));
        Ok(vec![
            self.money(
                "own_cash",
                "cash cost of a year of owning",
                own.running.cash_per_year(&own.fleet)?,
                formulas::OWN_CASH,
                self.running_inputs(),
            ),
            Derived::new(
                "paid_hours",
                "hours to rent for the same work",
                Some(crate::decimal::round(paid, DIGITS)),
                "GPU-hours/year",
                formulas::PAID_HOURS,
                paid_inputs,
            ),
            self.money(
                "same_work",
                "rent of the same work, first year",
                offer.cost_of(paid, 1)?,
                formulas::RENT_YEAR,
                with_hours,
            ),
            self.money(
                "same_capacity",
                "rent of the same capacity, first year",
                offer.cost_of(capacity, 1)?,
                formulas::SAME_CAPACITY,
                of_capacity,
            ),
        ])
    }

    /// Break-even and payback.
    fn balance(&self) -> Result<Vec<Derived>, TcoError> {
        let (own, offer) = (&self.case.own, &self.case.offer);
        let depreciation =
            div(sub(own.purchase, own.sale()?)?, Decimal::from(self.case.years), "the purchase")?;
        let fixed =
            add(add(depreciation, own.running.fixed_per_year)?, own.running.idle_energy(&own.fleet)?)?;
        // Both by the hour in use: an own one is worth its goodput, a rented one what it is billed for it.
        let rent = mul(offer.per_useful_hour()?, own.fleet.goodput)?;
        let variable = own.running.variable_per_hour()?;
        let available = mul(own.fleet.gpus, own.fleet.availability)?;
        let even = if available.is_zero() {
            None
        } else {
            break_even_utilization(fixed, available, rent, variable)?
        };
        let (useful, cash) = (self.case.work()?.useful_hours, own.running.cash_per_year(&own.fleet)?);
        let saving = sub(offer.cost_of(offer.paid_hours(useful)?, 1)?, cash)?;
        let months = payback_periods(own.purchase, div(saving, Decimal::from(12), "a year")?)?;
        let hour = format!("{}/GPU-hour", self.code);
        Ok(vec![
            Derived::new(
                "break_even",
                "share of available hours in use above which owning is cheaper",
                even.map(|even| crate::decimal::round(even, DIGITS)),
                "",
                formulas::BREAK_EVEN,
                vec![
                    input(
                        "fixed cost of a year",
                        fixed,
                        self.code,
                        "depreciation, fixed cost and idle energy",
                    ),
                    self.own("GPUs available", available, ""),
                    self.offered("rent of an hour in use", rent, &hour),
                    self.own("variable cost of an hour in use", variable, &hour),
                ],
            ),
            Derived::new(
                "payback",
                "cash payback",
                months.map(|months| crate::decimal::round(months, 2)),
                "months",
                formulas::PAYBACK,
                vec![
                    self.own("purchase", own.purchase, self.code),
                    input("rent less own cash cost of the first year", saving, self.code, "same work"),
                ],
            ),
        ])
    }

    /// Present values and levelised costs.
    fn values(&self) -> Result<Vec<Derived>, TcoError> {
        let (case, own) = (self.case, &self.case.own);
        let (of_own, of_rent) = case.present_values()?;
        let facts = || {
            vec![
                self.own("discount rate", case.discount, "per year"),
                self.own("tax rate", case.tax_rate, ""),
                self.own("years", Decimal::from(case.years), ""),
            ]
        };
        let mut own_inputs =
            vec![self.own("purchase", own.purchase, self.code), self.own("sale", own.sale()?, self.code)];
        own_inputs.extend(facts());
        for (k, period) in own.periods(case.years)?.into_iter().enumerate() {
            let year = k.saturating_add(1);
            own_inputs.push(self.own(&format!("cash cost of year {year}"), period.cash_cost, self.code));
            own_inputs.push(self.own(
                &format!("tax depreciation of year {year}"),
                period.tax_depreciation,
                self.code,
            ));
        }
        let mut rent_inputs = facts();
        for (k, rent) in case.rents()?.into_iter().enumerate() {
            rent_inputs.push(self.offered(&format!("rent of year {}", k.saturating_add(1)), rent, self.code));
        }
        let both = vec![
            input("owning", of_own, self.code, formulas::NPV_OWN.id),
            input("renting", of_rent, self.code, formulas::NPV_RENT.id),
        ];
        let unit = format!("{}/useful GPU-hour", self.code);
        let mut figures = vec![
            self.money("npv_own", "present value of owning after tax", of_own, formulas::NPV_OWN, own_inputs),
            self.money(
                "npv_rent",
                "present value of renting after tax",
                of_rent,
                formulas::NPV_RENT,
                rent_inputs,
            ),
            self.money("advantage", "advantage of owning", sub(of_own, of_rent)?, formulas::ADVANTAGE, both),
        ];
        for (id, label, way) in [
            ("levelised_own", "levelised cost of owning", Way::Own(own.clone())),
            ("levelised_rent", "levelised cost of renting", Way::Rent(case.offer.clone())),
        ] {
            let value = levelised_of(&way, &case.work()?)?;
            let cost = |(year, cost): (usize, Decimal)| {
                input(format!("cost of year {year}"), cost, self.code, &case.source)
            };
            let mut inputs: Vec<Input> =
                way.costs(&case.work()?)?.into_iter().enumerate().map(cost).collect();
            inputs.push(self.own("useful hours of a year", case.work()?.useful_hours, "GPU-hours"));
            inputs.push(self.own("discount rate", case.discount, "per year"));
            figures.push(Derived::new(
                id,
                label,
                Some(crate::decimal::round(value, DIGITS)),
                &unit,
                formulas::LEVELISED,
                inputs,
            ));
        }
        Ok(figures)
    }
}

/// Levelised cost of a useful hour, before tax.
pub(super) fn levelised_of(way: &Way, work: &Work) -> Result<Decimal, TcoError> {
    let costs = way.costs(work)?;
    let mut hours = vec![work.useful_hours; costs.len()];
    if let Some(first) = hours.first_mut() {
        *first = Decimal::ZERO;
    }
    levelised(work.discount, &costs, &hours)
}
