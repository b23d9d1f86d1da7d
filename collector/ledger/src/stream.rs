//! A stream of pieces: whoever reads rows of GPUs holds a few thousand of them at a time, however
//! many there are.
//!
//! One side reads and sends, the other takes. The sender waits where nobody takes; where the taker is
//! gone it stops. What ends without being finished was cut off, and the taker is told so: nobody takes
//! a part for the whole.

use crate::{GpuHour, GpuHourKey, GpuHours, Ledger, LedgerError, Wanted};
use tokio::sync::mpsc;

/// Pieces that wait: one is being made, one is ready, one is being added up.
const PIECES_WAITING: usize = 2;
/// How often everything is read anew because a file of closed days became a newer one meanwhile.
pub const ATTEMPTS_MAX: usize = 5;

/// Makes both ends of a stream.
pub fn gpu_hours(operation: &'static str) -> (GpuHourSender, GpuHourStream) {
    let (to, from) = mpsc::channel(PIECES_WAITING);
    (GpuHourSender { to }, GpuHourStream { from, operation, ended: false })
}

/// Whoever took the rows has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

type Sent = Result<Option<GpuHours>, LedgerError>;

/// The end that reads.
#[derive(Clone)]
pub struct GpuHourSender {
    to: mpsc::Sender<Sent>,
}

impl GpuHourSender {
    /// Sends a piece once there is room.
    pub async fn send(&self, piece: GpuHours) -> Result<(), Gone> {
        self.to.send(Ok(Some(piece))).await.map_err(|_| Gone)
    }

    /// Sends a piece from a thread that may block.
    pub fn send_blocking(&self, piece: GpuHours) -> Result<(), Gone> {
        self.to.blocking_send(Ok(Some(piece))).map_err(|_| Gone)
    }

    /// That was everything, or this is why it was not.
    pub async fn finish(self, outcome: Result<(), LedgerError>) {
        // Nobody is told where nobody takes.
        let _ = self.to.send(outcome.map(|()| None)).await;
    }

    /// The same from a thread that may block.
    pub fn finish_blocking(self, outcome: Result<(), LedgerError>) {
        let _ = self.to.blocking_send(outcome.map(|()| None));
    }
}

/// Rows of GPUs, piece by piece: day by day, each day in the order (GPU, hour, owner), every key once.
pub struct GpuHourStream {
    from: mpsc::Receiver<Sent>,
    operation: &'static str,
    ended: bool,
}

impl GpuHourStream {
    /// A stream of what is here already.
    pub fn of(pieces: Vec<GpuHours>) -> Self {
        let (to, from) = mpsc::channel(pieces.len() + 1);
        for piece in pieces.into_iter().map(Some).chain([None]) {
            // There is room for all of them.
            let _ = to.try_send(Ok(piece));
        }
        Self { from, operation: "read rows", ended: false }
    }

    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<GpuHours>, LedgerError> {
        if self.ended {
            return Ok(None);
        }
        let sent = self.from.recv().await;
        self.taken(sent)
    }

    /// The same on a thread that may block.
    pub fn next_blocking(&mut self) -> Result<Option<GpuHours>, LedgerError> {
        if self.ended {
            return Ok(None);
        }
        let sent = self.from.blocking_recv();
        self.taken(sent)
    }

    fn taken(&mut self, sent: Option<Sent>) -> Result<Option<GpuHours>, LedgerError> {
        let reason = "reading ended before everything was there".to_owned();
        let cut_off = LedgerError::Failed { operation: self.operation, reason };
        let piece = sent.unwrap_or(Err(cut_off))?;
        self.ended = piece.is_none();
        Ok(piece)
    }

    /// All rows at once, sorted by hour, GPU and owner.
    pub async fn rows(mut self) -> Result<Vec<(GpuHourKey, GpuHour)>, LedgerError> {
        let mut rows = Vec::new();
        while let Some(piece) = self.next().await? {
            rows.extend(piece.iter());
        }
        rows.sort_unstable_by_key(|(key, _)| *key);
        Ok(rows)
    }
}

/// Takes all that is wanted into what `begin` makes, piece by piece; from the beginning where a file
/// went away meanwhile, so that what is taken is always that of one moment.
pub async fn gather<A>(
    ledger: &(impl Ledger + ?Sized),
    wanted: &Wanted,
    mut begin: impl FnMut() -> A + Send,
    mut take: impl FnMut(&mut A, GpuHours) -> Result<(), LedgerError> + Send,
) -> Result<A, LedgerError>
where
    A: Send,
{
    let mut attempt = 1;
    'anew: loop {
        let mut gathered = begin();
        let mut stream = ledger.gpu_hours(wanted).await?;
        loop {
            match stream.next().await {
                Ok(Some(piece)) => take(&mut gathered, piece)?,
                Ok(None) => return Ok(gathered),
                Err(LedgerError::Superseded { .. }) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    continue 'anew;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Day, Values};

    fn piece(rows: usize) -> GpuHours {
        GpuHours::bare(Day(1), rows, Values::Same(1))
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_the_end_stays_the_end() {
        let (to, mut stream) = gpu_hours("test");
        let sending = async {
            for rows in 1..=9 {
                to.send(piece(rows)).await.unwrap();
            }
            to.finish(Ok(())).await;
        };
        let taking = async {
            for rows in 1..=9 {
                assert_eq!(stream.next().await.unwrap().unwrap().rows, rows);
            }
            assert!(stream.next().await.unwrap().is_none() && stream.next().await.unwrap().is_none());
        };
        tokio::join!(sending, taking);
    }

    #[tokio::test]
    async fn what_is_cut_off_is_an_error_and_never_the_end() {
        let (to, mut stream) = gpu_hours("read rows");
        to.send(piece(1)).await.unwrap();
        drop(to);
        assert!(stream.next().await.unwrap().is_some());
        let error = stream.next().await.unwrap_err().to_string();
        assert_eq!(error, "cannot read rows: reading ended before everything was there");
    }

    #[tokio::test]
    async fn a_sender_stops_where_nobody_takes() {
        let (to, stream) = gpu_hours("test");
        drop(stream);
        assert_eq!(to.send(piece(1)).await, Err(Gone));
        to.finish(Ok(())).await;
    }
}
