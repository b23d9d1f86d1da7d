//! How an item was paid: the payments of each month, and what of them is interest.
//!
//! A loan is repaid in equal payments at the end of each month; a lease is measured at the present value
//! of its payments ([`crate::finance::lease`]). Interest is money that flows; it is not added to the
//! capital charge, which stands for the same thing: a report shows one or the other.

use crate::calendar::Month;
use crate::decimal::{div, round, sub};
use crate::error::TcoError;
use crate::finance::{When, lease, minus, pmt, refuse};
use rust_decimal::Decimal;

/// Longest term: 50 years.
pub const TERM_MONTHS_MAX: u32 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Financing {
    #[default]
    Cash,
    /// `rate` a year; its twelfth is a month's.
    Loan { principal: Decimal, rate: Decimal, months: u32, first: Month },
    /// `rate` a year, the incremental borrowing rate.
    Lease { payment: Decimal, rate: Decimal, months: u32, first: Month, when: When },
}

/// One month of a loan or lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    pub month: Month,
    pub payment: Decimal,
    pub interest: Decimal,
    pub principal: Decimal,
    /// Owed at the end of the month.
    pub balance: Decimal,
    /// Straight line on the right-of-use asset; zero for a loan.
    pub depreciation: Decimal,
}

impl Financing {
    pub(super) fn check(&self, serial: &str) -> Result<(), TcoError> {
        let name = format!("the financing of {serial}");
        let (rate, months, amount) = match self {
            Self::Cash => return Ok(()),
            Self::Loan { principal, rate, months, .. } => (rate, months, principal),
            Self::Lease { payment, rate, months, .. } => (rate, months, payment),
        };
        if *rate < Decimal::ZERO || *rate > Decimal::ONE {
            return refuse(&name, "rate", rate, "0 to 1 (100 %) a year: 0.07 is 7 %");
        }
        if *months == 0 || *months > TERM_MONTHS_MAX {
            return refuse(&name, "term in months", months, "1 to 600");
        }
        if *amount <= Decimal::ZERO {
            return refuse(&name, "amount", amount, "more than zero");
        }
        Ok(())
    }

    /// Every month of the term, in units of 10⁻`digits`; the last payment takes the residue. Principal
    /// sums to what was borrowed.
    pub fn schedule(&self, digits: u32) -> Result<Vec<Payment>, TcoError> {
        self.check("the schedule")?;
        match *self {
            Self::Cash => Ok(Vec::new()),
            Self::Loan { principal, rate, months, first } => loan(principal, rate, months, first, digits),
            Self::Lease { payment, rate, months, first, when } => {
                let payments = vec![payment; usize::try_from(months).unwrap_or(usize::MAX)];
                of_lease(&payments, rate, first, when, digits)
            }
        }
    }
}

fn monthly(rate: Decimal) -> Result<Decimal, TcoError> {
    div(rate, Decimal::from(12), "a rate")
}

fn loan(
    principal: Decimal,
    rate: Decimal,
    months: u32,
    first: Month,
    digits: u32,
) -> Result<Vec<Payment>, TcoError> {
    let rate = monthly(rate)?;
    let equal = pmt(rate, Decimal::from(months), principal, Decimal::ZERO, When::End)?;
    let equal = round(minus(equal), digits);
    let (mut balance, mut month) = (principal, first);
    let mut payments = Vec::new();
    for number in 1..=months {
        let interest = round(crate::decimal::mul(balance, rate)?, digits);
        let repaid = if number == months { balance } else { sub(equal, interest)?.min(balance) };
        balance = sub(balance, repaid)?;
        let payment = crate::decimal::add(interest, repaid)?;
        payments.push(Payment {
            month,
            payment,
            interest,
            principal: repaid,
            balance,
            depreciation: Decimal::ZERO,
        });
        month = month.plus(1)?;
    }
    Ok(payments)
}

fn of_lease(
    payments: &[Decimal],
    rate: Decimal,
    first: Month,
    when: When,
    digits: u32,
) -> Result<Vec<Payment>, TcoError> {
    let books = lease(monthly(rate)?, payments, when)?;
    let liability = round(books.liability, digits);
    let equal = div(liability, Decimal::from(payments.len()), "the right-of-use asset")?;
    let straight = crate::depreciation::to_smallest_unit(&vec![equal; payments.len()], liability, digits)?;
    let (mut balance, mut month) = (liability, first);
    let mut schedule = Vec::new();
    let last = payments.len().saturating_sub(1);
    for (number, (period, depreciation)) in books.periods.iter().zip(straight).enumerate() {
        // The last payment settles what is owed, whatever the rounding left.
        let interest =
            if number == last { sub(period.payment, balance)? } else { round(period.interest, digits) };
        let principal = sub(period.payment, interest)?;
        balance = sub(balance, principal)?;
        schedule.push(Payment { month, payment: period.payment, interest, principal, balance, depreciation });
        month = month.plus(1)?;
    }
    Ok(schedule)
}
