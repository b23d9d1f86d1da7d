//! Places of connections: how many there are in all, of each address, and of each node.

use super::io::Idle;
use super::{
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_PER_NODE_MAX, DESCRIPTORS_KEPT,
    HANDSHAKE_WITHIN, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX, IDLE_WITHIN,
};
use crate::export::Health;
use gpuledger_proto::ids::NodeName;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many connections there may be, and how long they may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    pub connections_per_address: usize,
    pub connections_per_node: usize,
    pub handshakes: usize,
    pub handshakes_per_address: usize,
    pub handshake_within: Duration,
    pub idle_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            connections_per_node: CONNECTIONS_PER_NODE_MAX,
            handshakes: HANDSHAKES_MAX,
            handshakes_per_address: HANDSHAKES_PER_ADDRESS_MAX,
            handshake_within: HANDSHAKE_WITHIN,
            idle_within: IDLE_WITHIN,
        }
    }
}

impl Limits {
    /// The defaults, as far as the process may open files. Its soft limit is raised to the hard one: the
    /// usual 1,024 is for programs that wait by `select`.
    pub fn of_this_process() -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limits = Self::default();
        let has = getrlimit(Resource::Nofile);
        if has.current != has.maximum {
            // Where that is refused, the soft limit stays in force and is what counts below.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: has.maximum, maximum: has.maximum });
        }
        let Some(descriptors) = getrlimit(Resource::Nofile).current else { return limits };
        let room = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT)).unwrap_or(usize::MAX).max(1);
        if room < limits.connections {
            tracing::warn!(
                descriptors,
                connections = room,
                "fewer agents can connect than the collector is meant for: raise the limit of open files (LimitNOFILE)"
            );
        }
        Self { connections: limits.connections.min(room), ..limits }
    }
}

/// All places.
pub struct Places {
    limits: Limits,
    health: Arc<Health>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    connections: usize,
    addresses: BTreeMap<IpAddr, OfAddress>,
    nodes: BTreeMap<NodeName, OfNode>,
}

#[derive(Default, Clone, Copy)]
struct OfAddress {
    connections: usize,
    handshakes: usize,
}

struct OfNode {
    connections: usize,
    /// Last second of the certificate that was shown last.
    not_after_s: u64,
}

impl Places {
    pub fn new(limits: Limits, health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self { limits, health, taken: Mutex::default() })
    }

    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for a connection whose handshake begins; or why there is none.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, &'static str> {
        let address = neighbourhood(address);
        let mut taken = self.taken();
        if taken.connections >= self.limits.connections {
            return Err("connections");
        }
        let of_address = taken.addresses.get(&address).copied().unwrap_or_default();
        if of_address.connections >= self.limits.connections_per_address {
            return Err("connections_per_address");
        }
        if of_address.handshakes >= self.limits.handshakes_per_address {
            return Err("handshakes_per_address");
        }
        let grown =
            OfAddress { connections: of_address.connections + 1, handshakes: of_address.handshakes + 1 };
        taken.addresses.insert(address, grown);
        taken.connections += 1;
        self.health.connections(taken.connections);
        Ok(Place { places: Arc::clone(self), address, is_shaking: true, node: None, idle: Idle::default() })
    }

    /// Nodes that are connected, with the last second of their certificates.
    pub fn nodes(&self) -> Vec<(NodeName, u64)> {
        self.taken().nodes.iter().map(|(node, of)| (node.clone(), of.not_after_s)).collect()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place. Dropped, it is free.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
    /// Whether its handshake is still under way.
    is_shaking: bool,
    node: Option<NodeName>,
    pub(super) idle: Idle,
}

impl Place {
    /// The handshake is over; the peer is this node, if anyone by name. False where the node has too many
    /// connections.
    pub fn admit(&mut self, node: Option<(NodeName, u64)>) -> bool {
        let places = Arc::clone(&self.places);
        let mut taken = places.taken();
        self.end_handshake(&mut taken);
        let Some((name, not_after_s)) = node else { return true };
        let of_node = taken.nodes.entry(name.clone()).or_insert(OfNode { connections: 0, not_after_s });
        if of_node.connections >= places.limits.connections_per_node {
            return false;
        }
        of_node.connections += 1;
        of_node.not_after_s = not_after_s;
        self.node = Some(name);
        true
    }

    pub(super) fn health(&self) -> &Arc<Health> {
        &self.places.health
    }

    pub(super) fn idle_within(&self) -> Duration {
        self.places.limits.idle_within
    }

    fn end_handshake(&mut self, taken: &mut Taken) {
        if std::mem::take(&mut self.is_shaking)
            && let Some(of_address) = taken.addresses.get_mut(&self.address)
        {
            of_address.handshakes = of_address.handshakes.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = Arc::clone(&self.places);
        let mut taken = places.taken();
        self.end_handshake(&mut taken);
        taken.connections = taken.connections.saturating_sub(1);
        places.health.connections(taken.connections);
        if let Some(of_address) = taken.addresses.get_mut(&self.address) {
            of_address.connections = of_address.connections.saturating_sub(1);
            if of_address.connections == 0 {
                taken.addresses.remove(&self.address);
            }
        }
        let Some(node) = &self.node else { return };
        if let Some(of_node) = taken.nodes.get_mut(node) {
            of_node.connections = of_node.connections.saturating_sub(1);
            if of_node.connections == 0 {
                taken.nodes.remove(node);
            }
        }
    }
}

/// Who counts as one: an address, and in IPv6 a /64, of which every host has a whole one.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(limits: Limits) -> Arc<Places> {
        Places::new(limits, Arc::new(Health::new().unwrap()))
    }

    fn small() -> Limits {
        Limits {
            connections: 4,
            connections_per_address: 3,
            connections_per_node: 1,
            handshakes_per_address: 2,
            ..Limits::default()
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn each_bound_turns_away_the_next_one_and_lets_it_in_when_a_place_is_free() {
        let places = places(small());
        let first = places.take(address(1)).unwrap();
        let mut second = places.take(address(1)).unwrap();
        assert_eq!(places.take(address(1)).err(), Some("handshakes_per_address"));
        assert!(second.admit(None));
        let third = places.take(address(1)).unwrap();
        assert_eq!(places.take(address(1)).err(), Some("connections_per_address"));
        let other = places.take(address(2)).unwrap();
        assert_eq!(places.take(address(3)).err(), Some("connections"));
        assert!(places.health.text().contains("gpuledger_collector_connections 4\n"));
        drop(first);
        let again = places.take(address(3)).unwrap();
        drop((second, third, other, again));
        let taken = places.taken();
        assert_eq!((taken.connections, taken.addresses.len(), taken.nodes.len()), (0, 0, 0));
        assert!(places.health.text().contains("gpuledger_collector_connections 0\n"));
    }

    #[test]
    fn a_node_has_its_own_bound_and_the_others_keep_theirs() {
        let places = places(Limits { handshakes_per_address: 9, ..small() });
        let node = |name: &str| Some((NodeName::new(name).unwrap(), 7));
        let (mut one, mut two) = (places.take(address(1)).unwrap(), places.take(address(1)).unwrap());
        assert!(one.admit(node("a")));
        assert!(!two.admit(node("a")), "a second connection of the same node");
        let mut other = places.take(address(1)).unwrap();
        assert!(other.admit(node("b")));
        drop(two);
        assert_eq!(places.nodes().len(), 2);
        drop(one);
        assert_eq!(places.nodes(), [(NodeName::new("b").unwrap(), 7)]);
    }

    #[test]
    fn hosts_of_one_ipv6_network_count_as_one_and_an_embedded_ipv4_address_as_itself() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), address(1));
    }
}
