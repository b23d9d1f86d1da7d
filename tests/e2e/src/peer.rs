//! A peer that speaks the protocol by hand, so that it can break it: HTTP/2 streams on which a test puts
//! whatever bytes it likes, and hears what the collector says of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::collector_message::Kind as Answer;
use gpuledger_proto::v1::{self, Refusal};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than the collector takes for anything, its own limits on time included.
const PATIENCE: Duration = Duration::from_secs(90);

/// One connection.
#[derive(Clone)]
pub struct Link {
    requests: SendRequest<Bytes>,
    authority: String,
}

impl Link {
    pub async fn open(port: u16) -> Result<Self> {
        Self::with_window(port, u16::MAX.into()).await
    }

    /// With so many bytes of answers that are taken on each stream before the test reads them.
    pub async fn with_window(port: u16, bytes: u32) -> Result<Self> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.context("connect")?;
        // A peer that does not read at once is one of those that tests are about.
        let mut builder = Builder::new();
        let (requests, connection) =
            builder.initial_window_size(bytes).data_frame_budget(usize::MAX).handshake(tcp).await?;
        // Ends with the last stream; what ended it shows there.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, authority: format!("127.0.0.1:{port}") })
    }

    pub async fn stream(&self) -> Result<Peer> {
        let request = http::Request::post(format!("http://{}/gpuledger.v1.Telemetry/Stream", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut requests = self.requests.clone().ready().await?;
        let (answers, out) = requests.send_request(request, false)?;
        Ok(Peer { out, answers: Answers::Coming(answers), taken: BytesMut::new(), heard: VecDeque::new() })
    }

    /// A stream that was welcomed.
    pub async fn welcomed(&self, node: &str) -> Result<Peer> {
        let mut peer = self.stream().await?;
        peer.say(hello(node)).await?;
        match peer.answer().await? {
            Some(Answer::Welcome(_)) => Ok(peer),
            other => bail!("{node} was not welcomed: {other:?}"),
        }
    }
}

pub fn hello(node: &str) -> Message {
    Message::Hello(v1::Hello { node: node.to_owned(), agent_version: "by hand".to_owned(), protocol: 1 })
}

/// One stream.
pub struct Peer {
    out: SendStream<Bytes>,
    answers: Answers,
    taken: BytesMut,
    heard: VecDeque<Answer>,
}

enum Answers {
    Coming(ResponseFuture),
    Here(RecvStream),
}

/// Bytes of a message as gRPC puts them on a stream.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = prefix(message.len());
    framed.extend_from_slice(message);
    framed
}

/// What announces a message of this length.
pub fn prefix(length: usize) -> Vec<u8> {
    let mut prefix = vec![0];
    prefix.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    prefix
}

impl Peer {
    /// Sends a message.
    pub async fn say(&mut self, kind: Message) -> Result<()> {
        let message = v1::AgentMessage { kind: Some(kind), wall_ms: None };
        self.put(framed(&message.encode_to_vec())).await
    }

    /// Sends bytes as they are, as far as the collector takes them.
    pub async fn put(&mut self, bytes: Vec<u8>) -> Result<()> {
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            self.out.reserve_capacity(bytes.len());
            let room = timeout(PATIENCE, poll_fn(|context| self.out.poll_capacity(context))).await;
            let room = room.context("the collector reads no further")?.context("the stream is over")??;
            // An empty frame says nothing, and too many of them end the connection.
            if room > 0 {
                self.out.send_data(bytes.split_to(room.min(bytes.len())), false)?;
            }
        }
        Ok(())
    }

    /// The next answer; `None` at the end of the stream.
    pub async fn answer(&mut self) -> Result<Option<Answer>> {
        timeout(PATIENCE, self.next()).await.context("the collector says nothing")?
    }

    async fn next(&mut self) -> Result<Option<Answer>> {
        loop {
            if let Some(answer) = self.heard.pop_front() {
                return Ok(Some(answer));
            }
            if let Answers::Coming(response) = &mut self.answers {
                let response = response.await?;
                ensure!(response.status() == 200, "{response:?}");
                self.answers = Answers::Here(response.into_body());
            }
            let Answers::Here(body) = &mut self.answers else { continue };
            let Some(bytes) = body.data().await else { return Ok(None) };
            let bytes = bytes?;
            body.flow_control().release_capacity(bytes.len())?;
            self.taken.extend_from_slice(&bytes);
            self.take_apart()?;
        }
    }

    fn take_apart(&mut self) -> Result<()> {
        while let Some(prefix) = self.taken.first_chunk::<5>() {
            let [_, a, b, c, d] = *prefix;
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
            if self.taken.len() < 5 + length {
                break;
            }
            self.taken.advance(5);
            let message = v1::CollectorMessage::decode(self.taken.split_to(length))?;
            self.heard.extend(message.kind);
        }
        Ok(())
    }

    /// What the collector says when it ends the stream.
    pub async fn refusal(&mut self) -> Result<Refusal> {
        loop {
            match self.answer().await? {
                Some(Answer::Refusal(refusal)) => return Ok(refusal),
                Some(_) => {}
                None => bail!("the stream ended without a reason"),
            }
        }
    }

    /// Waits for the acknowledgement of a batch.
    pub async fn acknowledged(&mut self, sequence: u64) -> Result<()> {
        loop {
            match self.answer().await? {
                Some(Answer::Ack(ack)) if ack.sequence >= sequence => return Ok(()),
                Some(Answer::Ack(_) | Answer::Opened(_)) => {}
                other => bail!("instead of the acknowledgement of {sequence}: {other:?}"),
            }
        }
    }
}
