//! The thread that keeps the GPU library open.
//!
//! It opens the library, says which GPUs are visible, looks again from time to time, and after a
//! fault of the whole library closes it and tries again with growing pauses. Opening can block in
//! the kernel like any other driver call, which is why it has its own thread: the sampler only
//! looks whether there is [`News`].
//!
//! The pause before the library is opened again also lets the workers' threads give it up first:
//! only when the last reference is gone does the library start afresh.
//!
//! While it is held the thread keeps no library open and opens none: that is how a person gets the
//! driver for himself.

use super::{Library, LibraryFault, Opener, Visible};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// News that wait to be read. The sampler reads with every sample; the thread waits beyond this.
const NEWS_MAX: usize = 8;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// Before the first new try after a fault; doubled with each further one.
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// Between two looks at which GPUs are visible.
    pub rescan: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            rescan: Duration::from_secs(30),
        }
    }
}

/// What the thread found out.
pub enum News {
    /// The library is open.
    Opened { generation: u64, library: Arc<dyn Library>, driver: Option<String>, visible: Visible },
    /// Other GPUs are visible than before.
    Seen { generation: u64, visible: Visible },
    /// The library is closed, for this reason.
    Failed(LibraryFault),
}

/// The handle on the thread. Dropping it ends the thread; it is not waited for.
pub struct Keeper {
    news: Receiver<News>,
    reopen: SyncSender<u64>,
    held: Arc<AtomicBool>,
}

impl Keeper {
    /// Openings are numbered from 1.
    const NO_GENERATION: u64 = 0;

    pub fn start(opener: impl Opener, pauses: Pauses) -> io::Result<Self> {
        let (news_sender, news) = sync_channel(NEWS_MAX);
        let (reopen, requests) = sync_channel(1);
        let held = Arc::<AtomicBool>::default();
        let thread = Thread { opener, pauses, news: news_sender, requests, held: Arc::clone(&held) };
        std::thread::Builder::new().name("gpu-library".to_owned()).spawn(move || thread.run())?;
        Ok(Self { news, reopen, held })
    }

    /// What has been found out since the last look.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Waits for news.
    pub fn wait(&self, longest: Duration) -> Option<News> {
        self.news.recv_timeout(longest).ok()
    }

    /// Closes the library and leaves it closed, or opens it again at once.
    pub fn hold(&self, held: bool, generation: Option<u64>) {
        self.held.store(held, Ordering::Relaxed);
        // Wakes the thread, whatever it waits for.
        self.reopen(generation.unwrap_or(Self::NO_GENERATION));
    }

    /// Asks to close and open the library because a GPU's thread met a fault of all of it.
    pub fn reopen(&self, generation: u64) {
        match self.reopen.try_send(generation) {
            // Full: it was asked already. Disconnected: the thread is gone, and so is its library.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Whoever listened is gone: the thread ends.
struct Ended;

struct Thread<O> {
    opener: O,
    pauses: Pauses,
    news: SyncSender<News>,
    requests: Receiver<u64>,
    held: Arc<AtomicBool>,
}

impl<O: Opener> Thread<O> {
    fn run(self) {
        let mut generation = 0;
        let mut pause = self.pauses.retry_first;
        loop {
            generation += 1;
            // Also before the first opening: the agent may have been started while it was held.
            if self.wait_while_held().is_err() {
                return;
            }
            let kept = match self.open(generation) {
                Ok(library) => {
                    let opened_at = Instant::now();
                    let kept = self.keep(generation, library);
                    // A library that fails as soon as it is open is not tried every second.
                    if opened_at.elapsed() > self.pauses.retry_max {
                        pause = self.pauses.retry_first;
                    }
                    kept
                }
                Err(fault) => self.tell(News::Failed(fault)),
            };
            if kept.is_err() || self.rest(pause).is_err() {
                return;
            }
            pause = pause.saturating_mul(2).min(self.pauses.retry_max);
        }
    }

    fn open(&self, generation: u64) -> Result<(Arc<dyn Library>, Visible), LibraryFault> {
        let library = self.opener.open()?;
        let visible = library.gpus()?;
        if visible.gpus.is_empty() && visible.nameless == 0 {
            return Err(LibraryFault::NoGpus);
        }
        let driver = library.driver_version();
        let opened =
            News::Opened { generation, library: Arc::clone(&library), driver, visible: visible.clone() };
        // Whether anybody listens is seen with the next step.
        let _ = self.tell(opened);
        Ok((library, visible))
    }

    /// Holds the library until it fails or somebody asks for another opening.
    fn keep(&self, generation: u64, opened: (Arc<dyn Library>, Visible)) -> Result<(), Ended> {
        let (library, mut visible) = opened;
        loop {
            match self.requests.recv_timeout(self.pauses.rescan) {
                Ok(asked) if asked == generation || self.is_held() => return Ok(()),
                Ok(_) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match library.gpus() {
                Ok(now) if now == visible => {}
                Ok(now) => {
                    visible.clone_from(&now);
                    self.tell(News::Seen { generation, visible: now })?;
                }
                Err(fault) => return self.tell(News::Failed(fault)),
            }
        }
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Says once that there is no library because it is held, and waits until that is over.
    fn wait_while_held(&self) -> Result<(), Ended> {
        if self.is_held() {
            self.tell(News::Failed(LibraryFault::Paused))?;
        }
        while self.is_held() {
            if let Err(RecvTimeoutError::Disconnected) = self.requests.recv_timeout(self.pauses.rescan) {
                return Err(Ended);
            }
        }
        Ok(())
    }

    fn tell(&self, news: News) -> Result<(), Ended> {
        self.news.send(news).map_err(|_| Ended)
    }

    /// Waits before the next try. Requests that came meanwhile are answered by it.
    fn rest(&self, pause: Duration) -> Result<(), Ended> {
        let started = Instant::now();
        while let Some(left) = pause.checked_sub(started.elapsed()).filter(|_| !self.is_held()) {
            if let Err(RecvTimeoutError::Disconnected) = self.requests.recv_timeout(left) {
                return Err(Ended);
            }
        }
        Ok(())
    }
}
