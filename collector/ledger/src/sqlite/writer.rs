//! The thread that owns the connection which writes.
//!
//! SQLite has one writer at a time anyway; giving it a thread of its own keeps disk waits off the
//! async threads and puts the queue where it can be seen and bounded.

use crate::LedgerError;
use rusqlite::Connection;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait. Callers await their own answer, so the queue holds at most one job a caller;
/// beyond this they wait for a place.
const JOBS_WAITING_MAX: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub struct Writer {
    /// `None` only while being dropped: the thread ends when the last sender is gone.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(mut connection: Connection) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_WAITING_MAX);
        let thread = std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut connection);
            }
            if let Err((_, error)) = connection.close() {
                tracing::warn!(%error, "the ledger did not close cleanly; it is examined when it is opened again");
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a job on the connection and gives its answer. Once it waits its turn it is carried out,
    /// even if the caller no longer listens.
    pub async fn run<T, F>(&self, operation: &'static str, job: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        let ended = || LedgerError::Failed { operation, reason: "the ledger's writer has ended".to_owned() };
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody listens any more: the work is done all the same.
            let _ = reply.send(job(connection));
        });
        self.jobs.as_ref().ok_or_else(ended)?.send(job).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // The thread only fails by a panic, which has already been printed.
            let _ = thread.join();
        }
    }
}
