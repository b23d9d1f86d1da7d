//! Powers, logarithms and roots in decimals, to about 26 digits and the same on every machine.
//!
//! - A whole exponent is squared and multiplied, so that 1.1² is 1.21 exactly.
//! - Any other is e^(y·ln x): ln by the series of the inverse hyperbolic tangent after halving x into
//!   [2/3, 4/3], e^y by Taylor's series after taking out whole powers of two.
//! - A result that is too small for 28 places after the point is zero; one that is too large is an error.

use crate::decimal::{add, div, mul, sub};
use crate::error::TcoError;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

const TOO_LARGE: TcoError = TcoError::Overflow("a power");

/// ln 2, to the last place that a decimal has.
const LN_2: Decimal = Decimal::from_parts(2_860_148_159, 2_180_329_217, 375_755_839, false, 28);

/// Whole exponents up to this are multiplied out: a century of days. Beyond it the roundings of the
/// squares add up to more than those of the logarithm.
const MULTIPLIED_MAX: u32 = 36_525;

/// The series below end when a term vanishes, which is after 30 at most for their reduced arguments.
const TERMS_MAX: u32 = 60;

/// x to a whole power.
pub fn power_of_whole(x: Decimal, exponent: u32) -> Result<Decimal, TcoError> {
    let (mut result, mut square, mut left) = (Decimal::ONE, x, exponent);
    loop {
        if left % 2 == 1 {
            result = mul(result, square).map_err(|_| TOO_LARGE)?;
        }
        left /= 2;
        if left == 0 {
            return Ok(result);
        }
        square = mul(square, square).map_err(|_| TOO_LARGE)?;
    }
}

/// x to any power; x is more than zero, or zero to a power of more than zero.
pub fn power(x: Decimal, exponent: Decimal) -> Result<Decimal, TcoError> {
    if exponent.is_zero() || x == Decimal::ONE {
        return Ok(Decimal::ONE);
    }
    if x.is_zero() && exponent > Decimal::ZERO {
        return Ok(Decimal::ZERO);
    }
    let whole = exponent.abs().to_u32().filter(|&whole| Decimal::from(whole) == exponent.abs());
    let Some(whole) = whole.filter(|&whole| whole <= MULTIPLIED_MAX) else {
        let ln = mul(exponent, ln_1p(sub(x, Decimal::ONE)?)?);
        return match ln {
            Ok(y) => exp(y),
            Err(_) if (x > Decimal::ONE) == (exponent < Decimal::ZERO) => Ok(Decimal::ZERO),
            Err(_) => Err(TOO_LARGE),
        };
    };
    if exponent > Decimal::ZERO {
        return power_of_whole(x, whole);
    }
    // Inverted where the number is larger, so that no digits are lost below the 28th place.
    if x < Decimal::ONE {
        return power_of_whole(div(Decimal::ONE, x, "one")?, whole);
    }
    match power_of_whole(x, whole) {
        Ok(power) => div(Decimal::ONE, power, "one"),
        Err(_) => Ok(Decimal::ZERO),
    }
}

/// The natural logarithm of 1 + r, exact for small r too; r is more than −1.
pub fn ln_1p(r: Decimal) -> Result<Decimal, TcoError> {
    let mut x = add(Decimal::ONE, r)?;
    if x <= Decimal::ZERO {
        return Err(TcoError::Overflow("the logarithm of zero"));
    }
    let (low, high) = (Decimal::new(667, 3), Decimal::new(1_334, 3));
    let mut halvings = Decimal::ZERO;
    while x > high {
        x = div(x, Decimal::TWO, "a number")?;
        halvings = add(halvings, Decimal::ONE)?;
    }
    while x < low {
        x = mul(x, Decimal::TWO)?;
        halvings = sub(halvings, Decimal::ONE)?;
    }
    // ln x = 2·atanh((x − 1)/(x + 1)); where nothing was halved, x − 1 is r itself with all its places.
    let z = div(sub(x, Decimal::ONE)?, add(x, Decimal::ONE)?, "a number")?;
    let square = mul(z, z)?;
    let (mut term, mut sum) = (z, Decimal::ZERO);
    for n in 0..TERMS_MAX {
        let odd = n.saturating_mul(2).saturating_add(1);
        let part = div(term, Decimal::from(odd), "a term")?;
        if part.is_zero() {
            break;
        }
        sum = add(sum, part)?;
        term = mul(term, square)?;
    }
    add(mul(sum, Decimal::TWO)?, mul(halvings, LN_2)?)
}

/// e to the power of y.
pub fn exp(y: Decimal) -> Result<Decimal, TcoError> {
    if y < Decimal::ZERO {
        return match exp(y.abs()) {
            Ok(power) => div(Decimal::ONE, power, "one"),
            Err(_) => Ok(Decimal::ZERO),
        };
    }
    let twos = div(y, LN_2, "an exponent")?.round();
    let bits = twos.to_u32().filter(|&bits| bits <= 95).ok_or(TOO_LARGE)?;
    let rest = sub(y, mul(twos, LN_2)?)?;
    let (mut term, mut sum) = (Decimal::ONE, Decimal::ONE);
    for n in 1..TERMS_MAX {
        term = div(mul(term, rest)?, Decimal::from(n), "a term")?;
        if term.is_zero() {
            break;
        }
        sum = add(sum, term)?;
    }
    mul(sum, power_of_whole(Decimal::TWO, bits)?).map_err(|_| TOO_LARGE)
}

/// ((1 + r)ⁿ − 1)/r: what n payments of one at the ends of their periods grow to; n without interest.
pub fn annuity_future(r: Decimal, n: Decimal) -> Result<Decimal, TcoError> {
    if r.is_zero() {
        return Ok(n);
    }
    if small(r, n) {
        // n + n(n−1)/2!·r + n(n−1)(n−2)/3!·r² + …: the plain formula would cancel all digits.
        let (mut term, mut sum) = (n, Decimal::ZERO);
        for k in 1..TERMS_MAX {
            sum = add(sum, term)?;
            let factor = mul(sub(n, Decimal::from(k))?, r)?;
            term = div(mul(term, factor)?, Decimal::from(k.saturating_add(1)), "a term")?;
            if term.is_zero() {
                break;
            }
        }
        return Ok(sum);
    }
    div(sub(power(add(Decimal::ONE, r)?, n)?, Decimal::ONE)?, r, "growth")
}

/// (1 − (1 + r)⁻ⁿ)/r: what n payments of one at the ends of their periods are worth now; n without
/// interest.
pub fn annuity_present(r: Decimal, n: Decimal) -> Result<Decimal, TcoError> {
    let minus_n = sub(Decimal::ZERO, n)?;
    if r.is_zero() || small(r, n) {
        return mul(annuity_future(r, n)?, power(add(Decimal::ONE, r)?, minus_n)?);
    }
    div(sub(Decimal::ONE, power(add(Decimal::ONE, r)?, minus_n)?)?, r, "a discount")
}

fn small(r: Decimal, n: Decimal) -> bool {
    mul(r, n).is_ok_and(|product| product.abs() <= Decimal::new(1, 2)) && r.abs() <= Decimal::new(1, 2)
}

#[cfg(test)]
#[path = "powers_tests.rs"]
mod tests;
