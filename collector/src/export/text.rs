//! The text exposition format 0.0.4, written as it comes: no table of series is built.
//!
//! Invariants: a family's HELP and TYPE stand once, right before its first sample, and not at all
//! without one; numbers are exact decimals of the integers they come from.

use super::families::{Family, Type};
use gpuledger_proto::catalogue::{Kind, Metric};
use rust_decimal::Decimal;
use std::io::{self, Write};

/// Content type of what this module writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes families one after another.
pub struct Text<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Text<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    pub fn family(&mut self, family: &Family) -> Samples<'_> {
        self.samples(family.name, family.help, family.kind)
    }

    /// The family of a metric of the catalogue; `None` where its number means nothing by itself.
    pub fn metric(&mut self, metric: &Metric) -> Option<Samples<'_>> {
        let kind = if metric.kind == Kind::Counter { Type::Counter } else { Type::Gauge };
        metric.prometheus.map(|name| self.samples(name, metric.help, kind))
    }

    fn samples(&mut self, name: &'static str, help: &'static str, kind: Type) -> Samples<'_> {
        Samples { out: &mut *self.out, name, help, kind, begun: false }
    }

    /// What another encoder wrote, whole families of it.
    pub fn raw(&mut self) -> &mut dyn Write {
        &mut *self.out
    }
}

/// The samples of one family.
pub struct Samples<'a> {
    out: &'a mut dyn Write,
    name: &'static str,
    help: &'static str,
    kind: Type,
    begun: bool,
}

impl Samples<'_> {
    /// An integer that lies `decimals` places above the base unit: 300,500 mW with 3 is 300.5.
    pub fn scaled(&mut self, labels: &Labels, value: i128, decimals: i8) -> io::Result<()> {
        let mut digits = Digits::default();
        digits.push_scaled(value, decimals);
        self.line(labels, digits.as_bytes())
    }

    pub fn integer(&mut self, labels: &Labels, value: impl Into<i128>) -> io::Result<()> {
        self.scaled(labels, value.into(), 0)
    }

    pub fn decimal(&mut self, labels: &Labels, value: Decimal) -> io::Result<()> {
        self.line(labels, value.normalize().to_string().as_bytes())
    }

    fn line(&mut self, labels: &Labels, value: &[u8]) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            let (name, kind) = (self.name, self.kind.name());
            write!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}\n", self.help)?;
        }
        self.out.write_all(self.name.as_bytes())?;
        self.out.write_all(labels.0.as_bytes())?;
        self.out.write_all(b" ")?;
        self.out.write_all(value)?;
        self.out.write_all(b"\n")
    }
}

/// A label block, rendered once and used for many samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(String);

impl Labels {
    pub fn new(labels: &[(&str, &str)]) -> Self {
        Self::default().with(labels)
    }

    /// The same labels and these. A label without a value is left out: to Prometheus it is the same.
    #[must_use]
    pub fn with(&self, labels: &[(&str, &str)]) -> Self {
        let mut block = self.0.strip_suffix('}').unwrap_or_default().to_owned();
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            block.push(if block.is_empty() { '{' } else { ',' });
            block.push_str(name);
            block.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => block.push_str("\\\\"),
                    '"' => block.push_str("\\\""),
                    '\n' => block.push_str("\\n"),
                    other => block.push(other),
                }
            }
            block.push('"');
        }
        if !block.is_empty() {
            block.push('}');
        }
        Self(block)
    }
}

/// 39 digits of an `i128`, its sign, a point, zeros up to 127 places.
const DIGITS: usize = 176;

/// Decimal digits, written from the last to the first.
struct Digits {
    buffer: [u8; DIGITS],
    begin: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { buffer: [0; DIGITS], begin: DIGITS }
    }
}

impl Digits {
    fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.begin..]
    }

    fn push(&mut self, letter: u8) {
        self.begin -= 1;
        self.buffer[self.begin] = letter;
    }

    fn push_scaled(&mut self, value: i128, decimals: i8) {
        let mut rest = value.unsigned_abs();
        let shift = if rest == 0 { 0 } else { decimals };
        (shift..0).for_each(|_| self.push(b'0'));
        for _ in 0..shift {
            let digit = take_digit(&mut rest);
            // Zeros at the end of the fraction say nothing.
            if digit != b'0' || self.begin != DIGITS {
                self.push(digit);
            }
        }
        if shift > 0 && self.begin != DIGITS {
            self.push(b'.');
        }
        self.push(take_digit(&mut rest));
        while rest > 0 {
            self.push(take_digit(&mut rest));
        }
        if value < 0 {
            self.push(b'-');
        }
    }
}

/// Takes the last decimal digit off a number.
fn take_digit(rest: &mut u128) -> u8 {
    // Nearly every number fits 64 bits, which divide several times faster.
    let digit = if let Ok(short) = u64::try_from(*rest) {
        *rest = u128::from(short / 10);
        short % 10
    } else {
        let digit = *rest % 10;
        *rest /= 10;
        u64::try_from(digit).unwrap_or_default()
    };
    b'0' + digit.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::super::families::{BUILD_INFO, GPU_ENERGY};
    use super::*;
    use proptest::prelude::*;

    fn scaled(value: i128, decimals: i8) -> String {
        let mut digits = Digits::default();
        digits.push_scaled(value, decimals);
        String::from_utf8(digits.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn integers_become_exact_decimals_of_the_base_unit() {
        let cases = [
            (300_500, 3, "300.5"),
            (-1_500, 3, "-1.5"),
            (-7, 3, "-0.007"),
            (1_000, 3, "1"),
            (0, 6, "0"),
            (1_980_000, -3, "1980000000"),
            (0, -3, "0"),
            (i128::from(u64::MAX), 3, "18446744073709551.615"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ];
        for (value, decimals, expected) in cases {
            assert_eq!(scaled(value, decimals), expected);
        }
    }

    proptest! {
        #[test]
        fn a_scaled_number_reads_back_as_the_decimal_it_is(value: i64, decimals in 0_i8..=12) {
            let expected = Decimal::from_i128_with_scale(value.into(), u32::from(decimals.unsigned_abs()));
            prop_assert_eq!(scaled(value.into(), decimals).parse::<Decimal>().unwrap(), expected);
        }

        #[test]
        fn any_scale_is_within_the_buffer(value: i128, decimals: i8) {
            prop_assert!(!scaled(value, decimals).is_empty());
        }
    }

    #[test]
    fn labels_are_escaped_and_empty_ones_left_out() {
        let labels = Labels::new(&[("a", "x\\y\"z\nw"), ("b", "")]);
        assert_eq!(labels.0, "{a=\"x\\\\y\\\"z\\nw\"}");
        assert_eq!(labels.with(&[("c", "1")]).0, "{a=\"x\\\\y\\\"z\\nw\",c=\"1\"}");
        assert_eq!(Labels::new(&[]).with(&[("c", "1")]).0, "{c=\"1\"}");
    }

    #[test]
    fn a_family_is_declared_once_and_only_with_a_sample() {
        let mut out = Vec::new();
        let mut text = Text::new(&mut out);
        text.family(&BUILD_INFO);
        let mut energy = text.family(&GPU_ENERGY);
        energy.scaled(&Labels::new(&[("uuid", "GPU-1")]), 1_500, 3).unwrap();
        energy.scaled(&Labels::new(&[("uuid", "GPU-2")]), 0, 3).unwrap();
        let (name, help) = (GPU_ENERGY.name, GPU_ENERGY.help);
        let expected = format!(
            "# HELP {name} {help}\n# TYPE {name} counter\n{name}{{uuid=\"GPU-1\"}} 1.5\n{name}{{uuid=\"GPU-2\"}} 0\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
