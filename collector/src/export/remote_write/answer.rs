//! What the receiver said, and what follows from it.
//!
//! | answer | what follows |
//! |---|---|
//! | 2xx | taken; by 2.0 it says how many samples were stored, and what is missing is dropped and counted |
//! | 2xx to 2.0 that does not say how many | a receiver that knows 1.0 only and took it for that: sent again by 1.0 |
//! | 415 to 2.0 | sent again by 1.0 |
//! | 429, 5xx, no answer | sent again later, in order |
//! | any other | dropped and counted; of a request of several nodes only what is refused by itself, where the receiver refuses for what is in it (400, 413, 422) |

use super::protocol::Protocol;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use std::time::Duration;

/// The longest that a receiver can make us wait for it.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Characters of what a receiver says that go into a log line.
const SAID_CHARS_MAX: usize = 300;
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Taken; how many samples it has stored, where it says so.
    Taken { written: Option<u64> },
    /// It does not speak this version.
    OtherVersion,
    /// To be sent again, not before that time where it names one. It may have been taken, unless the
    /// receiver said that it was not.
    Later { why: String, after: Option<Duration>, may_be_taken: bool },
    /// Not to be sent again.
    Refused { said: String, for_content: bool, written: u64 },
}

/// Reads an answer to its end.
pub async fn read(response: Response, protocol: Protocol) -> Answer {
    let status = response.status();
    let written = number(response.headers());
    let after = response.headers().get(RETRY_AFTER).and_then(|value| wait(value.to_str().ok()?));
    if status.is_success() {
        // Read, so that the connection is used again.
        drop(said(response).await);
        return match (protocol, written) {
            (Protocol::V2, None) => Answer::OtherVersion,
            (_, written) => Answer::Taken { written },
        };
    }
    let said = format!("{status}: {}", said(response).await);
    match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE if protocol == Protocol::V2 => Answer::OtherVersion,
        StatusCode::TOO_MANY_REQUESTS => Answer::Later { why: said, after, may_be_taken: false },
        status if status.is_server_error() => Answer::Later { why: said, after, may_be_taken: true },
        status => {
            let for_content = matches!(status.as_u16(), 400 | 413 | 422);
            Answer::Refused { said, for_content, written: written.unwrap_or(0) }
        }
    }
}

/// There was no answer.
pub fn none(error: &reqwest::Error) -> Answer {
    // The error itself only says that it is one; its sources say why.
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Answer::Later { why, after: None, may_be_taken: !error.is_connect() }
}

fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(WRITTEN)?.to_str().ok()?.parse().ok()
}

/// Seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().map(Duration::from_secs).ok();
    let until = || {
        let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        Duration::try_from(date.timestamp().duration_since(Timestamp::now())).ok()
    };
    seconds.or_else(until).map(|wait| wait.min(WAIT_MAX))
}

/// The beginning of what the receiver says, on one line.
async fn said(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > SAID_CHARS_MAX * 4 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("99999999"), Some(WAIT_MAX));
        assert_eq!(wait("Thu, 31 Dec 2099 23:59:59 GMT"), Some(WAIT_MAX));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), None, "a date that is over is now");
        assert_eq!(wait("soon"), None);
    }
}
