//! From the port to a connection that may send requests.

use super::certificates::Certificates;
use super::events::Events;
use super::io::{Bytes, Io};
use super::places::{Limits, Place, Places};
use super::refuse;
use crate::export::Health;
use crate::ingest::peer::PeerIdentity;
use gpuledger_tls::{Certificate, handshake};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Connections that wait for the HTTP/2 server to take them, which it does at once.
const INCOMING_MAX: usize = 64;
/// Pause after the kernel could not give out a connection: it lacks descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is said to a peer that speaks the other protocol.
const WANTS_TLS: &str =
    "this collector takes TLS only: take insecure = true away from the agent's configuration";
const IS_PLAIN: &str = "this collector has insecure = true and takes plain text only";

/// Connections that were let in.
pub type Incoming = ReceiverStream<io::Result<Io>>;

/// Lets connections in.
pub struct Door {
    /// `None` in plain text.
    certificates: Option<Arc<Certificates>>,
    places: Arc<Places>,
    handshakes: Arc<Semaphore>,
    events: Events,
}

impl Door {
    pub fn new(certificates: Option<Arc<Certificates>>, limits: Limits, health: &Arc<Health>) -> Arc<Self> {
        let places = Places::new(limits, Arc::clone(health));
        let handshakes = Arc::new(Semaphore::new(limits.handshakes));
        Arc::new(Self { certificates, places, handshakes, events: Events::new(Arc::clone(health)) })
    }

    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Begins to accept. Ends when it is stopped, or when nobody takes connections any more.
    pub fn open(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) -> Incoming {
        let (admitted, incoming) = mpsc::channel(INCOMING_MAX);
        tokio::spawn(async move { stop.run_until_cancelled(self.accept(listener, admitted)).await });
        ReceiverStream::new(incoming)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, admitted: mpsc::Sender<io::Result<Io>>) {
        // Who comes while all handshakes are taken waits in the kernel's queue.
        while let Ok(handshake) = Arc::clone(&self.handshakes).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => match self.places.take(peer.ip()) {
                    Ok(place) => {
                        let (door, admitted) = (Arc::clone(&self), admitted.clone());
                        tokio::spawn(
                            async move { door.admit(stream, peer, place, handshake, admitted).await },
                        );
                    }
                    Err(reason) => self.events.turned_away(reason, Some(peer), "too many are open"),
                },
                Err(error) => {
                    self.events.turned_away("accept", None, &format!("the kernel gives none: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection, until it is handed on or turned away.
    async fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        mut place: Place,
        handshake: OwnedSemaphorePermit,
        admitted: mpsc::Sender<io::Result<Io>>,
    ) {
        let patience = self.places.limits().handshake_within;
        let shaken = timeout(patience, self.shake_hands(stream)).await;
        drop(handshake);
        let (bytes, identity) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err((reason, message))) => return self.events.turned_away(reason, Some(peer), &message),
            Err(_) => {
                let message = format!("no handshake within {} s", patience.as_secs());
                return self.events.turned_away("timeout", Some(peer), &message);
            }
        };
        let node = identity.as_ref().ok().and_then(Clone::clone);
        if !place.admit(node.map(|(peer, not_after_s)| (peer.node, not_after_s))) {
            let message = "its node has too many connections already";
            return self.events.turned_away("connections_per_node", Some(peer), message);
        }
        if let Err(message) = &identity {
            // It is let in to be told: a request is answered with the reason.
            self.events.turned_away("no_node", Some(peer), message);
        }
        let io = Io::new(bytes, identity.map(|node| node.map(|(peer, _)| peer)), place);
        // The server is ending where nobody takes it.
        let _ = admitted.send(Ok(io)).await;
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<(Bytes, Identity), (&'static str, String)> {
        let broken = |error: io::Error| ("broken", error.to_string());
        stream.set_nodelay(true).map_err(broken)?;
        let gone = || ("broken", "it closed the connection without a word".to_owned());
        let is_tls = refuse::begins_with_tls(&stream).await.ok_or_else(gone)?;
        match (&self.certificates, is_tls) {
            (None, false) => Ok((Bytes::Plain(stream), Ok(None))),
            (None, true) => {
                refuse::say(stream, IS_PLAIN).await;
                Err(("tls", "it speaks TLS, and this collector has insecure = true".to_owned()))
            }
            (Some(_), false) => {
                refuse::say(stream, WANTS_TLS).await;
                Err(("not_tls", "it speaks plain text, and this collector takes TLS only".to_owned()))
            }
            (Some(certificates), true) => {
                let accepted = TlsAcceptor::from(certificates.config()).accept(stream).await;
                let stream = accepted.map_err(|error| {
                    let told = handshake::told_by_server(&error, certificates.files());
                    (told.reason, told.message)
                })?;
                let identity = identity(stream.get_ref().1.peer_certificates());
                Ok((Bytes::Tls(Box::new(stream)), identity))
            }
        }
    }
}

/// The node at the other end with the last second of its certificate; `None` in plain text.
type Identity = Result<Option<(PeerIdentity, u64)>, String>;

fn identity(chain: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Identity {
    let own = chain.and_then(<[_]>::first).ok_or("it shows no certificate")?;
    let certificate = Certificate::from_der(own).map_err(|error| error.to_string())?;
    let node = certificate.node().map_err(|error| error.to_string())?;
    Ok(Some((PeerIdentity { node }, certificate.not_after_s)))
}
