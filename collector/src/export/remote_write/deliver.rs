//! One request after another to the receiver, each until it is answered for good.

use super::answer::{self, Answer};
use super::encode::encode;
use super::events::{Events, Lost};
use super::protocol::Protocol;
use super::request::Request;
use super::selection::Selection;
use super::target::Target;
use crate::ingest::Clock;
use reqwest::Client;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Pause after a first failure; it doubles up to the largest. What the specification's own sender does.
const PAUSE_FIRST: Duration = Duration::from_millis(30);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a receiver that spoke 1.0 is not asked for 2.0 again.
const ASK_AGAIN: Duration = Duration::from_secs(3_600);
/// How long the request on its way may take when the collector ends.
const LAST_WITHIN: Duration = Duration::from_secs(3);

/// Which versions may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// 2.0, or 1.0 where the receiver does not speak it.
    Auto,
    Only(Protocol),
}

pub struct Deliverer {
    target: Target,
    client: Client,
    selection: Selection,
    choice: Choice,
    /// When the receiver was found to speak 1.0 only.
    fell_back: Option<Instant>,
    /// The next request may have been taken before: nobody has read the answer.
    in_doubt: bool,
    events: Arc<Events>,
    clock: Clock,
    stop: CancellationToken,
}

/// The collector ends before the request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl Deliverer {
    pub fn new(
        target: Target,
        choice: Choice,
        selection: Selection,
        events: Arc<Events>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let client = target.client()?;
        Ok(Self { target, client, selection, choice, fell_back: None, in_doubt: false, events, clock, stop })
    }

    /// The first request may have been sent before the process began.
    pub fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// Sends a request until it is answered for good. `waiting` is called before every attempt.
    pub async fn deliver(&mut self, request: Request, waiting: impl Fn()) -> Result<(), Stopped> {
        let mut parts = vec![request];
        let mut refused = false;
        while let Some(part) = parts.pop() {
            let samples = part.samples() as u64;
            match self.until_answered(&part, &waiting).await? {
                Answer::Refused { for_content: true, written: 0, .. } if part.nodes.len() > 1 => {
                    // One node's samples must not cost those of others.
                    let Some((first, second)) = part.split() else { continue };
                    parts.extend([second, first]);
                }
                Answer::Refused { said, written, .. } => {
                    let why = if self.in_doubt { Lost::InDoubt } else { Lost::Refused };
                    let written = written.min(samples);
                    self.events.failed();
                    self.events.lost(why, samples - written, &said);
                    self.took(written);
                    refused = true;
                }
                Answer::Taken { written } => {
                    let written = written.map_or(samples, |written| written.min(samples));
                    self.events.lost(
                        Lost::NotWritten,
                        samples - written,
                        "it told that it stored less than it took",
                    );
                    self.took(written);
                    refused |= written < samples;
                }
                Answer::OtherVersion | Answer::Later { .. } => {}
            }
        }
        if !refused {
            self.events.all_taken();
        }
        self.in_doubt = false;
        Ok(())
    }

    fn took(&self, samples: u64) {
        if samples > 0 {
            self.events.delivered(samples, (self.clock)());
        }
    }

    /// An answer that is for good: taken or refused.
    async fn until_answered(&mut self, part: &Request, waiting: impl Fn()) -> Result<Answer, Stopped> {
        let mut pause = PAUSE_FIRST;
        loop {
            waiting();
            let protocol = self.protocol();
            match self.attempt(part, protocol).await? {
                Answer::OtherVersion if self.choice == Choice::Auto && protocol == Protocol::V2 => {
                    self.fell_back = Some(Instant::now());
                    Events::speaks(Protocol::V1, "the receiver does not speak 2.0");
                }
                Answer::OtherVersion => {
                    let said = "it does not speak this version of the protocol".to_owned();
                    return Ok(Answer::Refused { said, for_content: false, written: 0 });
                }
                Answer::Later { why, after, may_be_taken } => {
                    self.in_doubt |= may_be_taken;
                    let wait = after.unwrap_or_default().max(jittered(pause));
                    self.events.retried(&why, wait);
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return Err(Stopped),
                        () = tokio::time::sleep(wait) => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                answer => {
                    if protocol == Protocol::V2 && self.fell_back.take().is_some() {
                        Events::speaks(Protocol::V2, "the receiver speaks it by now");
                    }
                    return Ok(answer);
                }
            }
        }
    }

    fn protocol(&self) -> Protocol {
        match self.choice {
            Choice::Only(protocol) => protocol,
            Choice::Auto if self.fell_back.is_some_and(|at| at.elapsed() < ASK_AGAIN) => Protocol::V1,
            Choice::Auto => Protocol::V2,
        }
    }

    async fn attempt(&self, part: &Request, protocol: Protocol) -> Result<Answer, Stopped> {
        let later = |why| Answer::Later { why, after: None, may_be_taken: false };
        let message = encode(part, &self.selection, protocol);
        let body = match snap::raw::Encoder::new().compress_vec(&message) {
            Ok(body) => body,
            Err(error) => {
                return Ok(Answer::Refused { said: error.to_string(), for_content: true, written: 0 });
            }
        };
        let request = match self.target.request(&self.client, protocol) {
            Ok(request) => request.body(body),
            // A token that is being replaced is there again soon.
            Err(why) => return Ok(later(why)),
        };
        let answered = async {
            match request.send().await {
                Ok(response) => answer::read(response, protocol).await,
                Err(error) => answer::none(&error),
            }
        };
        tokio::select! {
            biased;
            answer = answered => Ok(answer),
            () = async { self.stop.cancelled().await; tokio::time::sleep(LAST_WITHIN).await } => Err(Stopped),
        }
    }
}

/// Three quarters to five quarters of a pause, so that many senders do not come at one time.
fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(RandomState::new().hash_one(0) % 512).unwrap_or(0);
    pause * (768 + part) / 1_024
}

#[cfg(test)]
mod tests;
