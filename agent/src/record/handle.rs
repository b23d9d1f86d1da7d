//! The spool as recorder and uplink share it.

use gpuledger_spool::Spool;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinError;

/// The spool between a [`Recorder`](super::Recorder) and the uplink. Clones are the same spool; it
/// is closed when the recorder and all handles are gone.
#[derive(Clone)]
pub struct SpoolHandle {
    shared: Arc<Shared>,
}

struct Shared {
    spool: Mutex<Spool>,
    /// Whether work on the spool may take long.
    blocks: bool,
    /// Rises when records were appended.
    appended: watch::Sender<u64>,
    /// Rises when records were acknowledged.
    acknowledged: watch::Sender<u64>,
}

impl SpoolHandle {
    pub(super) fn new(spool: Spool) -> Self {
        let (appended, acknowledged) = (watch::Sender::new(0), watch::Sender::new(0));
        let blocks = spool.blocks();
        Self { shared: Arc::new(Shared { spool: Mutex::new(spool), blocks, appended, acknowledged }) }
    }

    /// Works on the spool. Blocks for as long as a sync of the other side takes: not for async code.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Spool) -> R) -> R {
        // The spool is consistent between its own calls, so a panic elsewhere does not spoil it.
        work(&mut self.shared.spool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works on the spool off the async threads, where its file system may block.
    pub(crate) async fn on_disk<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> R + Send + 'static,
    ) -> Result<R, JoinError> {
        if !self.shared.blocks {
            return Ok(self.with(work));
        }
        let handle = self.clone();
        tokio::task::spawn_blocking(move || handle.with(work)).await
    }

    pub(super) fn announce_appended(&self) {
        self.shared.appended.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn announce_acknowledged(&self) {
        self.shared.acknowledged.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever records were appended.
    pub(crate) fn appended(&self) -> watch::Receiver<u64> {
        self.shared.appended.subscribe()
    }

    /// Changes whenever records were acknowledged.
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.shared.acknowledged.subscribe()
    }

    /// Bytes of the batches that are not acknowledged.
    pub fn waiting_bytes(&self) -> u64 {
        self.with(|spool| spool.waiting_bytes())
    }

    /// Batches in the spool that are not acknowledged.
    pub fn waiting_batches(&self) -> u64 {
        self.with(|spool| spool.waiting_records())
    }

    /// Batches that the spool dropped, because it was full or they could not be read back.
    pub fn dropped_batches(&self) -> u64 {
        self.with(|spool| spool.dropped_records())
    }

    /// Returns once every batch in the spool is acknowledged (or dropped).
    pub async fn drained(&self) {
        let mut acknowledged = self.acknowledged();
        loop {
            acknowledged.mark_unchanged();
            let waiting = self.on_disk(|spool| spool.waiting_records()).await;
            // The sender lives in `self`; both failures mean that the runtime is going down.
            if !waiting.is_ok_and(|waiting| waiting > 0) || acknowledged.changed().await.is_err() {
                return;
            }
        }
    }
}
