//! Decimal numbers, written digit by digit to the end of a page: a scrape has millions of them.
//!
//! A quantity is an integer that lies some places above its base unit: 300,500 mW with 3 is 300.5.
//! What is written is exactly that number, without zeros at the end of its fraction.

/// Digits of a number below a hundred.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Powers of ten that fit 64 bits.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut place = 1;
    while place < powers.len() {
        powers[place] = powers[place - 1] * 10;
        place += 1;
    }
    powers
};

/// A sign, 20 digits, a point and a zero before it.
const SHORT: usize = 24;

/// Writes a quantity that lies `decimals` places above its base unit, or below it where negative.
pub fn push(page: &mut Vec<u8>, value: i64, decimals: i8) {
    let places = usize::from(decimals.unsigned_abs());
    let Some(&power) = POWERS.get(places) else { return push_long(page, value.into(), decimals) };
    if decimals >= 0 {
        push_fraction(page, value < 0, value.unsigned_abs(), power, places);
    } else if let Some(whole) = value.unsigned_abs().checked_mul(power) {
        push_fraction(page, value < 0, whole, 1, 0);
    } else {
        push_long(page, value.into(), decimals);
    }
}

/// The same for any number.
pub fn push_wide(page: &mut Vec<u8>, value: i128, decimals: i8) {
    match i64::try_from(value) {
        Ok(short) => push(page, short, decimals),
        Err(_) => push_long(page, value, decimals),
    }
}

/// Writes `value / power`, where power is ten to the number of places.
fn push_fraction(page: &mut Vec<u8>, negative: bool, value: u64, power: u64, mut places: usize) {
    let (mut whole, mut part) = (value / power, value % power);
    let mut digits = [0; SHORT];
    let mut at = SHORT;
    if part > 0 {
        while part % 10 == 0 {
            part /= 10;
            places -= 1;
        }
        for _ in 0..places {
            at -= 1;
            digits[at] = PAIRS[(part % 10) as usize * 2 + 1];
            part /= 10;
        }
        at -= 1;
        digits[at] = b'.';
    }
    while whole > 9 {
        let pair = (whole % 100) as usize * 2;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        whole /= 100;
    }
    if whole > 0 || at == SHORT || digits[at] == b'.' {
        at -= 1;
        digits[at] = PAIRS[(whole % 10) as usize * 2 + 1];
    }
    if negative {
        at -= 1;
        digits[at] = b'-';
    }
    page.extend_from_slice(&digits[at..]);
}

/// Numbers that 64 bits do not hold: sums over a fleet, some day.
fn push_long(page: &mut Vec<u8>, value: i128, decimals: i8) {
    let mut digits = value.unsigned_abs().to_string();
    let places = usize::from(decimals.unsigned_abs());
    if value != 0 && decimals < 0 {
        digits.extend(std::iter::repeat_n('0', places));
    }
    let digits = if decimals > 0 { format!("{digits:0>width$}", width = places + 1) } else { digits };
    let (whole, part) = digits.split_at(digits.len() - if decimals > 0 { places } else { 0 });
    if value < 0 {
        page.push(b'-');
    }
    page.extend_from_slice(whole.as_bytes());
    let part = part.trim_end_matches('0');
    if !part.is_empty() {
        page.push(b'.');
        page.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    fn wide(value: i128, decimals: i8) -> String {
        let mut page = Vec::new();
        push_wide(&mut page, value, decimals);
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn integers_become_exact_decimals_of_the_base_unit() {
        let cases = [
            (300_500, 3, "300.5"),
            (-1_500, 3, "-1.5"),
            (-7, 3, "-0.007"),
            (1_000, 3, "1"),
            (10, 0, "10"),
            (100_100, 0, "100100"),
            (0, 6, "0"),
            (1_980_000, -3, "1980000000"),
            (0, -3, "0"),
            (i128::from(i64::MIN), 18, "-9.223372036854775808"),
            (i128::from(i64::MAX), -3, "9223372036854775807000"),
            (i128::from(u64::MAX), 3, "18446744073709551.615"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
            (-5, 25, "-0.0000000000000000000000005"),
        ];
        for (value, decimals, expected) in cases {
            assert_eq!(wide(value, decimals), expected);
        }
    }

    proptest! {
        #[test]
        fn a_scaled_number_reads_back_as_the_decimal_it_is(value: i64, decimals in 0_i8..=18) {
            let expected = Decimal::from_i128_with_scale(value.into(), u32::from(decimals.unsigned_abs()));
            prop_assert_eq!(wide(value.into(), decimals).parse::<Decimal>().unwrap(), expected);
            prop_assert_eq!(wide(value.into(), decimals), expected.normalize().to_string());
        }

        #[test]
        fn both_ways_of_writing_say_the_same(value: i64, decimals: i8) {
            let mut long = Vec::new();
            push_long(&mut long, value.into(), decimals);
            prop_assert_eq!(wide(value.into(), decimals).into_bytes(), long);
        }
    }
}
