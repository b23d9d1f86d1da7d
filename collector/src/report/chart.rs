//! Bar charts as SVG, for the page. Nothing but shapes and text: no script, no style sheet, no font
//! of its own, so a chart looks the same on screen and on paper.
//!
//! All positions are decimals with two places: the same numbers give the same bytes.

use rust_decimal::{Decimal, RoundingStrategy};
use std::fmt::Write as _;

/// Width of the whole drawing, in its own units; it scales with the page.
const WIDTH: u32 = 720;
/// Most room for the names at the left, and least.
const NAMES_MAX: u32 = 158;
const NAMES_MIN: u32 = 40;
/// Room that a letter takes, rounded up.
const LETTER: u32 = 7;
/// Room for the figures at the right.
const FIGURES: u32 = 104;
/// Height of one bar's row and of the bar in it.
const ROW: u32 = 26;
const BAR: u32 = 15;
/// Height of the axis below the bars.
const AXIS: u32 = 22;
/// Room between a name and its bar.
const NAME_GAP: u32 = 10;
/// Letters of a name that fit beside a bar: `(NAMES_MAX - NAME_GAP) / LETTER`.
const NAME_CHARS: usize = 21;
/// About as many lines as are put on the axis.
const TICKS: u32 = 5;

const INK: &str = "#1c2733";
const FAINT: &str = "#6b7885";
const GRID: &str = "#e3e8ec";

/// One row: a name, its parts from left to right, and the figure beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    pub name: String,
    pub parts: Vec<Part>,
    pub figure: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub value: Decimal,
    pub color: &'static str,
    /// What a reader sees who points at it.
    pub title: String,
}

/// What the axis is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// From nothing to the longest bar, with lines at round numbers.
    Amounts,
    /// Every bar is the whole of something.
    Whole,
}

/// Draws bars whose parts lie side by side. Negative parts go to the left of zero.
pub fn stacked(bars: &[Bar], axis: Axis, label: &str) -> String {
    let scale = Scale::of(bars, axis);
    let height = u32::try_from(bars.len()).unwrap_or(u32::MAX).saturating_mul(ROW).saturating_add(AXIS);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\" font-size=\"11\">",
        escaped(label)
    );
    let foot = height.saturating_sub(AXIS);
    for (at, text) in scale.ticks(axis) {
        let _ = write!(svg, "<line x1=\"{at}\" x2=\"{at}\" y1=\"0\" y2=\"{foot}\" stroke=\"{GRID}\"/>");
        let _ = write!(
            svg,
            "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" font-size=\"9.5\" fill=\"{FAINT}\">{text}</text>",
            foot + 14
        );
    }
    for (bar, top) in bars.iter().zip((0u32..).step_by(26)) {
        draw(&mut svg, bar, top, &scale);
    }
    svg.push_str("</svg>");
    svg
}

fn draw(svg: &mut String, bar: &Bar, top: u32, scale: &Scale) {
    let middle = top + ROW / 2 + 4;
    let name = escaped(&super::table::shortened(&bar.name, NAME_CHARS));
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" fill=\"{INK}\">{name}",
        scale.names - NAME_GAP
    );
    let _ = write!(svg, "<title>{}</title></text>", escaped(&bar.name));
    let y = top + (ROW - BAR) / 2;
    let (mut right, mut left) = (Decimal::ZERO, Decimal::ZERO);
    for part in &bar.parts {
        let (from, to) = if part.value.is_sign_negative() {
            let from = left.saturating_add(part.value);
            (from, std::mem::replace(&mut left, from))
        } else {
            let to = right.saturating_add(part.value);
            (std::mem::replace(&mut right, to), to)
        };
        let (x, end) = (scale.at(from), scale.at(to));
        if end > x {
            let _ = write!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\" fill=\"{}\"><title>{}</title></rect>",
                end - x,
                part.color,
                escaped(&part.title)
            );
        }
    }
    let _ = write!(
        svg,
        "<text x=\"{WIDTH}\" y=\"{middle}\" text-anchor=\"end\" fill=\"{INK}\" font-weight=\"600\">{}</text>",
        escaped(&bar.figure)
    );
}

/// From values to positions.
struct Scale {
    /// Where bars begin.
    names: u32,
    low: Decimal,
    high: Decimal,
}

impl Scale {
    fn of(bars: &[Bar], axis: Axis) -> Self {
        let side = |bar: &Bar, negative: bool| {
            let parts = bar.parts.iter().filter(|part| part.value.is_sign_negative() == negative);
            parts.fold(Decimal::ZERO, |sum, part| sum.saturating_add(part.value))
        };
        let high = bars.iter().map(|bar| side(bar, false)).max().unwrap_or_default();
        let low = bars.iter().map(|bar| side(bar, true)).min().unwrap_or_default();
        let letters = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
        let names = u32::try_from(letters).unwrap_or(u32::MAX).saturating_mul(LETTER).saturating_add(12);
        let names = names.clamp(NAMES_MIN, NAMES_MAX);
        match axis {
            Axis::Amounts if high > low => Self { names, low, high },
            _ => Self { names, low: Decimal::ZERO, high: Decimal::ONE },
        }
    }

    fn at(&self, value: Decimal) -> Decimal {
        let room = Decimal::from(WIDTH - self.names - FIGURES);
        let span = self.high.saturating_sub(self.low);
        let share = value.saturating_sub(self.low).checked_div(span).unwrap_or_default();
        let share = share.clamp(Decimal::ZERO, Decimal::ONE);
        (Decimal::from(self.names) + share * room)
            .round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
    }

    /// Where lines are and what stands below them.
    fn ticks(&self, axis: Axis) -> Vec<(Decimal, String)> {
        if axis == Axis::Whole {
            let quarter = |n: u32| (self.at(Decimal::new(i64::from(n) * 25, 2)), format!("{} %", n * 25));
            return (0..=4).map(quarter).collect();
        }
        let step = round_step(self.high.saturating_sub(self.low) / Decimal::from(TICKS));
        let mut at = (self.low / step).ceil() * step;
        let mut ticks = Vec::new();
        while at <= self.high {
            ticks.push((self.at(at), short(at)));
            at += step;
        }
        ticks
    }
}

/// The next of 1, 2, 5, 10, 20, 50, … that is not below `least`.
fn round_step(least: Decimal) -> Decimal {
    let mut ten = Decimal::new(1, 6);
    loop {
        for factor in [1, 2, 5] {
            let step = ten.saturating_mul(Decimal::from(factor));
            if step >= least || step == Decimal::MAX {
                return step;
            }
        }
        ten = ten.saturating_mul(Decimal::TEN);
    }
}

/// `1.5 M`, `200 k`, `40`: a number on an axis.
fn short(value: Decimal) -> String {
    let (divisor, unit) = match value.abs() {
        v if v >= Decimal::from(1_000_000) => (1_000_000, " M"),
        v if v >= Decimal::from(1_000) => (1_000, " k"),
        _ => (1, ""),
    };
    format!("{}{unit}", (value / Decimal::from(divisor)).normalize()).replace('-', "−")
}

/// Text inside SVG or an attribute of it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, values: &[i64]) -> Bar {
        let part = |&value: &i64| Part { value: value.into(), color: "#000", title: String::new() };
        Bar { name: name.into(), parts: values.iter().map(part).collect(), figure: "1".into() }
    }

    /// (x, width) of every rectangle.
    fn boxes(svg: &str) -> Vec<(Decimal, Decimal)> {
        let number = |text: &str, key: &str| -> Decimal {
            let from = text.find(key).unwrap() + key.len() + 2;
            text[from..].split('"').next().unwrap().parse().unwrap()
        };
        svg.split("<rect").skip(1).map(|r| (number(r, " x"), number(r, "width"))).collect()
    }

    #[test]
    fn parts_lie_side_by_side_and_the_longest_bar_fills_the_room() {
        let svg = stacked(&[bar("a", &[30, 70]), bar("b", &[50])], Axis::Amounts, "costs");
        let [first, second, third] = boxes(&svg)[..] else { panic!("{svg}") };
        assert_eq!(first.0, NAMES_MIN.into());
        assert_eq!(first.0 + first.1, second.0);
        assert_eq!(second.0 + second.1, (WIDTH - FIGURES).into());
        assert_eq!(third.1 * Decimal::TWO, first.1 + second.1);
    }

    #[test]
    fn the_longest_name_fits_beside_its_bar() {
        assert_eq!(NAME_CHARS, ((NAMES_MAX - NAME_GAP) / LETTER) as usize);
        let svg = stacked(&[bar(&"W".repeat(90), &[1])], Axis::Amounts, "costs");
        let shown = svg.split("<title>").next().unwrap();
        assert_eq!(shown.chars().filter(|&c| c == 'W').count(), NAME_CHARS - 1);
        assert_eq!(boxes(&svg)[0].0, NAMES_MAX.into());
    }

    #[test]
    fn a_negative_part_lies_left_of_zero() {
        let svg = stacked(&[bar("a", &[-25, 75])], Axis::Amounts, "costs");
        let [negative, positive] = boxes(&svg)[..] else { panic!("{svg}") };
        assert_eq!(negative.0 + negative.1, positive.0);
        assert_eq!(negative.1 * Decimal::from(3), positive.1);
    }

    #[test]
    fn nothing_to_draw_is_drawn_without_dividing_by_it() {
        for bars in [vec![], vec![bar("a", &[])], vec![bar("a", &[0, 0])]] {
            let svg = stacked(&bars, Axis::Amounts, "costs");
            assert!(boxes(&svg).is_empty() && svg.ends_with("</svg>"));
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_the_drawing() {
        let svg = stacked(&[bar("<script>\"&'", &[1])], Axis::Amounts, "\"><script>");
        assert!(!svg.contains("<script"), "{svg}");
    }

    #[test]
    fn lines_stand_at_round_numbers() {
        for (least, step) in [("0.3", "0.5"), ("1", "1"), ("13", "20"), ("2100", "5000")] {
            assert_eq!(round_step(least.parse().unwrap()), step.parse().unwrap(), "{least}");
        }
        assert_eq!(short(Decimal::from(1_500_000)), "1.5 M");
        assert_eq!(short(Decimal::from(-20_000)), "−20 k");
    }
}
