//! A receiver that answers by a script, and keeps samples as Prometheus does: a series only in order, a
//! request whole or not at all, the same sample again without a word.

use super::super::encode::judge::{Told, read};
use super::super::protocol::Protocol;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What becomes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Stored if it can be, and answered so.
    Store,
    /// As [`Act::Store`], and the connection is cut before the answer.
    StoreSilently,
    /// Answered with this status and these header lines, nothing stored.
    Say(u16, &'static str),
    /// The connection is cut.
    Reset,
    /// Never answered.
    Hang,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Header names are in small letters.
    pub headers: BTreeMap<String, String>,
    pub protocol: Protocol,
}

#[derive(Default)]
pub struct State {
    /// What to do with the next requests; afterwards they are stored.
    pub script: VecDeque<Act>,
    pub seen: Vec<Seen>,
    /// How often each sample was stored.
    pub stored: BTreeMap<(String, i64), (u64, u32)>,
    last: BTreeMap<String, i64>,
    pub speaks_v2: bool,
}

pub struct Receiver {
    pub url: reqwest::Url,
    pub state: Arc<Mutex<State>>,
    /// A request was dealt with.
    pub dealt: Arc<Notify>,
}

impl Receiver {
    pub async fn start(speaks_v2: bool, script: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap()).parse().unwrap();
        let script = script.iter().cloned().collect();
        let state = Arc::new(Mutex::new(State { script, speaks_v2, ..State::default() }));
        let (shared, dealt) = (Arc::clone(&state), Arc::new(Notify::new()));
        let notify = Arc::clone(&dealt);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), Arc::clone(&notify)));
            }
        });
        Self { url, state, dealt }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Every sample that is stored, and that none is there twice.
    pub fn once(&self) -> BTreeMap<(String, i64), u64> {
        self.with(|state| {
            let twice: Vec<_> = state.stored.iter().filter(|(_, stored)| stored.1 != 1).collect();
            assert!(twice.is_empty(), "stored more than once: {twice:?}");
            state.stored.iter().map(|(key, stored)| (key.clone(), stored.0)).collect()
        })
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, dealt: Arc<Notify>) {
    let mut bytes = Vec::new();
    while let Some((headers, body)) = request(&mut stream, &mut bytes).await {
        let (act, answer) = state.lock().unwrap().take_in(headers, &body);
        dealt.notify_one();
        match act {
            Act::Reset | Act::StoreSilently => return,
            Act::Hang => std::future::pending().await,
            Act::Store | Act::Say(..) => {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(BTreeMap<String, String>, Vec<u8>)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            let headers: BTreeMap<String, String> =
                lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
            let length: usize = headers["content-length"].parse().unwrap();
            if bytes.len() >= end + 4 + length {
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                return Some((headers, body));
            }
        }
        let mut chunk = [0; 8_192];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

impl State {
    fn take_in(&mut self, headers: BTreeMap<String, String>, body: &[u8]) -> (Act, String) {
        let is_v2 = headers["content-type"].contains("write.v2");
        let protocol = if is_v2 { Protocol::V2 } else { Protocol::V1 };
        let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let series = read(&message, protocol);
        self.seen.push(Seen { headers, protocol });
        let act = self.script.pop_front().unwrap_or(Act::Store);
        let (status, more) = match &act {
            // As an older Prometheus does: it takes the message for an empty one of 1.0.
            Act::Store | Act::StoreSilently if is_v2 && !self.speaks_v2 => (204, String::new()),
            Act::Store | Act::StoreSilently => self.store(&series, is_v2),
            Act::Say(status, more) => (*status, (*more).to_owned()),
            Act::Reset | Act::Hang => (0, String::new()),
        };
        // 204 has no body.
        let body = if status == 204 { "\r\n" } else { "content-length: 2\r\n\r\nno" };
        (act, format!("HTTP/1.1 {status} x\r\n{more}{body}"))
    }

    /// All of a request or nothing of it.
    fn store(&mut self, series: &[Told], is_v2: bool) -> (u16, String) {
        let mut last = self.last.clone();
        let mut stored = Vec::new();
        for (name, samples) in series {
            for &(at_ms, bits) in samples {
                let before = self.last.get(name).copied().unwrap_or(i64::MIN);
                let is_same = before == at_ms && self.stored[&(name.clone(), at_ms)].0 == bits;
                if at_ms < before || (at_ms == before && !is_same) {
                    return (400, String::new());
                }
                if !is_same {
                    stored.push(((name.clone(), at_ms), bits));
                }
                last.insert(name.clone(), at_ms);
            }
        }
        let samples: usize = series.iter().map(|(_, samples)| samples.len()).sum();
        self.last = last;
        for (key, bits) in stored {
            let entry = self.stored.entry(key).or_insert((bits, 0));
            entry.1 += 1;
        }
        let written = format!("x-prometheus-remote-write-samples-written: {samples}\r\n");
        (204, if is_v2 { written } else { String::new() })
    }
}
