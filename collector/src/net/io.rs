//! A connection as HTTP/2 sees it: bytes, who is at the other end, and whether it serves a stream.

use super::places::Place;
use crate::ingest::peer::PeerIdentity;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// Plain text or TLS.
pub enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How many streams a connection serves, and how many it has begun to serve so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle(Arc<Streams>);

#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    begun: AtomicUsize,
}

impl Idle {
    fn is_idle(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }
}

/// A connection that was let in.
pub struct Io {
    bytes: Bytes,
    peer: Result<Option<PeerIdentity>, String>,
    place: Place,
    /// When it is looked at next whether a stream is served.
    look: Pin<Box<Sleep>>,
    /// Whether one was served when it was looked at last.
    served: bool,
    /// Streams that had begun by then.
    begun: usize,
}

impl Io {
    pub(super) fn new(bytes: Bytes, peer: Result<Option<PeerIdentity>, String>, place: Place) -> Self {
        let look = Box::pin(sleep(place.idle_within()));
        Self { bytes, peer, place, look, served: false, begun: 0 }
    }

    /// Whether the connection has had its time without a stream.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.look.as_mut().poll(cx).is_ready() {
            let (served, begun) = (!self.place.idle.is_idle(), self.place.idle.begun());
            // A stream that ended since has its last answer on the way still: it says why.
            let lately = self.served || begun != self.begun;
            if !served && !lately {
                return Poll::Ready(());
            }
            (self.served, self.begun) = (served, begun);
            self.look.as_mut().reset(Instant::now() + self.place.idle_within());
        }
        Poll::Pending
    }
}

/// What a request knows of its connection.
#[derive(Debug, Clone)]
pub struct Connection {
    peer: Result<Option<PeerIdentity>, String>,
    idle: Idle,
}

impl Connection {
    /// The node at the other end; `None` in plain text, an error where a certificate names none.
    pub fn peer(&self) -> Result<Option<PeerIdentity>, String> {
        self.peer.clone()
    }
}

impl Connected for Io {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        Connection { peer: self.peer.clone(), idle: self.place.idle.clone() }
    }
}

/// A stream's messages, for whose time its connection is not idle.
pub struct Occupied<S> {
    stream: S,
    idle: Option<Idle>,
}

impl<S> Occupied<S> {
    pub fn new(stream: S, connection: Option<&Connection>) -> Self {
        let idle = connection.map(|connection| connection.idle.clone());
        if let Some(Idle(streams)) = &idle {
            streams.open.fetch_add(1, Ordering::Relaxed);
            streams.begun.fetch_add(1, Ordering::Relaxed);
        }
        Self { stream, idle }
    }
}

impl<S> Drop for Occupied<S> {
    fn drop(&mut self) {
        if let Some(Idle(streams)) = &self.idle {
            streams.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<S: Stream + Unpin> Stream for Occupied<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_idle(cx).is_ready() {
            self.place.health().turned_away("idle");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no stream was opened")));
        }
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Bytes::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
