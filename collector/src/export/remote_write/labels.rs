//! The labels of a series, sorted as the protocol wants them.
//!
//! Invariant: names begin with a small letter, so `__name__` stands before all of them.

use gpuledger_proto::frame::Gpu;

/// Labels of a device, or of one series of it, without the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// A label without a value is left out: to Prometheus it is the same.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::default().with(pairs)
    }

    /// The labels that every sample of a node has, as in `/metrics`.
    pub fn of_node(node: &str, extra: &Self) -> Self {
        extra.with([("node", node)])
    }

    /// The labels that every sample of a GPU has, as in `/metrics`.
    pub fn of_gpu(gpu: &Gpu, node: &str, extra: &Self) -> Self {
        extra.with([("gpu", gpu.index.to_string().as_str()), ("node", node), ("uuid", gpu.uuid.as_str())])
    }

    #[must_use]
    pub fn with<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let mut all = self.0.clone();
        all.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all.sort();
        Self(all)
    }

    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_empty_ones_left_out() {
        let labels = Labels::of_node("n1", &Labels::new([("site", "a"), ("cluster", "b"), ("x", "")]));
        let pairs: Vec<_> = labels.pairs().collect();
        assert_eq!(pairs, [("cluster", "b"), ("node", "n1"), ("site", "a")]);
        assert_eq!(labels.with([("a", "1")]).pairs().next(), Some(("a", "1")));
    }
}
