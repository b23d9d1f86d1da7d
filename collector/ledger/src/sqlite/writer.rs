//! The thread that owns the connection which writes.
//!
//! SQLite has one writer at a time anyway; giving it a thread of its own keeps disk waits off the
//! async threads and puts the queue where it can be seen and bounded.
//!
//! A connection that met a damaged, read-only or failing file is closed, and the next job opens the
//! file anew: so the ledger goes on by itself once the file is mended. Before each job and after it,
//! the thread looks whether the file that it has open is the one that lies in its place: what was
//! written elsewhere is not told as done. The first commit to another file is refused: its rows speak of
//! nodes, GPUs and owners by numbers that may be others there.

use super::site::{FileId, Site};
use super::{commit, open};
use crate::LedgerError;
use rusqlite::Connection;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait. Callers await their own answer, so the queue holds at most one job a caller;
/// beyond this they wait for a place.
const JOBS_WAITING_MAX: usize = 64;

type Job = Box<dyn FnOnce(&mut Seat) + Send>;

pub struct Writer {
    /// `None` only while being dropped: the thread ends when the last sender is gone.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread with a connection that was just opened.
    pub fn start(connection: Connection, site: &Arc<Site>) -> Result<Self, LedgerError> {
        let failed = |error: std::io::Error| LedgerError::Open {
            path: site.path().to_owned(),
            reason: error.to_string(),
        };
        let file = site.here()?;
        let mut seat = Seat {
            site: Arc::clone(site),
            connection: Some((connection, file)),
            suspect: false,
            last: file,
            replaced: false,
        };
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut seat);
                }
                seat.close();
            })
            .map_err(failed)?;
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
        let job: Job = Box::new(move |seat| {
            // Nobody listens any more: the work is done all the same.
            let _ = reply.send(seat.carry_out(operation, job));
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

/// What the thread has: the connection, and the file that it was opened on.
struct Seat {
    site: Arc<Site>,
    /// `None` after a failure, until the file could be opened again.
    connection: Option<(Connection, FileId)>,
    /// The file was found damaged: it is examined before anything is written to it again.
    suspect: bool,
    /// The file that was open last.
    last: FileId,
    /// Another file was opened, and no commit has heard of it.
    replaced: bool,
}

impl Seat {
    fn carry_out<T>(
        &mut self,
        operation: &'static str,
        job: impl FnOnce(&mut Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.make_ready()?;
        if operation == commit::OPERATION && std::mem::take(&mut self.replaced) {
            return Err(LedgerError::Replaced { operation });
        }
        let gone = || LedgerError::Gone { path: self.site.path().to_owned() };
        let (connection, file) = self.connection.as_mut().ok_or_else(gone)?;
        let file = *file;
        let answer = job(connection);
        match &answer {
            Ok(_) => match self.site.here() {
                Ok(here) if here == file => {}
                Ok(_) => return Err(LedgerError::Replaced { operation }),
                Err(error) => return Err(error),
            },
            Err(error) if error.is_of_the_file() => {
                self.suspect |= matches!(error, LedgerError::Corrupt { .. });
                self.close();
            }
            Err(_) => {}
        }
        answer
    }

    /// The connection to the file that lies in the ledger's place, opened anew where it is another one
    /// or where the last attempt failed. A file that is gone stays open: it may come back, and is then as
    /// whole as it was.
    fn make_ready(&mut self) -> Result<(), LedgerError> {
        let here = self.site.here()?;
        // A transaction that could not be rolled back is left open: nothing could begin on it.
        let usable = |(connection, file): &(Connection, FileId)| *file == here && connection.is_autocommit();
        if !self.connection.as_ref().is_some_and(usable) {
            self.leave();
            let connection = self.open_again()?;
            // Opening may have waited for a lock: what was opened is what lies here afterwards, or the
            // next look finds it out.
            self.connection = Some((connection, here));
            self.replaced |= here != self.last;
            self.last = here;
            self.site.hold();
            tracing::info!(ledger = %self.site.path().display(), "the ledger was opened again");
        }
        Ok(())
    }

    fn open_again(&mut self) -> Result<Connection, LedgerError> {
        self.site.clear().map_err(|error| LedgerError::Open {
            path: self.site.path().to_owned(),
            reason: format!("the log of the file that was here before cannot be put away: {error}"),
        })?;
        let opened = open::again(self.site.path(), self.suspect);
        self.suspect = match &opened {
            Ok(_) => false,
            Err(error) => self.suspect || matches!(error, LedgerError::Corrupt { .. }),
        };
        opened
    }

    /// Leaves a file that is no longer in its place. Its log is folded back first, so that the file is
    /// whole wherever it is now, and its log holds nothing that another could take for its own.
    fn leave(&mut self) {
        if let Some((connection, _)) = &self.connection {
            // Nobody waits for this: a reader that is in the way keeps the log, which is then put aside.
            let folded = connection
                .busy_timeout(Duration::ZERO)
                .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
            if let Err(error) = folded {
                tracing::debug!(%error, "the log of the file that was replaced could not be folded back");
            }
        }
        self.close();
    }

    fn close(&mut self) {
        let Some((connection, _)) = self.connection.take() else { return };
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "the ledger did not close cleanly; it is examined when it is opened again");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sqlite::SqliteLedger;
    use crate::suite::samples::{ALWAYS, Node, commit_one, row};
    use crate::{CommitOutcome, Ledger, LedgerError, Wanted};

    /// The connection that writes, as the tests mistreat it.
    async fn limit_pages(ledger: &SqliteLedger, more: i64) {
        ledger
            .write("limit the file", move |connection| {
                let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
                connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(())).unwrap();
                Ok(())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_keeps_commits_back_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        let node = Node::register(&ledger, "a").await.unwrap();
        commit_one(&ledger, node.commit(0, 0)).await.unwrap();
        // A file that may not grow stands for a disk without room.
        limit_pages(&ledger, 0).await;
        let mut large = node.commit(1, 1);
        large.state = vec![7; 1 << 20];
        for _ in 0..3 {
            let refused = commit_one(&ledger, large.clone()).await;
            assert!(matches!(refused, Err(LedgerError::DiskFull { .. })), "{refused:?}");
            assert_eq!(ledger.state(node.key).await.unwrap().version, 1, "nothing of it is there");
        }
        limit_pages(&ledger, 1_000).await;
        assert_eq!(commit_one(&ledger, large).await.unwrap(), CommitOutcome::Committed);
        let rows = ledger.gpu_rows(&Wanted::all(ALWAYS)).await.unwrap();
        assert_eq!(rows[0].1.samples, 2 * row().samples);
    }

    #[tokio::test]
    async fn what_was_written_into_a_file_that_left_meanwhile_is_not_told_as_done() {
        let folder = tempfile::tempdir().unwrap();
        let [path, away, other] = ["ledger.db", "away.db", "other.db"].map(|name| folder.path().join(name));
        let ledger = SqliteLedger::open(&path).unwrap();
        let node = Node::register(&ledger, "a").await.unwrap();
        SqliteLedger::backup(&path, &other, |_, _| {}).unwrap();
        let commits = [node.commit(0, 0)];
        let (from, to) = (path.clone(), away.clone());
        let moved_away = ledger.write("commit rows", move |connection| {
            let outcomes = crate::sqlite::commit::all(connection, &commits);
            std::fs::rename(from, to).unwrap();
            outcomes
        });
        assert!(matches!(moved_away.await, Err(LedgerError::Gone { .. })));
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(ledger.state(node.key).await.unwrap().version, 1, "it came back with the commit in it");

        let commits = [node.commit(1, 1)];
        let to = path.clone();
        let replaced = ledger.write("commit rows", move |connection| {
            let outcomes = crate::sqlite::commit::all(connection, &commits);
            std::fs::rename(other, to).unwrap();
            outcomes
        });
        assert!(matches!(replaced.await, Err(LedgerError::Replaced { operation: "commit rows" })));
        assert_eq!(ledger.state(node.key).await.unwrap().version, 0, "as it was when it was copied");
        let first = commit_one(&ledger, node.commit(1, 1)).await;
        assert!(matches!(first, Err(LedgerError::Replaced { .. })), "{first:?}");
        assert_eq!(commit_one(&ledger, node.commit(1, 1)).await.unwrap(), CommitOutcome::Moved);
    }

    #[tokio::test]
    async fn a_transaction_that_was_left_open_keeps_nobody_from_writing() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        let node = Node::register(&ledger, "a").await.unwrap();
        let left = |c: &mut rusqlite::Connection| {
            c.execute_batch("BEGIN IMMEDIATE; DELETE FROM gpu").unwrap();
            Ok(())
        };
        ledger.write("leave a transaction open", left).await.unwrap();
        assert_eq!(commit_one(&ledger, node.commit(0, 0)).await.unwrap(), CommitOutcome::Committed);
        assert_eq!(ledger.gpus().await.unwrap().len(), 2, "it was rolled back");
    }
}
