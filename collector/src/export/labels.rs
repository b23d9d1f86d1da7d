//! Label blocks: `{uuid="GPU-…",node="n1"}`, rendered once and used for many samples.

/// A rendered block; empty where there are no labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a>(&'a [u8]);

impl Block<'_> {
    /// No labels.
    pub const NONE: Self = Self(b"");

    pub(super) fn push(self, page: &mut Vec<u8>) {
        page.extend_from_slice(self.0);
    }

    /// Writes the labels of a block that has some, and a tail.
    pub(super) fn push_tailed(self, page: &mut Vec<u8>, tail: &Tail) {
        page.extend_from_slice(self.0.strip_suffix(b"}").unwrap_or_default());
        page.extend_from_slice(&tail.0);
    }

    /// Writes these labels and more. A label without a value is left out: to Prometheus it is the same.
    pub(super) fn push_with(self, page: &mut Vec<u8>, more: &[(&str, &str)]) {
        if more.is_empty() {
            return self.push(page);
        }
        let begin = page.len();
        page.extend_from_slice(self.0.strip_suffix(b"}").unwrap_or_default());
        for (name, value) in more.iter().filter(|(_, value)| !value.is_empty()) {
            page.push(if page.len() == begin { b'{' } else { b',' });
            page.extend_from_slice(name.as_bytes());
            page.extend_from_slice(b"=\"");
            push_escaped(page, value);
            page.push(b'"');
        }
        if page.len() > begin {
            page.push(b'}');
        }
    }
}

/// Labels that follow those of a block, rendered once and used with many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// At least one label with a value.
    pub fn new(labels: &[(&str, &str)]) -> Self {
        let mut tail = Vec::new();
        Block(b"{}").push_with(&mut tail, labels);
        tail.remove(0);
        Self(tail)
    }
}

fn push_escaped(page: &mut Vec<u8>, value: &str) {
    // Hardly any value has a letter that must be escaped: all are looked at, many at a time.
    if !value.bytes().fold(false, |found, byte| found | matches!(byte, b'\\' | b'"' | b'\n')) {
        return page.extend_from_slice(value.as_bytes());
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => page.extend_from_slice(b"\\\\"),
            b'"' => page.extend_from_slice(b"\\\""),
            b'\n' => page.extend_from_slice(b"\\n"),
            other => page.push(other),
        }
    }
}

/// A block of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Vec<u8>);

impl Labels {
    pub fn new(labels: &[(&str, &str)]) -> Self {
        Self::default().with(labels)
    }

    /// The same labels and these.
    #[must_use]
    pub fn with(&self, labels: &[(&str, &str)]) -> Self {
        let mut block = Vec::new();
        Block::from(self).push_with(&mut block, labels);
        Self(block)
    }
}

impl<'a> From<&'a Labels> for Block<'a> {
    fn from(labels: &'a Labels) -> Self {
        Self(&labels.0)
    }
}

/// The blocks of many devices, one after the other in one piece of memory.
#[derive(Debug)]
pub struct Blocks {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Blocks {
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    pub fn push(&mut self, labels: &[(&str, &str)]) {
        Block::NONE.push_with(&mut self.bytes, labels);
        self.ends.push(self.bytes.len());
    }

    /// In the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = Block<'_>> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| {
            let block = Block(&self.bytes[begin..end]);
            begin = end;
            block
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(labels: &Labels) -> &str {
        std::str::from_utf8(&labels.0).unwrap()
    }

    #[test]
    fn labels_are_escaped_and_empty_ones_left_out() {
        let labels = Labels::new(&[("a", "x\\y\"z\nwä"), ("b", "")]);
        assert_eq!(text(&labels), "{a=\"x\\\\y\\\"z\\nwä\"}");
        assert_eq!(text(&labels.with(&[("c", "1")])), "{a=\"x\\\\y\\\"z\\nwä\",c=\"1\"}");
        assert_eq!(text(&Labels::new(&[]).with(&[("c", "1")])), "{c=\"1\"}");
        assert_eq!(text(&Labels::new(&[("b", "")])), "");
    }

    #[test]
    fn many_blocks_come_back_one_by_one() {
        let mut blocks = Blocks::new();
        let pushed = [[("node", "n1")], [("node", "")], [("node", "n2")]];
        for labels in &pushed {
            blocks.push(labels);
        }
        let expected = pushed.map(|labels| Labels::new(&labels));
        assert!(blocks.iter().eq(expected.iter().map(Block::from)));
    }
}
