//! The wire between agent and collector, and what both sides share. No I/O.
//!
//! - [`v1`]: the messages as generated from `proto/gpuledger/v1`; untrusted until converted;
//! - [`ids`], [`reading`], [`frame`]: the validated types that the rest of the product works with;
//! - [`catalogue`]: every metric, declared once;
//! - [`column`]: the encoding of a column of readings; [`convert`]: messages ↔ validated types;
//! - [`codec`]: messages in the buffers of a stream;
//! - [`limits`]: what a peer may send at most.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod codec;
pub mod column;
pub mod convert;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod reading;

/// Generated messages, clients and servers.
#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("gpuledger.v1");
}

/// Revision of the protocol that this build speaks.
pub const PROTOCOL_REVISION: u32 = 1;
