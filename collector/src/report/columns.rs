//! Text in columns, for terminals.

use std::io::{self, Write};

/// Blanks between two columns.
const GAP: &str = "  ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A header, rows, and a last line of totals, each with as many cells as there are alignments.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub align: Vec<Align>,
    pub header: Vec<String>,
    /// A second line of the header, where any column has a unit; else empty.
    pub units: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub total: Option<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let (header, align) = columns.iter().map(|&(name, align)| (name.to_owned(), align)).unzip();
        Self { align, header, ..Self::default() }
    }

    /// Writes the table with a rule below its header and one above its totals.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths();
        let rule = "─".repeat(self.width());
        self.line(out, &self.header, &widths)?;
        if !self.units.is_empty() {
            self.line(out, &self.units, &widths)?;
        }
        writeln!(out, "{rule}")?;
        for row in &self.rows {
            self.line(out, row, &widths)?;
        }
        if let Some(total) = &self.total {
            writeln!(out, "{rule}")?;
            self.line(out, total, &widths)?;
        }
        Ok(())
    }

    /// Columns that the table takes.
    pub fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
    }

    fn widths(&self) -> Vec<usize> {
        let lines = || [&self.header, &self.units].into_iter().chain(&self.rows).chain(&self.total);
        let width = |column: usize| lines().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max();
        (0..self.align.len()).map(|column| width(column).unwrap_or(0)).collect()
    }

    fn line(&self, out: &mut dyn Write, cells: &[String], widths: &[usize]) -> io::Result<()> {
        let mut text = String::new();
        for (position, ((cell, &width), align)) in cells.iter().zip(widths).zip(&self.align).enumerate() {
            if position > 0 {
                text.push_str(GAP);
            }
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => text.extend([cell, &pad].map(String::as_str)),
                Align::Right => text.extend([&pad, cell].map(String::as_str)),
            }
        }
        writeln!(out, "{}", text.trim_end())
    }
}

/// Breaks a text into lines of at most `width` characters at blanks; a longer word has a line alone.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lean_left_and_numbers_right() {
        let mut table = Table::new(&[("name", Align::Left), ("€", Align::Right)]);
        table.rows = vec![vec!["a".into(), "1.00".into()], vec!["long name".into(), "10.00".into()]];
        table.total = Some(vec!["total".into(), "11.00".into()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let rule = "─".repeat(16);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "name           €\n{rule}\na           1.00\nlong name  10.00\n{rule}\ntotal      11.00\n"
            )
        );
    }

    #[test]
    fn a_text_is_broken_at_blanks_only() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable word", 4), ["unbreakable", "word"]);
        assert!(wrap("  ", 4).is_empty());
    }
}
