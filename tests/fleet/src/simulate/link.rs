//! The network: byte streams that are slow, come in pieces, hang and break at any byte.
//!
//! A link is a task between two pipes in memory. What is written at one end is read at the other
//! after a delay. A partition holds everything and tells nobody; a cut drops both ends at once; a link
//! that is left hanging is closed towards the agent only, so that its collector goes on for a while
//! as if the agent were silent.

use super::dice::Dice;
use super::trail::Trail;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Bytes that a pipe holds before a writer waits.
const PIPE_BYTES: usize = 64 * 1024;
/// Bytes that travel together at most.
const PIECE_BYTES: usize = 4 * 1024;
const UNLIMITED: u64 = u64::MAX;

/// Where a collector takes connections.
pub type Door = mpsc::Sender<io::Result<DuplexStream>>;

pub struct Network {
    trail: Arc<Trail>,
    delay_ms: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    dice: Dice,
    /// By collector; `None` while it is down.
    doors: Vec<Option<Door>>,
    machines: Vec<Port>,
    links: Vec<Arc<Link>>,
}

/// A machine's side of the network.
struct Port {
    collector: usize,
    gate: Arc<Gate>,
}

/// What a partition closes. Who waits goes on in the order in which all came: the receivers of a
/// `watch` are woken in one that the runtime draws by chance.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    opened: Notify,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
        if !closed {
            self.opened.notify_waiters();
        }
    }

    async fn pass(&self) {
        loop {
            let opened = self.opened.notified();
            if !self.closed.load(Ordering::Relaxed) {
                return;
            }
            opened.await;
        }
    }
}

struct Link {
    machine: usize,
    collector: usize,
    /// The agent's end is gone, the collector's hangs.
    left: CancellationToken,
    broken: CancellationToken,
    /// Bytes until the link breaks, upward and downward.
    budgets: [AtomicU64; 2],
    gate: Arc<Gate>,
}

impl Network {
    pub fn new(seed: u64, collectors: usize, machines: usize, delay_ms: u64, trail: Arc<Trail>) -> Self {
        let port = |_| Port { collector: 0, gate: Arc::default() };
        let inner = Inner {
            dice: Dice::new(seed, "network"),
            doors: vec![None; collectors],
            machines: (0..machines).map(port).collect(),
            links: Vec::new(),
        };
        Self { trail, delay_ms, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A collector begins to take connections, or is gone with all that it had.
    pub fn set_door(&self, collector: usize, door: Option<Door>) {
        let mut inner = self.inner();
        if door.is_none() {
            inner.links.iter().filter(|link| link.collector == collector).for_each(|l| l.broken.cancel());
        }
        inner.doors[collector] = door;
    }

    pub fn set_partitioned(&self, machine: usize, partitioned: bool) {
        self.inner().machines[machine].gate.set_closed(partitioned);
    }

    /// Breaks the machine's present link after so many more bytes in a direction.
    pub fn cut_after(&self, machine: usize, bytes: u64, upward: bool) {
        let inner = self.inner();
        if let Some(link) = inner.links.iter().rev().find(|link| link.machine == machine) {
            link.budgets[usize::from(!upward)].store(bytes, Ordering::Relaxed);
        }
    }

    /// The machine's agent talks to the next collector from now on; its old link is left hanging.
    pub fn wander(&self, machine: usize) {
        let mut inner = self.inner();
        let collectors = inner.doors.len();
        inner.machines[machine].collector = (inner.machines[machine].collector + 1) % collectors;
        inner.links.iter().filter(|link| link.machine == machine).for_each(|link| link.left.cancel());
    }

    /// Links that were left hanging break.
    pub fn break_left(&self, machine: usize) {
        let inner = self.inner();
        let left = inner.links.iter().filter(|link| link.machine == machine && link.left.is_cancelled());
        left.for_each(|link| link.broken.cancel());
    }

    /// Connects a machine to its collector.
    pub async fn connect(self: Arc<Self>, machine: usize) -> io::Result<DuplexStream> {
        self.pause().await;
        let gate = Arc::clone(&self.inner().machines[machine].gate);
        // Whoever connects into a partition waits for his own time-out.
        gate.pass().await;
        let (door, collector) = {
            let inner = self.inner();
            let collector = inner.machines[machine].collector;
            (inner.doors[collector].clone(), collector)
        };
        let door = door.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (agent, near) = tokio::io::duplex(PIPE_BYTES);
        let (far, server) = tokio::io::duplex(PIPE_BYTES);
        let link = Arc::new(Link {
            machine,
            collector,
            left: CancellationToken::new(),
            broken: CancellationToken::new(),
            budgets: [AtomicU64::new(UNLIMITED), AtomicU64::new(UNLIMITED)],
            gate,
        });
        door.send(Ok(server)).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        {
            let mut inner = self.inner();
            inner.links.retain(|link| !link.broken.is_cancelled());
            inner.links.push(Arc::clone(&link));
        }
        self.trail.count("connections", 1);
        self.trail.note(format_args!("machine {machine} is connected to collector {collector}"));
        tokio::spawn(self.carry(link, near, far));
        Ok(agent)
    }

    /// Carries bytes both ways until either end is closed or the link breaks.
    async fn carry(self: Arc<Self>, link: Arc<Link>, mut near: DuplexStream, mut far: DuplexStream) {
        {
            let (from_agent, to_agent) = tokio::io::split(&mut near);
            let (from_collector, to_collector) = tokio::io::split(&mut far);
            tokio::select! {
                biased;
                () = link.broken.cancelled() => {}
                () = link.left.cancelled() => {}
                () = self.pump(&link, 0, from_agent, to_collector) => link.broken.cancel(),
                () = self.pump(&link, 1, from_collector, to_agent) => link.broken.cancel(),
            }
        }
        drop(near);
        link.broken.cancelled().await;
        self.trail.note(format_args!("machine {} has lost collector {}", link.machine, link.collector));
    }

    async fn pump(
        &self,
        link: &Link,
        direction: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = from.read(&mut piece).await.unwrap_or(0);
            link.gate.pass().await;
            self.pause().await;
            if read == 0 {
                return;
            }
            self.trail.count(["bytes sent", "bytes answered"][direction], read as u64);
            let budget = link.budgets[direction].load(Ordering::Relaxed);
            let through = usize::try_from(budget).unwrap_or(usize::MAX).min(read);
            // Sometimes a piece comes in two.
            let first = { self.inner().dice.index(through * 2 + 1) }.min(through);
            if to.write_all(&piece[..first]).await.is_err() {
                return;
            }
            if first < through {
                self.pause().await;
                if to.write_all(&piece[first..through]).await.is_err() {
                    return;
                }
            }
            if through < read || budget == read as u64 {
                self.trail.count("links cut", 1);
                return;
            }
            if budget != UNLIMITED {
                link.budgets[direction].store(budget - read as u64, Ordering::Relaxed);
            }
        }
    }

    async fn pause(&self) {
        let pause_ms = { self.inner().dice.between(0, self.delay_ms + 1) };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// What the agent's uplink connects with.
#[derive(Clone)]
pub struct Connector {
    pub network: Arc<Network>,
    pub machine: usize,
}

impl tonic::codegen::Service<tonic::codegen::http::Uri> for Connector {
    type Response = hyper_util::rt::TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::codegen::http::Uri) -> Self::Future {
        let connecting = Arc::clone(&self.network).connect(self.machine);
        Box::pin(async move { connecting.await.map(hyper_util::rt::TokioIo::new) })
    }
}
