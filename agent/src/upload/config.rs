//! What an uplink has to know, and how long it waits between tries.

use super::UploadError;
use super::credentials::Credentials;
use super::dial::Dialer;
use crate::clock::WallClock;
use gpuledger_proto::ids::NodeName;
use std::time::Duration;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;
use uuid::Uuid;

/// Where to send, as whom, and how patiently.
#[derive(Debug, Clone)]
pub struct UplinkConfig {
    /// `https://HOST:PORT` of the collector, or `http://HOST:PORT` where it takes plain text.
    pub endpoint: String,
    /// What to show it; needed for `https` and for nothing else.
    pub credentials: Option<Credentials>,
    pub node: NodeName,
    /// For people who look at the collector.
    pub agent_version: String,
    /// Pause after the first failure; it doubles with every further one, up to `backoff_most`. A
    /// pause is drawn from its upper half, so that a fleet does not come back all at once.
    pub backoff_first: Duration,
    pub backoff_most: Duration,
    /// Where the jitter of the pauses begins: another one in every process.
    pub jitter_seed: u64,
    /// Time for the connection to be made.
    pub connect_timeout: Duration,
    /// Time without any answer while one is due, after which the stream is given up. Far above the
    /// commit interval of the collector.
    pub answer_timeout: Duration,
    /// Time after which a quiet connection is probed, and then given up without an answer in half
    /// of it.
    pub keep_alive: Duration,
    /// What the collector is told the time by, so that it can tell a clock that is wrong.
    pub clock: WallClock,
}

impl UplinkConfig {
    /// The defaults of the agent, in plain text.
    pub fn new(endpoint: impl Into<String>, node: NodeName) -> Self {
        Self {
            endpoint: endpoint.into(),
            credentials: None,
            node,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            backoff_first: Duration::from_secs(1),
            backoff_most: Duration::from_secs(60),
            // The last 62 bits of a version 7 UUID are random.
            jitter_seed: Uuid::now_v7().as_u64_pair().1,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(20),
            clock: WallClock::system(),
        }
    }

    /// What makes connections to that address.
    pub(super) fn dialer(&self, endpoint: &Endpoint) -> Result<Dialer, UploadError> {
        let invalid = || UploadError::Endpoint { endpoint: self.endpoint.clone() };
        Dialer::new(endpoint.uri(), self.credentials.clone(), self.connect_timeout).ok_or_else(invalid)
    }

    /// Checks the address without connecting.
    pub(super) fn endpoint(&self) -> Result<Endpoint, UploadError> {
        let invalid = || UploadError::Endpoint { endpoint: self.endpoint.clone() };
        let origin = Uri::try_from(self.endpoint.as_str()).map_err(|_| invalid())?;
        let scheme = if self.credentials.is_some() { "https" } else { "http" };
        if origin.scheme_str() != Some(scheme) || origin.host().is_none_or(str::is_empty) {
            return Err(invalid());
        }
        // Connections come from the dialer, which speaks TLS itself: to HTTP/2 they are all the same.
        let address = self.endpoint.replacen("https://", "http://", 1);
        let endpoint = Endpoint::from_shared(address).map_err(|_| invalid())?.origin(origin);
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keep_alive)
            .keep_alive_timeout(self.keep_alive / 2)
            .keep_alive_while_idle(true))
    }
}

/// Pauses that double up to a limit, with jitter.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    pause: Duration,
    most: Duration,
    jitter: u64,
}

impl Backoff {
    pub fn new(config: &UplinkConfig) -> Self {
        let first = config.backoff_first;
        Self { first, pause: first, most: config.backoff_most, jitter: config.jitter_seed }
    }

    /// The link has worked: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.pause = self.first;
    }

    pub fn next_pause(&mut self) -> Duration {
        let pause = self.pause.min(self.most);
        self.pause = pause.saturating_mul(2);
        let half = pause / 2;
        // A multiplicative generator: the upper bits of an odd state are even enough to spread a fleet.
        self.jitter = (self.jitter | 1).wrapping_mul(6_364_136_223_846_793_005);
        let random = self.jitter >> 32;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_mul(random) >> 32;
        half + Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> UplinkConfig {
        UplinkConfig::new(endpoint, NodeName::new("n1").unwrap())
    }

    #[test]
    fn an_address_without_scheme_host_or_sense_is_refused_with_an_example() {
        for bad in ["", "collector", "collector:9841", "https://collector:9841", "http://", "http://a b"] {
            let error = config(bad).endpoint().unwrap_err().to_string();
            assert!(error.contains("https://HOST:PORT"), "{bad}: {error}");
        }
        config("http://127.0.0.1:9841").endpoint().unwrap();
        config("http://collector.example:9841").endpoint().unwrap();
    }

    #[test]
    fn pauses_double_to_the_limit_and_keep_at_least_half() {
        let mut backoff = Backoff::new(&config("http://c:1"));
        for seconds in [1u64, 2, 4, 8, 16, 32, 60, 60, 60] {
            let pause = backoff.next_pause();
            let whole = Duration::from_secs(seconds);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_secs(1));
    }

    #[test]
    fn two_agents_pause_differently_and_the_same_seed_pauses_the_same() {
        let pauses = |jitter_seed| {
            let mut backoff = Backoff::new(&UplinkConfig { jitter_seed, ..config("http://c:1") });
            (0..6).map(|_| backoff.next_pause()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(9));
        assert_ne!(config("http://c:1").jitter_seed, config("http://c:1").jitter_seed);
    }
}
