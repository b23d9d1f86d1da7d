//! Cost centres: which centre pays for which owner, by rules of patterns.
//!
//! Every owner has one centre. An owner that no rule fits goes to [`UNMATCHED`], which every report shows;
//! an owner that rules of two centres fit is refused with both rules, since whoever wrote them must
//! decide. A rule for one exact name goes before patterns: that is how exceptions are written.

use crate::error::TcoError;
use crate::usage::{UNKNOWN, Usage};
use std::collections::BTreeMap;

/// The centre of owners that no rule fits.
pub const UNMATCHED: &str = "(nobody matched)";

/// One rule: owners whose name fits the pattern, where `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub pattern: String,
    pub centre: String,
    /// "centres.csv line 4".
    pub source: String,
}

impl Rule {
    fn exact(&self) -> bool {
        !self.pattern.contains('*')
    }
}

/// Whether a name fits a pattern.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    // Each middle part as early as it can be leaves the most for the ones after it.
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The centre of an owner; `None` where no rule fits.
pub fn centre_of<'a>(rules: &'a [Rule], owner: &str) -> Result<Option<&'a Rule>, TcoError> {
    let fitting =
        |exact: bool| rules.iter().filter(move |rule| rule.exact() == exact && fits(&rule.pattern, owner));
    for exact in [true, false] {
        let Some(first) = fitting(exact).next() else { continue };
        if let Some(other) = fitting(exact).find(|rule| rule.centre != first.centre) {
            return Err(TcoError::TwoRules {
                owner: owner.to_owned(),
                first: format!("{:?} → {} ({})", first.pattern, first.centre, first.source),
                other: format!("{:?} → {} ({})", other.pattern, other.centre, other.source),
            });
        }
        return Ok(Some(first));
    }
    Ok(None)
}

/// Which owner went where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assigned {
    /// Centre and rule of each owner's name.
    pub owners: BTreeMap<String, (String, String)>,
    pub unmatched: Vec<String>,
    /// Rules that fitted nobody: a mistype, or somebody who is gone.
    pub unused: Vec<Rule>,
}

/// Names the owners of a usage by their centres, so that a statement by owner is one by centre.
pub fn assign(usage: &mut Usage, rules: &[Rule]) -> Result<Assigned, TcoError> {
    let mut assigned = Assigned::default();
    let fixed = usize::try_from(UNKNOWN).unwrap_or_default().saturating_add(1);
    for name in usage.owners.iter_mut().skip(fixed) {
        let (centre, source) = match centre_of(rules, name)? {
            Some(rule) => (rule.centre.clone(), rule.source.clone()),
            None => (UNMATCHED.to_owned(), String::new()),
        };
        if source.is_empty() && centre == UNMATCHED && !assigned.unmatched.contains(name) {
            assigned.unmatched.push(name.clone());
        }
        assigned.owners.insert(std::mem::replace(name, centre.clone()), (centre, source));
    }
    assigned.unmatched.sort();
    let used = |rule: &Rule| assigned.owners.keys().any(|owner| fits(&rule.pattern, owner));
    assigned.unused = rules.iter().filter(|rule| !used(rule)).cloned().collect();
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, centre: &str, line: u32) -> Rule {
        let source = format!("centres.csv line {line}");
        Rule { pattern: pattern.to_owned(), centre: centre.to_owned(), source }
    }

    fn usage(owners: &[&str]) -> Usage {
        let owners = ["", ""].iter().chain(owners).map(|name| (*name).to_owned()).collect();
        Usage { owners, ..Usage::default() }
    }

    #[test]
    fn stars_stand_for_any_letters() {
        assert!(fits("ml-*", "ml-vision") && !fits("ml-*", "xml-vision") && fits("*", ""));
        assert!(fits("*.a.*.b", "x.a.y.b") && !fits("*.a.*.b", "x.a.b") && !fits("a*a", "a"));
    }

    #[test]
    fn an_exact_name_goes_before_patterns_and_the_rest_is_shown() {
        let rules = [rule("ml-*", "research", 2), rule("ml-serving", "product", 3), rule("old-*", "none", 4)];
        let mut usage = usage(&["ml-vision", "ml-serving", "guest", "guest"]);
        let assigned = assign(&mut usage, &rules).unwrap();
        assert_eq!(usage.owners[2..], ["research", "product", UNMATCHED, UNMATCHED]);
        assert_eq!(assigned.unmatched, ["guest"]);
        assert_eq!(assigned.owners["ml-serving"], ("product".to_owned(), "centres.csv line 3".to_owned()));
        assert_eq!(assigned.unused, [rule("old-*", "none", 4)]);
    }

    #[test]
    fn rules_that_match_twice_are_refused_with_both() {
        let rules = [rule("ml-*", "research", 2), rule("*-serving", "product", 3)];
        let error = assign(&mut usage(&["ml-serving"]), &rules).unwrap_err().to_string();
        assert_eq!(
            error,
            "owner ml-serving fits two rules: \"ml-*\" → research (centres.csv line 2) and \"*-serving\" → product \
             (centres.csv line 3); add a rule for \"ml-serving\" itself, or narrow one of them"
        );
        let same = [rule("ml-*", "research", 2), rule("*-serving", "research", 3)];
        assert!(assign(&mut usage(&["ml-serving"]), &same).is_ok());
    }
}
