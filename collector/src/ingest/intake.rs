//! Messages on their way in: none may take long, and all large ones together have a bound.
//!
//! The transport gathers a message until it is whole. A peer that sends the most of a message and then
//! nothing more would have it kept for as long as it likes, and so would all its like together. So
//! a message has to come whole within [`MESSAGE_WITHIN`], and of a message above [`SMALL_BYTES`] no more than
//! that is taken from the network until there is room for it among the large ones.

use gpuledger_proto::limits::MESSAGE_BYTES_MAX;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::server::NamedService;

/// A message comes whole within this time, at 150 kB/s if it is the largest. HTTP/2 keep-alive notices
/// sooner where nobody is there any more.
pub const MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// A batch of ten seconds of a node with 128 GPUs is below it.
const SMALL_BYTES: usize = 64 * 1024;
/// Large messages that may be on their way in at one time, in bytes: as many as are decoded in a second.
const LARGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A deadline that was asked for so much later was not waited for.
const ASKED_WITHIN: Duration = Duration::from_secs(1);
/// Compression and length before each message.
const PREFIX_BYTES: usize = 5;

/// The service behind the bounds.
#[derive(Clone)]
pub struct Bounded<S> {
    inner: S,
    large: Arc<Semaphore>,
}

impl<S> Bounded<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, large: Arc::new(Semaphore::new(LARGE_BYTES_MAX)) }
    }
}

impl<S: NamedService> NamedService for Bounded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Bounded<S>
where
    S: Service<http::Request<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let large = Arc::clone(&self.large);
        self.inner.call(request.map(|body| Body::new(Intake::new(body, large))))
    }
}

/// One stream's messages.
struct Intake {
    body: Body,
    large: Arc<Semaphore>,
    /// Bytes of the next message's prefix that have come.
    prefix: Vec<u8>,
    /// Bytes of the message, and how many of them are still to come.
    length: usize,
    missing: usize,
    /// When the message has to be whole; none between messages.
    deadline: Option<Pin<Box<Sleep>>>,
    room: Room,
}

/// Room for a large message.
enum Room {
    NotNeeded,
    Wanted(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    /// Given back when the message after it is asked for, so that what waits for the store has its room too.
    Held {
        _permit: Option<OwnedSemaphorePermit>,
    },
}

impl Intake {
    fn new(body: Body, large: Arc<Semaphore>) -> Self {
        let prefix = Vec::with_capacity(PREFIX_BYTES);
        Self { body, large, prefix, length: 0, missing: 0, deadline: None, room: Room::NotNeeded }
    }

    /// Follows messages through what has come.
    fn note(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.missing == 0 {
                let (taken, rest) = bytes.split_at(bytes.len().min(PREFIX_BYTES - self.prefix.len()));
                self.prefix.extend_from_slice(taken);
                bytes = rest;
                let &[_, a, b, c, d] = self.prefix.as_slice() else { break };
                self.prefix.clear();
                self.length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.missing = self.length;
            }
            let taken = bytes.len().min(self.missing);
            self.missing -= taken;
            bytes = &bytes[taken..];
            if self.missing == 0 {
                self.deadline = None;
            }
        }
        if self.is_between_messages() {
            return;
        }
        if self.deadline.is_none() {
            self.deadline = Some(Box::pin(sleep(MESSAGE_WITHIN)));
        }
        // Who only announces a large message takes no room from others, and one that is too large is refused
        // as soon as its length is read.
        let taken = self.length - self.missing;
        if taken >= SMALL_BYTES && self.length <= MESSAGE_BYTES_MAX && matches!(self.room, Room::NotNeeded) {
            self.room = Room::Wanted(Box::pin(room(Arc::clone(&self.large), self.length)));
        }
    }

    fn is_between_messages(&self) -> bool {
        self.missing == 0 && self.prefix.is_empty()
    }

    /// Nothing comes at present, unless that lasts too long already.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        while deadline.as_mut().poll(context).is_ready() {
            // Its time was over long ago, and nobody has asked since: it was the collector that did not read.
            if deadline.deadline().elapsed() <= ASKED_WITHIN {
                let seconds = MESSAGE_WITHIN.as_secs();
                let late = format!("it did not come whole within {seconds} s");
                return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
            }
            deadline.set(sleep(MESSAGE_WITHIN));
        }
        Poll::Pending
    }
}

async fn room(large: Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    // Below u32::MAX by the limit on messages. Nobody closes the semaphore.
    large.acquire_many_owned(u32::try_from(bytes).ok()?).await.ok()
}

impl http_body::Body for Intake {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_between_messages() {
            this.room = Room::NotNeeded;
        }
        if let Room::Wanted(room) = &mut this.room {
            match room.as_mut().poll(context) {
                Poll::Ready(permit) => this.room = Room::Held { _permit: permit },
                Poll::Pending => return this.wait(context),
            }
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = &frame
                    && let Some(bytes) = frame.data_ref()
                {
                    this.note(bytes);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => this.wait(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests;
