//! What has been sent on this stream and not been acknowledged.

use super::session::Broken;
use gpuledger_proto::ids::Epoch;
use gpuledger_spool::SegmentId;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Batches that may be in flight. A collector that commits every 5 s then takes 200 batches a second
/// from one agent: a day of outage is caught up within a minute.
const WINDOW_BATCHES: usize = 1_024;
/// Bytes that may be in flight: what a collector may have to hold for one agent between two commits.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// Shared by the half that sends and the half that listens.
pub(super) struct Flight {
    state: Mutex<State>,
    landed: Notify,
}

struct State {
    segments: VecDeque<Sent>,
    batches: usize,
    bytes: usize,
    opening: bool,
    /// Segments and batches that went out.
    sent: u64,
    /// When the collector last answered, or began to owe an answer.
    since: Instant,
}

/// A segment of which something was sent.
struct Sent {
    id: SegmentId,
    epoch: Epoch,
    /// What the collector may acknowledge: the last sequence that was sent, or that it had already.
    last: u64,
    /// Sequence and bytes of the batches in flight.
    batches: VecDeque<(u64, usize)>,
}

/// What an acknowledgement set free.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Landed {
    pub batches: usize,
    pub up_to: Vec<(SegmentId, u64)>,
}

impl Flight {
    pub fn new() -> Self {
        let segments = VecDeque::new();
        let state = State { segments, batches: 0, bytes: 0, opening: false, sent: 0, since: Instant::now() };
        Self { state: Mutex::new(state), landed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Segment goes out: an Opened is due.
    pub fn opening(&self) {
        let mut state = self.state();
        state.owe();
        state.opening = true;
        state.sent += 1;
    }

    /// Segments and batches that went out: each is answered once, or with others.
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    /// An Opened came. False when none was due.
    pub fn opened(&self) -> bool {
        let mut state = self.state();
        state.since = Instant::now();
        std::mem::replace(&mut state.opening, false)
    }

    /// Batches of this segment follow; the collector has everything up to `committed`.
    pub fn begin(&self, id: SegmentId, epoch: Epoch, committed: u64) {
        let mut state = self.state();
        state.segments.retain(|sent| !sent.batches.is_empty());
        state.segments.push_back(Sent { id, epoch, last: committed, batches: VecDeque::new() });
    }

    /// Waits until the window has room, and takes the batch into it.
    pub async fn take_off(&self, sequence: u64, bytes: usize) {
        loop {
            {
                let mut state = self.state();
                if state.batches == 0
                    || (state.batches < WINDOW_BATCHES && state.bytes + bytes <= WINDOW_BYTES)
                {
                    state.owe();
                    state.sent += 1;
                    state.batches += 1;
                    state.bytes += bytes;
                    if let Some(sent) = state.segments.back_mut() {
                        sent.last = sent.last.max(sequence);
                        sent.batches.push_back((sequence, bytes));
                    }
                    return;
                }
            }
            self.landed.notified().await;
        }
    }

    /// Waits until nothing is in flight.
    pub async fn all_landed(&self) {
        while self.state().batches > 0 {
            self.landed.notified().await;
        }
    }

    /// An Ack came. An Ack of what was never sent must not let go of anything.
    pub fn land(&self, epoch: Epoch, sequence: u64) -> Result<Landed, Broken> {
        let mut state = self.state();
        let last = state.segments.iter().filter(|s| s.epoch == epoch).map(|s| s.last).max();
        if last.is_some_and(|last| sequence > last) {
            return Err(Broken::Protocol("it acknowledged a batch that was not sent"));
        }
        let mut landed = Landed::default();
        let mut bytes = 0;
        for sent in state.segments.iter_mut().filter(|s| s.epoch == epoch) {
            let mut up_to = None;
            let count = sent.batches.partition_point(|batch| batch.0 <= sequence);
            for batch in sent.batches.drain(..count) {
                up_to = Some(batch.0);
                bytes += batch.1;
                landed.batches += 1;
            }
            landed.up_to.extend(up_to.map(|up_to| (sent.id, up_to)));
        }
        state.batches -= landed.batches;
        state.bytes -= bytes;
        state.since = Instant::now();
        self.landed.notify_one();
        Ok(landed)
    }

    /// Whether an answer has been due for so long without any having come.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        let state = self.state();
        state.owes() && state.since.elapsed() >= time
    }
}

impl State {
    fn owes(&self) -> bool {
        self.opening || self.batches > 0
    }

    fn owe(&mut self) {
        if !self.owes() {
            self.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ack_lets_go_of_what_was_sent_up_to_it_in_every_segment_of_its_epoch() {
        let (mine, other) = (Epoch::begin(), Epoch::begin());
        let flight = Flight::new();
        flight.begin(SegmentId(1), other, 0);
        flight.take_off(1, 10).await;
        flight.begin(SegmentId(2), mine, 0);
        flight.take_off(1, 10).await;
        flight.begin(SegmentId(3), mine, 1);
        flight.take_off(2, 10).await;
        flight.take_off(3, 10).await;
        let landed = flight.land(mine, 2).unwrap();
        assert_eq!(landed, Landed { batches: 2, up_to: vec![(SegmentId(2), 1), (SegmentId(3), 2)] });
        assert_eq!(flight.land(mine, 2).unwrap(), Landed::default(), "again");
        assert_eq!(flight.land(other, 1).unwrap().up_to, [(SegmentId(1), 1)]);
    }

    #[tokio::test]
    async fn an_ack_beyond_what_was_sent_breaks_the_stream() {
        let epoch = Epoch::begin();
        let flight = Flight::new();
        flight.begin(SegmentId(1), epoch, 4);
        assert_eq!(flight.land(epoch, 4).unwrap(), Landed::default(), "it had this already");
        flight.take_off(5, 10).await;
        assert!(matches!(flight.land(epoch, 6), Err(Broken::Protocol(_))));
        assert_eq!(flight.land(Epoch::begin(), 9).unwrap(), Landed::default(), "nothing of another epoch");
    }

    #[tokio::test]
    async fn a_full_window_waits_for_an_ack() {
        let epoch = Epoch::begin();
        let flight = Flight::new();
        flight.begin(SegmentId(1), epoch, 0);
        flight.take_off(1, WINDOW_BYTES).await;
        let mut next = Box::pin(flight.take_off(2, 1));
        assert!(futures_poll(next.as_mut()).is_none(), "the window is full");
        flight.land(epoch, 1).unwrap();
        next.await;
        assert_eq!(flight.land(epoch, 2).unwrap().batches, 1);
    }

    /// The result of a future that is ready now.
    fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
