//! The text exposition format 0.0.4, written page by page as it comes: no table of series is built.
//!
//! Invariants: a family's HELP and TYPE stand once, right before its first sample, and not at all
//! without one; numbers are exact decimals of the integers they come from; what was not asked for is
//! not written.

use super::families::{Family, Type};
use super::labels::{Block, Tail};
use super::number;
use super::select::Selection;
use gpuledger_proto::catalogue::{Kind, Metric};
use rust_decimal::Decimal;
use std::io::{self, Write as _};

/// Content type of what this module writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is handed on at once.
pub const PAGE_BYTES: usize = 64 * 1024;
/// Room for the line that fills a page: one with longer labels moves the page, and does no harm.
const LINE_BYTES: usize = 1024;

/// Where pages go.
pub trait Pages {
    /// Takes what was written and leaves an empty page.
    fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()>;
}

impl Pages for Vec<u8> {
    fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        self.append(page);
        Ok(())
    }
}

/// An empty page.
pub fn page() -> Vec<u8> {
    Vec::with_capacity(PAGE_BYTES + LINE_BYTES)
}

/// Writes families one after another.
pub struct Text<'a> {
    pages: &'a mut dyn Pages,
    page: Vec<u8>,
    selection: &'a Selection,
}

impl<'a> Text<'a> {
    pub fn new(pages: &'a mut dyn Pages, selection: &'a Selection) -> Self {
        Self { pages, page: page(), selection }
    }

    /// What of the whole is asked for.
    pub fn selection(&self) -> &'a Selection {
        self.selection
    }

    /// Writes one family, if it is asked for.
    pub fn family(
        &mut self,
        family: &Family,
        write: impl FnOnce(&mut Samples<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.samples(family.name, family.help, family.kind, write)
    }

    /// The family of a metric of the catalogue; nothing where its number means nothing by itself.
    pub fn metric(
        &mut self,
        metric: &Metric,
        write: impl FnOnce(&mut Samples<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let kind = if metric.kind == Kind::Counter { Type::Counter } else { Type::Gauge };
        metric.prometheus.map_or(Ok(()), |name| self.samples(name, metric.help, kind, write))
    }

    fn samples(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Type,
        write: impl FnOnce(&mut Samples<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.selection.takes_family(name) {
            return Ok(());
        }
        write(&mut Samples { pages: self.pages, page: &mut self.page, name, help, kind, begun: false })
    }

    /// The page, for what another encoder writes: whole families.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.page
    }

    /// Hands on the last page.
    pub fn finish(mut self) -> io::Result<()> {
        self.pages.take(&mut self.page)
    }
}

/// The samples of one family.
pub struct Samples<'a> {
    pages: &'a mut dyn Pages,
    page: &'a mut Vec<u8>,
    name: &'static str,
    help: &'static str,
    kind: Type,
    begun: bool,
}

impl Samples<'_> {
    /// An integer that lies `decimals` places above the base unit: 300,500 mW with 3 is 300.5.
    pub fn scaled<'b>(&mut self, labels: impl Into<Block<'b>>, value: i64, decimals: i8) -> io::Result<()> {
        self.begin_line()?;
        labels.into().push(self.page);
        self.page.push(b' ');
        number::push(self.page, value, decimals);
        self.page.push(b'\n');
        Ok(())
    }

    /// The same with labels that follow those of the block, and for any number.
    pub fn tailed(&mut self, labels: Block<'_>, tail: &Tail, value: i128, decimals: i8) -> io::Result<()> {
        self.begin_line()?;
        labels.push_tailed(self.page, tail);
        self.page.push(b' ');
        number::push_wide(self.page, value, decimals);
        self.page.push(b'\n');
        Ok(())
    }

    /// The same with more labels than the block has, and for any number.
    pub fn scaled_with<'b>(
        &mut self,
        labels: impl Into<Block<'b>>,
        more: &[(&str, &str)],
        value: i128,
        decimals: i8,
    ) -> io::Result<()> {
        self.begin_line()?;
        labels.into().push_with(self.page, more);
        self.page.push(b' ');
        number::push_wide(self.page, value, decimals);
        self.page.push(b'\n');
        Ok(())
    }

    pub fn integer<'b>(
        &mut self,
        labels: impl Into<Block<'b>>,
        more: &[(&str, &str)],
        value: impl Into<i128>,
    ) -> io::Result<()> {
        self.scaled_with(labels, more, value.into(), 0)
    }

    pub fn decimal<'b>(&mut self, labels: impl Into<Block<'b>>, value: Decimal) -> io::Result<()> {
        self.begin_line()?;
        labels.into().push(self.page);
        writeln!(self.page, " {}", value.normalize())
    }

    fn begin_line(&mut self) -> io::Result<()> {
        if self.page.len() >= PAGE_BYTES {
            self.pages.take(self.page)?;
        }
        if !self.begun {
            self.begun = true;
            let (name, kind) = (self.name, self.kind.name());
            write!(self.page, "# HELP {name} {}\n# TYPE {name} {kind}\n", self.help)?;
        }
        self.page.extend_from_slice(self.name.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::{BUILD_INFO, GPU_ENERGY};
    use super::super::labels::Labels;
    use super::*;

    #[test]
    fn a_family_is_declared_once_and_only_with_a_sample() {
        let mut out = Vec::new();
        let mut text = Text::new(&mut out, &Selection::ALL);
        text.family(&BUILD_INFO, |_| Ok(())).unwrap();
        text.family(&GPU_ENERGY, |energy| {
            energy.scaled(&Labels::new(&[("uuid", "GPU-1")]), 1_500, 3)?;
            energy.scaled_with(&Labels::new(&[("uuid", "GPU-2")]), &[("a", "b")], 0, 3)
        })
        .unwrap();
        text.finish().unwrap();
        let (name, help) = (GPU_ENERGY.name, GPU_ENERGY.help);
        let expected = format!(
            "# HELP {name} {help}\n# TYPE {name} counter\n{name}{{uuid=\"GPU-1\"}} 1.5\n{name}{{uuid=\"GPU-2\",a=\"b\"}} 0\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// Keeps how large each page was.
    struct Sizes(Vec<usize>);

    impl Pages for Sizes {
        fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
            self.0.push(page.len());
            page.clear();
            Ok(())
        }
    }

    #[test]
    fn pages_are_handed_on_as_they_fill_and_the_writer_keeps_one() {
        let mut sizes = Sizes(Vec::new());
        let mut text = Text::new(&mut sizes, &Selection::ALL);
        let labels = Labels::new(&[("uuid", "GPU-1")]);
        text.family(&GPU_ENERGY, |energy| (0..10_000).try_for_each(|value| energy.scaled(&labels, value, 0)))
            .unwrap();
        assert!(text.page.capacity() <= PAGE_BYTES + LINE_BYTES, "{}", text.page.capacity());
        text.finish().unwrap();
        let (last, full) = sizes.0.split_last().unwrap();
        assert!(full.iter().all(|size| (PAGE_BYTES..PAGE_BYTES + LINE_BYTES).contains(size)), "{full:?}");
        assert!(*last < PAGE_BYTES + LINE_BYTES && full.len() > 5, "{full:?} {last}");
    }
}
