//! Which part of the exposition a scrape asks for.
//!
//! | parameter | what is taken |
//! |---|---|
//! | `shard=i/n` | the i-th of n parts of the nodes, from 1; the first has what is of no node, too |
//! | `family=NAME` | families by name, several with commas or repeated; `gpuledger_gpu_*` takes all that begin so |
//! | `site=NAME` | nodes of a site of the register, several when repeated; `site=` those without one, and what is of no node |
//!
//! Invariants: whoever asks for all n shards gets each series once, and so does who asks for every site
//! and `site=`; a node's shard follows from its name and n alone (FNV-1a, 64 bits, modulo n), so it is
//! the same in every collector and after every restart. What cannot be meant is refused: a dashboard
//! that quietly lacks a family is worse than a scrape that fails.

use super::families::FAMILIES;
use super::sites::Sites;
use gpuledger_proto::catalogue::CATALOGUE;
use gpuledger_proto::limits::NAME_BYTES_MAX;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Shards of one scrape: a fleet of 10,000 nodes has ten nodes in each.
pub const SHARDS_MAX: u64 = 1_000;

/// Why a scrape was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("{0:?} is no parameter of /metrics; expected shard=i/n, family=NAME or site=NAME")]
    Parameter(String),
    #[error("shard is given more than once; one scrape has one shard")]
    ShardTwice,
    #[error(
        "shard={0:?} is not a shard; expected i/n with i from 1 to n and n at most {SHARDS_MAX}, as in shard=1/3"
    )]
    Shard(String),
    #[error("family={given:?} is no family of /metrics; the nearest is {nearest}")]
    Family { given: String, nearest: &'static str },
    #[error("family={0:?} fits no family of /metrics; a * stands at the end, as in gpuledger_gpu_*")]
    Pattern(String),
    #[error("site={given:?} is no site of the register; the nearest is {nearest:?}")]
    Site { given: String, nearest: String },
    #[error(
        "site={0:?} is not known: the collector has no register (`fleet` in its configuration) that names sites"
    )]
    NoRegister(String),
    #[error("the value of {0} is longer than any name")]
    Long(&'static str),
}

/// What of the whole is asked for.
#[derive(Debug)]
pub struct Selection {
    families: Option<BTreeSet<&'static str>>,
    shard: Option<Shard>,
    places: Option<Places>,
}

/// One of several parts of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    /// From 0.
    at: u64,
    of: u64,
}

/// Some of the sites; `None` among them is where a node has no site.
#[derive(Debug)]
struct Places {
    sites: Arc<Sites>,
    chosen: BTreeSet<Option<usize>>,
}

impl Selection {
    /// Everything.
    pub const ALL: Self = Self { families: None, shard: None, places: None };

    /// From the parameters of a request, in any order.
    pub fn of(
        parameters: impl IntoIterator<Item = (String, String)>,
        sites: &Arc<Sites>,
    ) -> Result<Self, SelectError> {
        let mut this = Self::ALL;
        for (name, value) in parameters {
            match name.as_str() {
                "shard" if this.shard.is_some() => return Err(SelectError::ShardTwice),
                "shard" => this.shard = Some(Shard::parse(&value)?),
                "family" => {
                    let families = this.families.get_or_insert_default();
                    for one in value.split(',') {
                        families.extend(families_of(one)?);
                    }
                }
                "site" => {
                    let site = site_of(&value, sites)?;
                    let places = || Places { sites: Arc::clone(sites), chosen: BTreeSet::new() };
                    this.places.get_or_insert_with(places).chosen.insert(site);
                }
                _ => return Err(SelectError::Parameter(short(&name))),
            }
        }
        Ok(this)
    }

    pub fn takes_family(&self, name: &str) -> bool {
        self.families.as_ref().is_none_or(|families| families.contains(name))
    }

    /// Whether series of this node are taken.
    pub fn takes_node(&self, node: &str) -> bool {
        self.shard.is_none_or(|shard| shard.has(node))
            && self.places.as_ref().is_none_or(|places| places.chosen.contains(&places.sites.of(node)))
    }

    /// Whether series of no node are taken: of the fleet as a whole and of the collector.
    pub fn takes_whole(&self) -> bool {
        self.shard.is_none_or(|shard| shard.at == 0)
            && self.places.as_ref().is_none_or(|places| places.chosen.contains(&None))
    }
}

impl Shard {
    fn parse(value: &str) -> Result<Self, SelectError> {
        let number = |digits: &str| -> Option<u64> {
            // `parse` would take a plus sign, which an address makes of a space.
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        };
        let parts = value.split_once('/').and_then(|(at, of)| number(at).zip(number(of)));
        match parts {
            Some((at, of)) if (1..=of).contains(&at) && of <= SHARDS_MAX => Ok(Self { at: at - 1, of }),
            _ => Err(SelectError::Shard(short(value))),
        }
    }

    fn has(self, node: &str) -> bool {
        fnv1a(node.as_bytes()) % self.of == self.at
    }
}

/// The hash by Fowler, Noll and Vo, variant 1a, of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Every family that `/metrics` can have.
fn known_families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.name).chain(CATALOGUE.iter().filter_map(|metric| metric.prometheus))
}

/// The families that a name or a pattern means.
fn families_of(wanted: &str) -> Result<Vec<&'static str>, SelectError> {
    if wanted.len() > NAME_BYTES_MAX {
        return Err(SelectError::Long("family"));
    }
    if let Some(begin) = wanted.strip_suffix('*') {
        let found: Vec<_> = known_families().filter(|name| name.starts_with(begin)).collect();
        return if found.is_empty() { Err(SelectError::Pattern(short(wanted))) } else { Ok(found) };
    }
    let nearest = known_families().min_by_key(|name| strsim::damerau_levenshtein(wanted, name));
    match nearest {
        Some(name) if name == wanted => Ok(vec![name]),
        nearest => Err(SelectError::Family { given: short(wanted), nearest: nearest.unwrap_or_default() }),
    }
}

fn site_of(wanted: &str, sites: &Sites) -> Result<Option<usize>, SelectError> {
    if wanted.len() > NAME_BYTES_MAX {
        return Err(SelectError::Long("site"));
    }
    let site = sites.names().iter().position(|name| name == wanted);
    if site.is_some() || wanted.is_empty() {
        return Ok(site);
    }
    let distance = |name: &&String| strsim::damerau_levenshtein(wanted, name);
    Err(match sites.names().iter().min_by_key(distance) {
        Some(nearest) => SelectError::Site { given: short(wanted), nearest: nearest.clone() },
        None => SelectError::NoRegister(short(wanted)),
    })
}

/// What somebody gave, for a message.
fn short(given: &str) -> String {
    given.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(query: &[(&str, &str)]) -> Result<Selection, SelectError> {
        let of = |node: &str| ["dc1", "dc2"].iter().position(|site| node.starts_with(site));
        let sites = Arc::new(Sites::new(vec!["dc1".to_owned(), "dc2".to_owned()], of));
        Selection::of(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), &sites)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_expected() {
        let long = "x".repeat(254);
        let cases = [
            (
                "shards",
                "1/2",
                "\"shards\" is no parameter of /metrics; expected shard=i/n, family=NAME or site=NAME",
            ),
            (
                "shard",
                "0/2",
                "shard=\"0/2\" is not a shard; expected i/n with i from 1 to n and n at most 1000, as in shard=1/3",
            ),
            ("shard", "3/2", "shard=\"3/2\" is not a shard"),
            ("shard", "1", "shard=\"1\" is not a shard"),
            ("shard", "1/0", "shard=\"1/0\" is not a shard"),
            ("shard", "1/1001", "shard=\"1/1001\" is not a shard"),
            ("shard", "+1/2", "shard=\"+1/2\" is not a shard"),
            ("shard", "1/2/3", "shard=\"1/2/3\" is not a shard"),
            ("shard", "1/99999999999999999999", "shard=\"1/99999999999999999999\" is not a shard"),
            (
                "family",
                "gpuledger_gpu_powr_watts",
                "family=\"gpuledger_gpu_powr_watts\" is no family of /metrics; the nearest is gpuledger_gpu_power_watts",
            ),
            ("family", "gpuledger_gpu_up,", "family=\"\" is no family of /metrics"),
            ("family", "dcgm_*", "family=\"dcgm_*\" fits no family of /metrics"),
            ("family", "*_watts", "family=\"*_watts\" is no family of /metrics; the nearest is "),
            ("family", &long, "the value of family is longer than any name"),
            ("site", "dc3", "site=\"dc3\" is no site of the register; the nearest is \"dc1\""),
            ("site", &long, "the value of site is longer than any name"),
        ];
        for (name, value, message) in cases {
            let error = selected(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(message), "{name}={value}: {error}");
        }
        assert_eq!(selected(&[("shard", "1/2"), ("shard", "1/2")]).unwrap_err(), SelectError::ShardTwice);
        let none = Selection::of([("site".to_owned(), "dc1".to_owned())], &Arc::default()).unwrap_err();
        assert_eq!(none, SelectError::NoRegister("dc1".to_owned()));
    }

    #[test]
    fn families_are_taken_by_name_and_by_how_they_begin() {
        let query = [("family", "gpuledger_gpu_up,process_*"), ("family", "gpuledger_node_info")];
        let selection = selected(&query).unwrap();
        let taken: Vec<_> = known_families().filter(|name| selection.takes_family(name)).collect();
        assert!(taken.iter().all(|n| n.starts_with("process_") || ["gpuledger_gpu_up", "gpuledger_node_info"].contains(n)));
        assert_eq!(taken.len(), 9, "{taken:?}");
        assert!(known_families().all(|name| selected(&[("family", "*")]).unwrap().takes_family(name)));
    }

    #[test]
    fn a_node_is_in_the_same_shard_for_ever() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let shard = |node: &str| {
            (1..=3_u32).find(|i| selected(&[("shard", &format!("{i}/3"))]).unwrap().takes_node(node))
        };
        assert_eq!(["gpu-01", "gpu-02", "gpu-03", "gpu-04"].map(shard), [2, 3, 1, 2].map(Some));
    }

    #[test]
    fn every_node_is_in_one_shard_and_shards_are_alike_in_size() {
        for of in [1, 2, 3, 8, 100] {
            let shards: Vec<_> =
                (1..=of).map(|at| selected(&[("shard", &format!("{at}/{of}"))]).unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            for number in 0..10_000 {
                let node = format!("gpu-node-{number:05}");
                let at: Vec<_> = (0..shards.len()).filter(|at| shards[*at].takes_node(&node)).collect();
                assert_eq!(at.len(), 1, "{node} is in {at:?} of {of}");
                sizes[at[0]] += 1;
            }
            let even = 10_000 / of;
            assert!(sizes.iter().all(|size| (even / 2..=even * 2).contains(size)), "{of}: {sizes:?}");
            assert_eq!(shards.iter().filter(|shard| shard.takes_whole()).count(), 1);
        }
    }

    #[test]
    fn every_node_is_at_one_site_or_at_none() {
        let at = |site| selected(&[("site", site)]).unwrap();
        for (node, expected) in
            [("dc1-a", [true, false, false]), ("dc2-a", [false, true, false]), ("lab", [false, false, true])]
        {
            assert_eq!(["dc1", "dc2", ""].map(|site| at(site).takes_node(node)), expected, "{node}");
        }
        assert_eq!(["dc1", "dc2", ""].map(|site| at(site).takes_whole()), [false, false, true]);
        let two = selected(&[("site", "dc1"), ("site", "")]).unwrap();
        assert!(two.takes_node("dc1-a") && two.takes_node("lab") && !two.takes_node("dc2-a"));
    }

    #[test]
    fn parameters_narrow_each_other() {
        let query = [("site", "dc1"), ("shard", "1/2"), ("family", "gpuledger_gpu_up")];
        let selection = selected(&query).unwrap();
        assert!(!selection.takes_whole() && !selection.takes_family("gpuledger_gpu_info"));
        let nodes: Vec<_> = (0..20).map(|n| format!("dc1-{n}")).filter(|n| selection.takes_node(n)).collect();
        assert!(!nodes.is_empty() && nodes.len() < 20, "{nodes:?}");
    }
}
