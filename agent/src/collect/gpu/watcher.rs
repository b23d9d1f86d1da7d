//! The thread that waits for the driver's events. It has one of its own, since waiting blocks in the
//! driver; it ends when it is told to, and lets the library go with it.

use super::xid::{Teller, XidLog};
use super::{Fault, Library};
use gpuledger_proto::ids::GpuUuid;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As long as one wait: the library stays open so much longer after everybody else has let it go.
const WAIT: Duration = Duration::from_secs(1);
/// As little as a thread needs that only waits.
const STACK_BYTES: usize = 256 * 1024;

/// The handle on the thread. Dropping it ends the thread as soon as it comes out of the driver.
#[derive(Debug)]
pub struct Watcher {
    /// Whose events it waits for.
    gpus: Vec<GpuUuid>,
    over: Arc<AtomicBool>,
}

impl Watcher {
    pub fn start(library: Arc<dyn Library>, gpus: Vec<GpuUuid>, log: XidLog) -> io::Result<Self> {
        let over = Arc::<AtomicBool>::default();
        let (ends, of) = (Arc::clone(&over), gpus.clone());
        let body = move || {
            // A fault of the library is told by those who read it; without events there is nothing to do.
            let _ = watch(&*library, &of, &log, &ends);
        };
        std::thread::Builder::new().name("gpu-events".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { gpus, over })
    }

    /// Whether it waits for the events of exactly these.
    pub fn is_of(&self, gpus: &[GpuUuid]) -> bool {
        self.gpus == gpus
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn watch(library: &dyn Library, gpus: &[GpuUuid], log: &XidLog, over: &AtomicBool) -> Result<(), Fault> {
    let mut watch = library.watch(gpus)?;
    log.begin(Teller::Driver);
    let outcome = loop {
        if over.load(Ordering::Relaxed) {
            break Ok(());
        }
        match watch.wait(WAIT) {
            Ok(Some((gpu, code))) => log.event(Teller::Driver, &gpu, code, wall_ms()),
            Ok(None) => {}
            // A GPU is gone: its neighbours' events still come.
            Err(Fault::Gpu(_)) => std::thread::sleep(WAIT),
            Err(fault) => break Err(fault),
        }
    };
    // Where another has begun meanwhile, it says so again with its next beginning.
    if !over.load(Ordering::Relaxed) {
        log.end(Teller::Driver);
    }
    outcome
}

/// The driver tells no time: an event is as old as the wait that brought it.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // not a measurement
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
