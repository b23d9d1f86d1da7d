//! Who is at the other end, where the connection says so.

use gpuledger_proto::ids::NodeName;

/// The node that the peer's certificate names: the only one that it may send as. Whoever checks another
/// proof, such as a token at enrolment, gives the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    pub node: NodeName,
}
