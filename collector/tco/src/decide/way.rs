//! Ways to get work done, and what each costs in cash, year by year.
//!
//! Year 0 is the purchase; years 1 to n end with their costs; the sale comes at the end of year n. Hours
//! of a year are 8760. Amounts are in one currency.

use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use crate::finance::{OwnPeriod, check_not_negative, check_positive, check_rate, check_share, refuse};
use crate::powers::power_of_whole;
use rust_decimal::Decimal;

/// Hours of a year.
pub const YEAR_HOURS: Decimal = Decimal::from_parts(8_760, 0, 0, false, 0);
const MONTHS: Decimal = Decimal::from_parts(12, 0, 0, false, 0);
/// Longest horizon, in years.
pub const YEARS_MAX: u32 = 50;

/// The work of a year, and how money is reckoned over the years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// GPU-hours of the own model that are useful: what is available, used and not lost to failures.
    pub useful_hours: Decimal,
    pub years: u32,
    /// A year.
    pub discount: Decimal,
    pub tax_rate: Decimal,
}

impl Work {
    pub fn check(&self) -> Result<(), TcoError> {
        check_positive("the work", "useful hours", self.useful_hours)?;
        check_rate("the work", "discount rate", self.discount)?;
        check_share("the work", "tax rate", self.tax_rate)?;
        if (1..=YEARS_MAX).contains(&self.years) {
            Ok(())
        } else {
            refuse("the work", "years", &self.years, "1 to 50")
        }
    }
}

/// GPUs that are there, whoever owns them, and how they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    pub gpus: Decimal,
    /// Share of all hours in which they can be used.
    pub availability: Decimal,
    /// Share of those in which they are.
    pub utilization: Decimal,
    /// Share of those whose work is kept.
    pub goodput: Decimal,
}

impl Fleet {
    /// Useful hours of a year: GPUs × 8760 × availability × utilisation × goodput.
    pub fn useful_hours(&self) -> Result<Decimal, TcoError> {
        mul(self.used_hours()?, self.goodput)
    }

    pub fn available_hours(&self) -> Result<Decimal, TcoError> {
        mul(mul(self.gpus, YEAR_HOURS)?, self.availability)
    }

    pub fn used_hours(&self) -> Result<Decimal, TcoError> {
        mul(self.available_hours()?, self.utilization)
    }

    pub fn check(&self) -> Result<(), TcoError> {
        check_positive("the fleet", "GPUs", self.gpus)?;
        check_share("the fleet", "availability", self.availability)?;
        check_share("the fleet", "utilization", self.utilization)?;
        check_share("the fleet", "goodput", self.goodput)
    }
}

/// What running a fleet costs, whoever owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// A year: colocation, network, staff, support, spares, software.
    pub fixed_per_year: Decimal,
    /// A GPU with its share of the host, in use and idle.
    pub kw: Decimal,
    pub idle_kw: Decimal,
    pub pue: Decimal,
    pub price_per_kwh: Decimal,
}

impl Running {
    pub fn check(&self) -> Result<(), TcoError> {
        check_not_negative("the running cost", "fixed cost", self.fixed_per_year)?;
        check_not_negative("the running cost", "kW", self.kw)?;
        check_not_negative("the running cost", "idle kW", self.idle_kw)?;
        if self.pue < Decimal::ONE {
            return refuse("the running cost", "PUE", &self.pue, "1 or more");
        }
        Ok(())
    }

    /// Cost of what one GPU draws in an hour at this power.
    fn hour(&self, kw: Decimal) -> Result<Decimal, TcoError> {
        mul(mul(kw, self.pue)?, self.price_per_kwh)
    }

    /// What an hour in use costs beyond an idle one.
    pub fn variable_per_hour(&self) -> Result<Decimal, TcoError> {
        self.hour(sub(self.kw, self.idle_kw)?)
    }

    /// Energy that is drawn whether anything runs or not.
    pub fn idle_energy(&self, fleet: &Fleet) -> Result<Decimal, TcoError> {
        mul(fleet.available_hours()?, self.hour(self.idle_kw)?)
    }

    pub fn cash_per_year(&self, fleet: &Fleet) -> Result<Decimal, TcoError> {
        let used = mul(fleet.used_hours()?, self.variable_per_hour()?)?;
        add(add(self.fixed_per_year, self.idle_energy(fleet)?)?, used)
    }
}

/// Hardware that is bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub fleet: Fleet,
    pub running: Running,
    pub purchase: Decimal,
    /// Share of the purchase that the sale brings at the end.
    pub residual: Decimal,
    /// Deductions by year; what they leave is deducted at the sale.
    pub tax_depreciation: Vec<Decimal>,
}

/// Hardware that is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub fleet: Fleet,
    pub running: Running,
    pub payment_per_month: Decimal,
    pub upfront: Decimal,
}

/// Hours that are rented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// "aws p5.48xlarge us-east-1, on demand".
    pub name: String,
    pub per_gpu_hour: Decimal,
    /// Work of one of its hours, in hours of the own model: 1 where it is the same model.
    pub throughput: Decimal,
    pub goodput: Decimal,
    /// Share of the paid hours that are reserved and idle.
    pub idle: Decimal,
    /// Of the spend: 0.1 is 10 %.
    pub support: Decimal,
    pub egress_per_month: Decimal,
    pub storage_per_month: Decimal,
    /// Change of the price a year.
    pub trend: Decimal,
    /// Where the price comes from, with its date.
    pub source: String,
}

impl Offer {
    pub fn check(&self) -> Result<(), TcoError> {
        let name = format!("the offer {}", self.name);
        check_positive(&name, "price", self.per_gpu_hour)?;
        check_positive(&name, "throughput", self.throughput)?;
        check_share(&name, "goodput", self.goodput)?;
        check_positive(&name, "goodput", self.goodput)?;
        check_share(&name, "idle share", self.idle)?;
        check_share(&name, "support", self.support)?;
        check_rate(&name, "trend", self.trend)?;
        check_not_negative(&name, "egress", self.egress_per_month)?;
        check_not_negative(&name, "storage", self.storage_per_month)?;
        if self.idle == Decimal::ONE {
            refuse(&name, "idle share", &self.idle, "less than 1 (100 %)")
        } else {
            Ok(())
        }
    }

    /// Hours that must be paid for so many useful ones.
    pub fn paid_hours(&self, useful: Decimal) -> Result<Decimal, TcoError> {
        let kept = mul(mul(self.throughput, self.goodput)?, sub(Decimal::ONE, self.idle)?)?;
        div(useful, kept, "useful hours")
    }

    /// What comes every year however many hours are rented.
    pub fn fixed_per_year(&self) -> Result<Decimal, TcoError> {
        mul(add(self.egress_per_month, self.storage_per_month)?, MONTHS)
    }

    /// What so many paid hours cost in year k.
    pub fn cost_of(&self, hours: Decimal, year: u32) -> Result<Decimal, TcoError> {
        let path = power_of_whole(add(Decimal::ONE, self.trend)?, year.saturating_sub(1))?;
        let spend = mul(mul(hours, self.per_gpu_hour)?, path)?;
        add(mul(spend, add(Decimal::ONE, self.support)?)?, self.fixed_per_year()?)
    }

    /// Rent of one useful hour in the first year, without what is fixed.
    pub fn per_useful_hour(&self) -> Result<Decimal, TcoError> {
        mul(mul(self.paid_hours(Decimal::ONE)?, self.per_gpu_hour)?, add(Decimal::ONE, self.support)?)
    }
}

/// One way to get the work done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Own(Own),
    Lease(Lease),
    Rent(Offer),
}

impl Way {
    pub fn check(&self) -> Result<(), TcoError> {
        match self {
            Self::Own(own) => {
                own.fleet.check()?;
                own.running.check()?;
                check_not_negative("the purchase", "cost", own.purchase)?;
                check_share("the purchase", "residual", own.residual)
            }
            Self::Lease(lease) => {
                lease.fleet.check()?;
                lease.running.check()?;
                check_not_negative("the lease", "upfront", lease.upfront)?;
                check_not_negative("the lease", "payment", lease.payment_per_month)
            }
            Self::Rent(offer) => offer.check(),
        }
    }

    /// Cash that goes out, year 0 to n, before tax; the sale at the end is a negative cost.
    pub fn costs(&self, work: &Work) -> Result<Vec<Decimal>, TcoError> {
        let years = 1..=work.years;
        let mut costs = match self {
            Self::Own(own) => {
                let cash = own.running.cash_per_year(&own.fleet)?;
                let mut costs = vec![own.purchase];
                costs.extend(years.map(|_| cash));
                costs
            }
            Self::Lease(lease) => {
                let payments = mul(lease.payment_per_month, MONTHS)?;
                let cash = add(lease.running.cash_per_year(&lease.fleet)?, payments)?;
                let mut costs = vec![lease.upfront];
                costs.extend(years.map(|_| cash));
                costs
            }
            Self::Rent(offer) => {
                let hours = offer.paid_hours(work.useful_hours)?;
                let mut costs = vec![Decimal::ZERO];
                for year in years {
                    costs.push(offer.cost_of(hours, year)?);
                }
                costs
            }
        };
        if let (Self::Own(own), Some(last)) = (self, costs.last_mut()) {
            *last = sub(*last, own.sale()?)?;
        }
        Ok(costs)
    }
}

impl Own {
    pub fn sale(&self) -> Result<Decimal, TcoError> {
        mul(self.purchase, self.residual)
    }

    /// Cash cost and deduction of each year, as the present value after tax takes them.
    pub fn periods(&self, years: u32) -> Result<Vec<OwnPeriod>, TcoError> {
        let cash_cost = self.running.cash_per_year(&self.fleet)?;
        let deductions = self.tax_depreciation.iter().copied().chain(std::iter::repeat(Decimal::ZERO));
        let count = usize::try_from(years).unwrap_or(usize::MAX);
        Ok(deductions.take(count).map(|tax_depreciation| OwnPeriod { cash_cost, tax_depreciation }).collect())
    }
}
