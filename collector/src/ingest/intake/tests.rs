use super::*;
use http_body::Body as _;
use std::future::poll_fn;
use tokio::sync::mpsc;
use tokio::time::advance;

/// A body whose frames come from a channel.
struct Frames(mpsc::Receiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

struct Stream {
    to: mpsc::Sender<Bytes>,
    intake: Pin<Box<Intake>>,
}

impl Stream {
    fn new(large: &Arc<Semaphore>) -> Self {
        let (to, frames) = mpsc::channel(8);
        Self { to, intake: Box::pin(Intake::new(Body::new(Frames(frames)), Arc::clone(large))) }
    }

    fn send(&self, bytes: &[u8]) {
        self.to.try_send(Bytes::copy_from_slice(bytes)).unwrap();
    }

    /// Bytes of the next frame; `None` where none is given out now.
    async fn poll(&mut self) -> Option<Result<usize, Status>> {
        poll_fn(|context| match self.intake.as_mut().poll_frame(context) {
            Poll::Ready(Some(frame)) => Poll::Ready(Some(frame.map(|frame| frame.data_ref().unwrap().len()))),
            Poll::Ready(None) => panic!("the body is over"),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    async fn taken(&mut self) -> usize {
        self.poll().await.expect("a frame is there").unwrap()
    }
}

fn small() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(3 * SMALL_BYTES))
}

fn prefix(length: usize) -> Vec<u8> {
    [&[0][..], &u32::try_from(length).unwrap().to_be_bytes()].concat()
}

fn message(length: usize) -> Vec<u8> {
    [prefix(length), vec![7; length]].concat()
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_whole_may_come_as_slowly_as_they_like() {
    let mut stream = Stream::new(&small());
    for bytes in [message(10), message(0), [message(3), message(70_000)].concat()] {
        stream.send(&bytes);
        assert_eq!(stream.taken().await, bytes.len());
        assert!(stream.poll().await.is_none());
        advance(10 * MESSAGE_WITHIN).await;
        assert!(stream.poll().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_a_part_is_missing_ends_its_stream() {
    for part in [&prefix(10)[..1], &prefix(10), &message(10)[..14], &[message(2), prefix(2)].concat()] {
        let mut stream = Stream::new(&small());
        stream.send(part);
        stream.taken().await;
        assert!(stream.poll().await.is_none());
        advance(MESSAGE_WITHIN.saturating_sub(Duration::from_millis(1))).await;
        assert!(stream.poll().await.is_none(), "{part:?}");
        advance(Duration::from_millis(2)).await;
        let status = stream.poll().await.expect("it is over").unwrap_err();
        assert_eq!((status.code(), status.message()), DEADLINE);
    }
}

const DEADLINE: (tonic::Code, &str) = (tonic::Code::DeadlineExceeded, "it did not come whole within 30 s");

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_is_not_given_more_time() {
    let mut stream = Stream::new(&small());
    stream.send(&prefix(100));
    stream.taken().await;
    for _ in 0..3 {
        stream.send(&[1]);
        stream.taken().await;
        assert!(stream.poll().await.is_none());
        advance(MESSAGE_WITHIN / 3).await;
    }
    advance(Duration::from_millis(2)).await;
    assert_eq!(stream.poll().await.expect("it is over").unwrap_err().message(), DEADLINE.1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_collector_did_not_read_is_not_late() {
    let mut stream = Stream::new(&small());
    stream.send(&message(10)[..12]);
    stream.taken().await;
    assert!(stream.poll().await.is_none());
    advance(2 * MESSAGE_WITHIN).await;
    assert!(stream.poll().await.is_none());
    stream.send(&message(10)[12..]);
    stream.taken().await;
    advance(2 * MESSAGE_WITHIN).await;
    assert!(stream.poll().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn large_messages_wait_for_room_and_small_ones_pass() {
    let large = small();
    let (mut first, mut second, mut third) = (Stream::new(&large), Stream::new(&large), Stream::new(&large));
    for stream in [&mut first, &mut second] {
        stream.send(&prefix(2 * SMALL_BYTES));
        stream.send(&vec![1; SMALL_BYTES]);
        assert_eq!((stream.taken().await, stream.taken().await), (5, SMALL_BYTES));
        stream.send(&[1; 1_000]);
    }
    assert_eq!(first.taken().await, 1_000);
    assert!(second.poll().await.is_none());
    third.send(&message(SMALL_BYTES));
    third.taken().await;
    first.send(&vec![1; SMALL_BYTES - 1_000]);
    first.taken().await;
    assert!(second.poll().await.is_none(), "the first is still worked on");
    assert!(first.poll().await.is_none(), "now it is not");
    assert_eq!(second.taken().await, 1_000);
    drop(second);
    assert_eq!(large.available_permits(), 3 * SMALL_BYTES);
}

#[tokio::test(start_paused = true)]
async fn who_announces_a_large_message_and_sends_none_takes_no_room() {
    let large = small();
    let mut crowd: Vec<Stream> = (0..40).map(|_| Stream::new(&large)).collect();
    for stream in &mut crowd {
        stream.send(&prefix(2 * SMALL_BYTES));
        stream.send(&vec![1; SMALL_BYTES - 1]);
        assert_eq!((stream.taken().await, stream.taken().await), (5, SMALL_BYTES - 1));
        assert!(stream.poll().await.is_none());
    }
    assert_eq!(large.available_permits(), 3 * SMALL_BYTES);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_has_an_end_too() {
    let large = Arc::new(Semaphore::new(0));
    let mut stream = Stream::new(&large);
    stream.send(&prefix(2 * SMALL_BYTES));
    stream.send(&vec![1; SMALL_BYTES]);
    assert_eq!((stream.taken().await, stream.taken().await), (5, SMALL_BYTES));
    assert!(stream.poll().await.is_none());
    advance(MESSAGE_WITHIN + Duration::from_millis(2)).await;
    assert_eq!(stream.poll().await.expect("it is over").unwrap_err().message(), DEADLINE.1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_large_takes_no_room() {
    let large = small();
    let mut stream = Stream::new(&large);
    stream.send(&prefix(MESSAGE_BYTES_MAX + 1));
    stream.taken().await;
    stream.send(&[1]);
    assert_eq!((stream.taken().await, large.available_permits()), (1, 3 * SMALL_BYTES));
}
