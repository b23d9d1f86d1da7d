//! What a record of the queue holds: batches as they came on the wire, in the order they came.
//!
//! A record is a protobuf message. Its numbers never change their meaning; fields that a newer
//! version writes are ignored.
//!
//! ```text
//! Record     1 uint64 at_ms      collector's wall clock when it was written
//!            2 uint64 first      batches that were queued before this record, ever
//!            3 Kept   kept…
//! Kept       1 bytes  epoch      16 bytes
//!            2 uint64 arrived_ms collector's wall clock when the batch came
//!            3 bytes  batch      gpuledger.v1.Batch
//!            4 Source source     only where it changed, and with the first batch of an epoch in a segment
//! Source     1 string node
//!            2 Inventory inventory   gpuledger.v1.Inventory
//! ```
//!
//! Invariants: every segment of the queue can be read without the ones before it; `first` rises by the
//! number of batches of each record, so that what was dropped between two records is known exactly. A
//! record without batches carries the time alone: by it a node that fell silent is noticed.

use gpuledger_proto::v1;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    #[prost(uint64, tag = "2")]
    pub first: u64,
    #[prost(message, repeated, tag = "3")]
    pub kept: Vec<Kept>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Kept {
    #[prost(bytes = "vec", tag = "1")]
    pub epoch: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub arrived_ms: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub batch: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub source: Option<Source>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Source {
    #[prost(string, tag = "1")]
    pub node: String,
    #[prost(message, optional, tag = "2")]
    pub inventory: Option<v1::Inventory>,
}
