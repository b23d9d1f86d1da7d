//! What telemetry's serials suggest that the register should say. Proposed, never booked.
//!
//! Observations are the serials that were seen, each with the node and the first and last day of it. For
//! every serial, the stays that were seen are held against the bindings:
//!
//! | what was seen | proposal |
//! |---|---|
//! | a bound serial on another node | move; two that changed places on one day: swap |
//! | an unknown serial on a node, from which a bound one has gone for good by then | replacement (RMA) |
//! | an unknown serial otherwise | new |
//! | a bound serial not seen for longer than [`GONE_DAYS`] while its node goes on reporting | gone |
//! | a bound serial never seen although its node reports | never seen |

use super::binding::Binding;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// Days without a sign after which a serial counts as gone: longer than a reboot, a repair on the spot or
/// a long weekend.
pub const GONE_DAYS: i32 = 7;

/// A serial that was seen on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub serial: String,
    pub node: String,
    pub first: Date,
    pub last: Date,
}

/// What the register should say, if a person agrees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proposal {
    Move {
        serial: String,
        from: String,
        to: String,
        on: Date,
    },
    Swap {
        serial: String,
        other: String,
        node: String,
        other_node: String,
        on: Date,
    },
    /// The new serial stands in for the old one, which went back.
    Replacement {
        node: String,
        old: String,
        new: String,
        on: Date,
    },
    New {
        serial: String,
        node: String,
        on: Date,
    },
    Gone {
        serial: String,
        node: String,
        last_seen: Date,
    },
    NeverSeen {
        serial: String,
        node: String,
        since: Date,
    },
}

/// Compares what was seen to a day with the bindings; in a fixed order, whatever the order of the inputs.
pub fn propose(observations: &[Observation], bindings: &[Binding], today: Date) -> Vec<Proposal> {
    let seen = Seen::new(observations);
    let moves = moves(&seen, bindings);
    let mut proposals = swaps(&moves);
    let mut gone = gone(&seen, bindings, today);
    let known: BTreeSet<&str> = bindings.iter().map(|binding| binding.serial.as_str()).collect();
    for (serial, of) in seen.by_serial.iter().filter(|(serial, _)| !known.contains(*serial)) {
        let Some(last) = of.iter().max_by_key(|o| (o.last, o.first)) else { continue };
        let replaced = gone
            .iter()
            .position(|lost| lost.node == last.node && lost.last_seen.is_none_or(|seen| seen <= last.first));
        let (node, on) = (last.node.clone(), last.first);
        match replaced {
            Some(position) => {
                let old = gone.remove(position).serial;
                proposals.push(Proposal::Replacement { node, old, new: (*serial).to_owned(), on });
            }
            None => proposals.push(Proposal::New { serial: (*serial).to_owned(), node, on }),
        }
    }
    proposals.extend(gone.into_iter().map(Lost::proposal));
    proposals.sort();
    proposals
}

struct Seen<'a> {
    by_serial: BTreeMap<&'a str, Vec<&'a Observation>>,
    /// Last day on which anything of a node was seen.
    nodes: BTreeMap<&'a str, Date>,
}

impl<'a> Seen<'a> {
    fn new(observations: &'a [Observation]) -> Self {
        let (mut by_serial, mut nodes) = (BTreeMap::<&str, Vec<&Observation>>::new(), BTreeMap::new());
        for observation in observations {
            by_serial.entry(&observation.serial).or_default().push(observation);
            let last = nodes.entry(observation.node.as_str()).or_insert(observation.last);
            *last = (*last).max(observation.last);
        }
        for of in by_serial.values_mut() {
            of.sort_by(|a, b| (a.first, &a.node).cmp(&(b.first, &b.node)));
        }
        Self { by_serial, nodes }
    }
}

struct Moved<'a> {
    serial: &'a str,
    from: &'a str,
    to: &'a str,
    on: Date,
}

/// The latest stay of each bound serial that is on another node than the binding of that day says.
fn moves<'a>(seen: &Seen<'a>, bindings: &'a [Binding]) -> Vec<Moved<'a>> {
    let mut moves = Vec::new();
    for (serial, of) in &seen.by_serial {
        let Some(last) = of.iter().max_by_key(|o| (o.last, o.first)) else { continue };
        let of_serial = || bindings.iter().filter(|binding| binding.serial == *serial);
        let current =
            of_serial().filter(|binding| binding.from <= last.last).max_by_key(|binding| binding.from);
        if let Some(binding) = current
            && binding.node != last.node
        {
            moves.push(Moved {
                serial,
                from: &binding.node,
                to: &last.node,
                on: last.first.max(binding.from),
            });
        }
    }
    moves
}

/// Two moves that cross on one day are a swap; the others stay moves.
fn swaps(moves: &[Moved<'_>]) -> Vec<Proposal> {
    let mut taken = BTreeSet::new();
    let mut proposals = Vec::new();
    for (position, moved) in moves.iter().enumerate() {
        if taken.contains(&position) {
            continue;
        }
        let crossing = moves.iter().enumerate().skip(position.saturating_add(1)).find(|(other, crossed)| {
            !taken.contains(other)
                && crossed.from == moved.to
                && crossed.to == moved.from
                && crossed.on == moved.on
        });
        proposals.push(match crossing {
            Some((other, crossed)) => {
                taken.insert(other);
                Proposal::Swap {
                    serial: moved.serial.to_owned(),
                    other: crossed.serial.to_owned(),
                    node: moved.to.to_owned(),
                    other_node: crossed.to.to_owned(),
                    on: moved.on,
                }
            }
            None => Proposal::Move {
                serial: moved.serial.to_owned(),
                from: moved.from.to_owned(),
                to: moved.to.to_owned(),
                on: moved.on,
            },
        });
    }
    proposals
}

/// A bound serial that is not seen any more, or never was.
struct Lost {
    serial: String,
    node: String,
    since: Date,
    last_seen: Option<Date>,
}

impl Lost {
    fn proposal(self) -> Proposal {
        let Self { serial, node, since, last_seen } = self;
        match last_seen {
            Some(last_seen) => Proposal::Gone { serial, node, last_seen },
            None => Proposal::NeverSeen { serial, node, since },
        }
    }
}

/// Only where the node itself reported long enough after the serial's last sign.
fn gone(seen: &Seen<'_>, bindings: &[Binding], today: Date) -> Vec<Lost> {
    let mut lost = Vec::new();
    for binding in bindings.iter().filter(|binding| binding.covers(today)) {
        let Some(&node_last) = seen.nodes.get(binding.node.as_str()) else { continue };
        let of = seen.by_serial.get(binding.serial.as_str());
        let last_seen = of.and_then(|of| of.iter().map(|observation| observation.last).max());
        let since = last_seen.unwrap_or(binding.from);
        let days = node_last.since(since).map_or(0, |span| span.get_days());
        if days > GONE_DAYS {
            let (serial, node) = (binding.serial.clone(), binding.node.clone());
            lost.push(Lost { serial, node, since: binding.from, last_seen });
        }
    }
    lost.sort_by(|a, b| (&a.node, &a.serial).cmp(&(&b.node, &b.serial)));
    lost
}
