//! The first messages of a stream: Hello in, the node is claimed and its fold loaded, Welcome out.

use super::node::Mailbox;
use super::peer::PeerIdentity;
use super::skew::Skew;
use super::stream::{End, Outbox, Session, send};
use super::{Limit, Refusal, Shared};
use crate::fold::NodeFold;
use gpuledger_proto::ids::NodeName;
use gpuledger_proto::v1;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// An agent says who it is at once; who stays silent holds a place for nothing.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Hello and Welcome; the node is claimed and its fold loaded. `told` becomes the name that the agent gives.
pub(super) async fn greet<S>(
    shared: &Arc<Shared>,
    inbound: &mut S,
    peer: Option<&PeerIdentity>,
    out: &Outbox,
    told: &mut String,
) -> Result<Session, End>
where
    S: Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
{
    let first = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return Err(Refusal::unavailable("the collector is shutting down").into()),
        first = tokio::time::timeout(HELLO_WITHIN, inbound.next()) => first,
    };
    let hello = match first {
        Err(_) => {
            return Err(Refusal::beyond(Limit::Hello, "no hello came within 10 seconds").into());
        }
        Ok(None) => return Err(End::Gone),
        Ok(Some(Err(status))) => return Err(End::by_transport(&status)),
        Ok(Some(Ok(v1::AgentMessage { kind: Some(Message::Hello(hello)), .. }))) => hello,
        Ok(Some(Ok(_))) => return Err(Refusal::invalid("the first message is not a hello").into()),
    };
    // A higher revision than ours is one that speaks ours too.
    if hello.protocol == 0 {
        return Err(Refusal::invalid("hello.protocol: required field is missing").into());
    }
    let name =
        NodeName::new(&hello.node).map_err(|error| Refusal::invalid(format!("hello.node: {error}")))?;
    name.as_str().clone_into(told);
    check_identity(&name, peer)?;
    let account = shared.accounts.of(&name);
    account.open_stream()?;
    let key = shared.ledger.node(&name).await.map_err(|error| Refusal::by_ledger(&error))?;
    let mailbox = Arc::new(Mailbox::default());
    let node = shared.claim(&name, key, &mailbox);
    shared.events.stream_opened(name.as_str(), &hello.agent_version);
    let session = Session {
        shared: Arc::clone(shared),
        node,
        mailbox,
        out: out.clone(),
        account,
        rest_until: None,
        segment: None,
        skew: Skew::default(),
    };
    match session.welcome().await {
        Ok(()) => Ok(session),
        Err(end) => {
            session.close();
            Err(end)
        }
    }
}

/// A node sends as itself and as no other.
fn check_identity(name: &NodeName, peer: Option<&PeerIdentity>) -> Result<(), Refusal> {
    match peer {
        Some(peer) if peer.node != *name => Err(Refusal::beyond(
            Limit::Identity,
            format!(
                "this agent says that it is node {name}, and its certificate is of node {of}: set node = \"{of}\" \
                 there, or issue it a certificate (gpuledger ca issue {name})",
                of = peer.node
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

impl Session {
    async fn welcome(&self) -> Result<(), End> {
        self.load().await?;
        let collector_version = env!("CARGO_PKG_VERSION").to_owned();
        let wall_ms = (self.shared.clock)();
        send(&self.out, Answer::Welcome(v1::Welcome { collector_version, wall_ms })).await
    }

    /// Goes on from the ledger. A fold that still has something uncommitted, from the stream before,
    /// is kept: it is ahead of the ledger.
    async fn load(&self) -> Result<(), Refusal> {
        {
            let inner = self.node.lock();
            if inner.fold.is_some() && inner.uncommitted() > 0 {
                return Ok(());
            }
        }
        // Nothing can be folded meanwhile: this stream is the only one that may.
        let state = self.shared.ledger.state(self.node.key).await;
        let state = state.map_err(|error| Refusal::by_ledger(&error))?;
        let fold = NodeFold::load(self.node.key, &state, self.shared.options.fold)
            .map_err(|error| Refusal::unavailable(error.to_string()))?;
        let mut inner = self.node.lock();
        if inner.is_stream(&self.mailbox) {
            inner.reload(fold);
        }
        Ok(())
    }
}
