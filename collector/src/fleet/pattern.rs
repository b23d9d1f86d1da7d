//! Names of nodes with `*` for any letters.

/// A name, or a name with stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn fits(&self, name: &str) -> bool {
        gpuledger_tco::centres::fits(&self.0, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        let fits = |pattern: &str, name: &str| Pattern::new(pattern).fits(name);
        assert!(fits("gpu-01", "gpu-01") && !fits("gpu-01", "gpu-011") && !fits("gpu-01", "gpu-0"));
        assert!(fits("*", "") && fits("*", "anything"));
        assert!(fits("gpu-*", "gpu-17") && !fits("gpu-*", "cpu-17"));
        assert!(fits("*.dc1.*.net", "a.dc1.b.net") && !fits("*.dc1.*.net", "a.dc1.net"));
        assert!(fits("a*a", "aba") && !fits("a*a", "a"), "the ends must not overlap");
        assert!(fits("*ab*ab", "abab") && !fits("*ab*ab", "ab"));
    }
}
