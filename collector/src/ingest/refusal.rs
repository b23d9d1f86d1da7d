//! Why a stream ends at the collector's wish, and which limit the peer broke where it broke one.
//!
//! The peer is told by the [`Refusal`] that ends its stream. An operator is told by the log and by two
//! counters: refusals by their reason on the wire, and limits that were broken by their [`Limit`].

use gpuledger_ledger::LedgerError;
use gpuledger_proto::ids::{Epoch, Sequence};
use gpuledger_proto::v1;
use std::time::Duration;
use tonic::{Code, Status};

/// Why a stream ends at the collector's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: v1::RefusalReason,
    pub message: String,
    /// The batch whose content is refused, and would be again.
    pub batch: Option<(Epoch, Sequence)>,
    /// The limit that was broken.
    pub limit: Option<Limit>,
}

/// What a peer can break. The set is closed: each is a value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A message is larger than `MESSAGE_BYTES_MAX`.
    MessageBytes,
    /// A message did not come whole in time.
    MessageTime,
    /// The lists of a message have more entries than `ENTRIES_PER_MESSAGE_MAX`.
    MessageEntries,
    /// Bytes that are no message.
    MessageForm,
    /// A batch is beyond a limit, or no batch at all: columns, values, holdings, names, rows.
    Batch,
    /// An inventory is beyond a limit, or no inventory at all: devices, names.
    Inventory,
    /// A sequence is beyond `SEQUENCE_MAX`.
    Sequence,
    /// A node sends under another one's name.
    Identity,
    /// No hello came in time.
    Hello,
    /// Answers were not taken in time.
    Answers,
    /// A node opened too many streams.
    Streams,
    /// A node began too many epochs.
    Epochs,
    /// A node named too many GPUs.
    Gpus,
    /// A node named too many owners.
    Owners,
}

impl Limit {
    pub const ALL: [Self; 14] = [
        Self::MessageBytes,
        Self::MessageTime,
        Self::MessageEntries,
        Self::MessageForm,
        Self::Batch,
        Self::Inventory,
        Self::Sequence,
        Self::Identity,
        Self::Hello,
        Self::Answers,
        Self::Streams,
        Self::Epochs,
        Self::Gpus,
        Self::Owners,
    ];

    /// The value of the label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageBytes => "message_bytes",
            Self::MessageTime => "message_time",
            Self::MessageEntries => "message_entries",
            Self::MessageForm => "message_form",
            Self::Batch => "batch",
            Self::Inventory => "inventory",
            Self::Sequence => "sequence",
            Self::Identity => "identity",
            Self::Hello => "hello",
            Self::Answers => "answers",
            Self::Streams => "streams",
            Self::Epochs => "epochs",
            Self::Gpus => "gpus",
            Self::Owners => "owners",
        }
    }
}

impl Refusal {
    fn new(reason: v1::RefusalReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), batch: None, limit: None }
    }

    pub(super) fn moved(message: &str) -> Self {
        Self::new(v1::RefusalReason::Moved, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(v1::RefusalReason::Invalid, message)
    }

    /// What comes is beyond a limit, and would be again.
    pub(super) fn beyond(limit: Limit, message: impl Into<String>) -> Self {
        Self { limit: Some(limit), ..Self::invalid(message) }
    }

    /// More came than may come within a time. The agent keeps what it has, and goes on later.
    pub(super) fn too_often(limit: Limit, message: &str, wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(1);
        let message = format!("{message}; there is room for it again in {seconds} s");
        Self { limit: Some(limit), ..Self::unavailable(message) }
    }

    pub(super) fn of_batch(epoch: Epoch, sequence: Sequence, message: impl Into<String>) -> Self {
        Self { batch: Some((epoch, sequence)), ..Self::beyond(Limit::Batch, message) }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(v1::RefusalReason::Unavailable, message)
    }

    /// A ledger's error, told to the agent: its own fault or the store's.
    pub(super) fn by_ledger(error: &LedgerError) -> Self {
        if error.is_of_content() {
            Self::invalid(error.to_string())
        } else {
            Self::unavailable(error.to_string())
        }
    }

    /// What the transport says of a message that could not be read. `None` where the link broke, so that
    /// nobody is there to be told.
    pub(super) fn by_transport(status: &Status) -> Option<Self> {
        // An error of the link carries its cause, and so does not what the peer did wrong.
        let broke = std::error::Error::source(status).is_some() || status.message().contains("EOF");
        let limit = match status.code() {
            _ if broke => return None,
            Code::OutOfRange | Code::ResourceExhausted => Limit::MessageBytes,
            Code::DeadlineExceeded => Limit::MessageTime,
            Code::FailedPrecondition => Limit::MessageEntries,
            Code::Internal | Code::InvalidArgument | Code::Unimplemented => Limit::MessageForm,
            _ => return None,
        };
        Some(Self::beyond(limit, format!("a message cannot be read: {}", status.message())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io;

    #[test]
    fn each_limit_is_one_value_of_the_label() {
        let names: BTreeSet<&str> = Limit::ALL.into_iter().map(Limit::name).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }

    #[test]
    fn each_limit_has_its_row_in_the_table_of_limits() {
        let security = include_str!("../../../SECURITY.md");
        for limit in Limit::ALL {
            let name = format!("`{}`", limit.name());
            assert!(security.lines().any(|line| line.starts_with('|') && line.contains(&name)), "{name}");
        }
    }

    #[test]
    fn what_a_peer_did_wrong_is_told_apart_from_a_link_that_broke() {
        let limit = |status: &Status| Refusal::by_transport(status).map(|refusal| refusal.limit);
        assert_eq!(limit(&Status::out_of_range("found 9 bytes")), Some(Some(Limit::MessageBytes)));
        assert_eq!(limit(&Status::internal("invalid wire type")), Some(Some(Limit::MessageForm)));
        assert_eq!(limit(&Status::deadline_exceeded("30 s")), Some(Some(Limit::MessageTime)));
        assert_eq!(limit(&Status::failed_precondition("lists")), Some(Some(Limit::MessageEntries)));
        assert_eq!(limit(&Status::internal("Unexpected EOF decoding stream.")), None);
        assert_eq!(limit(&Status::cancelled("gone")), None);
        let mut broken = Status::internal("h2 protocol error");
        broken.set_source(std::sync::Arc::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        assert_eq!(limit(&broken), None);
    }
}
